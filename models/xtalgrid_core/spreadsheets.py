"""CSV that spreadsheets read as text: no cell of it is a formula, and our own programs read back what was written.

A spreadsheet takes text that begins with one of ``= + - @`` for a formula, and may separate cells at semicolons, tabs
or line breaks inside our cells (OWASP, CSV injection). An apostrophe stands before each such beginning.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

_FORMULA = r"""(?=[\s"']*[=+\-@＝＋－＠])"""
_START = rf"""(?:^(?=[\s"']*[\t\r\n])|^{_FORMULA}|(?<=[;\t\r\n]){_FORMULA})"""
_UNMARKED, _MARKED = re.compile(_START), re.compile(_START.replace("(?=", "'(?="))


def csv_line(values: Sequence[object], end: str = "\n") -> bytes:
    r"""Format a line of CSV in UTF-8; None becomes an empty field.

    Examples
    --------
    >>> csv_line(["A1a", "=1+1", -0.5, None, "salt; -20 °C"]).decode()
    "A1a,'=1+1,-0.5,,salt;' -20 °C\n"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(  # so that it quotes both
        [_UNMARKED.sub("'", value) if isinstance(value, str) else value for value in map(_plain, values)]
    )
    return (text.getvalue().removesuffix("\r\n") + end).encode()


def _plain(value: object) -> object:
    """Return numbers and None as they are, and anything else, such as a path or a well, as text."""
    return value if value is None or isinstance(value, int | float) else str(value)


def cell_text(cell: str) -> str:
    """Return the text that `csv_line` wrote as a cell.

    Examples
    --------
    >>> cell_text("'=1+1")
    '=1+1'
    """
    return _MARKED.sub("", cell)
