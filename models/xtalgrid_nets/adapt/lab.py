"""Read a lab's scored wells, and divide them into folds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..judge.truth import Truth, lab_wells, real_wells

COLUMN_IN_NAME = r"_(\d{2})_\d{2}_\d{2}_[A-Za-z]"
"""Pattern of the plate's column in the name of a Rigaku imager's file: `_06_04_01_HF` is column 6, row D, subwell 1."""

_WELL = re.compile(r"\s*(?:R-?\d+C0*(\d+)|[A-Za-z]{1,6}0*(\d+))")
"""A well's name (`xtalgrid_core.wells`), with its column."""


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
        Regular expression whose first group is the column in a file's name. With the default one, a table's column
        ``well`` goes before the file's name, where a date may look like a column.

    Raises
    ------
    ConfigError
        If there are fewer than two folds, or a name has no column.
    """
    plates = {truth.plate for truth in truths}
    if by == "plate" or (by == "auto" and len(plates) >= 3):
        names = [truth.plate for truth in truths]
    else:
        columns = [_column(truth, pattern) for truth in truths]
        if "" in columns:
            raise ConfigError(
                f"{truths[columns.index('')].path.name}: no plate column in this name ({pattern!r} does not match); "
                "give a pattern with --column-from, a column well in the table, or use --folds plate"
            )
        names = [f"{truth.plate} column {column}" for truth, column in zip(truths, columns, strict=True)]
    check_folds(names)
    return names


def check_folds(names: Sequence[str], of: str = "") -> None:
    """Refuse wells that are all in one fold; `of` says which wells are meant.

    Raises
    ------
    ConfigError
        If they are.
    """
    if len(set(names)) < 2:
        raise ConfigError(
            f"all wells{of} are in one fold ({names[0]}), so none are left for judging; use --folds column, "
            "or give more plates"
        )


def _column(truth: Truth, pattern: str) -> str:
    """Return the column of a well, by its name in the table, else by its file's name; empty if neither has one.

    A pattern that was given goes before both.
    """
    if pattern == COLUMN_IN_NAME and (named := _WELL.match(truth.well)):
        return f"{int(named[1] or named[2]):02d}"
    match = re.search(pattern, truth.path.name)
    return match[1] if match else ""


def each_content_once(truths: Sequence[Truth], keys: Mapping[Path, Set[object]]) -> tuple[list[Truth], dict[Path, str]]:
    """Return wells without copies of the same image, and the copies with the reason.

    A copy on another plate would be judged by what was fitted to it. If copies are judged differently, all are left
    out, since nothing says which is right. `keys` has what each image is known by (`judge.truth.keys_of`).
    """
    same: dict[object, list[Truth]] = {}
    for truth in truths:
        for key in keys[truth.path]:
            if isinstance(key, str):  # the content
                same.setdefault(key, []).append(truth)
    left_out: dict[Path, str] = {}
    for copies in same.values():
        if len({truth.group for truth in copies}) > 1:
            for truth in copies:
                other = next(each for each in copies if each.group != truth.group)
                left_out[truth.path] = f"the same image as {other.path}, which is scored {other.group}"
        else:
            kept = next((truth for truth in copies if truth.sure), copies[0])
            left_out |= {truth.path: f"the same image as {kept.path}" for truth in copies if truth is not kept}
    return [truth for truth in truths if truth.path not in left_out], left_out
