"""A lab's scored wells: read, seen once, and divided into folds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..judge.truth import Truth, lab_wells, real_wells
from .fit import LabWell, Remembered, Settings, fit
from .windows import Eye, Head

COLUMN_IN_NAME = r"_(\d{2})_\d{2}_\d{2}_[A-Za-z]"
"""The plate's column in the name of a Rigaku imager's file, as `_06_04_01_HF`: column 6, row D, subwell 1."""

UNSURE = 0.5
"""How much a well counts in fitting whose judgement is marked ``low``; judged is by the sure ones alone."""


def read_wells(place: Path, only: Sequence[str] = ()) -> list[Truth]:
    """The scored wells of a table of the lab's own, or of a folder of sets with one ``labels.csv`` (see `judge.truth`).

    Parameters
    ----------
    only
        Names of sources to take; empty: all.

    Raises
    ------
    ConfigError
        When there are none, or a source is not there.
    """
    found = real_wells(place) if place.is_dir() else lab_wells(place)
    there = sorted({truth.source for truth in found})
    strangers = [name for name in only if name not in there]
    if strangers:
        raise ConfigError(f"{place}: no source {strangers[0]!r}; there are: {', '.join(there)}")
    found = [truth for truth in found if truth.group in SCORED_GROUPS and (not only or truth.source in only)]
    if not found:
        raise ConfigError(f"{place}: no well with a score that says its group")
    return found


def fold_names(truths: Sequence[Truth], by: str, pattern: str = COLUMN_IN_NAME) -> list[str]:
    """The fold of each well: its plate, or the column of its plate.

    Parameters
    ----------
    by
        ``plate``, ``column``, or ``auto``: plates where there are at least three of them.
    pattern
        Regular expression whose first group is the column in a file's name.

    Raises
    ------
    ConfigError
        When there are fewer than two folds, or a name has no column.
    """
    plates = {truth.plate for truth in truths}
    if by == "plate" or (by == "auto" and len(plates) >= 3):
        names = [truth.plate for truth in truths]
    else:
        matches = [re.search(pattern, truth.path.name) for truth in truths]
        lost = [truth.path.name for truth, match in zip(truths, matches, strict=True) if match is None]
        if lost:
            raise ConfigError(
                f"{lost[0]}: no column in this name by {pattern!r}; say where it stands with --column-from, "
                "or use --folds plate"
            )
        names = [f"{truth.plate} column {match[1]}" for truth, match in zip(truths, matches, strict=True) if match]
    if len(set(names)) < 2:
        raise ConfigError(
            f"all wells are of one fold ({names[0]}), and nothing is left to judge by; use --folds column, "
            "or give more plates"
        )
    return names


def see_wells(
    truths: Sequence[Truth], eye: Eye, advance: Callable[[], object]
) -> tuple[list[Truth], list[LabWell], dict[Path, str]]:
    """Run every well through the features; those that can't be read come back with the reason."""
    seen: list[Truth] = []
    wells: list[LabWell] = []
    failed: dict[Path, str] = {}
    for truth in truths:
        try:
            windows = eye.well(truth.path)
        except (ImageError, OSError) as error:
            failed[truth.path] = str(error)
        else:
            assert truth.group is not None
            seen.append(truth)
            wells.append(LabWell(windows, truth.group, 1.0 if truth.sure else UNSURE))
        advance()
    return seen, wells, failed


def out_of_fold(
    start: Head,
    wells: Sequence[LabWell],
    folds: Sequence[str],
    remembered: Remembered,
    settings: Settings,
    advance: Callable[[], object],
) -> list[Head]:
    """For each well the last layer that was fitted without the well's fold."""
    heads = {}
    for name in sorted(Counter(folds)):
        others = [well for well, fold in zip(wells, folds, strict=True) if fold != name]
        heads[name] = fit(start, others, remembered, settings)
        advance()
    return [heads[name] for name in folds]
