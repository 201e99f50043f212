"""Format the rows of a table as text for a terminal or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> Iterator[str]:
    """Format a table with columns as wide as needed, line by line.

    Parameters
    ----------
    header
        Headers of the columns.
    rows
        Cells, as many in each row as there are headers.
    right
        Headers of the columns to align right, separated by spaces.
    """
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_right = [name in right.split() for name in header]
    for row in cells:
        words = (
            f"{cell:>{width}}" if to_the_right else f"{cell:<{width}}"
            for cell, width, to_the_right in zip(row, widths, is_right, strict=True)
        )
        yield "  ".join(words).rstrip()


def csv_line(values: Sequence[object]) -> bytes:
    """Format a line of CSV in UTF-8; None becomes an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
