"""Which images without a score only wait: their files may still be completed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import FailureReason

from . import tables as t
from .database import now

_TRUNCATED = str(FailureReason.TRUNCATED)


def may_be_completed(reason: str, since: datetime, modified: int | None, held: timedelta) -> bool:
    """Tell whether an image's file may still be completed: it changed, and was first found incomplete, lately.

    Parameters
    ----------
    reason, since
        Why it has no score, and since when (UTC).
    modified
        Time of the file, as in `FileState`; None or 0 if it is not known.
    held
        How long a file is waited for, ``import.give_up_hours``.
    """
    changed = datetime.fromtimestamp(modified / 1e9, UTC).replace(tzinfo=None) if modified else now()
    return reason == _TRUNCATED and now() - min(since, changed) < held


def newest_failures(rows: Iterable[Any]) -> dict[int, tuple[Any, datetime]]:
    """Return the last row of each image, and since when its reason was the same; `rows` are of `failures`, by id."""
    newest: dict[int, tuple[Any, datetime]] = {}
    for row in rows:
        before = newest.get(row.image_id)
        since = before[1] if before is not None and before[0].reason == row.reason else row.at
        newest[row.image_id] = row, since
    return newest


def has_failed(held: timedelta) -> sa.ColumnElement[bool]:
    """Return the condition that an image without a score failed: its newest open failure, unless it only waits."""
    failures, others, images = t.failures.c, t.failures.alias(), t.images.c
    is_open = others.c.image_id == images.id, others.c.closed_at.is_(None)
    newest = sa.select(sa.func.max(others.c.id)).where(*is_open).correlate(t.images).scalar_subquery()
    first = now() - held
    is_late = sa.or_(
        failures.reason != _TRUNCATED,
        failures.at <= first,
        sa.and_(images.modified != 0, images.modified <= int(first.replace(tzinfo=UTC).timestamp() * 1e9)),
    )
    return sa.exists().where(failures.id == newest, is_late).correlate(t.images)
