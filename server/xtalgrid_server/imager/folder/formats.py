"""Formats of plates whose images are named by well numbers: configured by barcode, or inferred from the highest number.

A number alone does not say where a well is: number 7 is A7 on a plate of 96 wells, and B1 on one of 48.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...config import Config
from ...domain.letters import composed
from ...domain.log import log
from ...domain.wells import FORMATS, SURE_WELLS, PlateFormat, format_of, with_columns
from ..crystaltrak.database import ImagerDatabase
from .listing import walk
from .names import NamedImage, Names, NumberedWell

IMPORT_ANEW = (
    "import the plate's whole folder by the same command with another home (`xtalgrid --home NEW …`), because its "
    "wells keep their names in this one"
)
"""What to do if wells were named by a wrong format: scores, corrections and marks are recorded under those names."""

_STILL = 20
"""A plate's imaging is over, so that its highest number is there, `_STILL` times `import.settle_s` after a new file."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The highest well number of a plate in a folder, and its number of files."""

    highest: int = 0
    files: int = 0


_TABLE = sa.Table(
    "xtalgrid_plate_formats",
    sa.MetaData(),
    sa.Column("barcode", sa.String(30), primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),  # 0 until the format is known
    sa.Column("columns", sa.Integer, nullable=False),
    sa.Column("files", sa.Integer, nullable=False),  # there were so many, and for how long (seconds since 1970)
    sa.Column("since", sa.Float, nullable=False),
)


def known_format(config: Config, database: ImagerDatabase, barcode: str) -> tuple[PlateFormat, str] | None:
    """Return the format that names the wells of a plate, and where it is from; None if its wells had names."""
    recorded = None
    if not config.imager.url:
        with database.reading() as connection:
            if sa.inspect(connection).has_table(_TABLE.name):
                recorded = connection.execute(_TABLE.select().where(_TABLE.c.barcode == barcode)).first()
    configured = configured_format(config, barcode)
    if recorded is None or not recorded.rows:
        return (configured, "import.plates") if configured else None
    plate = PlateFormat(recorded.rows, recorded.columns)
    is_chosen = (plate.rows, plate.columns) == (configured or (0, 0))[:2]
    otherwise = "import.plate_columns" if config.import_.plate_columns else "its highest well number"
    return plate, "import.plates" if is_chosen else otherwise


def configured_format(config: Config, barcode: str) -> PlateFormat | None:
    """Return the format in ``import.plates`` for a barcode; None if there is none."""
    barcode = composed(barcode)
    for wildcards, plate in config.import_.plates.items():
        if re.fullmatch(re.escape(composed(wildcards)).replace(r"\*", ".*").replace(r"\?", "."), barcode, re.DOTALL):
            return PlateFormat(plate.rows, plate.columns, plate.drops)
    return None


def contradiction(barcode: str, known: PlateFormat, plate: PlateFormat) -> str:
    """Say that a plate was imported with another format than ``import.plates`` says, and what to do."""
    return (
        f"plate {barcode} was imported with {known}, but import.plates says {plate}; correct import.plates "
        f"if that is wrong. If it is right, {IMPORT_ANEW}"
    )


