"""A table of scores of images, by image, by plate and by inspection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from . import tables as t
from .database import LedgerDatabase, is_of

Score = TypeVar("Score")


class ImageScores(Generic[Score]):
    """Reads scores of images in the order in which they were recorded; `read` makes a score of a row."""

    def __init__(self, database: LedgerDatabase, table: sa.Table, read: Callable[[Any], Score]) -> None:
        self._db, self._table, self._read = database, table, read

    def of_images(self, image_ids: Sequence[int]) -> dict[int, list[Score]]:
        """Return the scores of these images, without images that have none."""
        return self._by_image(sa.select(self._table), self._table.c.image_id, image_ids)

    def of_plates(self, barcodes: Sequence[str]) -> dict[int, list[Score]]:
        """Return the same for the images of these plates."""
        images = t.images.c
        of_images = sa.select(self._table).join(t.images, images.id == self._table.c.image_id)
        return self._by_image(of_images.where(is_of(self._db.source, images.source)), images.barcode, barcodes)

    def of_inspections(self, inspect_ids: Sequence[int]) -> dict[int, list[tuple[str, list[Score]]]]:
        """Return the same by inspect id, with the name of each image."""
        images, scored = t.images.c, sa.exists().where(self._table.c.image_id == t.images.c.id)
        chosen = sa.select(images.id, images.inspect_id, images.image_name)
        chosen = chosen.where(images.source == self._db.source, scored)
        rows = {row.id: row for row in self._db.rows_in(chosen, images.inspect_id, inspect_ids)}
        found: dict[int, list[tuple[str, list[Score]]]] = {}
        for image_id, scores in self.of_images(list(rows)).items():
            found.setdefault(rows[image_id].inspect_id, []).append((rows[image_id].image_name, scores))
        return found

    def _inspect_ids(self, *where: sa.ColumnElement[bool]) -> list[int]:
        """Return the inspections whose images have such scores."""
        images = t.images.c
        chosen = sa.select(images.inspect_id).join(self._table, self._table.c.image_id == images.id).distinct()
        return [row.inspect_id for row in self._db.rows(chosen.where(is_of(self._db.source, images.source), *where))]

    def _by_image(
        self, statement: sa.Select[Any], column: sa.ColumnElement[Any], values: Collection[Any]
    ) -> dict[int, list[Score]]:
        found: dict[int, list[Score]] = {}
        for row in self._db.rows_in(statement.order_by(self._table.c.id), column, values):
            found.setdefault(row.image_id, []).append(self._read(row))
        return found
