"""Tables on standard output: plain text for files and programs, wrapped and coloured on a terminal.

Plain text is the same wherever it is written: nothing is cut, wrapped or coloured. On a terminal rich lays it out: text
wraps inside its column, and environment variables such as ``NO_COLOR`` and ``COLUMNS`` are honoured. rich is imported
only there; the worker must not import this module.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from .lines import one_line
from .outcomes import Group, Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_GAP = 2
_LONGEST_WORD = 16
"""Longer words may be broken to fit a table into a terminal."""
_NARROWEST = 12
"""Columns that wrapped text needs to be readable."""

# by name, so that each terminal shows shades that are readable on its background
_COLOURS = {
    Group.CRYSTAL: "bold red",
    Group.PRECIPITATE: "bright_blue",
    Group.OTHER: "yellow",
    Group.CLEAR: "bright_black",
    Group.UNKNOWN: "cyan",
}


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> Iterator[str]:
    """Format a table as plain text with columns as wide as needed, line by line.

    Parameters
    ----------
    header
        Headers of the columns.
    rows
        Cells, as many in each row as there are headers.
    right
        Headers of the columns to align right, separated by spaces.
    """
    cells = [[one_line(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_right = [name in right.split() for name in header]
    for row in cells:
        words = (
            f"{cell:>{width}}" if to_the_right else f"{cell:<{width}}"
            for cell, width, to_the_right in zip(row, widths, is_right, strict=True)
        )
        yield (" " * _GAP).join(words).rstrip()


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> None:
    """Print a table; on a terminal that is too narrow for its columns, each row is printed as a list.

    Parameters
    ----------
    header, rows, right
        As for `table`. Cells that are an `Outcome` or a `Group` are coloured.
    """
    if not sys.stdout.isatty():
        for line in table(header, rows, right):
            click.echo(line)
        return
    terminal, cells = console(), [[_cell(value) for value in row] for row in rows]
    is_right = [name in right.split() for name in header]
    columns = [[name, *(row[number].plain for row in cells)] for number, name in enumerate(header)]
    least = [_least(column, to_the_right) for column, to_the_right in zip(columns, is_right, strict=True)]
    spare = terminal.width - sum(least) - _GAP * (len(least) - 1)
    if spare >= 0:
        terminal.print(_table(header, cells, is_right, _widths(columns, least, spare)))
    else:
        for row in cells:
            for name, cell in zip(header, row, strict=True):
                label = f"{name:<{max(map(len, header))}}" + " " * _GAP
                print_labelled(terminal, label, cell.plain, text_style=str(cell.style))
            terminal.print()


def console() -> Console:
    """Return the terminal that standard output is."""
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)


def _least(column: Sequence[str], is_number: bool) -> int:
    """Return the width below which a column is hard to read: numbers are never broken, long words may be."""
    if is_number:
        return max(map(len, column))
    return min(max((len(word) for text in column for word in text.split()), default=1), _LONGEST_WORD)


def _widths(columns: Sequence[Sequence[str]], least: Sequence[int], spare: int) -> list[int]:
    """Give the characters to spare, one by one, to the column that lacks most.

    rich would choose widths too, but it exceeds the terminal's if columns have a minimum, and then cuts the last ones.
    """
    lacks = [max(map(len, column)) - width for column, width in zip(columns, least, strict=True)]
    for _ in range(min(spare, sum(lacks))):
        lacks[lacks.index(max(lacks))] -= 1
    return [max(map(len, column)) - lack for column, lack in zip(columns, lacks, strict=True)]


def _cell(value: object) -> Text:
    from rich.text import Text

    group = value.group if isinstance(value, Outcome) else value
    return Text(one_line(str(value)), style=_COLOURS[group] if isinstance(group, Group) else "")


def _table(
    header: Sequence[str], rows: Iterable[Sequence[Text]], is_right: Sequence[bool], widths: Sequence[int]
) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for name, to_the_right, width in zip(header, is_right, widths, strict=True):
        made.add_column(Text(name), justify="right" if to_the_right else "left", width=width, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def print_labelled(terminal: Console, label: str, text: str, style: str = "bold", text_style: str = "") -> None:
    """Print text beside its label. Words are never broken, so that paths and checksums can be copied."""
    from rich.text import Text

    width = max(terminal.width - len(label), _NARROWEST)
    lines = textwrap.wrap(
        text, width, break_long_words=False, break_on_hyphens=False, expand_tabs=False, replace_whitespace=False
    )
    indented = ("\n" + " " * len(label)).join(lines)
    terminal.print(Text().append(label, style).append(indented, text_style), soft_wrap=True)
