"""Tables of scores, CSV or Excel: a lab's own, MARCO's, Polo's CSV, and our own exports.

The first of the first rows in which a place and a score are recognised is the header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.lines import toml_text
from xtalgrid_core.spreadsheets import too_many

from ..config import Config
from ..domain.wells import Well, parse_well
from ..domain.words import SCORE_COLUMNS, plain
from ..ledger.imported_scores import Kind
from . import polo
from .foreign import ForeignScore, Line, Place, Source, Told, moment, utc
from .sheets import (
    Cell,
    NoValue,
    Row,
    Sheet,
    hidden_columns_note,
    hidden_sheets_note,
    several_sheets,
    sheets,
    with_value,
)

_HEADER_IN = 20
"""Rows in which the header may be."""
_SHOWN = 30
_FOUR = ("crystal", "precipitate", "other", "clear")
_SUM = 0.02
"""How far from 1 the sum of four rounded probabilities may be."""
_LARGEST_INSPECTION = 10**9
_NAMES = {"crystal": "Crystals", "precipitate": "Precipitate", "other": "Other", "clear": "Clear"}
_SPECTRUM = "spectrum"
"""Polo's column for an image's light."""
_OURS = {
    "barcode": "barcode", "inspection": "inspection", "well": "well", "image": "image",
    "outcome": "person outcome", "score": "person group", "by": "person", "at": "person at",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    """A table's columns: the index of each that is recognised."""

    sheet: Sheet
    row: int
    headings: tuple[str, ...]
    columns: Mapping[str, int]
    is_ours: bool
    doubt: str = ""
    hidden: frozenset[int] = frozenset()
    """Indices of the columns that Excel does not show."""

    @property
    def has_four(self) -> bool:
        return all(name in self.columns for name in _FOUR)

    @property
    def has_place(self) -> bool:
        return bool({"image", "well", "well_number"} & self.columns.keys()) or {"row", "col"} <= self.columns.keys()

    @property
    def has_score(self) -> bool:
        return bool({"score", "outcome", "machine_score"} & self.columns.keys()) or self.has_four


def open_table(config: Config, file: Path, told: Told) -> Source:
    """Recognise a table of scores.

    Raises
    ------
    ConfigError
        If it is none, or does not say enough; the message says what is missing.
    """
    headers = []
    for sheet in sheets(file):
        if told.sheet and sheet.name != told.sheet:
            continue
        headers.append(_header(config, sheet))
    if not headers:
        raise ConfigError(f"{file}: no sheet {told.sheet!r}; give one with --sheet")
    known = [header for header in headers if header.has_place and header.has_score]
    if len(known) > 1:
        raise several_sheets(file, [header.sheet for header in known])
    header = known[0] if known else headers[0]
    _check(file, header, told)
    reader = _Reader(config, header, told)
    return Source(reader.format, reader.lines, reader.probabilities, tuple(reader.notes()))


def _header(config: Config, sheet: Sheet) -> _Header:
    best: _Header | None = None
    for row, _ in zip(sheet.rows(), range(_HEADER_IN), strict=False):
        header = _recognise(config, sheet, row)
        if header.has_place and header.has_score:
            return header
        if best is None or len(header.columns) > len(best.columns):
            best = header
    return best or _Header(sheet, 0, (), {}, False)


def _recognise(config: Config, sheet: Sheet, row: Row) -> _Header:
    headings = tuple(
        plain(cell) if isinstance(cell, str) and not isinstance(cell, NoValue) else "" for cell in row.cells
    )
    places: dict[str, list[int]] = {}
    for index, heading in enumerate(headings):
        places.setdefault(heading, []).append(index)
    is_ours = {"artscore", "person outcome", "person"} <= places.keys()
    columns, doubt = dict[str, int](), ""
    for name, others in SCORE_COLUMNS.items():
        if is_ours:
            wanted: tuple[str, ...] = (_OURS[name],) if name in _OURS else ()
        elif name in config.scores.columns:
            wanted = (plain(config.scores.columns[name]),)
        else:
            wanted = (plain(name), *others)
        found = [index for heading in wanted for index in places.get(heading, ())]
        if found:
            columns[name] = found[0]
            if len(found) > 1 and name not in ("image", "barcode"):
                once = [headings[i] for i in found if len(places[headings[i]]) == 1]
                example = f"[scores] columns = {{ {name} = {toml_text(once[0])} }}" if once else ""
                doubt = f"the columns {' and '.join(repr(headings[i]) for i in found)} may both be {name}; "
                doubt += f"name one in xtalgrid.toml: {example}" if once else "rename one of them in the file"
    if "machine_score" in columns and _SPECTRUM in places:
        columns[_SPECTRUM] = places[_SPECTRUM][0]
    return _Header(sheet, row.number, headings, columns, is_ours, doubt, row.hidden_columns)


