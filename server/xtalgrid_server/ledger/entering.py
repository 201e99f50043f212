"""Enter images into the ledger, once each, and record their files as they were read.

A plate, inspection, well or date that was corrected in the imager database is corrected here, as long as the file's
content is the same: with another one, an INSPECTID may have been given again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..domain.images import FileState, ImageRow
from ..storage.engines import chunks
from . import tables as t
from .database import now
from .shapes import image_row


def enter_images(connection: sa.Connection, source: str, images: Sequence[ImageRow]) -> list[int]:
    """Return the ids of the images, after adding those that are new."""
    rows = _rows(connection, source, images)
    known = {key: row.id for key, row in rows.items()}
    _correct_moved(connection, rows, [(image, "") for image in images])
    known |= _add(connection, source, [(image, None) for image in images if _key(image) not in known])
    return [known[_key(image)] for image in images]


def enter_files(connection: sa.Connection, source: str, files: Sequence[tuple[ImageRow, FileState]]) -> list[int]:
    """Return the ids of the images, after adding those that are new, and record their files as they were read.

    A new image is written once, with its file: a row that is written and then changed takes twice the space on
    PostgreSQL, and a statement for each image takes longer than all else.
    """
    rows = _rows(connection, source, [image for image, _ in files])
    known = {key: row.id for key, row in rows.items()}
    _correct_moved(connection, rows, [(image, file.sha256) for image, file in files])
    record_files(connection, [(known[_key(image)], file) for image, file in files if _key(image) in known])
    known |= _add(connection, source, [(image, file) for image, file in files if _key(image) not in known])
    return [known[_key(image)] for image, _ in files]


def record_files(connection: sa.Connection, files: Sequence[tuple[int, FileState]]) -> None:
    """Record the states in which images' files were read, by image id."""
    if not files:
        return
    images = t.images.c
    sha256 = sa.bindparam("new_sha256", type_=images.sha256.type)
    changed = sa.case(
        (sa.or_(images.sha256 == "", images.sha256 == sha256), images.changed_at), else_=sa.literal(now())
    )
    values = {"sha256": sha256, "size": sa.bindparam("new_size"), "modified": sa.bindparam("new_modified")}
    statement = t.images.update().where(images.id == sa.bindparam("image_id")).values(**values, changed_at=changed)
    connection.execute(
        statement,
        [
            {"image_id": key, "new_sha256": file.sha256, "new_size": file.size, "new_modified": file.modified}
            for key, file in files
        ],
    )


def correct_images(connection: sa.Connection, images: Sequence[tuple[int, ImageRow]]) -> None:
    """Record, by image id, what images show, as it was corrected; the finalizer then decides on them again."""
    if not images:
        return
    names = ("barcode", "inspection", "inspected", "row", "col", "subwell")
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
    statement = t.images.update().where(t.images.c.id == sa.bindparam("image_id"))
    connection.execute(
        statement.values(**values, changed_at=now()),
        [
            {
                "image_id": image_id,
                "new_barcode": image.barcode,
                "new_inspection": image.inspection,
                "new_inspected": image.inspected,
                **{f"new_{name}": value for name, value in image.well._asdict().items()},
            }
            for image_id, image in images
        ],
    )


def _correct_moved(
    connection: sa.Connection, rows: Mapping[tuple[int, str], Any], images: Sequence[tuple[ImageRow, str]]
) -> None:
    """Correct those of the images whose row is elsewhere, and has no content yet or the same, given by its SHA-256."""
    found = ((image, sha256, rows[_key(image)]) for image, sha256 in images if _key(image) in rows)
    moved = [
        (row.id, image)
        for image, sha256, row in found
        if row.sha256 in ("", sha256) and not image.is_where(image_row(row))
    ]
    correct_images(connection, moved)


def _add(
    connection: sa.Connection, source: str, images: Sequence[tuple[ImageRow, FileState | None]]
) -> dict[tuple[int, str], int]:
    """Add images, each once, with their files if these were read; return the ids."""
    new = {_key(image): (image, file) for image, file in images}
    if not new:
        return {}
    values = {"source": source, "seen_at": now()}
    rows = [
        {
            "inspect_id": image.inspect_id,
            "image_name": image.image_name,
            "barcode": image.barcode,
            "inspection": image.inspection,
            "inspected": image.inspected,
            "sha256": file.sha256 if file else "",
            "size": file.size if file else None,
            "modified": file.modified if file else None,
            **image.well._asdict(),
            **values,
        }
        for image, file in new.values()
    ]
    connection.execute(t.images.insert(), rows)
    return {key: row.id for key, row in _rows(connection, source, [image for image, _ in new.values()]).items()}


def _key(image: ImageRow) -> tuple[int, str]:
    return image.inspect_id, image.image_name


def _rows(connection: sa.Connection, source: str, images: Sequence[ImageRow]) -> dict[tuple[int, str], Any]:
    known: dict[tuple[int, str], Any] = {}
    columns = t.images.c
    for part in chunks(sorted({image.inspect_id for image in images})):
        rows = connection.execute(sa.select(t.images).where(columns.source == source, columns.inspect_id.in_(part)))
        known.update({(row.inspect_id, row.image_name): row for row in rows})
    return known
