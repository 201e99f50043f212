"""From the probabilities of a drop's chops to the outcome of the well: three rules behind one function.

``published`` is the rule of section 3.1 of the paper; ``group`` adds up the probabilities inside a group first, so that
a chop which is surely some crystal counts although no single crystal class has the threshold's probability; ``pooled``, the default of
work, asks what all chops mean together (`pooling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from .chops import Box
from .options import Options
from .outcomes import CLASSES, GROUP_CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome
from .pooling import Pooling, group_sums

Floats = npt.NDArray[np.float64]
Groups = tuple[float, float, float, float]
"""A probability for each of `SCORED_GROUPS`; they sum to 1."""

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

    `probability` belongs to `outcome`: of its best chop (``published``), of the outcome's group in its best chop (``group``), or of its
    group in the well (``pooled``); for `UNDECIDED` it is the largest probability any chop had, which was not enough. `groups` are the
    four groups' probabilities, of which the first is `p_crystal`; by the rules ``published`` and ``group`` the other three share the
    rest as their evidence does. `maxima` is the largest probability of each of the 13 classes over all chops. `best` are indices of
    chops, best first, and `said` what each of them says by the same rule: an outcome and its probability. All three are empty for a
    null experiment, which has no chops.
    """

    outcome: Outcome
    probability: float
    groups: Groups
    maxima: tuple[float, ...]
    best: tuple[int, ...]
    said: tuple[tuple[Outcome, float], ...]

    @property
    def p_crystal(self) -> float:
        """The calibrated probability of crystals."""
        return self.groups[0]


def decide(
    probabilities: npt.NDArray[np.float32],
    boxes: Sequence[Box],
    options: Options,
    calibration: Calibration | None = None,
    pooling: Pooling | None = None,
) -> Decision:
    """Decide a well from its chops.

    Parameters
    ----------
    probabilities
        ``(N, 13)``, rows sum to 1, columns in the order of `CLASSES`; N ≥ 1.
    boxes
        The N chops.
    options
        `rule`
            ``published``: a chop counts if its best class has probability ≥ `threshold`, and the highest-priority outcome of any
            counting chop is the well's. ``group``: a chop counts for a group whose summed probability is ≥ `threshold`, with the
            best class inside that group as its outcome. ``pooled``: crystals if `pooling` gives them `crystal_from`, else the most
            probable of the other groups; with the class that is most probable in the chops that show the group; never undecided.
        `n_boxes`
            How many of the best chops to name, at most; they lie apart.
        `support`
            Rule ``group``: how many chops must count before there are crystals or precipitate, as a part of the chops that see an
            average point (see `chops_needed`); three times as many, at most all, for `other`, one for `clear`. 0: one is always
            enough, as published.
    calibration
        Makes `p_crystal` of the evidence, by the rules ``published`` and ``group``.
    pooling
        What the rule ``pooled`` needs.

    Raises
    ------
    ValueError
        For arrays of other shapes, no chops, values that are no probabilities, or no pooling where it is needed.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    _check(values, boxes)
    values = np.clip(values, 0, 1)  # what rounding leaves outside
    if options.rule == "pooled":
        if pooling is None:
            raise ValueError("the rule pooled needs a pooling; xtalgrid-train judge calibrate fits one")
        verdict = _pooled(values, pooling(values, chops_seeing(boxes)), options.crystal_from)
    else:
        by_group = options.rule == "group"
        needed = chops_needed(boxes, options.support) if by_group else (1,) * len(SCORED_GROUPS)
        sums = group_sums(values)
        evidence = group_evidence(sums, needed)
        says = _by_group(values, sums, options.threshold, evidence) if by_group else _by_class(values)
        groups = _shared((calibration or Calibration())(evidence[0]), evidence[1:])
        verdict = _first(says, sums, options.threshold, groups)
    best = _apart(verdict.backing, boxes, options.n_boxes)
    return Decision(
        outcome=verdict.outcome,
        probability=min(verdict.probability, 1.0),
        groups=verdict.groups,
        maxima=tuple(float(p) for p in values.max(axis=0)),
        best=best,
        said=tuple((CLASSES[verdict.says.classes[i]], min(float(verdict.says.probabilities[i]), 1.0)) for i in best),
    )


def without_drop(confidence: float, options: Options, calibration: Calibration | None = None) -> Decision:
    """Decide a well without a drop: a null experiment, of which there are no chops and no evidence of a crystal.

    `confidence`, 0..1, is that of there being no drop. What is left is a drop nobody has looked at. By the rule ``pooled`` it is any of
    the four groups alike; by the other rules `p_crystal` is what `calibration` makes of no evidence.
    """
    missed = 1 - confidence
    if options.rule == "pooled":
        groups = (missed / 4, missed / 4, confidence + missed / 4, missed / 4)
    else:
        p_crystal = (calibration or Calibration())(0.0)
        groups = _shared(p_crystal, (missed / 3, confidence + missed / 3, missed / 3))
    return Decision(Outcome.NULL_EXPERIMENT, confidence, groups, (), (), ())


def _shared(p_crystal: float, evidence: Sequence[float]) -> Groups:
    """The four groups' probabilities: crystals have theirs, and the other three share the rest in proportion to their evidence, 0..1."""
    total = sum(evidence)
    precipitate, other, clear = (value / total for value in evidence) if total else (1 / 3,) * 3
    rest = 1 - p_crystal
    return p_crystal, rest * precipitate, rest * other, rest * clear


