"""Decision rules: from the probabilities of a drop's chops to the outcome of the well.

``published`` is the rule of section 3.1 of the paper. ``group`` first sums the probabilities within each group, so
that a chop that surely shows some kind of crystal counts even if no single crystal class reaches the threshold.
``pooled``, the default, combines all chops by logistic regression (`pooling`). ``combined`` combines the result of that
with a second opinion (`combination`).
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
"""Support that each group needs, relative to crystals.

`other` needs three times as much, because it outranks a clear drop whose edge merely looks odd, and real features of
that kind fill many chops.
"""

_DISTINCT = 0.1
"""The best chops overlap each other by less than this (intersection over union), so that n boxes mark n places."""


class Calibration(msgspec.Struct, frozen=True):
    """Platt scaling of evidence x (`group_evidence`): ``p_crystal = 1 / (1 + exp(−(slope·logit(x) + intercept)))``."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, evidence: float) -> float:
        """Return the calibrated probability, 0..1, for evidence 0..1."""
        x = min(max(evidence, 1e-6), 1 - 1e-6)
        logit = self.slope * math.log(x / (1 - x)) + self.intercept
        return 1 / (1 + math.exp(-min(max(logit, -700.0), 700.0)))  # exp overflows beyond that


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one well.

    A null experiment has no chops: `maxima`, `best` and `chop_outcomes` are empty.

    Attributes
    ----------
    outcome
        Of the well.
    probability
        Of the outcome in its best chop (``published``), of its group in the best chop (``group``), or of its group in
        the well (``pooled``). For `UNDECIDED`, the largest probability in any chop, which did not reach the
        threshold, or that of the group that the well would be called (``pooled``).
    groups
        Probabilities of the four groups; the first is `p_crystal`. Under the rules ``published`` and ``group`` the
        other three share the rest in proportion to their evidence.
    own_groups
        Under the rule ``combined`` those from the chops alone, under all others the same as `groups`.
    maxima
        Largest probability of each of the 13 classes over all chops.
    best
        Indices of the best chops, best first.
    chop_outcomes
        For each of the best chops, its own outcome under the same rule, and the probability of that.
    """

    outcome: Outcome
    probability: float
    groups: Groups
    own_groups: Groups
    maxima: tuple[float, ...]
    best: tuple[int, ...]
    chop_outcomes: tuple[tuple[Outcome, float], ...]

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
    second: Groups | None = None,
) -> Decision:
    """Decide a well from its chops, and under the rule ``combined`` from a second opinion too.

    Parameters
    ----------
    probabilities
        ``(N, 13)``, rows sum to 1, columns in the order of `CLASSES`; N ≥ 1.
    boxes
        The N chops.
    options
        `rule`
            ``published``: a chop counts if its best class has a probability ≥ `threshold`; the well gets the
            highest-priority outcome among the chops that count. ``group``: a chop counts for a group whose summed
            probability is ≥ `threshold`; its outcome is the best class within that group. ``pooled``: crystals if
            `pooling` gives them at least `crystal_from`, else the most probable of the other groups; the outcome is the
            class with the highest mean in the chops that show the group. ``combined``: the same, with the groups'
            probabilities combined with those of a second opinion by `combination`.
        `undecided`
            Rules ``pooled`` and ``combined``: least probability of the group that the well is called, else it is
            undecided; the best chops are then those of that group. None, the default: never.
        `n_boxes`
            Maximum number of best chops; they lie apart from each other.
        `support`
            Rule ``group``: how many chops must count before a well has crystals or precipitate, as a fraction of the
            number of chops that cover an average point (see `chops_needed`). `other` needs three times as many (at most
            all), `clear` just one. 0: one chop is always enough, as published.
    calibration
        Turns evidence into `p_crystal` under the rules ``published`` and ``group``; the identity by default.
    pooling
        Required by the rules ``pooled`` and ``combined``.
    second
        Required by the rule ``combined``: the second opinion's probabilities of the four groups.

    Raises
    ------
    ValueError
        If the shapes don't match, there are no chops, values are not probabilities, or something required is missing.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    _check(values, boxes)
    values = np.clip(values, 0, 1)  # rounding may leave some slightly outside
    if options.is_pooled:
        if pooling is None:
            raise ValueError("the rule `pooled` needs a pooling; fit one with `xtalgrid-train judge calibrate`")
        pooled = pooling(values, mean_coverage(boxes))
        own = _four(pooled)
        ruling = _pooled(values, _combined(pooled, options, second), options.crystal_from)
        ruling = ruling._replace(outcome=or_undecided(ruling.outcome, ruling.groups, options))
    else:
        by_group = options.rule == "group"
        needed = chops_needed(boxes, options.support) if by_group else (1,) * len(SCORED_GROUPS)
        sums = group_sums(values)
        evidence = group_evidence(sums, needed)
        chops = _chops_by_group(values, sums, options.threshold, evidence) if by_group else _chops_by_class(values)
        own = _share_rest((calibration or Calibration())(evidence[0]), evidence[1:])
        ruling = _highest_priority(chops, sums, options.threshold, own)
    best = _best_apart(ruling.ranking, boxes, options.n_boxes)
    chops = ruling.chops
    return Decision(
        outcome=ruling.outcome,
        probability=min(ruling.probability, 1.0),
        groups=ruling.groups,
        own_groups=own,
        maxima=tuple(float(p) for p in values.max(axis=0)),
        best=best,
        chop_outcomes=tuple((CLASSES[chops.classes[i]], min(float(chops.probabilities[i]), 1.0)) for i in best),
    )


