"""Files without a score: which step failed on them, and why. Rows are only added."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import FailureReason

from ..domain.images import ImageRow
from . import tables as t
from .database import LedgerDatabase, now
from .entering import enter_images

_IS_SCORED = sa.exists().where(t.scores.c.image_id == t.failures.c.image_id)


class Failures:
    """The part of the ledger for files that could not be read, packed or scored."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(self, file: str, step: str, reason: FailureReason, detail: str, image: ImageRow | None = None) -> None:
        """Record that an image or file got no score, unless this failure is the last recorded for the file and step."""
        with self._db.writing() as connection:
            image_id = enter_images(connection, self._db.source, [image])[0] if image else None
            add_failure(connection, image_id, file, step, reason, detail)

    def of_files(self, files: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
        """Return (file, reason, detail) of all files or these that have no score; the newest failure of each."""
        failures = t.failures.c
        statement = sa.select(failures.file, failures.reason, failures.detail).where(~_IS_SCORED).order_by(failures.id)
        rows = self._db.rows(statement) if files is None else self._db.rows_in(statement, failures.file, files)
        return list({row.file: (row.file, row.reason, row.detail) for row in rows}.values())

    def newest(self, limit: int) -> tuple[dict[str, int], list[tuple[datetime, str, str, str, str]]]:
        """Return how many files without a score failed for each reason, and the newest of them.

        These come as (at, step, file, reason, detail).
        """
        failures = t.failures.c
        reasons = sa.select(failures.reason, sa.func.count(sa.distinct(failures.file))).where(~_IS_SCORED)
        newest = sa.select(t.failures).where(~_IS_SCORED).order_by(failures.id.desc()).limit(limit)
        with self._db.reading() as connection:
            counts = {row[0]: int(row[1]) for row in connection.execute(reasons.group_by(failures.reason))}
            rows = [(r.at, r.step, r.file, r.reason, r.detail) for r in connection.execute(newest)]
        return counts, rows


def add_failure(
    connection: sa.Connection, image_id: int | None, file: str, step: str, reason: FailureReason, detail: str
) -> None:
    """Add a failure, unless it is the last recorded for the file and step."""
    values: dict[str, Any] = {"file": file[:1000], "step": step, "reason": str(reason), "detail": detail[:1000]}
    failures = t.failures.c
    last = connection.execute(
        sa.select(failures.reason, failures.detail)
        .where(failures.file == values["file"], failures.step == step)
        .order_by(failures.id.desc())
        .limit(1)
    ).first()
    if last is None or (last.reason, last.detail) != (values["reason"], values["detail"]):
        connection.execute(t.failures.insert().values(image_id=image_id, at=now(), **values))
