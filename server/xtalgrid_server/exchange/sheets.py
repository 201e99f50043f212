"""CSV and Excel tables as rows of text, one at a time, in bounded memory, whatever the file holds.

What a file is, its first bytes say. Cells are text; only what Excel holds as a date comes as one.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any, TextIO
from xml.parsers import expat

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import cell_text, open_text

Cell = str | datetime

LARGEST = 1024**3
"""Bytes of a file at most."""

_LONGEST_LINE = 1024 * 1024
_MOST_CELLS = 1000
_LARGEST_PART, _LARGEST_STRINGS = 1024**3, 64 * 1024**2
"""Bytes of an unpacked part of an Excel file at most: of a sheet, and of the texts, which are kept in memory."""
_MOST_PARTS = 1000
_MOST_ROWS = 1_048_576
_MOST_FORMULAS = 100_000
"""Formulas without values that are kept in memory."""
_EXACT = 1e15
"""Whole numbers below have all their digits in Excel."""
_LITERAL = re.compile(r'"[^"]*"|\\.|_.')
"""What stands for itself in the format of a number, or for a blank."""
_OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")
_OTHER_TABLES = {
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "content.xml": "an OpenDocument table, as LibreOffice writes it",
    "Index/Document.iwa": "a table of Numbers",
}
"""Programs' tables that are zip files too, by a part that each has."""
_SEPARATORS = ";\t,"


class NoValue(str):
    """In place of the value of a formula that has none: what a person should know; see `with_value`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its number in the file: of a CSV file, the number of its last line.

    `is_hidden` means that Excel does not show it: somebody hid it, or a filter does. `hidden_columns` are the indices
    of the sheet's columns that it does not show.
    """

    number: int
    cells: tuple[Cell, ...]
    is_hidden: bool = False
    hidden_columns: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table in a file; `name` is empty in a CSV file. `separator` is the CSV's, `hidden_beside` the hidden sheets."""

    file: Path
    name: str = ""
    separator: str = ""
    hidden_beside: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Read the rows that are not empty.

        Raises
        ------
        ConfigError
            If the rest of the file cannot be read; the message says what to do.
        """
        rows = _excel_rows(self.file, self.name) if self.name else _csv_rows(self.file, self.separator)
        for number, cells, is_hidden, hidden_columns in rows:
            if len(cells) > _MOST_CELLS:
                raise ConfigError(
                    f"{self.file}: row {number} has more than {_MOST_CELLS} cells; this is no table of scores"
                )
            if any(cells):
                yield Row(number, tuple(cells), is_hidden, hidden_columns)


def several_sheets(file: Path, known: Iterable[Sheet]) -> ConfigError:
    """Return the error that several sheets have scores."""
    return ConfigError(
        f"{file}: several sheets have scores ({', '.join(sheet.name for sheet in known)}); choose one with --sheet"
    )


def hidden_note(rows: int) -> str:
    """Say how many of the rows that were read are hidden."""
    hidden = f"{rows} row{' is' if rows == 1 else 's are'} hidden in Excel, by a filter or by hand"
    return f"{hidden}, and read like the others; delete in the file what was meant to be left out"


def hidden_columns_note(names: Sequence[str]) -> str:
    """Name the columns that were read though they are hidden."""
    hidden = (
        f"the column{' ' if len(names) == 1 else 's '}{', '.join(names)} {'is' if len(names) == 1 else 'are'} hidden"
    )
    return f"{hidden} in Excel, and read like the others; delete in the file what was meant to be left out"


def hidden_sheets_note(names: Sequence[str]) -> str:
    """Name the sheets that are hidden, which are not read."""
    hidden = f"the sheet {names[0]} is" if len(names) == 1 else f"the sheets {', '.join(names)} are"
    return f"{hidden} hidden in Excel, and not read; unhide what was meant to be read"


def sheets(file: Path) -> list[Sheet]:
    """Return the tables in a file: that of a CSV file, or the visible sheets of an Excel workbook.

    Raises
    ------
    ConfigError
        If it is neither, or dangerous to read.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigError(f"{file}: more than {LARGEST // 1024**2} MB; divide it into several files")
        with file.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    if head.startswith(b"PK"):
        shown, hidden = _excel_sheets(file)
        if not shown:
            raise ConfigError(f"{file}: no sheet to read; {hidden_sheets_note(hidden) if hidden else 'it has none'}")
        return [Sheet(file, name, hidden_beside=tuple(hidden)) for name in shown]
    if head == _OLD_EXCEL:
        raise ConfigError(
            f"{file}: an old or encrypted Excel file; save it as .xlsx without a password, or as CSV UTF-8"
        )
    return [Sheet(file, separator=_separator(file))]


