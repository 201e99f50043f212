"""The field's figures of merit, from plain arrays; every proportion has its counts and Wilson's 95 % interval.

The unit is the well, not the chop, unless a docstring says otherwise. ``called`` is the published outcome;
`Outcome.UNDECIDED` and `Outcome.FAILED` are never right.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

from xtalgrid_core.outcomes import CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome
from xtalgrid_core.wilson import wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 10
"""Number of bins of equal width, 0..1, in reliability plots and in the expected calibration error."""

CUTOFFS = (0.0, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Cutoffs on an answer's probability, for accuracy against coverage; 0 accepts every answer, as the program does."""

_CRYSTALS = frozenset(outcome for outcome in CLASSES if outcome.group is Group.CRYSTAL)


class Share(msgspec.Struct, frozen=True):
    """A proportion: counts, rate 0..1, and Wilson's 95 % interval; rate and interval are None for 0 of 0."""

    hits: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


class Success(msgspec.Struct, frozen=True):
    """A row of the paper's Table 3 (Thielmann et al. 2023): wells of each group called so, and the weighted mean."""

    groups: dict[str, Share]
    weighted_mean: Share


class TopN(msgspec.Struct, frozen=True):
    """Missed crystals, false crystals and correct wells if the n most probable classes of a well count.

    These are the crystal wells with no crystal class among the n, the other wells with one, and the wells with their
    true class.
    """

    n: int
    missed_crystals: Share
    others_called_crystal: Share
    right_class: Share


class Roc(msgspec.Struct, frozen=True):
    """Crystals found against other wells opened, in order of `p_crystal`, and the area under the curve."""

    crystals: int
    others: int
    auc: float
    others_opened: list[float]
    found: list[float]
    cutoffs: list[float]

    def found_at(self, others_opened: float) -> Share:
        """Return the crystals found with at most this fraction of the other wells opened, 0..1.

        There is no interpolation: the result is what a cutoff reaches.
        """
        reached = max(f for o, f in zip(self.others_opened, self.found, strict=True) if o <= others_opened + 1e-12)
        return share(round(reached * self.crystals), self.crystals)

    def opened_for(self, found: float) -> int:
        """Return the number of wells to open until this fraction of the crystals, 0..1, is found."""
        pairs = zip(self.others_opened, self.found, strict=True)
        return next(round(o * self.others + f * self.crystals) for o, f in pairs if f >= found - 1e-12)


class Plate(msgspec.Struct, frozen=True):
    """A plate as its user sees it; a well is opened if it is called crystal, undecided or failed."""

    name: str
    wells: int
    crystals_called: Share
    crystals_found: Share
    others_opened: Share


class Bin(msgspec.Struct, frozen=True):
    """One bar of a reliability plot: wells with `p_crystal` in low..high, their mean, and the number of crystals."""

    low: float
    high: float
    mean: float
    crystals: Share


class Reliability(msgspec.Struct, frozen=True):
    """How reliable `p_crystal` is as a probability."""

    ece: float
    brier: float
    bins: list[Bin]


class Coverage(msgspec.Struct, frozen=True):
    """Wells answered with at least this probability, those of them that are right, and right as a fraction of all."""

    cutoff: float
    answered: Share
    right_of_answered: Share
    right_of_all: Share


def share(hits: int, of: int) -> Share:
    """Return a proportion with Wilson's 95 % interval."""
    if not of:
        return Share(0, 0, None, None, None)
    return Share(int(hits), int(of), hits / of, *wilson(hits, of))


def share_of(hits: Sequence[bool] | Bools) -> Share:
    """Return the proportion of True values."""
    return share(int(np.count_nonzero(hits)), len(hits))


def success(truth: Sequence[Group], called: Sequence[Outcome]) -> Success:
    """Compute the success by group, and the weighted mean, as in Table 3.

    In the paper, each class's success rate is averaged over plates weighted by frequency, and the classes are
    averaged in the same way (section 3.1), so the weighted mean is the fraction of all wells whose group was called.
    (With one set of frequencies, 34:47:4:16, this reproduces all rows of the published table to 0.2 points, except
    AlexNet's on MARCO.)
    """
    right = [outcome.group is group for group, outcome in zip(truth, called, strict=True)]
    groups = {
        group.value: share_of([hit for hit, true in zip(right, truth, strict=True) if true is group])
        for group in SCORED_GROUPS
    }
    return Success(groups, share_of(right))


def confusion(
    truth: Sequence[Hashable], called: Sequence[Hashable], rows: Sequence[Hashable], columns: Sequence[Hashable]
) -> list[list[int]]:
    """Count calls by truth: one row for each truth, one column for each call."""
    counts = np.zeros((len(rows), len(columns)), int)
    row, column = {name: i for i, name in enumerate(rows)}, {name: i for i, name in enumerate(columns)}
    for true, call in zip(truth, called, strict=True):
        counts[row[true], column[call]] += 1
    return counts.tolist()