class _Says(NamedTuple):
    """What each chop says: an index of `CLASSES`, and its probability; both ``(N,)``."""

    classes: npt.NDArray[np.intp]
    probabilities: Floats


class _Verdict(NamedTuple):
    """A well's outcome, and how well each chop backs it, ``(N,)``; below 0 not at all."""

    outcome: Outcome
    probability: float
    groups: Groups
    says: _Says
    backing: Floats


def pooled_group(groups: Floats, crystal_from: float) -> npt.NDArray[np.intp]:
    """What the rule ``pooled`` calls wells, indices of `SCORED_GROUPS`, ``(...)``, where these are as probable as `groups` says, ``(..., 4)``."""
    return np.where(groups[..., 0] >= crystal_from, 0, 1 + groups[..., 1:].argmax(axis=-1))


def _pooled(values: Floats, groups: Floats, crystal_from: float) -> _Verdict:
    """`groups`: how probable each of `SCORED_GROUPS` is, ``(4,)``."""
    winner = int(pooled_group(groups, crystal_from))
    members = np.array(GROUP_CLASSES[SCORED_GROUPS[winner]])
    inside = values[:, members]
    says = _Says(members[inside.argmax(axis=1)], inside.sum(axis=1))
    shows = says.probabilities >= says.probabilities.max() / 2  # elsewhere is nothing to be shown
    outcome = CLASSES[members[inside[shows].mean(axis=0).argmax()]]
    backing = np.where(shows, says.probabilities, -1.0)
    crystal, precipitate, other, clear = (float(p) for p in groups)
    return _Verdict(outcome, float(groups[winner]), (crystal, precipitate, other, clear), says, backing)


def _first(says: _Says, sums: Floats, threshold: float, groups: Groups) -> _Verdict:
    """The highest-priority outcome that any chop says with at least the threshold."""
    counting = says.probabilities >= threshold
    if not counting.any():
        crystal = sums[:, 0]  # where a person should look first
        return _Verdict(Outcome.UNDECIDED, float(says.probabilities.max()), groups, says, crystal)
    winner = int(says.classes[counting].min())  # the smallest index is the highest priority
    backing = np.where(counting & (says.classes == winner), says.probabilities, -1.0)
    return _Verdict(CLASSES[winner], float(backing.max()), groups, says, backing)


def group_evidence(sums: Floats, needed: Sequence[int]) -> tuple[float, ...]:
    """What so many chops as `needed` reach of each group's sum (`group_sums`), 0..1; the first is what `p_crystal` is calibrated on."""
    ranked = np.sort(sums, axis=0)[::-1]
    return tuple(
        float(min(column[min(count, len(column)) - 1], 1.0)) for column, count in zip(ranked.T, needed, strict=True)
    )


def chops_seeing(boxes: Sequence[Box]) -> float:
    """How many chops see an average point of what any of them sees, ≥ 1.

    Points that no chop sees don't count, so that leaving chops out makes no difference to the others.
    """
    return sum(b.height * b.width for b in boxes) / _area(boxes)


def chops_needed(boxes: Sequence[Box], support: float) -> tuple[int, ...]:
    """How many chops must agree on each of `SCORED_GROUPS`: a part of the number of chops that see an average point, at least 1.

    Chops of 256 pixels at a step of 50 see most points some twenty times: a crystal turns up in many of them, what a network
    takes for one by accident in one or two. Where chops hardly overlap, one is enough.
    """
    seeing = chops_seeing(boxes)
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


def _by_class(values: Floats) -> _Says:
    """Each chop's best class."""
    return _Says(values.argmax(axis=1), values.max(axis=1))


def _by_group(values: Floats, sums: Floats, threshold: float, evidence: Sequence[float]) -> _Says:
    """Of each chop: its outcome and its group's probability, for the first group in priority that reaches the threshold.

    Where the evidence of a group does not reach the threshold, no chop counts for it.
    """
    weak = np.array(evidence) < threshold
    sums = np.where(weak, np.minimum(sums, evidence), sums)
    reached = sums >= threshold
    group = np.where(reached.any(axis=1), reached.argmax(axis=1), sums.argmax(axis=1))
    outcome = np.empty(len(values), np.intp)
    for index, name in enumerate(SCORED_GROUPS):
        members = np.array(GROUP_CLASSES[name])
        rows = group == index
        outcome[rows] = members[values[np.ix_(rows, members)].argmax(axis=1)]
    return _Says(outcome, sums[np.arange(len(values)), group])


def _apart(backing: Floats, boxes: Sequence[Box], n_boxes: int) -> tuple[int, ...]:
    """Indices of the best-backed chops (backing ≥ 0) that lie apart from each other, best first."""
    chosen: list[int] = []
    for index in np.argsort(-backing, kind="stable"):
        if backing[index] < 0 or len(chosen) == n_boxes:
            break
        if all(boxes[index].overlap(boxes[other]) < _DISTINCT for other in chosen):
            chosen.append(int(index))
    return tuple(chosen)


def _check(values: Floats, boxes: Sequence[Box]) -> None:
    if values.ndim != 2 or values.shape[1] != len(CLASSES) or len(values) != len(boxes) or not len(boxes):
        raise ValueError(
            f"{values.shape} probabilities for {len(boxes)} chops; expected ({len(boxes)}, {len(CLASSES)}), ≥ 1 chop"
        )
    if not np.isfinite(values).all() or values.min() < -1e-6 or values.max() > 1 + 1e-4:
        raise ValueError("probabilities must lie in 0..1")