# ---- CSV -----------------------------------------------------------------------------------------------------------


_Cells = tuple[int, list[Cell], bool, frozenset[int]]
"""What a `Row` is made of."""


def _csv_rows(file: Path, separator: str) -> Iterator[_Cells]:
    with open_text(file) as stream:
        reader = csv.reader(_lines(file, stream), delimiter=separator, strict=True)
        try:
            for cells in reader:
                yield reader.line_num, [cell_text(cell).strip() for cell in cells], False, frozenset()
        except csv.Error as error:
            raise ConfigError(
                f"{file}: line {reader.line_num}: not CSV ({error}); save it again as CSV UTF-8"
            ) from error
        except UnicodeError as error:
            raise ConfigError(
                f"{file}: after line {reader.line_num}: not {stream.encoding} text; save it as CSV UTF-8"
            ) from error


def _lines(file: Path, stream: TextIO) -> Iterator[str]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if "\0" in line or len(line) == _LONGEST_LINE:
            what = "has a NUL character" if "\0" in line else "is too long"
            raise ConfigError(f"{file}: line {number} {what}; this is no table. Save it as CSV UTF-8 or .xlsx")
        yield line


def _separator(file: Path) -> str:
    try:
        with open_text(file) as stream:
            head = [line for line, _ in zip(_lines(file, stream), range(20), strict=False)]
    except UnicodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text; save it as CSV UTF-8 or .xlsx") from error

    def most_regular(separator: str) -> tuple[int, int]:
        counts = Counter(re.sub('"[^"]*"', "", line).count(separator) for line in head)
        return max(((lines, number) for number, lines in counts.items() if number), default=(0, 0))

    return max(_SEPARATORS, key=most_regular)  # not the most frequent: numbers may have decimal commas


# ---- Excel ---------------------------------------------------------------------------------------------------------


