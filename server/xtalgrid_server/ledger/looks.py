"""What a second look at crystals told: at the drop's first inspection, and in UV light. One look for each score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from xtalgrid_core.errors import FailureReason
from xtalgrid_core.fluorescence import Glow

from . import tables as t
from .database import LedgerDatabase, is_of, now
from .shapes import newest_score

_REASONS = tuple(map(str, FailureReason))


@dataclass(frozen=True, slots=True)
class Look:
    """A second look at the crystals of a score.

    Attributes
    ----------
    earlier_id, since
        The drop's image at its first inspection, and when it was taken (imager's local time); None: there is none.
    p_new
        Probability that the crystals appeared or grew since then; None if it can't be said.
    why
        Why it can't be said, or why a picture could not be read, one of `FailureReason`; else empty.
    uv_image, uv
        Name of the inspection's UV image, empty if there is none, and what it says; None: there is none, or it could
        not be read.
    at
        When the look began (UTC); None: when it is recorded.
    """

    score_id: int
    earlier_id: int | None = None
    since: datetime | None = None
    p_new: float | None = None
    why: str = ""
    uv_image: str = ""
    uv: Glow | None = None
    at: datetime | None = field(default=None, compare=False)

    @property
    def unread(self) -> str:
        """Why a picture could not be read; empty if all were."""
        return self.why if self.why in _REASONS else ""


class Looks:
    """The part of the ledger that `look_again` writes."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def of(self, score_ids: Sequence[int]) -> dict[int, Look]:
        """Return the looks at these scores, by the score's id."""
        rows = self._db.rows_in(sa.select(t.looks), t.looks.c.score_id, score_ids)
        return {
            row.score_id: Look(
                row.score_id,
                row.earlier_id,
                row.since,
                row.p_new,
                row.why,
                row.uv_image,
                row.uv and Glow(row.uv),
                row.at,
            )
            for row in rows
        }

    def unread(self) -> dict[str, int]:
        """Count the newest scores at which a picture could not be read, by reason."""
        number = sa.func.count().label("number")
        statement = (
            sa.select(t.looks.c.why, number)
            .join(t.scores, t.scores.c.id == t.looks.c.score_id)
            .join(t.images, t.images.c.id == t.scores.c.image_id)
            .where(t.looks.c.why.in_(_REASONS), t.scores.c.id == newest_score())
            .where(is_of(self._db.source, t.images.c.source))
            .group_by(t.looks.c.why)
            .order_by(number.desc(), t.looks.c.why)
        )
        return {row.why: row.number for row in self._db.rows(statement)}

    def record(self, look: Look) -> None:
        """Record a look, in place of an earlier one at the same score."""
        values = {
            "earlier_id": look.earlier_id,
            "since": look.since,
            "p_new": look.p_new,
            "why": look.why,
            "uv_image": look.uv_image,
            "uv": look.uv and str(look.uv),
            "at": look.at or now(),
        }
        with self._db.writing() as connection:
            same = t.looks.c.score_id == look.score_id
            if not connection.execute(t.looks.update().where(same).values(values)).rowcount:
                connection.execute(t.looks.insert().values(score_id=look.score_id, **values))
