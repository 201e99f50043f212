"""Read a lab's scored wells, and divide them into folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..judge.truth import Truth, lab_wells, real_wells

COLUMN_IN_NAME = r"_(\d{2})_\d{2}_\d{2}_[A-Za-z]"
"""Pattern of the plate's column in the name of a Rigaku imager's file: `_06_04_01_HF` is column 6, row D, subwell 1."""


def read_wells(place: Path, only: Sequence[str] = ()) -> list[Truth]:
    """Read the scored wells of a lab's own table, or of a folder of sets with one ``labels.csv`` (see `judge.truth`).

    Parameters
    ----------
    only
        Names of sources to use; empty for all.

    Raises
    ------
    ConfigError
        If there are no wells, or a source is missing.
    """
    truths = real_wells(place) if place.is_dir() else lab_wells(place)
    sources = sorted({truth.source for truth in truths})
    unknown = [name for name in only if name not in sources]
    if unknown:
        raise ConfigError(f"{place}: no source {unknown[0]!r}; choose from: {', '.join(sources)}")
    truths = [truth for truth in truths if truth.group in SCORED_GROUPS and (not only or truth.source in only)]
    if not truths:
        raise ConfigError(f"{place}: no well has a score that gives its group")
    return truths


def fold_names(truths: Sequence[Truth], by: str, pattern: str = COLUMN_IN_NAME) -> list[str]:
    """Return the fold of each well: its plate, or its column on the plate.

    Parameters
    ----------
    by
        ``plate``, ``column``, or ``auto``: plates if there are at least three.
    pattern
        Regular expression whose first group is the column in a file's name.

    Raises
    ------
    ConfigError
        If there are fewer than two folds, or a name has no column.
    """
    plates = {truth.plate for truth in truths}
    if by == "plate" or (by == "auto" and len(plates) >= 3):
        names = [truth.plate for truth in truths]
    else:
        matches = [re.search(pattern, truth.path.name) for truth in truths]
        unmatched = [truth.path.name for truth, match in zip(truths, matches, strict=True) if match is None]
        if unmatched:
            raise ConfigError(
                f"{unmatched[0]}: no plate column in this name ({pattern!r} does not match); "
                "give a pattern with --column-from, or use --folds plate"
            )
        names = [f"{truth.plate} column {match[1]}" for truth, match in zip(truths, matches, strict=True) if match]
    if len(set(names)) < 2:
        raise ConfigError(
            f"all wells are in one fold ({names[0]}), so none are left for judging; use --folds column, "
            "or give more plates"
        )
    return names
