"""Which drops were reported to people, each only once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, now
from .shapes import DropImage

Drop = tuple[str, Well]


class Alerts:
    """The part of the ledger that `alerts` writes."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(self, images: Iterable[DropImage]) -> int:
        """Record drops to report, by the image that shows the crystal; return how many are new."""
        plates: dict[str, dict[Well, DropImage]] = {}
        for image in images:
            plates.setdefault(image.barcode, {}).setdefault(image.well, image)
        added = 0
        for barcodes in chunks(sorted(plates)):
            with self._db.writing() as connection:
                known = self._known(connection, barcodes)
                new = [
                    image
                    for barcode in barcodes
                    for image in plates[barcode].values()
                    if (image.barcode, image.well) not in known
                ]
                if new:
                    values = {"source": self._db.source, "at": now()}
                    rows = [
                        {"score_id": image.score_id, "barcode": image.barcode, **image.well._asdict(), **values}
                        for image in new
                    ]
                    connection.execute(t.alerts.insert(), rows)
                added += len(new)
        return added

    def known(self, barcodes: Iterable[str]) -> set[Drop]:
        """Return the recorded drops of these plates, whether reported or not."""
        with self._db.reading() as connection:
            return {drop for part in chunks(sorted(set(barcodes))) for drop in self._known(connection, part)}

    def _known(self, connection: sa.Connection, barcodes: Sequence[str]) -> set[Drop]:
        alerts = t.alerts.c
        statement = sa.select(alerts.barcode, alerts.row, alerts.col, alerts.subwell)
        rows = connection.execute(statement.where(alerts.source == self._db.source, alerts.barcode.in_(barcodes)))
        return {(row.barcode, Well(row.row, row.col, row.subwell)) for row in rows}

    def waiting(self) -> dict[Drop, tuple[int, int]]:
        """Return the drops not reported yet, with the alert's id and the score that showed the crystal."""
        alerts = t.alerts.c
        statement = sa.select(t.alerts).where(alerts.source == self._db.source, alerts.sent_at.is_(None))
        return {
            (row.barcode, Well(row.row, row.col, row.subwell)): (row.id, row.score_id)
            for row in self._db.rows(statement.order_by(alerts.id))
        }

    def set_sent(self, ids: Sequence[int]) -> None:
        """Record that these alerts were sent."""
        with self._db.writing() as connection:
            for part in chunks(ids):
                chosen = t.alerts.c.id.in_(part), t.alerts.c.sent_at.is_(None)
                connection.execute(t.alerts.update().where(*chosen).values(sent_at=now()))
