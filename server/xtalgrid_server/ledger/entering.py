"""Enter images into the ledger, once each, and record their files as they were read."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ..domain.images import FileState, ImageRow
from ..storage.engines import chunks
from . import tables as t
from .database import now


def enter_images(connection: sa.Connection, source: str, images: Sequence[ImageRow]) -> list[int]:
    """Return the ids of the images, after adding those that are new."""
    known = _ids(connection, source, images)
    new = {(i.inspect_id, i.image_name): i for i in images if (i.inspect_id, i.image_name) not in known}
    if new:
        values = {"source": source, "seen_at": now()}
        rows = [
            {
                "inspect_id": image.inspect_id,
                "image_name": image.image_name,
                "barcode": image.barcode,
                "inspection": image.inspection,
                "inspected": image.inspected,
                **image.well._asdict(),
                **values,
            }
            for image in new.values()
        ]
        connection.execute(t.images.insert(), rows)
        known |= _ids(connection, source, list(new.values()))
    return [known[image.inspect_id, image.image_name] for image in images]


def record_file(connection: sa.Connection, image_id: int, file: FileState) -> None:
    """Record the state in which an image's file was read."""
    images = t.images.c
    changed = sa.case(
        (sa.or_(images.sha256 == "", images.sha256 == file.sha256), images.changed_at), else_=sa.literal(now())
    )
    values = {"sha256": file.sha256, "size": file.size, "modified": file.modified, "changed_at": changed}
    connection.execute(t.images.update().where(images.id == image_id).values(**values))


def _ids(connection: sa.Connection, source: str, images: Sequence[ImageRow]) -> dict[tuple[int, str], int]:
    known: dict[tuple[int, str], int] = {}
    columns = t.images.c
    for part in chunks(sorted({image.inspect_id for image in images})):
        statement = sa.select(columns.id, columns.inspect_id, columns.image_name)
        rows = connection.execute(statement.where(columns.source == source, columns.inspect_id.in_(part)))
        known.update({(row.inspect_id, row.image_name): row.id for row in rows})
    return known
