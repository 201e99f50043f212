"""``layout``: read the contents of a plate's drops: CSV or Excel by people and robots, screens as XML."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.lines import first_lines
from xtalgrid_core.spreadsheets import too_many
from xtalgrid_core.wells import row_number

from ..config import Config
from ..domain.letters import composed
from ..domain.wells import SURE_WELLS, Well, parse_well
from ..imager.folder.formats import configured_format
from ..ledger.contents import Contents
from ..ledger.store import Ledger
from .parts import condition_of, find_parts
from .screens import is_xml, read_screen
from .sheets import Sheet, hidden_columns_note, hidden_note, hidden_sheets_note, sheets, texts, with_value

PLACES = ("barcode", "well", "row", "col", "subwell")
TEXTS = {"project": 200, "sample": 200, "condition": 1000}
"""Columns with the contents of a drop, and their maximum length in characters."""

_ALSO = {"column": "col", "plate": "barcode", "drop": "subwell"}
_HEADER_IN = 20
"""Rows in which the header may be."""
_LARGEST = 16 * 1024 * 1024
_SHOWN = 20
_LARGEST_NUMBER = 99
"""Of a row, column or subwell: more is a mistake in the file."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Result of reading a plate layout.

    Attributes
    ----------
    rows
        Number of rows in the file.
    recorded
        Number of rows that are new or changed.
    passed_over
        Columns that were ignored.
    unseen
        Plates that have no images yet.
    notes
        What else a person should know, one line each: sheets that are no layouts, a format that was inferred.
    """

    rows: int
    recorded: int
    passed_over: tuple[str, ...]
    unseen: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_layout(config: Config, ledger: Ledger, file: Path, barcode: str = "") -> Layout:
    """Record a plate layout; recording it again changes nothing.

    The file is a CSV text or an Excel workbook with a header, each of whose sheets with such columns is read:

    - ``well`` (A1 for all drops of the well, A1a for one), or ``row`` (a letter or number), ``col`` and, if wells have
      several drops, ``subwell``;
    - at least one of ``sample``, ``condition`` and ``project``; or the parts of the condition, each as columns for
      concentration, unit, name and pH, which may be repeated;
    - ``barcode``, unless it is given as an argument.

    Other columns are ignored. Or it is a screen, as `screens` reads it, for the plate that is given.

    Raises
    ------
    ConfigError
        If columns are missing or lines are invalid; lists the lines. Nothing is recorded.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(f"{file}: more than {_LARGEST // 1024**2} MB; a plate layout has a line for each well")
        is_screen = is_xml(file)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    contents, passed_over, notes = _screen(config, ledger, file, barcode) if is_screen else _table(file, barcode)
    recorded = ledger.contents.record(contents.values())
    unseen = {one.barcode for one in contents.values()} - set(ledger.plates.barcodes())
    return Layout(len(contents), recorded, passed_over, tuple(sorted(unseen)), notes)


_Drops = dict[tuple[str, Well], Contents]
_Read = tuple[_Drops, tuple[str, ...], tuple[str, ...]]
"""What is in drops, the columns that were ignored, and notes."""


def _screen(config: Config, ledger: Ledger, file: Path, barcode: str) -> _Read:
    if not barcode:
        raise ConfigError(f"{file}: a screen names no plate; give the barcode with --barcode")
    barcode = composed(barcode)
    contents: _Drops = {}
    conditions, inferred = read_screen(file, configured_format(config, barcode))
    if inferred is not None:
        beyond = [image.well for image in ledger.images.of_plate(barcode) if not inferred.has(image.well)]
        if beyond:
            raise ConfigError(
                f"{file}: {len(conditions)} conditions are a plate of {inferred}, but {barcode} has images of well "
                f"{max(beyond)}; set the plate's format in import.plates"
            )
    for well, condition in conditions:
        if (barcode, well) in contents:
            raise ConfigError(f"{file}: the well {_place(well)} is in it twice; remove one")
        most = TEXTS["condition"]
        if len(condition) > most:
            raise ConfigError(f"{file}: the condition of {_place(well)} has more than {most} characters; shorten it")
        contents[barcode, well] = Contents(barcode, well, condition=condition, origin=file.name)
    note = f"the conditions are those of {inferred}, along the rows; if that is wrong, set import.plates"
    return contents, (), (note,) if inferred is not None and len(conditions) < SURE_WELLS else ()


