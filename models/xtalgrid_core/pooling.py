"""Pool the probabilities of a drop's chops into the probabilities of the four groups for the well.

The classifier judges each chop by itself: a bright edge may pass for a crystal, a granular corner for precipitate.
The well shows only in all chops together: one chop that looks like a crystal means less if every third chop does so a
little. Therefore the chops' probabilities are pooled, and a multinomial logistic regression, fitted to rendered wells
(``xtalgrid-train judge calibrate``), turns them into probabilities for the well: stacking (Wolpert 1992) of the
instance-level results of multiple-instance learning. The same fit calibrates these probabilities.

The chops may be of several sizes: what is larger than a chop of 256 pixels shows in one of 512, seen at half the scale
(docs/decisions/0043-chops-of-two-sizes.md).
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from .chops import CHOP
from .outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS, Group

Floats = npt.NDArray[np.float64]
Real = TypeVar("Real", bound=np.floating)

FEATURES = 2 * len(SCORED_GROUPS) + len(CLASSES)
"""Number of features that describe a drop; see `features`."""

_FEW, _ALL = 0.3, 1.0
"""Fractions of the mean coverage at which the ranked group sums are read; see `features`."""

LEAST = 1e-4
"""Probabilities are clipped to this distance from 0 and 1, as networks are not reliable beyond."""


ChopSize = Literal[256, 512]
"""Side of a chop in pixels at the reference scale. The network sees a larger one reduced to `CHOP` pixels."""


class Pooling(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fitted logistic regression: for each of `SCORED_GROUPS`, weights of the `FEATURES` and an intercept.

    `chop_sizes`: the sizes of the chops that it was fitted to, and is for, all of them as one set.
    """

    weights: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    chop_sizes: tuple[ChopSize, ...] = (CHOP,)

    def __post_init__(self) -> None:
        groups = len(SCORED_GROUPS)
        if len(self.intercepts) != groups or [len(row) for row in self.weights] != [FEATURES] * groups:
            raise ValueError(f"a pooling must have {groups} rows of {FEATURES} weights, and {groups} intercepts")
        if not self.chop_sizes or len(set(self.chop_sizes)) != len(self.chop_sizes):
            raise ValueError(f"a pooling is for chops of one or more different sizes, not of {list(self.chop_sizes)}")

    def __call__(self, probabilities: npt.NDArray[np.floating], coverage: float) -> Floats:
        """Return the probabilities of `SCORED_GROUPS`, ``(4,)``, which sum to 1; for the parameters see `features`."""
        return self.of(features(probabilities, coverage))

    def of(self, features: Floats) -> Floats:
        """Return the probabilities of `SCORED_GROUPS`, ``(4,)``, for a drop's `features`, ``(FEATURES,)``."""
        logits = np.array(self.weights) @ features + np.array(self.intercepts)
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum())


def rounded(weights: Floats, intercepts: Floats, chop_sizes: tuple[ChopSize, ...]) -> Pooling:
    """Return the pooling with these weights, ``(4, FEATURES)``, and intercepts, ``(4,)``, to four decimals."""
    return Pooling(
        tuple(tuple(round(float(w), 4) for w in row) for row in weights),
        tuple(round(float(i), 4) for i in intercepts),
        chop_sizes,
    )


def without_drop(wells: int) -> Floats:
    """Return the probabilities of `SCORED_GROUPS` for so many wells without a drop, ``(N, 4)``: `other`, surely.

    Pooling needs chops, which they don't have; what fits and judges it counts them like this.
    """
    return np.tile(np.eye(len(SCORED_GROUPS))[SCORED_GROUPS.index(Group.OTHER)], (wells, 1))


def features(probabilities: npt.NDArray[np.floating], coverage: float) -> Floats:
    """Return the features of a drop, ``(FEATURES,)``, all as log-odds.

    With n chops over an average point, they are the group sums that 0.3·n chops reach, those that n chops reach, and
    the mean of each class over all chops.

    Parameters
    ----------
    probabilities
        Of a drop's chops, ``(N, 13)``; N ≥ 1.
    coverage
        Number of chops that cover an average point (`decision.mean_coverage`).
    """
    values = np.asarray(probabilities, dtype=np.float64)
    ranked = np.sort(group_sums(values), axis=0)[::-1]
    reached = [ranked[rank - 1] for rank in ranks(coverage, len(ranked))]
    x = np.clip(np.concatenate([*reached, values.mean(axis=0)]), LEAST, 1 - LEAST)
    return np.asarray(np.log(x / (1 - x)))


def ranks(coverage: float, chops: int) -> tuple[int, int]:
    """Count the chops that must reach each of the two summed probabilities of a group in `features`; at least 1."""
    few, many = (min(max(1, round(part * coverage)), chops) for part in (_FEW, _ALL))
    return few, many


def group_sums(probabilities: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Sum the classes' probabilities, ``(N, 13)``, over each of `SCORED_GROUPS`, ``(N, 4)``."""
    return np.stack([probabilities[:, list(GROUP_CLASSES[group])].sum(axis=1) for group in SCORED_GROUPS], axis=1)