class PlateFormats:
    """Table of the formats of plates, so that wells keep their names.

    Parameters
    ----------
    clock
        Where an imager may still be writing, `time.time`: a format is then inferred only when the plate is complete.

    Attributes
    ----------
    notes
        Formats that were inferred, one line each.
    """

    def __init__(self, config: Config, database: ImagerDatabase, clock: Callable[[], float] | None = None) -> None:
        self._config, self._database, self._clock = config, database, clock
        self._table = _TABLE
        with database.transaction() as connection:
            self._table.create(connection, checkfirst=True)
        self._known: dict[str, PlateFormat | None] = {}
        self._numbers: dict[Path, dict[str, _Numbers]] = {}
        self.notes: list[str] = []

    def configured(self, barcode: str) -> PlateFormat | None:
        """Return the format in ``import.plates`` for a barcode; None if there is none."""
        return configured_format(self._config, barcode)

    def of_numbered(self, file: Path, barcode: str, named: NamedImage, names: Names) -> PlateFormat | None:
        """Return the format of a plate whose wells have numbers; None if it can't be told before imaging is over."""
        if barcode not in self._known:
            recorded = self._recorded(barcode)
            plate = recorded or self._new(file, barcode, named, names)
            if plate is not None and recorded is None:
                self._record(barcode, plate)
            columns = self._config.import_.plate_columns
            if recorded is not None and columns not in (0, recorded.columns) and self.configured(barcode) is None:
                self._note(
                    f"plate {barcode} keeps the format with which it was imported, {recorded}, although "
                    f"import.plate_columns is {columns} now; if {columns} columns are right, {IMPORT_ANEW}"
                )
            self._known[barcode] = plate
        return self._known[barcode]

    def contradictions(self) -> list[str]:
        """Return the plates whose wells were named by another format than ``import.plates`` says now, a line each."""
        with self._database.reading() as connection:
            rows = connection.execute(self._table.select().order_by(self._table.c.barcode)).all()
        plates = [(row.barcode, PlateFormat(row.rows, row.columns), self.configured(row.barcode)) for row in rows]
        return [
            contradiction(barcode, known, plate)
            for barcode, known, plate in plates
            if known.rows and plate is not None and plate[:2] != known[:2]
        ]

    def _new(self, file: Path, barcode: str, named: NamedImage, names: Names) -> PlateFormat | None:
        columns = self._config.import_.plate_columns
        chosen = with_columns(columns) if columns else None
        if self._database.entered(barcode):  # by a version with one number of columns for all plates
            return self._of_earlier_version(barcode, chosen or format_of(96), self._numbers_of(file, named, names))
        if (chosen := self.configured(barcode) or chosen) is not None:
            return chosen
        numbers = self._numbers_of(file, named, names)
        inferred = format_of(numbers.highest)
        may_be_larger = numbers.highest <= FORMATS[-2].wells
        if may_be_larger and self._may_grow(barcode, numbers.files):
            log.info("plate %s waits for the end of its imaging: its highest well number tells its format", barcode)
            return None
        is_sure = SURE_WELLS <= numbers.highest == inferred.wells
        self._note(
            f"plate {barcode}: {inferred}, inferred from its highest well number, {numbers.highest}"
            + ("" if is_sure else "; if that is wrong, set import.plates before importing it")
        )
        return inferred

    def _of_earlier_version(self, barcode: str, plate: PlateFormat, numbers: _Numbers) -> PlateFormat:
        if plate.columns != format_of(numbers.highest).columns:
            self._note(
                f"plate {barcode} keeps the format of its earlier images, {plate}, although its highest well "
                f"number is {numbers.highest}; if that is wrong, {IMPORT_ANEW}"
            )
        return plate

    def _note(self, note: str) -> None:
        self.notes.append(note)
        log.info("%s", note)

    def _row(self, barcode: str) -> sa.Row[Any] | None:
        with self._database.reading() as connection:
            return connection.execute(self._table.select().where(self._table.c.barcode == barcode)).first()

    def _recorded(self, barcode: str) -> PlateFormat | None:
        row = self._row(barcode)
        return PlateFormat(row.rows, row.columns) if row is not None and row.rows else None

    def _record(self, barcode: str, plate: PlateFormat, files: int = 0, since: float = 0.0) -> None:
        values = {"rows": plate.rows, "columns": plate.columns, "files": files, "since": since}
        with self._database.transaction() as connection:
            connection.execute(self._table.delete().where(self._table.c.barcode == barcode))
            connection.execute(self._table.insert().values(barcode=barcode, **values))

    def _numbers_of(self, file: Path, named: NamedImage, names: Names) -> _Numbers:
        """Return the numbers of a plate in the folder that has all its images, as far as names tell."""
        above = named.plate_folder if named.plate_folder is not None else max(named.folders - 1, 0)
        folder = file.parents[above if named.barcode else 0]
        if folder not in self._numbers:
            self._numbers[folder] = _numbers_in(folder, names, is_below=bool(named.barcode))
        numbers = self._numbers[folder].get(named.barcode, _Numbers())
        assert isinstance(named.place, NumberedWell)
        return _Numbers(max(numbers.highest, named.place.number), numbers.files)

    def _may_grow(self, barcode: str, files: int) -> bool:
        """Tell whether an imager may still be writing a plate's images."""
        if self._clock is None:
            return False
        row, now = self._row(barcode), self._clock()
        if row is None or row.files != files or row.since > now:  # this computer's clock was ahead
            self._record(barcode, PlateFormat(0, 0), files, now)
            return self._config.import_.settle_s > 0
        return bool(now - row.since < _STILL * self._config.import_.settle_s)


def _numbers_in(folder: Path, names: Names, *, is_below: bool) -> dict[str, _Numbers]:
    """Return the highest well numbers in a folder, and below it if that is asked for, by barcode as named."""
    found: dict[str, _Numbers] = {}
    for listing in walk(folder, is_below):
        for entry in listing.files:
            named = names.read(listing.folder / entry.name)
            if named is None or not isinstance(named.place, NumberedWell):
                continue
            before = found.get(named.barcode, _Numbers())
            found[named.barcode] = _Numbers(max(before.highest, named.place.number), before.files + 1)
    return found
