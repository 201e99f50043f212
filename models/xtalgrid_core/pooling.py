"""From what all chops of a drop say to how probable each group is for the well.

A chop is judged by itself: a bright edge is some crystal, one granular corner precipitate. What the well is shows in all of them
together: a crystal's look in one chop means less where every third chop looks a little like crystals. So the chops' probabilities are
pooled, and a multinomial logistic regression, fitted on rendered wells (``xtalgrid-train judge calibrate``), says what they mean: the
instance-level results of multiple-instance learning, stacked (Wolpert 1992). Its probabilities are calibrated by the same fit.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from .outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS

Floats = npt.NDArray[np.float64]

FEATURES = 2 * len(SCORED_GROUPS) + len(CLASSES)
"""How many numbers describe a drop: see `features`."""

_FEW, _AS_MANY_AS_SEE_A_POINT = 0.3, 1.0
LEAST = 1e-4
"""Probabilities are kept so far from 0 and 1, below which networks are not to be believed."""


class Pooling(msgspec.Struct, frozen=True):
    """A fitted logistic regression: for each of `SCORED_GROUPS` a weight of each of the `FEATURES`, and an intercept."""

    weights: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]

    def __post_init__(self) -> None:
        groups = len(SCORED_GROUPS)
        if len(self.intercepts) != groups or [len(row) for row in self.weights] != [FEATURES] * groups:
            raise ValueError(f"a pooling has {groups} rows of {FEATURES} weights, and {groups} intercepts")

    def __call__(self, probabilities: npt.NDArray[np.floating], seeing: float) -> Floats:
        """How probable each of `SCORED_GROUPS` is, ``(4,)``, sums to 1; parameters as of `features`."""
        return self.of(features(probabilities, seeing))

    def of(self, drop: Floats) -> Floats:
        """As before, of a drop's `features`."""
        logits = np.array(self.weights) @ drop + np.array(self.intercepts)
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum())


def features(probabilities: npt.NDArray[np.floating], seeing: float) -> Floats:
    """What describes a drop, ``(FEATURES,)``, all in log-odds.

    The summed probability of each group that three tenths as many chops reach as see an average point, then the one that as many reach;
    then each class's mean over all chops.

    Parameters
    ----------
    probabilities
        Of a drop's chops, ``(N, 13)``; N ≥ 1.
    seeing
        How many chops see an average point (`decision.chops_seeing`).
    """
    values = np.asarray(probabilities, dtype=np.float64)
    ranked = np.sort(group_sums(values), axis=0)[::-1]
    reached = [ranked[rank - 1] for rank in ranks(seeing, len(ranked))]
    x = np.clip(np.concatenate([*reached, values.mean(axis=0)]), LEAST, 1 - LEAST)
    return np.asarray(np.log(x / (1 - x)))


def ranks(seeing: float, chops: int) -> tuple[int, int]:
    """How many of so many chops must reach each of the two summed probabilities of a group in `features`; 1 is the least."""
    few, many = (min(max(1, round(part * seeing)), chops) for part in (_FEW, _AS_MANY_AS_SEE_A_POINT))
    return few, many


def group_sums(probabilities: Floats) -> Floats:
    """The summed probability of each of `SCORED_GROUPS` in each chop, ``(N, 4)``, of the classes' ``(N, 13)``."""
    return np.stack([probabilities[:, list(GROUP_CLASSES[group])].sum(axis=1) for group in SCORED_GROUPS], axis=1)