def _table(file: Path, barcode: str) -> _Read:
    there = sheets(file)
    layouts = [sheet for sheet in there if len(there) == 1 or _is_layout(sheet)] or there[:1]
    contents: _Drops = {}
    seen: dict[tuple[str, Well], str] = {}
    errors: list[str] = []
    ignored: dict[str, None] = {}
    hidden = _Hidden()
    for sheet in layouts:
        of_sheet = f" of sheet {sheet.name}" if len(layouts) > 1 else ""
        ignored |= dict.fromkeys(_sheet(file, sheet, barcode, of_sheet, contents, seen, errors, hidden))
    if errors:
        listed = first_lines(errors, _SHOWN, start="  ")
        raise ConfigError("\n".join([f"{file}: {len(errors)} lines need correction:", *listed]))
    if not contents:
        raise ConfigError(f"{file}: no lines below the header")
    others = [sheet.name for sheet in there if sheet not in layouts]
    notes = [f"ignored the sheets {', '.join(others)}"] if others else []
    notes += [hidden_sheets_note(there[0].hidden_beside)] if there[0].hidden_beside else []
    notes += [hidden_note(hidden.rows)] if hidden.rows else []
    notes += [hidden_columns_note([*hidden.columns])] if hidden.columns else []
    return contents, tuple(ignored), tuple(notes)


@dataclass(slots=True)
class _Hidden:
    """What was read though Excel does not show it: how many rows, and the names of columns."""

    rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)


def _is_layout(sheet: Sheet) -> bool:
    """Tell whether one of a sheet's first rows names wells and what is in them."""
    try:
        for row in itertools.islice(sheet.rows(), _HEADER_IN):
            names = [_name(cell) for cell in texts(row.cells)]
            if _names_wells(names) and (set(TEXTS) & set(names) or find_parts(names)):
                return True
    except ConfigError:  # such as merged cells, which do no harm in a sheet that is not read
        pass
    return False


def _sheet(
    file: Path,
    sheet: Sheet,
    barcode: str,
    of_sheet: str,
    contents: _Drops,
    seen: dict[tuple[str, Well], str],
    errors: list[str],
    hidden: _Hidden,
) -> Iterator[str]:
    """Add the drops of a sheet, their lines, what is wrong with them, and what Excel does not show.

    Returns the columns that were ignored.
    """
    names, lines, hidden_columns = _read(sheet, hidden)
    parts = find_parts(names)
    _check_columns(file, names, barcode, bool(parts))
    used = {index for part in parts for index in part.values()}
    used |= {index for index, name in enumerate(names) if name in PLACES or name in TEXTS}
    hidden.columns |= dict.fromkeys(names[index] for index in sorted(used & hidden_columns))
    for number, cells in lines:
        for index in used:
            with_value(cells[index] if index < len(cells) else "")
        whole = (cells + [""] * len(names))[: len(names)]
        line = dict(zip(reversed(names), reversed(whole), strict=True))  # of parts, the first
        if parts and not line.get("condition"):
            line["condition"] = condition_of(parts, whole)
        place = f"line {number}{of_sheet}"
        try:
            if not sheet.name and (why := too_many(cells, len(names))):  # in Excel, notes may stand there
                raise ValueError(why)
            one = _contents(file, line, barcode)
            key = one.barcode, one.well
            if key in seen:
                raise ValueError(f"{one.barcode} {_place(one.well)} is already in {seen[key]}")
            seen[key], contents[key] = place, one
        except ValueError as error:
            errors.append(f"{place}: {error}")
    ignored = (name for index, name in enumerate(names) if name and index not in used)
    return (name for name in ignored if name not in PLACES and name not in TEXTS)


