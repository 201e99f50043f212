"""From the probabilities of a drop's chops to the outcome of the well: two rules behind one function.

``published`` is the rule of section 3.1 of the paper; ``group`` adds up the probabilities inside a group first, so that
a chop which is surely some crystal counts although no single crystal class has the threshold's probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from .chops import Box
from .outcomes import CLASSES, GROUP_CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome

Rule = Literal["published", "group"]

THRESHOLD = 0.85
"""The paper's c (section 3.1); its second run took 0.80."""

SUPPORT = 0.3
"""The default of work units: docs/decisions/0006-a-crystal-in-several-chops.md."""

_SUPPORT = {Group.CRYSTAL: 1.0, Group.PRECIPITATE: 1.0, Group.OTHER: 3.0, Group.CLEAR: 0.0}
"""A group's support over that of crystals: what is `other` fills a chop, and outranks a clear drop wherever its edge looks odd."""

_DISTINCT = 0.1
"""Shown chops overlap less than this (intersection over union), so that n boxes show n places."""


class Calibration(msgspec.Struct, frozen=True):
    """Platt scaling: ``p_crystal = 1 / (1 + exp(−(slope·logit(x) + intercept)))``; x: see `group_evidence`."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, evidence: float) -> float:
        """The calibrated probability, 0..1, of evidence 0..1."""
        x = min(max(evidence, 1e-6), 1 - 1e-6)
        logit = self.slope * math.log(x / (1 - x)) + self.intercept
        return 1 / (1 + math.exp(-min(max(logit, -700.0), 700.0)))  # beyond, exp overflows


@dataclass(frozen=True, slots=True)
class Decision:
    """What the chops of one drop say together.

    `probability` belongs to `outcome`: of its best chop (``published``), or of the outcome's group in its best chop
    (``group``); for `UNDECIDED` it is the largest probability any chop had, which was not enough. `best` are indices of
    chops, best first, and `said` what each of them says by the same rule: an outcome and its probability. `maxima` is the
    largest probability of each of the 13 classes over all chops.
    """

    outcome: Outcome
    probability: float
    p_crystal: float
    maxima: tuple[float, ...]
    best: tuple[int, ...]
    said: tuple[tuple[Outcome, float], ...]


def decide(
    probabilities: npt.NDArray[np.float32],
    boxes: Sequence[Box],
    *,
    rule: Rule = "group",
    threshold: float = THRESHOLD,
    n_boxes: int = 5,
    support: float = 0.0,
    calibration: Calibration | None = None,
) -> Decision:
    """Decide a well from its chops.

    Parameters
    ----------
    probabilities
        ``(N, 13)``, rows sum to 1, columns in the order of `CLASSES`; N ≥ 1.
    boxes
        The N chops.
    rule
        ``published``: a chop counts if its best class has probability ≥ threshold, and the highest-priority outcome of
        any counting chop is the well's. ``group``: a chop counts for a group whose summed probability is ≥ threshold,
        with the best class inside that group as its outcome.
    threshold
        The paper's c, above 0 and at most 1.
    n_boxes
        How many of the best chops to name, at most; they lie apart.
    support
        How many chops must count before there are crystals or precipitate by the rule ``group``, as a part of the chops that see an
        average point (see `chops_needed`); three times as many, at most all, for `other`, one for `clear`. 0: one is always enough, as published.

    Raises
    ------
    ValueError
        For arrays of other shapes, no chops, values that are no probabilities, or a threshold outside (0, 1].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    _check(values, boxes, threshold)
    values = np.clip(values, 0, 1)  # what rounding leaves outside
    needed = chops_needed(boxes, support) if rule == "group" else (1,) * len(SCORED_GROUPS)
    evidence = group_evidence(values, needed)
    if rule == "published":
        chop_class, chop_probability = values.argmax(axis=1), values.max(axis=1)
    else:
        chop_class, chop_probability = _by_group(values, threshold, evidence)
    counting = chop_probability >= threshold
    if counting.any():
        winner = int(chop_class[counting].min())  # the smallest index is the highest priority
        backing = np.where(counting & (chop_class == winner), chop_probability, -1.0)
        outcome, probability = CLASSES[winner], float(backing.max())
    else:
        backing = values[:, list(GROUP_CLASSES[Group.CRYSTAL])].sum(axis=1)  # where a person should look first
        outcome, probability = Outcome.UNDECIDED, float(chop_probability.max())
    best = _apart(backing, boxes, n_boxes)
    return Decision(
        outcome=outcome,
        probability=min(probability, 1.0),
        p_crystal=(calibration or Calibration())(evidence[0]),
        maxima=tuple(float(p) for p in values.max(axis=0)),
        best=best,
        said=tuple((CLASSES[chop_class[i]], min(float(chop_probability[i]), 1.0)) for i in best),
    )


