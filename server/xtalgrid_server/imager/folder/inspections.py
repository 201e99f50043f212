"""Numbers of inspections: those in the names, or numbers in the order of dates where names have only a date.

A number whose images are a day or more apart stands for several inspections, such as that of a barcode that is used
again years later; the later ones get numbers of their own. So do folders with images of the same drops, where neither a
number nor a date says which inspection they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from xtalgrid_core.files import readable

from ...config import Config
from ...domain.log import log
from ...domain.wells import Well
from ..crystaltrak.database import ImagerDatabase
from .dates import Order, unread_date, without_dates
from .plates import is_same_image

_BY_DATE = "date"
_UNDATED = "none"
_BY_EARLIER_VERSIONS = ""
_DAY = timedelta(days=1)
_PAUSE = timedelta(hours=2)
"""The longest pause between two images of one inspection that are known by their times."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An inspection: what it is known by in names (a number, or `_BY_DATE`), and its earliest and latest date there."""

    known_by: str
    number: int
    first: datetime | None
    last: datetime | None

    def distance(self, date: datetime | None) -> timedelta:
        if date is None or self.first is None or self.last is None:
            return timedelta(0)
        return max(self.first - date, date - self.last, timedelta(0))


@dataclass(slots=True)
class _Plate:
    """A plate's inspections, and its image names by inspection number and well."""

    inspections: list[_Known]
    names: defaultdict[tuple[int, Well], set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(frozen=True, slots=True)
class DatedImage:
    """An image and what its name says of its inspection.

    Attributes
    ----------
    file, barcode, well, name
        The file, its drop, and its name in the imager database.
    inspection
        The number in its name; None if it has none.
    date
        The date in its name; None if it has none.
    is_own_time
        Whether the date may be the image's time only: then a pause or the same drop again tells inspections apart.
    """

    file: Path
    barcode: str
    well: Well
    name: str
    inspection: int | None
    date: datetime | None
    is_own_time: bool


class Inspections:
    """Table of the inspections of plates from folders, so that each keeps its number.

    Attributes
    ----------
    notes
        What a person should know, one line each: numbers and dates that were not taken as they are.
    """

    def __init__(self, config: Config, database: ImagerDatabase) -> None:
        self._config, self._database = config, database
        self._order = config.import_.dashed_dates
        self._table = sa.Table(
            "xtalgrid_inspections",
            sa.MetaData(),
            sa.Column("barcode", sa.String(30), primary_key=True),
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("known_by", sa.String(30), nullable=False),
            sa.Column("first", sa.DateTime),
            sa.Column("last", sa.DateTime),
        )
        with database.transaction() as connection:
            self._table.create(connection, checkfirst=True)
        self._plates: dict[str, _Plate] = {}
        self._changed: dict[tuple[str, int], _Known] = {}
        self.notes: list[str] = []

    def number(self, image: DatedImage) -> int:
        """Return the number of an image's inspection; `save` records those that are new."""
        plate = self._plate(image.barcode)
        for known in plate.inspections:
            is_read_anew = known.known_by == _UNDATED and _known_by(image) == _BY_DATE  # with other settings
            if (is_read_anew or known.known_by == _BY_EARLIER_VERSIONS) and self._has(known, image, plate):
                return known.number
        fitting = [
            known
            for known in plate.inspections
            if _may_be(known, image, self._same_light(known, image, plate), self._order)
        ]
        folders = image.name.removesuffix(readable(image.file.name))

        def distance(known: _Known) -> tuple[timedelta, bool]:
            is_beside = any(name.startswith(folders) for name in plate.names[known.number, image.well])
            return known.distance(image.date), not is_beside

        known = min(fitting, key=distance) if fitting else self._new(image, plate)
        if image.date is not None:
            first, last = min(known.first or image.date, image.date), max(known.last or image.date, image.date)
            if (first, last) != (known.first, known.last):
                plate.inspections[plate.inspections.index(known)] = wider = replace(known, first=first, last=last)
                self._changed[image.barcode, known.number] = wider
        plate.names[known.number, image.well].add(image.name)
        return known.number

    def _plate(self, barcode: str) -> _Plate:
        if barcode not in self._plates:
            with self._database.reading() as connection:
                rows = connection.execute(self._table.select().where(self._table.c.barcode == barcode)).all()
            plate = _Plate([_Known(row.known_by, row.number, row.first, row.last) for row in rows])
            dates = defaultdict(list)
            for image in self._database.entered(barcode):
                plate.names[image.inspection, image.well].add(image.image_name)
                dates[image.inspection].append(image.inspected)
            for number in dates.keys() - {known.number for known in plate.inspections}:
                known = _Known(_BY_EARLIER_VERSIONS, number, min(dates[number]), max(dates[number]))
                plate.inspections.append(known)
            self._plates[barcode] = plate
        return self._plates[barcode]

    def _has(self, known: _Known, image: DatedImage, plate: _Plate) -> bool:
        """Tell whether an inspection has this very image."""
        stored = self._config.image_root / image.barcode / str(known.number) / image.name
        return image.name in plate.names[known.number, image.well] and is_same_image(image.file, stored)

    def _same_light(self, known: _Known, image: DatedImage, plate: _Plate) -> set[str]:
        """Return an inspection's images of the drop; of the same light only, if nothing tells inspections apart."""
        names = plate.names[known.number, image.well]
        if image.inspection is not None or image.date is not None:
            return names
        rules = self._config.light
        own = rules.of(image.name)
        return {name for name in names if rules.of(name) is own} if rules.is_scored(image.name) else set()

    def _new(self, image: DatedImage, plate: _Plate) -> _Known:
        taken = {known.number for known in plate.inspections}
        wanted = 1 if image.inspection is None else image.inspection
        number = wanted if wanted not in taken else max(taken) + 1
        if image.inspection is not None and number != wanted:
            there = next(known for known in plate.inspections if known.number == wanted)
            note = (
                f"plate {image.barcode}: inspection {wanted} of {_day(image.date)} is kept apart as inspection "
                f"{number}, because inspection {wanted} is of {_day(there.first)}; was the barcode used again?"
            )
            self.notes.append(note)
            log.warning("%s", note)
        elif image.date is not None and number != wanted:
            self.notes.append(f"plate {image.barcode}: inspection {number} is that of {_day(image.date)}")
        elif number != wanted:
            unread = unread_date("/".join(image.file.parts[-4:])) if self._order == "unread" else ""
            self.notes.append(
                f"plate {image.barcode}: inspection {number} is that of {image.file.parent}, because another folder "
                "has images of the same drops; if that is wrong, let import.names read {inspection} or {date}, or name "
                "those in other light in imager.light"
                + (f"; {unread} may be two dates: set import.dashed_dates" if unread else "")
            )
        known = _Known(_known_by(image), number, image.date, image.date)
        plate.inspections.append(known)
        self._changed[image.barcode, known.number] = known
        return known

    def save(self) -> None:
        """Record what is new, before the images themselves are."""
        table = self._table.c
        with self._database.transaction() as connection:
            for (barcode, number), known in self._changed.items():
                values = {"known_by": known.known_by, "first": known.first, "last": known.last}
                connection.execute(self._table.delete().where(table.barcode == barcode, table.number == number))
                connection.execute(self._table.insert().values(barcode=barcode, number=number, **values))
        self._changed.clear()


def _may_be(known: _Known, image: DatedImage, names: set[str], order: Order) -> bool:
    """Tell whether an image belongs to an inspection, which has images of these names of the same drop."""
    number = 1 if image.inspection is None else image.inspection
    is_earlier = known.known_by == _BY_EARLIER_VERSIONS
    if known.number != number if is_earlier else known.known_by != _known_by(image):
        return False
    if image.inspection is None and image.date is None:
        return image.name in names or not any(_is_elsewhere(name, image) for name in names)
    if image.date is None or known.first is None or known.last is None:
        return True
    is_again = any(_kind(other, order) == _kind(image.name, order) for other in names - {image.name})
    span = max(known.last, image.date) - min(known.first, image.date)
    if image.inspection is not None:
        past_midnight = span == _DAY and _is_day(known.first) and _is_day(image.date)
        return span < _DAY or (past_midnight and not is_again)
    if image.is_own_time:
        return span < _DAY and known.distance(image.date) <= _PAUSE and not is_again
    return image.date in (known.first, known.last)


def _is_elsewhere(name: str, image: DatedImage) -> bool:
    """Tell whether an image's name in the database is that of a file with the same name in another folder."""
    folders = name.removesuffix(readable(image.file.name))
    return folders != name and (not folders or folders.endswith("_"))


def _known_by(image: DatedImage) -> str:
    if image.inspection is not None:
        return str(image.inspection)
    return _UNDATED if image.date is None else _BY_DATE


def _kind(name: str, order: Order) -> str:
    """Return what is left of an image's name without its date, time and counters."""
    return re.sub(r"\d{6,}", "", without_dates(name, order))


def _is_day(date: datetime) -> bool:
    return date == date.replace(hour=0, minute=0, second=0, microsecond=0)


def _day(date: datetime | None) -> str:
    return "an unknown date" if date is None else f"{date:%Y-%m-%d}" if _is_day(date) else f"{date:%Y-%m-%d %H:%M}"
