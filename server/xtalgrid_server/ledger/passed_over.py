"""Images that are known and not to be scored, such as those in UV light: which, and why. Rows are only added."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ..domain.images import ImageRow
from . import tables as t
from .database import LedgerDatabase, is_of, now


class PassedOver:
    """The part of the ledger for images that are passed over."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(self, images: Sequence[ImageRow], reasons: Sequence[str]) -> None:
        """Record images with their reasons, except those that are recorded already."""
        table = t.passed_over.c
        known_rows = sa.select(table.inspect_id, table.image_name).where(table.source == self._db.source)
        ids = sorted({image.inspect_id for image in images})
        known = {(row.inspect_id, row.image_name) for row in self._db.rows_in(known_rows, table.inspect_id, ids)}
        seen = {"source": self._db.source, "seen_at": now()}
        new = {  # once each, even if the imager database lists an image twice
            (image.inspect_id, image.image_name): reason
            for image, reason in zip(images, reasons, strict=True)
            if (image.inspect_id, image.image_name) not in known
        }
        if new:
            rows = [{"inspect_id": key[0], "image_name": key[1], "reason": new[key], **seen} for key in new]
            with self._db.writing() as connection:
                connection.execute(t.passed_over.insert(), rows)

    def counts(self) -> dict[str, int]:
        """Count images by reason, except those that were planned after all, such as under another configuration."""
        table, images = t.passed_over.c, t.images.c
        same = images.source == table.source, images.inspect_id == table.inspect_id
        planned = sa.exists().where(*same, images.image_name == table.image_name)
        chosen = is_of(self._db.source, table.source), ~planned
        statement = sa.select(table.reason, sa.func.count()).where(*chosen).group_by(table.reason)
        return {row[0]: int(row[1]) for row in self._db.rows(statement.order_by(table.reason))}
