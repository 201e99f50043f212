"""Choose the decision rule: what thresholds, supports and log-odds shifts would find, and let users open.

Nothing is scored again: the rules are tried on stored windows of validation wells (`windows`), never on wells that a
model is judged on.

A shift is added to the log-odds of a group's classes, as if to the bias of the classifier's last layer;
``xtalgrid-train export --crystal-shift X`` subtracts X from those of the crystals.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.decision import chops_needed, group_evidence
from xtalgrid_core.files import write_atomically
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import GROUP_CLASSES, SCORED_GROUPS, Group
from xtalgrid_core.pooling import group_sums, without_drop

from .metrics import Share, share_of
from .tables import text
from .windows import WindowSet

CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)
UNDECIDED = len(SCORED_GROUPS)

Floats = npt.NDArray[np.float64]


class Trial(msgspec.Struct, frozen=True):
    """A rule and its results. `opened` wells are called crystal or undecided.

    Shifts are those of crystals, precipitate and other, in nats.
    """

    rule: str
    threshold: float
    support: float
    crystal_shift: float
    precipitate_shift: float
    other_shift: float
    crystals_called: Share
    crystals_found: Share
    others_opened: Share
    undecided: Share
    weighted_mean: Share


def sweep(
    wells: WindowSet,
    thresholds: Sequence[float],
    supports: Sequence[float],
    crystal_shifts: Sequence[float] = (0.0,),
    precipitate_shifts: Sequence[float] = (0.0,),
    other_shifts: Sequence[float] = (0.0,),
) -> Iterator[Trial]:
    """Try every combination with the rule ``group``, and each threshold with the rule ``published`` unchanged."""
    starts = wells.starts
    sums = group_sums(wells.probabilities.astype(np.float64))
    needed = {support: _needed(wells, support) for support in supports}
    for shifts in product(crystal_shifts, precipitate_shifts, other_shifts):
        weighted = sums * np.exp([*shifts, 0.0])
        weighted /= weighted.sum(axis=1, keepdims=True)
        drops = [weighted[a:b] for a, b in zip(starts, wells.ends, strict=True)]
        for support in supports:
            evidence = np.array(
                [
                    group_evidence(drop, counts) if len(drop) else (0.0,) * len(counts)
                    for drop, counts in zip(drops, needed[support], strict=True)
                ]
            )
            for threshold in thresholds:
                called = _or_empty(wells, _first(evidence, threshold))
                yield _trial(wells, "group", called, threshold, support, shifts)
    for threshold, called in zip(thresholds, called_as_published(wells, thresholds), strict=True):
        yield _trial(wells, "published", called, threshold, 0.0)


def called_as_published(wells: WindowSet, thresholds: Sequence[float]) -> list[npt.NDArray[np.int64]]:
    """Return the groups, places in `SCORED_GROUPS` or `UNDECIDED`, by the rule ``published`` at each threshold."""
    certain = np.where(
        wells.probabilities == wells.probabilities.max(axis=1, keepdims=True), wells.probabilities, 0.0
    )  # each window votes for one class only
    classes = _best(certain.astype(np.float64), wells.starts, wells.ends)
    grouped = np.stack([classes[:, list(GROUP_CLASSES[g])].max(axis=1) for g in SCORED_GROUPS], axis=1)
    return [_or_empty(wells, _first(grouped, threshold)) for threshold in thresholds]


def _or_empty(wells: WindowSet, called: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Call wells without windows null experiments."""
    return np.where(wells.has_drop, called, without_drop(1).argmax())


def best(trials: Sequence[Trial], others_opened: float, undecided: float = 1.0, rows: int = 10) -> list[Trial]:
    """Return the rules that find the most crystals within both limits; ties go to the higher weighted mean.

    Parameters
    ----------
    others_opened
        Largest fraction of the other wells opened, 0..1.
    undecided
        Largest fraction of all wells undecided, 0..1.
    rows
        Number of rules to return.
    """
    fit = [t for t in trials if (t.others_opened.rate or 0) <= others_opened and (t.undecided.rate or 0) <= undecided]
    return sorted(
        fit, key=lambda t: (t.crystals_found.hits, t.weighted_mean.hits, -t.others_opened.hits), reverse=True
    )[:rows]


def lines(trials: Sequence[Trial]) -> list[str]:
    """Format a table of rules."""
    head = (
        "rule", "threshold", "support", "shift: crystal", "precipitate", "other", "crystals called", "crystals found",
        "other wells opened", "undecided", "weighted mean",
    )  # fmt: skip
    return table(
        head,
        [
            (
                t.rule,
                f"{t.threshold:g}",
                f"{t.support:g}",
                *(f"{shift:+g}" for shift in (t.crystal_shift, t.precipitate_shift, t.other_shift)),
                *(
                    text(p)
                    for p in (t.crystals_called, t.crystals_found, t.others_opened, t.undecided, t.weighted_mean)
                ),
            )
            for t in trials
        ],
    )


def write(trials: Sequence[Trial], path: Path) -> None:
    """Write all rules as CSV; proportions as rates."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Trial.__struct_fields__)
    for trial in trials:
        values = msgspec.structs.astuple(trial)
        writer.writerow([value.rate if isinstance(value, Share) else value for value in values])
    write_atomically(path, stream.getvalue().encode())


def _needed(wells: WindowSet, support: float) -> list[tuple[int, ...]]:
    return [
        chops_needed([Box(*map(int, box)) for box in boxes], support) if len(boxes) else (1,) * UNDECIDED
        for _, boxes in wells
    ]


def _best(values: Floats, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Floats:
    """Return the largest value of each column over each well's windows, ``(W, columns)``; 0 if a well has none."""
    largest = np.zeros((len(starts), values.shape[1]))
    has_windows = ends > starts
    if has_windows.any():
        largest[has_windows] = np.maximum.reduceat(values, starts[has_windows], axis=0)
    return largest


def _first(evidence: Floats, threshold: float) -> npt.NDArray[np.int64]:
    """Return the first group in priority whose evidence reaches the threshold, else `UNDECIDED`."""
    reached = evidence >= threshold
    return np.where(reached.any(axis=1), reached.argmax(axis=1), UNDECIDED)


def _trial(
    wells: WindowSet,
    rule: str,
    called: npt.NDArray[np.int64],
    threshold: float,
    support: float,
    shifts: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Trial:
    crystal = wells.groups == CRYSTAL
    opened = (called == CRYSTAL) | (called == UNDECIDED)
    return Trial(
        rule,
        threshold,
        support,
        *shifts,
        crystals_called=share_of(called[crystal] == CRYSTAL),
        crystals_found=share_of(opened[crystal]),
        others_opened=share_of(opened[~crystal]),
        undecided=share_of(called == UNDECIDED),
        weighted_mean=share_of(called == wells.groups),
    )
