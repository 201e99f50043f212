"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_IN_A_CELL = str.maketrans({"|": r"\|", "\n": " "})


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    r"""Return the lines of a table; a cell's own bars and line breaks, as in names that people gave, stay in it.

    Examples
    --------
    >>> table(["plate"], [["A|1"]])
    ['| plate |', '|---|', '| A\\|1 |']
    """
    return [_line(head), "|---" * len(head) + "|", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.translate(_IN_A_CELL) for cell in cells)} |"