def group_evidence(probabilities: npt.NDArray[np.floating], needed: Sequence[int]) -> tuple[float, ...]:
    """The summed probability of each of `SCORED_GROUPS` that so many chops as `needed` reach, 0..1; the first is what `p_crystal` is calibrated on."""
    found = []
    for group, count in zip(SCORED_GROUPS, needed, strict=True):
        sums = np.sort(probabilities[:, list(GROUP_CLASSES[group])].sum(axis=1))
        found.append(float(min(sums[-min(count, len(sums))], 1.0)))
    return tuple(found)


def chops_needed(boxes: Sequence[Box], support: float) -> tuple[int, ...]:
    """How many chops must agree on each of `SCORED_GROUPS`: a part of the number of chops that see an average point, at least 1.

    Chops of 256 pixels at a step of 50 see most points some twenty times: a crystal turns up in many of them, what a network
    takes for one by accident in one or two. Where chops hardly overlap, one is enough. Points that no chop sees don't count, so
    that leaving chops out makes no difference to the others.
    """
    seeing = sum(b.height * b.width for b in boxes) / _area(boxes)
    return tuple(max(1, round(min(_SUPPORT[group] * support, 1) * seeing)) for group in SCORED_GROUPS)


def _area(boxes: Sequence[Box]) -> int:
    """Pixels that any of the boxes covers."""
    ends = np.array([(b.row, b.row + b.height, b.col, b.col + b.width) for b in boxes])
    rows, cols = np.unique(ends[:, :2]), np.unique(ends[:, 2:])  # between two of these all pixels are alike
    top, bottom = np.searchsorted(rows, ends[:, 0]), np.searchsorted(rows, ends[:, 1])
    left, right = np.searchsorted(cols, ends[:, 2]), np.searchsorted(cols, ends[:, 3])
    steps = np.zeros((len(rows), len(cols)), np.int64)
    for row, col, sign in ((top, left, 1), (bottom, left, -1), (top, right, -1), (bottom, right, 1)):
        np.add.at(steps, (row, col), sign)
    covered = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return int((np.diff(rows)[:, None] * np.diff(cols)[None, :] * covered).sum())


def priority(outcome: Outcome) -> int:
    """Rank of an outcome, 0 the highest; undecided and failed come after all classes."""
    return PRIORITY.get(outcome, len(CLASSES))


def _by_group(
    values: npt.NDArray[np.float64], threshold: float, evidence: Sequence[float]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Of each chop: its outcome and its group's probability, for the first group in priority that reaches the threshold.

    Where the evidence of a group does not reach the threshold, no chop counts for it.
    """
    sums = np.stack([values[:, list(GROUP_CLASSES[group])].sum(axis=1) for group in SCORED_GROUPS], axis=1)
    weak = np.array(evidence) < threshold
    sums[:, weak] = np.minimum(sums, evidence)[:, weak]
    reached = sums >= threshold
    group = np.where(reached.any(axis=1), reached.argmax(axis=1), sums.argmax(axis=1))
    outcome = np.empty(len(values), np.intp)
    for index, name in enumerate(SCORED_GROUPS):
        members = np.array(GROUP_CLASSES[name])
        rows = group == index
        outcome[rows] = members[values[np.ix_(rows, members)].argmax(axis=1)]
    return outcome, sums[np.arange(len(values)), group]


def _apart(backing: npt.NDArray[np.float64], boxes: Sequence[Box], n_boxes: int) -> tuple[int, ...]:
    """Indices of the best-backed chops (backing ≥ 0) that lie apart from each other, best first."""
    chosen: list[int] = []
    for index in np.argsort(-backing, kind="stable"):
        if backing[index] < 0 or len(chosen) == n_boxes:
            break
        if all(boxes[index].overlap(boxes[other]) < _DISTINCT for other in chosen):
            chosen.append(int(index))
    return tuple(chosen)


def _check(values: npt.NDArray[np.float64], boxes: Sequence[Box], threshold: float) -> None:
    if values.ndim != 2 or values.shape[1] != len(CLASSES) or len(values) != len(boxes) or not len(boxes):
        raise ValueError(
            f"{values.shape} probabilities for {len(boxes)} chops; expected ({len(boxes)}, {len(CLASSES)}), ≥ 1 chop"
        )
    if not np.isfinite(values).all() or values.min() < -1e-6 or values.max() > 1 + 1e-4:
        raise ValueError("probabilities must lie in 0..1")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