def _excel_sheets(file: Path) -> tuple[list[str], list[str]]:
    """Return the names of the sheets that Excel shows, and of those that it hides."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            names = set(archive.namelist())
            if "xl/workbook.xml" not in names:
                other = next((program for part, program in _OTHER_TABLES.items() if part in names), "")
                if other:
                    raise ConfigError(f"{file}: {other}; save it as .xlsx, or as CSV UTF-8")
                raise ConfigError(f"{file}: a zip file, but no Excel workbook; unpack it, and give a table")
            if len(parts) > _MOST_PARTS or any(part.file_size > _largest(part.filename) for part in parts):
                raise ConfigError(f"{file}: an Excel file that unpacks to too much; save the table alone as CSV UTF-8")
            for part in parts:
                if part.filename.lower().endswith((".xml", ".rels", ".vml")):
                    with archive.open(part) as stream:
                        refuse_declarations(file, stream)
        with _workbook(file) as book:
            by_state: tuple[list[str], list[str]] = [], []
            for sheet in book.worksheets:
                by_state[sheet.sheet_state != "visible"].append(sheet.title)
            return by_state
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _damaged(file, error) from error


def _largest(part: str) -> int:
    return _LARGEST_PART if part.startswith("xl/worksheets/") else _LARGEST_STRINGS


@contextmanager
def _workbook(file: Path) -> Iterator[Any]:
    import openpyxl  # takes a third of a second

    with file.open("rb") as stream:  # a stream, since openpyxl goes by a path's suffix
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        except Exception as error:  # of a damaged workbook it raises whatever its lines come upon
            raise _damaged(file, error) from error
        with closing(book):
            yield book


def _damaged(file: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{file}: a damaged Excel file ({error}); open it in Excel and save it again, or as CSV UTF-8")


def refuse_declarations(file: Path, stream: IO[bytes]) -> None:
    """Refuse XML with a document type, the place of entities: no spreadsheet program writes one."""
    parser = expat.ParserCreate()
    over = False

    def refuse(*_: object) -> None:
        raise ConfigError(f"{file}: its XML declares a document type, as no spreadsheet does; save it again from Excel")

    def end(*_: object) -> None:
        nonlocal over
        over = True

    parser.StartDoctypeDeclHandler, parser.StartElementHandler = refuse, end
    try:
        while not over and (block := stream.read(1 << 16)):
            parser.Parse(block)
    except expat.ExpatError as error:
        raise _damaged(file, error) from error


def _excel_rows(file: Path, name: str) -> Iterator[_Cells]:
    with _workbook(file) as book:
        sheet = book[name]
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        scan = _Scan(file, sheet._worksheet_path)
        merged, without_value, hidden_columns = scan.merged, scan.without_value, frozenset(scan.hidden_columns)
        rows = enumerate(sheet.iter_rows(), start=1)
        header_seen = False
        while True:
            try:
                number, values = next(rows)
            except StopIteration:
                return
            except Exception as error:
                raise _damaged(file, error) from error
            if number > _MOST_ROWS:
                raise ConfigError(f"{file}: more than {_MOST_ROWS} rows; divide it into several files")
            cells = [_cell(each) for each in values]
            if without_value:
                why = NoValue(
                    f"{file}, sheet {name}, row {number}: a formula without its value, as programs other than Excel "
                    "write them; open the file in Excel or LibreOffice, save it, and import it again"
                )
                cells = [why if (number, at) in without_value else cell for at, cell in enumerate(cells, start=1)]
            if header_seen and number in merged:
                raise ConfigError(
                    f"{file}, sheet {name}: the cells {merged[number]} are merged, so that only the first has the "
                    "value; unmerge them in Excel and fill in all of them"
                )
            header_seen = header_seen or sum(map(bool, cells)) > 1
            yield number, cells, number in scan.hidden, hidden_columns


class _Scan:
    """What openpyxl's fast reading does not tell of a sheet.

    Attributes
    ----------
    merged
        Merged ranges by their second row, the first that lacks a value; those of one row by that.
    without_value
        Rows and columns of formulas without their values.
    hidden
        Rows that Excel does not show.
    hidden_columns
        Indices of the columns that it does not show.
    """

    def __init__(self, file: Path, part: str) -> None:
        self.merged: dict[int, str] = {}
        self.without_value: set[tuple[int, int]] = set()
        self.hidden: set[int] = set()
        self.hidden_columns: set[int] = set()
        self._row, self._cells, self._cell, self._inside = 0, 0, dict[str, str](), ""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        try:
            with zipfile.ZipFile(file) as archive, archive.open(part.removeprefix("/")) as stream:
                while block := stream.read(1 << 20):
                    self._parser.Parse(block)
        except (expat.ExpatError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise _damaged(file, error) from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = self._inside = tag.rpartition(":")[2]
        if name == "row":
            self._row, self._cells = int(attributes.get("r", self._row + 1)), 0
            if attributes.get("hidden") in ("1", "true") and len(self.hidden) < _MOST_ROWS:
                self.hidden.add(self._row)
        elif name == "c":
            self._cells, self._cell = self._cells + 1, attributes
            self._parser.CharacterDataHandler = None
        elif name == "f" and len(self.without_value) < _MOST_FORMULAS:
            self.without_value.add(self._place())
            self._parser.CharacterDataHandler = self._text
        elif name == "v" and self.without_value and self._cell.get("t") == "str":  # it may be an empty text
            self.without_value.discard(self._place())
        elif name == "col" and attributes.get("hidden") in ("1", "true"):
            first, last = int(attributes.get("min", 0)), int(attributes.get("max", 0))  # of thousands, all but a few
            self.hidden_columns.update(range(max(first, 1) - 1, min(last, _MOST_CELLS)))
        elif name == "mergeCell" and len(self.merged) < _MOST_ROWS:
            self._merge(attributes.get("ref", ""))

    def _place(self) -> tuple[int, int]:
        from openpyxl.utils import column_index_from_string

        letters = self._cell.get("r", "").rstrip("0123456789")
        return self._row, column_index_from_string(letters) if letters else self._cells

    def _text(self, text: str) -> None:
        if self._inside == "v" and text.strip():
            self.without_value.discard(self._place())

    def _merge(self, cells: str) -> None:
        first, last = (cell.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZ$") for cell in (cells + ":").split(":")[:2])
        if first.isdecimal() and last.isdecimal():
            self.merged[int(first) + (last != first)] = cells


def _cell(read: Any) -> Cell:
    """Return a cell as text: numbers as Excel shows them all, ``20 %`` if its format says so; dates as they are.

    Excel makes the number 0.2 of a typed 20 %, and has 15 digits: 0.1 + 0.2 is 0.3 there.
    """
    value = read.value
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "%" in _LITERAL.sub("", read.number_format):
            return f"{value * 100:.15g} %"
        if isinstance(value, float) and abs(value) < _EXACT:
            return f"{value:.15g}"
    return str(value).strip()


def with_value(cell: Cell) -> Cell:
    """Return a cell.

    Raises
    ------
    ConfigError
        If it is a formula without its value.
    """
    if isinstance(cell, NoValue):
        raise ConfigError(cell)
    return cell


def texts(cells: Iterable[Cell]) -> list[str]:
    """Return cells as text; dates in ISO 8601."""
    return [cell.isoformat(sep=" ") if isinstance(cell, datetime) else cell for cell in cells]
