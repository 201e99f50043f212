"""The field's figures of merit, from plain arrays; every proportion with its counts and Wilson's 95 % interval.

Wells are judged, not chops, unless a docstring says otherwise. ``called`` is the published outcome; `Outcome.UNDECIDED`
and `Outcome.FAILED` are never right.
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
"""Of equal width, 0..1, in reliability plots and for the expected calibration error."""

CUTOFFS = (0.0, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Of an answer's probability, for accuracy against coverage; 0 is what the program does."""

_CRYSTALS = frozenset(outcome for outcome in CLASSES if outcome.group is Group.CRYSTAL)


class Share(msgspec.Struct, frozen=True):
    """A proportion: counts, the rate 0..1, and Wilson's 95 % interval; rate and interval are None for none of none."""

    hits: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


class Success(msgspec.Struct, frozen=True):
    """A row of Table 3 (Thielmann et al. 2023): how many wells of each group were called so, and the weighted mean."""

    groups: dict[str, Share]
    weighted_mean: Share


class TopN(msgspec.Struct, frozen=True):
    """With n classes a well: crystal wells without a crystal class, other wells with one, wells with the true class."""

    n: int
    missed_crystals: Share
    others_called_crystal: Share
    right_class: Share


class Roc(msgspec.Struct, frozen=True):
    """Crystals found against other wells opened, going through wells ranked by `p_crystal`; the area under it."""

    crystals: int
    others: int
    auc: float
    others_opened: list[float]
    found: list[float]
    cutoffs: list[float]

    def found_at(self, others_opened: float) -> Share:
        """Crystals found when at most this part, 0..1, of the other wells is opened: what a cutoff reaches."""
        reached = max(f for o, f in zip(self.others_opened, self.found, strict=True) if o <= others_opened + 1e-12)
        return share(round(reached * self.crystals), self.crystals)

    def opened_for(self, found: float) -> int:
        """How many wells have to be opened until this part of the crystals, 0..1, is found."""
        pairs = zip(self.others_opened, self.found, strict=True)
        return next(round(o * self.others + f * self.crystals) for o, f in pairs if f >= found - 1e-12)


class Plate(msgspec.Struct, frozen=True):
    """A plate as its user meets it; opened is what is called crystal, undecided or failed."""

    name: str
    wells: int
    crystals_called: Share
    crystals_found: Share
    others_opened: Share


class Bin(msgspec.Struct, frozen=True):
    """One bar of a reliability plot: wells with `p_crystal` in low..high, their mean, and how many were crystals."""

    low: float
    high: float
    mean: float
    crystals: Share


class Reliability(msgspec.Struct, frozen=True):
    """How far `p_crystal` can be taken at its word."""

    ece: float
    brier: float
    bins: list[Bin]


class Coverage(msgspec.Struct, frozen=True):
    """If only answers of at least this probability counted: wells answered, of these right, and right of all wells."""

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
    """Return the proportion of what is true."""
    return share(int(np.count_nonzero(hits)), len(hits))


def success(truth: Sequence[Group], called: Sequence[Outcome]) -> Success:
    """Success by group, and the weighted mean, as in Table 3.

    There, each class's success rate is averaged over plates weighted by frequency, and so are the classes' (section
    3.1): the weighted mean is the part of all wells whose group was called. (With one set of frequencies, 34:47:4:16,
    it gives all rows of the published table but AlexNet's on MARCO to 0.2 points.)
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
    """Count: a row for each truth, a column for each call."""
    counts = np.zeros((len(rows), len(columns)), int)
    row, column = {name: i for i, name in enumerate(rows)}, {name: i for i, name in enumerate(columns)}
    for true, call in zip(truth, called, strict=True):
        counts[row[true], column[call]] += 1
    return counts.tolist()


def top_classes(called: Outcome, maxima: Sequence[float]) -> list[Outcome]:
    """Rank a well's classes: the one it was called, then by largest probability over its chops.

    `rim` is left out, being published as clear and seen in every drop; a null experiment has no chops, and no further
    class.
    """
    order = [CLASSES[i] for i in np.argsort(-np.asarray(maxima), kind="stable")] if len(maxima) else []
    ranked = [outcome for outcome in order if outcome not in (called, Outcome.RIM)]
    return [called, *ranked] if called in PRIORITY else ranked


def top_n(
    groups: Sequence[Group], outcomes: Sequence[Outcome | None], ranked: Sequence[Sequence[Outcome]], n: int
) -> TopN:
    """Count missed crystals, where one crystal class among its n most probable makes a well a crystal.

    As Ghafurian et al. (2018) do.

    Parameters
    ----------
    groups, outcomes
        What is in the wells; classes where known.
    ranked
        Each well's classes, the most probable first.
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
    """Receiver operating characteristic of `p_crystal`; None unless there are crystals and others."""
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
    """Area under the ROC curve: how often a positive scores above a negative (ties count half); there must be both."""
    return float(roc_auc_score(positive, score))


def plates(names: Sequence[str], crystal: Bools, called: Sequence[Outcome]) -> list[Plate]:
    """Crystals found against wells opened, plate by plate."""
    is_called = np.array([outcome.group is Group.CRYSTAL for outcome in called], bool)
    opened = is_called | np.array([outcome.group is Group.UNKNOWN for outcome in called], bool)
    name = np.array(names)
    return [
        Plate(
            plate,
            int(here.sum()),
            share_of(is_called[here & crystal]),
            share_of(opened[here & crystal]),
            share_of(opened[here & ~crystal]),
        )
        for plate in sorted(set(names))
        for here in [name == plate]
    ]


def reliability(p: Floats, crystal: Bools, bins: int = BINS) -> Reliability | None:
    """Compute the expected calibration error, over bins of equal width (Naeini et al. 2015), and the Brier score."""
    if not len(p):
        return None
    which = np.minimum((p * bins).astype(int), bins - 1)
    found = [
        Bin(b / bins, (b + 1) / bins, float(p[which == b].mean()), share_of(crystal[which == b]))
        for b in range(bins)
        if (which == b).any()
    ]
    error = sum(abs(b.mean - (b.crystals.rate or 0.0)) * b.crystals.of for b in found) / len(p)
    return Reliability(float(error), float(brier_score_loss(crystal, p, pos_label=True)), found)


def coverage(probability: Floats, right: Bools, answered: Bools, cutoffs: Sequence[float] = CUTOFFS) -> list[Coverage]:
    """Accuracy against coverage: with a higher cutoff fewer wells are answered, and more of them rightly.

    Parameters
    ----------
    probability
        ``(N,)``: of each well's answer.
    right, answered
        ``(N,)``: whether the group was right; whether there was an answer (not undecided, not failed).
    cutoffs
        Of the probability; 0 for what the program does.
    """
    rows = []
    for cutoff in cutoffs:
        kept = answered & (probability >= cutoff)
        rows.append(Coverage(float(cutoff), share_of(kept), share_of(right[kept]), share_of(right & kept)))
    return rows