def top_classes(called: Outcome, maxima: Sequence[float]) -> list[Outcome]:
    """Rank a well's classes: the one it was called first, then by largest probability over its chops.

    `rim` is left out because it is published as clear and occurs in every drop. A null experiment has no chops, and
    so no further class.
    """
    order = [CLASSES[i] for i in np.argsort(-np.asarray(maxima), kind="stable")] if len(maxima) else []
    ranked = [outcome for outcome in order if outcome not in (called, Outcome.RIM)]
    return [called, *ranked] if called in PRIORITY else ranked


def top_n(
    groups: Sequence[Group], outcomes: Sequence[Outcome | None], ranked: Sequence[Sequence[Outcome]], n: int
) -> TopN:
    """Count missed crystals if one crystal class among a well's n most probable is enough (Ghafurian et al. 2018).

    Parameters
    ----------
    groups, outcomes
        Truth for each well; the class is None if only the group is known.
    ranked
        Classes of each well, the most probable first.
    """
    first = [set(classes[:n]) for classes in ranked]
    shows = [bool(classes & _CRYSTALS) for classes in first]
    crystal = [group is Group.CRYSTAL for group in groups]
    return TopN(
        n,
        share_of([not s for s, c in zip(shows, crystal, strict=True) if c]),
        share_of([s for s, c in zip(shows, crystal, strict=True) if not c]),
        share_of([o in classes for o, classes in zip(outcomes, first, strict=True) if o is not None]),
    )


def roc(p: Floats, crystal: Bools) -> Roc | None:
    """Compute the receiver operating characteristic of `p_crystal`; None unless there are crystals and others."""
    if not crystal.any() or crystal.all():
        return None
    others_opened, found, cutoffs = roc_curve(crystal, p)
    return Roc(
        crystals=int(crystal.sum()),
        others=int((~crystal).sum()),
        auc=auc(p, crystal),
        others_opened=others_opened.tolist(),
        found=found.tolist(),
        cutoffs=np.minimum(cutoffs, 1.0).tolist(),  # the first is infinity: nothing opened
    )


def auc(score: npt.NDArray[np.floating], positive: Bools) -> float:
    """Compute the area under the ROC curve; there must be positives and negatives.

    It is the probability that a positive scores above a negative (ties count half).
    """
    return float(roc_auc_score(positive, score))


def plates(names: Sequence[str], crystal: Bools, called: Sequence[Outcome]) -> list[Plate]:
    """Count crystals found and wells opened, plate by plate."""
    is_called = np.array([outcome.group is Group.CRYSTAL for outcome in called], bool)
    opened = is_called | np.array([outcome.group is Group.UNKNOWN for outcome in called], bool)
    name = np.array(names)
    return [
        Plate(
            plate,
            int(members.sum()),
            share_of(is_called[members & crystal]),
            share_of(opened[members & crystal]),
            share_of(opened[members & ~crystal]),
        )
        for plate in sorted(set(names))
        for members in [name == plate]
    ]


def reliability(p: Floats, crystal: Bools, bins: int = BINS) -> Reliability | None:
    """Compute the Brier score and the expected calibration error of bins of equal width (Naeini et al. 2015).

    The error is weighted by the wells in each bin.
    """
    if not len(p):
        return None
    which = np.minimum((p * bins).astype(int), bins - 1)
    filled = [
        Bin(b / bins, (b + 1) / bins, float(p[which == b].mean()), share_of(crystal[which == b]))
        for b in range(bins)
        if (which == b).any()
    ]
    error = sum(abs(b.mean - (b.crystals.rate or 0.0)) * b.crystals.of for b in filled) / len(p)
    return Reliability(float(error), float(brier_score_loss(crystal, p, pos_label=True)), filled)


def coverage(probability: Floats, right: Bools, answered: Bools, cutoffs: Sequence[float] = CUTOFFS) -> list[Coverage]:
    """Compute accuracy against coverage.

    With a higher cutoff fewer wells are answered, and more of the answers should be right.

    Parameters
    ----------
    probability
        ``(N,)``: probability of each well's answer.
    right, answered
        ``(N,)``: whether the group is right; whether there is an answer (neither undecided nor failed).
    cutoffs
        Cutoffs on the probability; 0 accepts every answer, as the program does.
    """
    rows = []
    for cutoff in cutoffs:
        counted = answered & (probability >= cutoff)
        rows.append(Coverage(float(cutoff), share_of(counted), share_of(right[counted]), share_of(right & counted)))
    return rows
