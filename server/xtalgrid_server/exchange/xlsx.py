"""Scores as an Excel workbook: a table, a map of each plate in the colours of its outcomes, and a legend.

Every text is a text to Excel, whatever it begins with: `_Sheet` is the one place that writes cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import IO, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties

from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome, ink
from xtalgrid_core.wells import row_letters

from ..config import Config
from ..domain.drop_state import DISPUTED, DropState, Meaning, meaning_name, outcome_of
from ..reports.entries import DropInspection, Entry
from ..reports.tables import COLUMNS, row

_MOST_ROWS = 1_048_576
_MOST_MAPS, _LARGEST_WELL = 200, 99
_LONGEST_TEXT, _LONGEST_TITLE = 32_767, 31
_ROUNDED = 10**15
"""Excel has 15 digits of a number; some databases' ids have more."""
_FIRST_YEAR = 1900
"""Excel has no dates before it, and shows nothing of such a number."""
_FONT, _POINTS = "Calibri", 11
_WIDTH, _MARGIN, _DROP = 12, 4, 9
_WIDTHS = {"image": 40, "sha256": 14, "condition": 40, "people": 30} | dict.fromkeys(
    ("barcode", "inspected", "new_since", "scored_at", "person_at", "outcome", "person_outcome", "held_to_be"), 20
)
"""Widths of columns, in characters."""
_MAGENTA, _GREY = "#a0005a", "#d9d9d9"
_FORMULA = tuple("=+-@\t\r")
_DATES = ("inspected", "new_since")
"""Columns that Excel gets as dates, in the imager's local time; times in UTC are text that says so."""


class _Sheet:
    """A sheet that is written row by row."""

    def __init__(self, book: Any, title: str, widths: Iterable[float] = (), on_one_page: bool = False) -> None:
        self.sheet = book.create_sheet(title)
        for number, width in enumerate(widths, start=1):
            self.sheet.column_dimensions[get_column_letter(number)].width = width
        self.sheet.page_setup.orientation = "landscape"
        self.sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=on_one_page)
        self.rows = 0

    def add(self, values: Iterable[Any]) -> None:
        """Add a row of texts, numbers, dates, None, and cells; numbers that Excel would round are texts."""
        cells = [str(value) if isinstance(value, int) and abs(value) >= _ROUNDED else value for value in values]
        self.sheet.append([self.text(value) if isinstance(value, str) else value for value in cells])
        self.rows += 1

    def text(self, value: str, colour: str = "", bold: bool = False) -> Any:
        """Return a cell with a text that Excel never takes for a formula, on a colour if one is given."""
        cell = WriteOnlyCell(self.sheet, ILLEGAL_CHARACTERS_RE.sub(" ", value)[:_LONGEST_TEXT])
        cell.data_type = "s"
        if value.startswith(_FORMULA):
            cell.quotePrefix = True  # stays text when a person edits it
        if colour:
            cell.fill = PatternFill("solid", fgColor=colour[1:])
            cell.font = Font(_FONT, _POINTS, color=ink(colour)[1:], bold=bold)
            cell.alignment = Alignment(horizontal="center")
        elif bold:
            cell.font = Font(_FONT, _POINTS, bold=True)
        return cell

    def heading(self, names: Iterable[str]) -> None:
        """Add a row of bold texts."""
        self.add([self.text(name, bold=True) for name in names])


