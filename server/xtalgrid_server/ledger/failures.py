"""Files without a score: which step failed on them, and why. Rows are only added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import FailureReason

from ..domain.images import FileState, ImageRow
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, now
from .entering import enter_images, record_files
from .shapes import image_row
from .waiting import may_be_completed, newest_failures

UNREADABLE_AT_ONCE = 200
"""Images whose file could not be read that are tried again at once."""


class Failures:
    """The part of the ledger for files that could not be read, packed or scored."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(
        self,
        file: str,
        step: str,
        reason: FailureReason,
        detail: str,
        image: ImageRow | None = None,
        state: FileState | None = None,
    ) -> bool:
        """Record that an image or file got no score, and the state of an image's file, if it could be read.

        Return whether it is new: what is open and the last recorded for the file and step is not recorded again.
        """
        with self._db.writing() as connection:
            image_id = enter_images(connection, self._db.source, [image])[0] if image else None
            is_new = add_failure(connection, image_id, file, step, reason, detail)
            if image_id is not None and state is not None:
                record_files(connection, [(image_id, state)])
            return is_new

    def waits(self, image: ImageRow, reason: FailureReason, modified: int | None) -> bool:
        """Tell whether an image's file, found now with this reason, may still be completed; see `may_be_completed`."""
        of_image = t.images.c.inspect_id == image.inspect_id, t.images.c.image_name == image.image_name
        chosen = t.images.c.source == self._db.source, *of_image, t.failures.c.closed_at.is_(None)
        statement = sa.select(t.failures).join(t.images, t.images.c.id == t.failures.c.image_id).where(*chosen)
        found = newest_failures(self._db.rows(statement.order_by(t.failures.c.id))).values()
        since = next((since for row, since in found if row.reason == str(reason)), now())
        return may_be_completed(str(reason), since, modified, self._db.held)

    def close(self, files: Sequence[str], step: str) -> None:
        """Record that the failures of these files at a step, and not of images, were mended."""
        failures = t.failures.c
        of_files = failures.step == step, failures.image_id.is_(None), failures.closed_at.is_(None)
        with self._db.writing() as connection:
            for part in chunks(files):
                mended = t.failures.update().where(*of_files, failures.file.in_(part))
                connection.execute(mended.values(closed_at=now()))

    def images(self, step: str, limit: int) -> list[tuple[ImageRow, int | None, int | None]]:
        """Return the images that failed at a step and whose file was read or missing, the newest first.

        Each comes with size and time of its file; None: it was missing, or could not be read. Of those that could not
        be, any `UNREADABLE_AT_ONCE` are among them: their share may be back.
        """
        failures = t.failures.c
        images, of_step = t.images.c, (failures.step == step, failures.closed_at.is_(None))
        known = images.size.is_not(None) | (failures.reason == str(FailureReason.MISSING_FILE))
        unread = images.size.is_(None), failures.reason == str(FailureReason.UNREADABLE_FILE)
        chosen = sa.select(t.images).where(images.source == self._db.source)
        is_open, is_unread = (
            sa.exists().where(failures.image_id == images.id, *of_step, *more) for more in ((known,), unread)
        )
        rows = self._db.rows(chosen.where(is_open).order_by(images.id.desc()).limit(limit))
        # In no order, as each may take long, and none may keep others from being tried.
        rows += self._db.rows(chosen.where(is_unread).order_by(sa.func.random()).limit(UNREADABLE_AT_ONCE))
        return [(image_row(row), row.size, row.modified) for row in rows]

    def open_files(self, step: str) -> list[str]:
        """Return the files, or rows, that are no images and have open failures at a step, oldest first."""
        failures = t.failures.c
        chosen = failures.step == step, failures.image_id.is_(None), failures.closed_at.is_(None)
        return [row.file for row in self._db.rows(sa.select(failures.file).where(*chosen).order_by(failures.id))]

    def of_files(self) -> list[tuple[str, str, str]]:
        """Return (file, reason, detail) of all that is open; the newest failure of each file or row."""
        failures = t.failures.c
        statement = sa.select(failures.file, failures.reason, failures.detail).where(failures.closed_at.is_(None))
        rows = self._db.rows(statement.order_by(failures.id))
        return list({row.file: (row.file, row.reason, row.detail) for row in rows}.values())


def add_failure(
    connection: sa.Connection, image_id: int | None, file: str, step: str, reason: FailureReason, detail: str
) -> bool:
    """Add a failure, unless it is open and the last recorded for the file and step; return whether it was added."""
    values: dict[str, Any] = {"file": file[:1000], "step": step, "reason": str(reason), "detail": detail[:1000]}
    failures = t.failures.c
    last = connection.execute(
        sa.select(failures.reason, failures.detail, failures.closed_at)
        .where(failures.file == values["file"], failures.step == step)
        .order_by(failures.id.desc())
        .limit(1)
    ).first()
    if last is not None and (last.reason, last.detail, last.closed_at) == (values["reason"], values["detail"], None):
        return False
    connection.execute(t.failures.insert().values(image_id=image_id, at=now(), **values))
    return True


def close_failures(connection: sa.Connection, image_ids: Sequence[int], step: str | None = None) -> None:
    """Record that the failures of images were mended, at one step or at all."""
    failures = t.failures.c
    at_step = [] if step is None else [failures.step == step]
    for part in chunks(image_ids):
        mended = t.failures.update().where(failures.image_id.in_(part), failures.closed_at.is_(None), *at_step)
        connection.execute(mended.values(closed_at=now()))
