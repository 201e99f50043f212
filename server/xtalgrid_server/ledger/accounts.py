"""Where each image stands: scored, failed, changed since it was scored, or waiting for its first score."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..imager.crystaltrak.database import ESCAPE, like_pattern
from . import tables as t
from .database import LedgerDatabase
from .shapes import newest_score
from .waiting import may_be_completed

Standing = Literal["scored", "failed", "changed", "none"]

_HAS_SCORE_OF_FILE = sa.or_(t.images.c.sha256 == "", t.images.c.sha256 == t.scores.c.sha256)
_STANDING = sa.case(
    (t.scores.c.id.is_(None), "none"),
    (~_HAS_SCORE_OF_FILE, "changed"),
    (t.scores.c.outcome == str(Outcome.FAILED), "failed"),
    else_="scored",
).label("standing")
_FAILED_BY_WORKERS = t.scores.join(t.images, t.images.c.id == t.scores.c.image_id)
_IS_FAILED = t.scores.c.outcome == str(Outcome.FAILED), t.scores.c.id == newest_score(), _HAS_SCORE_OF_FILE
_WITH_SCORES = t.images.outerjoin(t.scores, t.scores.c.id == newest_score())


@dataclass(frozen=True, slots=True)
class OpenFailure:
    """Why an image, a file or a row of the imager database has no score of what it is now.

    `at` (UTC) is when this was found, `since` when this reason was; `waits` whether the file may still be completed.
    `image` is (inspect id, image name), None for a file that is no image.
    """

    file: str
    step: str
    reason: str
    detail: str
    at: datetime
    since: datetime
    waits: bool
    image: tuple[int, str] | None


class Accounts:
    """The part of the ledger that tells where images stand."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def counts(self) -> collections.Counter[str]:
        """Count all images by standing; of those that are scored, only an index is read."""
        images, scores = t.images.c, t.scores.alias()
        of_image = scores.c.image_id == images.id
        has_score = sa.exists().where(of_image, scores.c.sha256 == images.sha256) | sa.and_(
            images.sha256 == "", sa.exists().where(of_image)
        )
        of_source = images.source == self._db.source
        others = sa.select(_STANDING).select_from(_WITH_SCORES).where(of_source, ~has_score).subquery()
        with self._db.reading() as connection:
            total = connection.scalar(sa.select(sa.func.count()).select_from(t.images).where(of_source)) or 0
            rows = connection.execute(sa.select(others.c.standing, sa.func.count()).group_by(others.c.standing))
            counts = collections.Counter({row[0]: int(row[1]) for row in rows})
            failed = sa.select(sa.func.count()).select_from(_FAILED_BY_WORKERS).where(of_source, *_IS_FAILED)
            counts["failed"] = connection.scalar(failed) or 0
        counts["scored"] = total - counts.total()
        return counts

    def fitting(self, patterns: Sequence[str], exclude: Sequence[str]) -> int:
        """Count the images, planned or passed over, whose names match these patterns as the imager database does."""

        def number(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
            def fits(wildcards: str) -> sa.ColumnElement[bool]:
                return table.c.image_name.ilike(like_pattern(wildcards), escape=ESCAPE)

            ours = sa.or_(*map(fits, patterns)), *(~fits(each) for each in exclude)
            chosen = table.c.source == self._db.source, *ours, *where
            return sa.select(sa.func.count()).select_from(table).where(*chosen).scalar_subquery()

        images, passed_over = t.images.c, t.passed_over.c
        same = images.source == passed_over.source, images.inspect_id == passed_over.inspect_id
        is_planned = sa.exists().where(*same, images.image_name == passed_over.image_name)
        return int(self._db.scalar(sa.select(number(t.images) + number(t.passed_over, ~is_planned))) or 0)

    def of(self, images: Sequence[ImageRow]) -> dict[tuple[int, str], Standing]:
        """Return where these images stand, by (inspect id, image name); those the ledger doesn't know are missing."""
        columns = t.images.c.inspect_id, t.images.c.image_name
        statement = sa.select(*columns, _STANDING).select_from(_WITH_SCORES)
        statement = statement.where(t.images.c.source == self._db.source)
        ids = sorted({image.inspect_id for image in images})
        found = {(row[0], row[1]): row[2] for row in self._db.rows_in(statement, columns[0], ids)}
        wanted = ((image.inspect_id, image.image_name) for image in images)
        return {key: found[key] for key in wanted if key in found}

    def failures(self) -> list[OpenFailure]:
        """Return the newest open failure of each image, file or row without a score of what it is now, oldest first."""
        failed = t.failures.c
        images = t.images.c.inspect_id, t.images.c.image_name, t.images.c.modified
        recorded = (
            sa.select(t.failures, *images, _STANDING)
            .select_from(t.failures.outerjoin(_WITH_SCORES, t.images.c.id == failed.image_id))
            .where(failed.closed_at.is_(None))
            .order_by(failed.id)
        )
        by_workers = (
            sa.select(*images, t.scores.c.answer, t.scores.c.at)
            .select_from(_FAILED_BY_WORKERS)
            .where(t.images.c.source == self._db.source, *_IS_FAILED)
        )
        newest: dict[tuple[int, str] | str, OpenFailure] = {}
        for row in self._db.rows(recorded):
            image = None if row.image_id is None else (row.inspect_id, row.image_name)
            if image is None or row.standing in ("none", "changed"):
                key = image or row.file
                before = newest.get(key)
                since = before.since if before is not None and before.reason == row.reason else row.at
                waits = image is not None and may_be_completed(row.reason, since, row.modified, self._db.held)
                newest[key] = OpenFailure(row.file, row.step, row.reason, row.detail, row.at, since, waits, image)
        for row in self._db.rows(by_workers):
            newest[row.inspect_id, row.image_name] = _by_worker(row)
        return sorted(newest.values(), key=lambda failure: failure.at)


def _by_worker(row: Any) -> OpenFailure:
    answer = wire.decode_answer(row.answer.encode())
    assert isinstance(answer, wire.Failed), answer
    image = row.inspect_id, row.image_name
    return OpenFailure(row.image_name, "worker", str(answer.reason), answer.detail, row.at, row.at, False, image)
