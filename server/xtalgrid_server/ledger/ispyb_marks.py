"""Which marks are sub-samples in ISPyB, and the ids of their rows there: only these are ever deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from . import tables as t
from .database import LedgerDatabase, is_of, now

INSERT, MISSING, FAILED, REMOVED, LEFT = "insert", "missing", "failed", "removed", "left"
ALL = "marks"
"""What stands for all runs."""


class IspybMark(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a mark in ISPyB.

    Attributes
    ----------
    action
        `INSERT`: it is there, or was about to be if it is not done; `MISSING`: the image is not there; `FAILED`: ISPyB
        refused it; `REMOVED`: with its mark; `LEFT`: its mark was removed, but somebody had changed or used it.
    sub_sample, position, position2
        The ids of its rows.
    written
        What these were, as JSON.
    """

    mark_id: int
    run: str
    action: str
    sub_sample: int | None = None
    position: int | None = None
    position2: int | None = None
    written: str = ""
    why: str = ""
    intended_at: datetime | None = None
    is_done: bool = False
    is_undone: bool = False


class IspybMarks:
    """The part of the ledger for marks in ISPyB."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def image_ids(self, after: int, limit: int) -> list[int]:
        """Return the images with marks after an id, in the order of their ids."""
        marks, images = t.marks.c, t.images.c
        statement = (
            sa.select(marks.image_id)
            .join(t.images, images.id == marks.image_id)
            .where(marks.image_id > after, is_of(self._db.source, images.source))
            .distinct()
            .order_by(marks.image_id)
            .limit(limit)
        )
        return [row.image_id for row in self._db.rows(statement)]

    def of_images(self, image_ids: Sequence[int]) -> dict[int, IspybMark]:
        """Return what is known of the marks of these images, by mark id."""
        statement = sa.select(t.ispyb_marks).join(t.marks, t.marks.c.id == t.ispyb_marks.c.mark_id)
        return {row.mark_id: _read(row) for row in self._db.rows_in(statement, t.marks.c.image_id, image_ids)}

    def of_run(self, run: str) -> list[IspybMark]:
        """Return what a run, or `ALL`, wrote into ISPyB and is not taken back."""
        table = t.ispyb_marks.c
        statement = sa.select(t.ispyb_marks).where(table.action.in_((INSERT, LEFT)), table.undone_at.is_(None))
        if run != ALL:
            statement = statement.where(table.run == run)
        return [_read(row) for row in self._db.rows(statement.order_by(table.id))]

    def record(self, rows: Sequence[IspybMark], *, done: bool) -> None:
        """Record what became of marks, or before the commit what is going to be.

        The time of what is tried again stays that of the first try.
        """
        at = now()
        with self._db.writing() as connection:
            for row in rows:
                values = {name: getattr(row, name) for name in _NAMES}
                values |= {"why": row.why[:500], "done_at": at if done else None}
                changed = t.ispyb_marks.update().where(t.ispyb_marks.c.mark_id == row.mark_id).values(values)
                if not connection.execute(changed).rowcount:
                    connection.execute(t.ispyb_marks.insert().values(intended_at=at, **values))

    def undo(self, rows: Sequence[IspybMark], who: str) -> None:
        """Record that these were taken back; they are not written again."""
        with self._db.writing() as connection:
            for row in rows:
                chosen = t.ispyb_marks.c.mark_id == row.mark_id
                connection.execute(t.ispyb_marks.update().where(chosen).values(undone_at=now(), undone_by=who[:100]))


_NAMES = ("mark_id", "run", "action", "sub_sample", "position", "position2", "written")


def _read(row: Any) -> IspybMark:
    values = {name: getattr(row, name) for name in (*_NAMES, "why", "intended_at")}
    return IspybMark(is_done=row.done_at is not None, is_undone=row.undone_at is not None, **values)