def _read(sheet: Sheet, hidden: _Hidden) -> tuple[list[str], list[tuple[int, list[str]]], frozenset[int]]:
    """Return the column names, the number and cells of each line that is not empty, and the hidden columns' indices.

    The header is the first of the first rows that names a well; above it there may be a title.
    """
    there = [*sheet.rows()]
    rows = [(row.number, texts(row.cells)) for row in there]
    names = [[_name(cell) for cell in cells] for _, cells in rows[:_HEADER_IN]]
    at = next((index for index, row in enumerate(names) if _names_wells(row)), 0)
    header = names[at] if rows else []
    hidden.rows += sum(row.is_hidden for row in there[at + 1 :])
    return header, rows[at + 1 :], there[0].hidden_columns if there else frozenset()


def _names_wells(names: Sequence[str]) -> bool:
    return "well" in names or {"row", "col"} <= set(names)


def _name(word: str) -> str:
    name = word.strip().lower()
    return _ALSO.get(name, name)


def _check_columns(file: Path, names: Sequence[str], barcode: str, has_parts: bool) -> None:
    known = (*PLACES, *TEXTS)
    doubles = sorted({name for name in names if name in known and names.count(name) > 1})
    mistakes = [f"the column {name} appears twice" for name in doubles]
    if "well" not in names and not {"row", "col"} <= set(names):
        mistakes.append("it needs the column well, or row and col")
    if "well" in names and {"row", "col"} & set(names):
        mistakes.append("it has the column well as well as row or col; keep one of them")
    if not (set(TEXTS) & set(names) or has_parts):
        mistakes.append(f"it needs one of the columns {', '.join(TEXTS)}")
    if "barcode" not in names and not barcode:
        mistakes.append("it has no column barcode; give the barcode with --barcode")
    if mistakes:
        near = [
            f"is {name!r} meant to be {close[0]!r}?"
            for name in names
            if name not in known and (close := difflib.get_close_matches(name, known, n=1))
        ]
        raise ConfigError(f"{file}: {'; '.join([*mistakes, *near])}")


def _contents(file: Path, line: dict[str, str], barcode: str) -> Contents:
    plate = composed(line.get("barcode", "") or barcode)
    if not plate:
        raise ValueError("no barcode")
    if len(plate) > 30:
        raise ValueError(f"barcode {plate!r} has more than 30 characters")
    if barcode and plate != composed(barcode):
        raise ValueError(f"plate {plate}, but --barcode is {barcode}")
    texts = {name: line.get(name, "") for name in TEXTS}
    for name, most in TEXTS.items():
        if len(texts[name]) > most:
            raise ValueError(f"{name} has {len(texts[name])} characters; at most {most} are allowed")
    return Contents(plate, _well(line), origin=file.name, **texts)


def _well(line: dict[str, str]) -> Well:
    if "well" in line:
        well = parse_well(line["well"])
        if not (1 <= well.row <= _LARGEST_NUMBER and 1 <= well.col <= _LARGEST_NUMBER):
            raise ValueError(f"{line['well']!r} is on no plate")
        if not line.get("subwell"):
            return well
        if well.subwell:
            raise ValueError(f"well {line['well']!r} has a subwell, but the column subwell has {line['subwell']!r}")
        return well._replace(subwell=_number("subwell", line["subwell"]))
    row, col = (_number(name, line.get(name, "")) for name in ("row", "col"))
    return Well(row, col, _number("subwell", line["subwell"]) if line.get("subwell") else 0)


def _number(name: str, text: str) -> int:
    """Parse a number, or letters unless it is a column: ``3``, ``C`` and ``c`` are 3; only rows go on with ``AA``."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _LARGEST_NUMBER:
        return int(text)
    is_word = name != "col" and text.isascii() and text.isalpha() and len(text) <= 1 + (name == "row")
    if is_word and (number := row_number(text)) <= _LARGEST_NUMBER:
        return number
    raise ValueError(f"{name} is {text!r}; give a number from 1{'' if name == 'col' else ' or a letter'}")


def _place(well: Well) -> str:
    return str(well) if well.subwell else str(well).removesuffix(".0")


def unread(layout: Layout) -> Iterator[str]:
    """Yield notes, and warnings about ignored columns and plates without images, one line each."""
    yield from layout.notes
    if layout.passed_over:
        yield f"ignored the columns {', '.join(layout.passed_over)}"
    for barcode in layout.unseen:
        yield f"no images of plate {barcode} yet"
