"""The one reader of CSV tables that people and their programs write: lists of wells, labels, marks."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xtalgrid_core.spreadsheets import cell_text, dict_reader, open_text, shifted

from .format import SetError


class Line(NamedTuple):
    """A line that is not empty: its number in the file, its cells by `heading`, and what is wrong with it, if so."""

    number: int
    cells: dict[str, str]
    wrong: str


class Table(NamedTuple):
    """The columns' names as `heading` has them, and the lines."""

    columns: tuple[str, ...]
    lines: list[Line]


def heading(name: str) -> str:
    """Return a column's name without capitals and blanks around it: no column may count as missing for these.

    Examples
    --------
    >>> heading(" Plate")
    'plate'
    """
    return name.strip().casefold()


def read_table(path: Path) -> Table:
    """Read a table; blanks around cells don't count, nor what `csv_line` put before formulas.

    Raises
    ------
    SetError
        If it can't be read, or two columns have one name.
    """
    try:
        with open_text(path) as stream:
            reader = dict_reader(stream)
            columns = [heading(name) for name in reader.fieldnames or () if name.strip()]
            lines = [
                Line(
                    reader.line_num,
                    {heading(name): cell_text(cell or "").strip() for name, cell in row.items() if name},
                    shifted(row),
                )
                for row in reader
            ]
    except UnicodeError as error:
        raise SetError(f"{path}: not UTF-8 ({error}); save it as CSV UTF-8") from error
    except OSError as error:
        raise SetError(f"cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise SetError(f"cannot read {path}: {error}; save it as CSV UTF-8") from error
    if doubled := [name for name, often in Counter(columns).items() if often > 1]:
        raise SetError(f"{path}: two columns are called {doubled[0]}; rename or remove one")
    return Table(tuple(columns), [line for line in lines if line.wrong or any(line.cells.values())])


def read_lines(path: Path, needed: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """Return the lines of a table with their numbers, each with all the columns of the header.

    Raises
    ------
    SetError
        As `read_table`, or if it lacks a column, or a line has values beyond the header.
    """
    table = read_table(path)
    if missing := [name for name in needed if name not in table.columns]:
        raise SetError(f"{path}: no column {', '.join(missing)}; it has {', '.join(table.columns) or 'none'}")
    for line in table.lines:
        if line.wrong:
            raise SetError(f"{path}, line {line.number}: {line.wrong}")
    return [(line.number, line.cells) for line in table.lines]