def _check(file: Path, header: _Header, told: Told) -> None:
    columns, missing = header.columns, []
    if header.doubt:
        raise ConfigError(f"{file}: {header.doubt}")
    if not header.has_place:
        missing.append("the image or the well (image, well, or row and col)")
    if not header.has_score:
        missing.append("the score (score, class, or the four probabilities)")
    if header.has_place and "image" not in columns and "barcode" not in columns and not told.barcode:
        missing.append("the plate (barcode); or give it with --barcode")
    asks_who = header.has_score and not ({"by"} & columns.keys() or told.by or _is_program(header, told))
    if asks_who and "human class" not in header.headings:
        missing.append("who gave the scores (by); or give it with --by, with --kind program if that is a program")
    if missing:
        there = ", ".join(repr(heading) for heading in header.headings[:_SHOWN] if heading) or "none"
        raise ConfigError(
            f"{file}: no column says {'; nor '.join(missing)}. Its columns: {there}. Name them in xtalgrid.toml, "
            'such as [scores] columns = { well = "Position" }'
        )


def _is_program(header: _Header, told: Told) -> bool:
    """Whether nothing but a program can have given the scores of a table."""
    if told.kind:
        return told.kind == "program"
    return "kind" not in header.columns and "by" not in header.columns and header.has_four


class _Reader:
    """Reads the lines of a table."""

    def __init__(self, config: Config, header: _Header, told: Told) -> None:
        self._config, self._header, self._told = config, header, told
        self._programs = {name.casefold() for name in config.imager.programs}
        self._is_polo = "machine_score" in header.columns
        self.format = "our own export" if header.is_ours else "Polo's CSV" if self._is_polo else "table"
        if self.format == "table" and header.has_four:
            self.format = "MARCO's table"

    def notes(self) -> Iterator[str]:
        used = set(self._header.columns.values())
        ignored = [name for index, name in enumerate(self._header.headings) if name and index not in used]
        if ignored and not self._header.is_ours:
            yield f"ignored the columns {', '.join(ignored[:_SHOWN])}"
        if beside := self._header.sheet.hidden_beside:
            yield hidden_sheets_note(beside)
        hidden = [self._header.headings[index] for index in sorted(used & self._header.hidden)]
        if hidden:
            yield hidden_columns_note(hidden)
        if "date" in self._header.columns:
            yield f"the column date is read as when it was {'scored' if self._date_is_of_score else 'imaged'}"

    def lines(self) -> Iterator[Line]:
        """Read the lines below the header."""
        width = len(self._header.headings)
        for row in self._rows():
            if not self._header.sheet.name and (why := too_many(row.cells, width)):  # in Excel, notes may stand there
                yield Line(row.number, problem=why)
                continue
            try:
                yield self._line(row)
            except ValueError as error:
                yield Line(row.number, problem=str(error), is_hidden=row.is_hidden)

    def _rows(self) -> Iterator[Row]:
        """Read the rows below the header; all that is used of them is known."""
        used = set(self._header.columns.values())
        for row in self._header.sheet.rows():
            if row.number > self._header.row:
                for index in used:
                    if index < len(row.cells):
                        with_value(row.cells[index])
                yield row

    def probabilities(self) -> Iterator[Mapping[str, float]]:
        """Read the table to its end; return the lines' four probabilities."""
        for row in self._rows():
            if self._header.has_four:
                with suppress(ValueError):
                    if four := _four(self._cells(row)[1]):
                        yield four

    def _cells(self, row: Row) -> tuple[Callable[[str], Cell], Callable[[str], str]]:
        """Return what reads a row's cells by column, as they are and as text."""
        columns, cells = self._header.columns, row.cells

        def cell(name: str) -> Cell:
            index = columns.get(name)
            return cells[index] if index is not None and index < len(cells) else ""

        def text(name: str) -> str:
            value = cell(name)
            return value.isoformat(sep=" ") if isinstance(value, datetime) else value

        return cell, text

    def _line(self, row: Row) -> Line:
        cell, text = self._cells(row)
        scores = tuple(self._scores(cell, text))
        place = self._place(cell, text) if scores else Place()
        return Line(row.number, place, scores, is_hidden=row.is_hidden)

    def _scores(self, cell: Callable[[str], Cell], text: Callable[[str], str]) -> Iterator[ForeignScore]:
        numbers = _four(text) if self._header.has_four else {}
        if self._is_polo:
            if text(_SPECTRUM).casefold() in ("", "none", "visible"):
                yield from self._polo_scores(text, numbers)
            return
        outcome, score = _said(text("outcome")), _said(text("score"))
        if self._header.is_ours and score:
            score = f"any {score}"
        if not (outcome or score or numbers):
            return
        by = text("by") or self._told.by
        kind = self._kind(by, text("kind"), bool(numbers))
        if not by:
            if kind == "person":
                raise ValueError("nobody who gave the score (by); or give --by")
            by = "MARCO"
        at = self._at(cell)
        for who in [each.strip() for each in by.split(";")] if kind == "person" else [by]:
            if who:
                one = "program" if who.casefold() in self._programs else kind
                yield ForeignScore(one, who[:100], outcome or score, at, "scored", bool(outcome), numbers)

    def _polo_scores(self, text: Callable[[str], str], numbers: Mapping[str, float]) -> Iterator[ForeignScore]:
        """Polo's people have no names, and its date is the image's."""
        if human := _said(text("score")):
            yield ForeignScore("person", self._told.by or polo.WHO, human)
        machine = _said(text("machine_score"))
        if machine and any(numbers.values()):
            yield ForeignScore("program", polo.MODEL, machine, numbers=numbers)

    def _kind(self, by: str, kind: str, has_numbers: bool) -> Kind:
        if by.casefold() in self._programs:
            return "program"
        if kind:
            known: dict[str, Kind] = {"person": "person", "people": "person", "human": "person", "user": "person"}
            known |= {"program": "program", "machine": "program", "auto": "program", "automatic": "program"}
            if plain(kind) not in known:
                raise ValueError(f"kind is {kind!r}; write person or program")
            return known[plain(kind)]
        return self._told.kind or ("program" if has_numbers else "person")

    @property
    def _date_is_of_score(self) -> bool:
        """A date beside an inspection's number or an image is the score's; alone, it tells the inspection."""
        known = self._header.columns.keys()
        return not self._is_polo and (
            self._told.inspection is not None or bool({"inspection", "inspected", "image"} & known)
        )

    def _at(self, cell: Callable[[str], Cell]) -> datetime | None:
        value = cell("at") or (cell("date") if self._date_is_of_score else "")
        return utc(self._config, value) if value else None

    def _place(self, cell: Callable[[str], Cell], text: Callable[[str], str]) -> Place:
        name = _integer(text("well"))
        number = _whole("well_number", text("well_number")) if text("well_number") else 0
        if name.isdecimal():
            name, number = "", _whole("well", name)
        subwell = _subwell(text("drop"))
        well = None
        if name:
            well = parse_well(name)
            if subwell and well.subwell and subwell != well.subwell:
                raise ValueError(f"well {name!r}, but drop {text('drop')!r}")
            subwell = well.subwell or subwell
        elif text("row") and text("col"):
            row = _integer(text("row"))
            well = Well(
                _whole("row", row) if row.isdecimal() else parse_well(f"{row}1").row, _whole("col", text("col")), 0
            )
        inspected = cell("inspected") or ("" if self._date_is_of_score else cell("date"))
        inspection = text("inspection")
        return Place(
            image=text("image"),
            barcode=text("barcode") or self._told.barcode,
            inspection=_whole("inspection", inspection) if inspection else self._told.inspection,
            inspected=moment(self._config, inspected) if inspected else None,
            well=well,
            number=number,
            subwell=subwell,
        )