class XlsxWriter:
    """Writes images to a workbook, plate by plate. Use it in a ``with`` statement; it is saved at its end."""

    def __init__(self, config: Config, stream: IO[bytes]) -> None:
        self._config, self._stream = config, stream
        self._book = Workbook(write_only=True)
        self._titles: set[str] = set()
        self._table = self._new_table()
        self._barcode = ""
        self._maps: dict[int, dict[tuple[int, int, int], DropInspection]] = {}
        self.maps = 0

    def __enter__(self) -> XlsxWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._draw_maps()
            self._draw_legend()
            self._book.save(self._stream)

    def add(self, inspection: DropInspection, entry: Entry) -> None:
        """Add an image; those of a plate must be consecutive."""
        if entry.image.barcode != self._barcode:
            self._draw_maps()
            self._barcode = entry.image.barcode
        well = entry.image.well
        self._maps.setdefault(entry.image.inspection, {})[well] = inspection
        if self._table.rows == _MOST_ROWS:
            self._table = self._new_table()
        values = row(self._config, inspection, entry)
        for name in _DATES:
            date = datetime.fromisoformat(values[name]) if values[name] else None
            if date is None or date.year >= _FIRST_YEAR:
                values[name] = date
        self._table.add(list(values.values()))

    def _new_table(self) -> _Sheet:
        table = self._sheet("Scores", [_WIDTHS.get(name, _WIDTH) for name in COLUMNS])
        table.sheet.freeze_panes = "A2"
        table.heading(COLUMNS)
        return table

    def _sheet(self, title: str, widths: Iterable[float] = (), on_one_page: bool = False) -> _Sheet:
        plain = re.sub(r"[\[\]:*?/\\]|\A'|'\Z", "_", ILLEGAL_CHARACTERS_RE.sub("_", title)) or "_"
        unique, number = plain[:_LONGEST_TITLE], 2
        while unique.casefold() in self._titles:
            end = f" {number}"
            unique, number = plain[: _LONGEST_TITLE - len(end)] + end, number + 1
        self._titles.add(unique.casefold())
        return _Sheet(self._book, unique, widths, on_one_page)

    def _draw_maps(self) -> None:
        """Draw the maps of the plate that is complete, one for each inspection, and forget it."""
        for number, drops in sorted(self._maps.items()):
            if self.maps < _MOST_MAPS and all(max(well) <= _LARGEST_WELL for well in drops):
                self._draw_map(number, drops)
                self.maps += 1
        self._maps = {}

    def _draw_map(self, number: int, drops: dict[tuple[int, int, int], DropInspection]) -> None:
        rows, columns = max(row for row, _, _ in drops), max(column for _, column, _ in drops)
        subwells = sorted({subwell for _, _, subwell in drops})
        widths = [_MARGIN, *[_DROP] * columns * len(subwells)]
        sheet = self._sheet(f"{self._barcode} {number}", widths, on_one_page=True)
        first = next(iter(drops.values())).best.image
        sheet.sheet.freeze_panes = "B3"
        sheet.heading([f"{self._barcode}, inspection {number}, {first.inspected:%Y-%m-%d %H:%M}"])
        places = [(column, subwell) for column in range(1, columns + 1) for subwell in subwells]
        sheet.heading(["", *(str(column) if subwell == subwells[0] else "" for column, subwell in places)])
        for well_row in range(1, rows + 1):
            cells = [drops.get((well_row, *place)) for place in places]
            sheet.add(
                [sheet.text(row_letters(well_row), bold=True), *(drop and _drop_cell(sheet, drop) for drop in cells)]
            )

    def _draw_legend(self) -> None:
        sheet = self._sheet("Legend", (8, 26, 13, 8), on_one_page=True)
        sheet.heading(["colour", "outcome", "group", "score"])
        groups: list[Meaning] = [*SCORED_GROUPS]
        for meaning in (*CLASSES, *groups, Outcome.UNDECIDED, Outcome.FAILED):
            letter, colour = _look(meaning)
            outcome = meaning if isinstance(meaning, Outcome) else None
            group = str(outcome.group if outcome else meaning)
            code = self._config.score_code(outcome) if outcome else None
            sheet.add([sheet.text(letter, colour), meaning_name(meaning), group, code])
        sheet.add([sheet.text("≠", _MAGENTA), DISPUTED])
        sheet.add([sheet.text("…", _GREY), "not scored yet"])
        sheet.add(["", "a drop's cell: what it is held to be, by people or else the ARTscore, and its p_crystal"])


def _drop_cell(sheet: _Sheet, drop: DropInspection) -> Any:
    letter, colour = _look_of_state(drop.state)
    chance = "" if drop.p_crystal is None else f" {percent(drop.p_crystal)}"
    return sheet.text(f"{letter}{chance}", colour)


def _look_of_state(state: DropState) -> tuple[str, str]:
    if state.disputed:
        return "≠", _MAGENTA
    return ("…", _GREY) if state.outcome is None else _look(state.outcome)


def _look(meaning: Meaning) -> tuple[str, str]:
    """Return the letter and the colour."""
    style = outcome_of(meaning).style
    return meaning[:2].title() if isinstance(meaning, Group) else style.letter, style.colour
