"""The history of scores: the finalizer's decisions, reviews, and rows written to the score table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase


@dataclass(frozen=True, slots=True)
class Decided:
    """What a run of the finalizer decided, when (UTC), and why."""

    run: str
    at: datetime
    action: str
    why: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A person's verdict on a held score: ``approve`` or ``reject``."""

    at: datetime
    who: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Written:
    """A row for the score table: `action` is insert, replace, same or keep.

    `done` is None until the row is known to be written. `previous` is our row as it was before, as text. `undone` is
    None unless the row was taken back.
    """

    run: str
    at: datetime
    code: str
    action: str
    why: str
    previous: str
    done: datetime | None
    undone: datetime | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class Trail:
    """The history of one score, each part oldest first."""

    decided: tuple[Decided, ...] = ()
    reviewed: tuple[Reviewed, ...] = ()
    written: tuple[Written, ...] = ()


class Trails:
    """The part of the ledger that reads the history of scores."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def of(self, score_ids: Sequence[int]) -> dict[int, Trail]:
        """Return the history of each of these scores."""
        found: dict[int, tuple[list[Decided], list[Reviewed], list[Written]]] = {
            score_id: ([], [], []) for score_id in score_ids
        }
        with self._db.reading() as connection:
            for part in chunks(score_ids):
                for row in connection.execute(_rows(t.finalizations, part)):
                    why = msgspec.json.decode(row.csv_row).get("why", "")
                    found[row.score_id][0].append(Decided(row.run, row.at, row.action, why))
                for row in connection.execute(_rows(t.reviews, part)):
                    found[row.score_id][1].append(Reviewed(row.at, row.who, row.verdict))
                written = _rows(t.publications, part).add_columns(
                    t.undone.c.at.label("undone"), t.undone.c.who.label("undone_by")
                )
                joined = t.publications.outerjoin(t.undone, t.undone.c.publication_id == t.publications.c.id)
                for row in connection.execute(written.select_from(joined)):
                    found[row.score_id][2].append(_written(row))
        return {score_id: Trail(tuple(d), tuple(r), tuple(w)) for score_id, (d, r, w) in found.items()}

    def hashes(self, score_ids: Sequence[int]) -> dict[int, str]:
        """Return the SHA-256 of the image file of each of these scores."""
        found: dict[int, str] = {}
        with self._db.reading() as connection:
            for part in chunks(score_ids):
                statement = sa.select(t.scores.c.id, t.scores.c.sha256).where(t.scores.c.id.in_(part))
                found.update({row.id: row.sha256 for row in connection.execute(statement)})
        return found


def _rows(table: sa.Table, score_ids: Sequence[int]) -> sa.Select[Any]:
    return sa.select(table).where(table.c.score_id.in_(score_ids)).order_by(table.c.id)


def _written(row: Any) -> Written:
    return Written(
        run=row.run,
        at=row.intended_at,
        code=row.code,
        action=row.action,
        why=row.why,
        previous=row.previous,
        done=row.done_at,
        undone=row.undone,
        undone_by=row.undone_by,
    )