def without_drop(confidence: float, options: Options, calibration: Calibration | None = None) -> Decision:
    """Decide a well without a drop: a null experiment, with no chops and no evidence for crystals.

    `confidence`, 0..1, is the segmenter's that there is no drop; the rest is the probability of a missed drop. The rule
    ``pooled`` divides it equally among the four groups, also if there is a second opinion, which knows no empty wells;
    under the other rules `p_crystal` is the calibration of no evidence, and the other groups share the rest.
    """
    missed = 1 - confidence
    if options.is_pooled:
        groups = (missed / 4, missed / 4, confidence + missed / 4, missed / 4)
    else:
        p_crystal = (calibration or Calibration())(0.0)
        groups = _share_rest(p_crystal, (missed / 3, confidence + missed / 3, missed / 3))
    outcome = or_undecided(Outcome.NULL_EXPERIMENT, groups, options)
    return Decision(outcome, confidence, groups, groups, (), (), ())


def or_undecided(outcome: Outcome, groups: Groups, options: Options) -> Outcome:
    """Return the outcome, or `UNDECIDED` if the probability of its group is below what the options ask."""
    if options.undecided is None or outcome.group not in SCORED_GROUPS:
        return outcome
    group = SCORED_GROUPS.index(outcome.group)
    return Outcome.UNDECIDED if groups[group] < options.undecided[group] else outcome


def _share_rest(p_crystal: float, evidence: Sequence[float]) -> Groups:
    """Divide the rest, 1 − `p_crystal`, among the other three groups in proportion to their evidence, 0..1."""
    total = sum(evidence)
    precipitate, other, clear = (value / total for value in evidence) if total else (1 / 3,) * 3
    rest = 1 - p_crystal
    return p_crystal, rest * precipitate, rest * other, rest * clear


class _ChopOutcomes(NamedTuple):
    """Each chop's outcome, as an index of `CLASSES`, and its probability; both ``(N,)``."""

    classes: npt.NDArray[np.intp]
    probabilities: Floats


class _Ruling(NamedTuple):
    """What a rule decides; `ranking`, ``(N,)``, orders the chops by how well they show it, below 0: not at all."""

    outcome: Outcome
    probability: float
    groups: Groups
    chops: _ChopOutcomes
    ranking: Floats


def pooled_group(groups: Floats, crystal_from: float) -> npt.NDArray[np.intp]:
    """Apply the rule ``pooled``: map group probabilities, ``(..., 4)``, to indices of `SCORED_GROUPS`, ``(...)``."""
    return np.where(groups[..., 0] >= crystal_from, 0, 1 + groups[..., 1:].argmax(axis=-1))


def called_group(outcome: Outcome, groups: Sequence[float], options: Options, *, has_chops: bool) -> Group:
    """Return the group that the rule ``pooled`` calls a well, or would call it if it were not undecided.

    `groups` are the probabilities of `SCORED_GROUPS`; a well without chops is a null experiment.
    """
    if outcome is not Outcome.UNDECIDED:
        return outcome.group
    if not has_chops:
        return Outcome.NULL_EXPERIMENT.group
    return SCORED_GROUPS[int(pooled_group(np.array(groups), options.crystal_from))]


def _combined(pooled: Floats, options: Options, second: Groups | None) -> Floats:
    """Combine the pooled probabilities of the groups, ``(4,)``, with a second opinion, if the options ask for it."""
    if options.combination is None:
        return pooled
    if second is None:
        raise ValueError("the rule combined needs a second opinion")
    return options.combination(pooled, second)


def _four(groups: Floats) -> Groups:
    crystal, precipitate, other, clear = (float(p) for p in groups)
    return crystal, precipitate, other, clear