def _said(word: str) -> str:
    return "" if plain(word) in ("none", "null", "n/a", "-") else word[:200]


def _four(text: Callable[[str], str]) -> dict[str, float]:
    """Read the four probabilities; nothing if all are missing."""
    cells = [_said(text(name)) for name in _FOUR]
    if not any(cells):
        return {}
    values = [_number(name, cell) for name, cell in zip(_FOUR, cells, strict=True)]
    if not any(values):  # Polo's, of an image that MARCO has not seen
        return {}
    if abs(math.fsum(values) - 1) > _SUM:
        raise ValueError(f"the four probabilities sum to {math.fsum(values):.3g}, not to 1")
    return dict(zip(_NAMES.values(), values, strict=True))


def _number(name: str, cell: str) -> float:
    number, percent = cell.removesuffix("%").strip(), cell.endswith("%")
    try:
        value = float(number.replace(",", ".")) if number.count(",") <= 1 else math.nan
    except ValueError:
        value = math.nan
    value = value / 100 if percent else value
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {cell!r}, not a probability from 0 to 1")
    return value


def _integer(cell: str) -> str:
    """Return a cell without the zeros that programs give a whole number if others of its column are missing: 3.0."""
    match = re.fullmatch(r"([0-9]+)[.,]0+", cell)
    return match[1] if match else cell


def _whole(name: str, cell: str) -> int:
    cell = _integer(cell)
    if cell.isascii() and cell.isdecimal() and len(cell) < 10 and int(cell) <= _LARGEST_INSPECTION:
        return int(cell)
    raise ValueError(f"{name} is {cell!r}, not a whole number")


def _subwell(cell: str) -> int:
    if not cell:
        return 0
    return (
        ord(cell.lower()) - ord("a") + 1
        if len(cell) == 1 and cell.isascii() and cell.isalpha()
        else _whole("drop", cell)
    )
