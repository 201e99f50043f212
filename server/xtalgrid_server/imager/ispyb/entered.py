"""What of ISPyB is entered, in tables of the embedded database, so that inspections keep their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ...storage.engines import chunks
from ..crystaltrak.database import ImagerDatabase
from .images import IspybInspection

_TOGETHER = timedelta(hours=12)
"""How far apart inspections of one plate in different light may be to count as one."""

_metadata = sa.MetaData()
_IMAGES = sa.Table(
    "xtalgrid_ispyb_images",
    _metadata,
    sa.Column("image_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("path", sa.String(255), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # of the inspection
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("is_entered", sa.Boolean, nullable=False),
)
_INSPECTIONS = sa.Table(
    "xtalgrid_ispyb_inspections",
    _metadata,
    sa.Column("inspection_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("barcode", sa.String(30), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("light", sa.String(45), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Entered:
    """An image of ISPyB as it is known here; `number` is its inspection's. One that failed has no name."""

    image_id: int
    path: str
    barcode: str = ""
    number: int = 0
    name: str = ""
    is_entered: bool = False


class EnteredTable:
    """Tables of the images and inspections of ISPyB."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        with database.transaction() as connection:
            _metadata.create_all(connection)

    def last(self) -> int:
        """Return the highest id of an image; 0 without any."""
        return self._database.read(
            lambda connection: connection.scalar(sa.select(sa.func.max(_IMAGES.c.image_id))) or 0
        )

    def failed(self, limit: int) -> list[int]:
        """Return the ids of images that could not be entered, the newest first."""
        statement = sa.select(_IMAGES.c.image_id).where(~_IMAGES.c.is_entered)
        return [
            row.image_id for row in self._database.read_all(statement.order_by(_IMAGES.c.image_id.desc()).limit(limit))
        ]

    def of(self, image_ids: Sequence[int]) -> dict[int, Entered]:
        """Return what is known of these images, by id."""

        def read(connection: sa.Connection) -> list[Any]:
            parts = chunks(image_ids)
            return [
                row
                for part in parts
                for row in connection.execute(_IMAGES.select().where(_IMAGES.c.image_id.in_(part)))
            ]

        return {row.image_id: Entered(*row) for row in self._database.read(read)}

    def keep(self, images: Iterable[Entered]) -> None:
        """Record images."""
        rows = [
            {"image_id": each.image_id, "path": each.path, "barcode": each.barcode, "number": each.number,
             "name": each.name, "is_entered": each.is_entered}
            for each in images
        ]  # fmt: skip
        with self._database.transaction() as connection:
            for part in chunks([row["image_id"] for row in rows]):
                connection.execute(_IMAGES.delete().where(_IMAGES.c.image_id.in_(part)))
            if rows:
                connection.execute(_IMAGES.insert(), rows)

    def numbers(self, plates: Mapping[str, Sequence[IspybInspection]]) -> dict[int, tuple[int, IspybInspection]]:
        """Return the number of each inspection, with the first inspection of that number, by inspection id.

        New ones are counted on in the order of time. One within `_TOGETHER` of another in other light has its number.
        """
        found: dict[int, tuple[int, IspybInspection]] = {}
        for barcode, inspections in plates.items():
            known = self._of_plate(barcode)
            there = {row.inspection_id for row in known}
            new = [each for each in inspections if each.id not in there]
            taken = max((image.inspection for image in self._database.entered(barcode)), default=0) if new else 0
            rows = [(row.number, IspybInspection(row.inspection_id, barcode, row.light, row.at)) for row in known]
            for each in new:
                number = _joined(each, rows) or max(taken, *(number for number, _ in rows), 0) + 1
                rows.append((number, each))
            self._keep_inspections(rows[len(known) :])
            for number, each in rows:
                first = min((one for n, one in rows if n == number), key=lambda one: (one.at, one.id))
                found[each.id] = number, first
        return found

    def _of_plate(self, barcode: str) -> Sequence[sa.Row[Any]]:
        statement = _INSPECTIONS.select().where(_INSPECTIONS.c.barcode == barcode)
        return self._database.read_all(statement.order_by(_INSPECTIONS.c.number))

    def _keep_inspections(self, rows: Sequence[tuple[int, IspybInspection]]) -> None:
        with self._database.transaction() as connection:
            for number, each in rows:
                values = {"inspection_id": each.id, "barcode": each.barcode, "light": each.light, "at": each.at}
                connection.execute(_INSPECTIONS.insert().values(number=number, **values))


def _joined(one: IspybInspection, rows: Sequence[tuple[int, IspybInspection]]) -> int:
    """Return the number of the nearest inspection in other light that has none in this light; 0 without any."""
    taken = {number for number, other in rows if other.light == one.light}
    near = [
        (abs(other.at - one.at), number)
        for number, other in rows
        if number not in taken and abs(other.at - one.at) <= _TOGETHER
    ]
    return min(near)[1] if near else 0
