"""Tables and numbers for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .agreement import Part


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> Iterator[str]:
    """Lines of a table whose columns are as wide as they need; those whose header is a word of `right` are aligned right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_right = [name in right.split() for name in header]
    for row in cells:
        words = (
            f"{cell:>{width}}" if to_the_right else f"{cell:<{width}}"
            for cell, width, to_the_right in zip(row, widths, is_right, strict=True)
        )
        yield "  ".join(words).rstrip()


def part(value: Part) -> str:
    """``90.0% (79.9%–95.3%), 54 of 60``; of none: a dash."""
    if not value.number:
        return "–"
    low, high = value.interval
    return f"{value.hits / value.number:.1%} ({low:.1%}–{high:.1%}), {value.hits} of {value.number}"