def _pooled(values: Floats, groups: Floats, crystal_from: float) -> _Ruling:
    """Apply the rule ``pooled``; `groups` are the probabilities of `SCORED_GROUPS`, ``(4,)``."""
    winner = int(pooled_group(groups, crystal_from))
    members = np.array(GROUP_CLASSES[SCORED_GROUPS[winner]])
    inside = values[:, members]
    chops = _ChopOutcomes(members[inside.argmax(axis=1)], inside.sum(axis=1))
    shows_group = chops.probabilities >= chops.probabilities.max() / 2
    outcome = CLASSES[members[inside[shows_group].mean(axis=0).argmax()]]
    ranking = np.where(shows_group, chops.probabilities, -1.0)
    return _Ruling(outcome, float(groups[winner]), _four(groups), chops, ranking)


def _highest_priority(chops: _ChopOutcomes, sums: Floats, threshold: float, groups: Groups) -> _Ruling:
    """Take the highest-priority outcome that reaches the threshold in any chop."""
    counts = chops.probabilities >= threshold
    if not counts.any():
        p_crystal = sums[:, 0]  # a person should look at the likeliest crystal first
        return _Ruling(Outcome.UNDECIDED, float(chops.probabilities.max()), groups, chops, p_crystal)
    winner = int(chops.classes[counts].min())  # the smallest index is the highest priority
    ranking = np.where(counts & (chops.classes == winner), chops.probabilities, -1.0)
    return _Ruling(CLASSES[winner], float(ranking.max()), groups, chops, ranking)


def group_evidence(sums: Floats, needed: Sequence[int]) -> tuple[float, ...]:
    """Return each group's evidence, 0..1: the summed probability (`group_sums`) that `needed` chops reach.

    `p_crystal` is calibrated on the first.
    """
    ranked = np.sort(sums, axis=0)[::-1]
    return tuple(
        float(min(column[min(count, len(column)) - 1], 1.0)) for column, count in zip(ranked.T, needed, strict=True)
    )


def mean_coverage(boxes: Sequence[Box]) -> float:
    """Return the number of chops that cover an average point of their union, ≥ 1."""
    return sum(b.height * b.width for b in boxes) / _area(boxes)


def chops_needed(boxes: Sequence[Box], support: float) -> tuple[int, ...]:
    """Return how many chops must agree on each of `SCORED_GROUPS`, at least 1: a fraction of the mean coverage.

    Chops of 256 pixels at a step of 50 cover most points some twenty times. A crystal shows in many of these chops, a
    network's mistake in one or two. Where chops hardly overlap, one is enough.
    """
    coverage = mean_coverage(boxes)
    return tuple(max(1, round(min(_SUPPORT[group] * support, 1) * coverage)) for group in SCORED_GROUPS)


def _area(boxes: Sequence[Box]) -> int:
    """Count the pixels that are covered by any of the boxes."""
    ends = np.array([(b.row, b.row + b.height, b.col, b.col + b.width) for b in boxes])
    rows, cols = np.unique(ends[:, :2]), np.unique(ends[:, 2:])  # all pixels between two of these are alike
    top, bottom = np.searchsorted(rows, ends[:, 0]), np.searchsorted(rows, ends[:, 1])
    left, right = np.searchsorted(cols, ends[:, 2]), np.searchsorted(cols, ends[:, 3])
    steps = np.zeros((len(rows), len(cols)), np.int64)
    for row, col, sign in ((top, left, 1), (bottom, left, -1), (top, right, -1), (bottom, right, 1)):
        np.add.at(steps, (row, col), sign)
    covered = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return int((np.diff(rows)[:, None] * np.diff(cols)[None, :] * covered).sum())


def priority(outcome: Outcome) -> int:
    """Return the rank of an outcome, 0 for the highest; undecided and failed come after all classes."""
    return PRIORITY.get(outcome, len(CLASSES))


def _chops_by_class(values: Floats) -> _ChopOutcomes:
    """Take each chop's best class."""
    return _ChopOutcomes(values.argmax(axis=1), values.max(axis=1))


def _chops_by_group(values: Floats, sums: Floats, threshold: float, evidence: Sequence[float]) -> _ChopOutcomes:
    """Take each chop's best class within its highest-priority group that reaches the threshold, with the group's sum.

    No chop counts for a group whose evidence doesn't reach the threshold.
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
    return _ChopOutcomes(outcome, sums[np.arange(len(values)), group])


def _best_apart(ranking: Floats, boxes: Sequence[Box], n_boxes: int) -> tuple[int, ...]:
    """Return the indices of the highest-ranked chops (≥ 0) that lie apart from each other, best first."""
    chosen: list[int] = []
    for index in np.argsort(-ranking, kind="stable"):
        if ranking[index] < 0 or len(chosen) == n_boxes:
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
