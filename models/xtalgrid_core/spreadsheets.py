"""CSV that spreadsheets read as text: no cell of it is a formula, and our own programs read back what was written.

A spreadsheet takes text that begins with one of ``= + - @`` for a formula, and may separate cells at semicolons, tabs
or line breaks inside our cells (OWASP, CSV injection). An apostrophe stands before each such beginning.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO, cast

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


def too_many(cells: Sequence[object], width: int) -> str:
    """Say what is wrong with a row that has values beyond its header, by which others may be shifted; else nothing.

    Examples
    --------
    >>> too_many(["A1", "salt", " 20 % PEG"], 2)
    '3 cells, but the header has 2: a decimal comma, or a comma in a text?'
    """
    if len(cells) > width and any(cells[width:]):
        return f"{len(cells)} cells, but the header has {width}: a decimal comma, or a comma in a text?"
    return ""


def shifted(row: Mapping[str, object]) -> str:
    """Return what `too_many` says of a row that `csv.DictReader` read."""
    beyond = cast("Mapping[str | None, Sequence[object]]", row).get(None, ())
    width = len(row) - 1
    return too_many([*[""] * width, *beyond], width) if beyond else ""


def text_encoding(head: bytes) -> str:
    r"""Return the encoding of a text by its first four bytes: UTF-8, or UTF-16 as Windows programs write it.

    Some write no byte order mark; then the first two characters, which are letters in a table's header, tell it.

    Examples
    --------
    >>> [text_encoding(head) for head in (b"well", b"w\0e\0", b"\0w\0e", b"\xff\xfew\0")]
    ['utf-8-sig', 'utf-16-le', 'utf-16-be', 'utf-16']
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [byte == 0 for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8-sig"


def dict_reader(stream: TextIO) -> csv.DictReader[str]:
    r"""Read a table with a header, by whose line it has commas, or the semicolons or tabs of some spreadsheets.

    Examples
    --------
    >>> list(dict_reader(io.StringIO("plate;image;label\nP1;a,b.jpg;clear")))
    [{'plate': 'P1', 'image': 'a,b.jpg', 'label': 'clear'}]
    """
    head = "".join(stream.read(4096).splitlines()[:1])
    stream.seek(0)
    return csv.DictReader(stream, delimiter=max((",", ";", "\t"), key=head.count))


def open_text(file: Path) -> TextIO:
    """Open a text as `text_encoding` says, with its line breaks as they are.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with file.open("rb") as stream:
        encoding = text_encoding(stream.read(4))
    return cast(TextIO, file.open(encoding=encoding, newline=""))
