"""What `set_autoscore` wrote into ISPyB, with what was there before: ISPyB itself keeps neither time nor model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import sqlalchemy as sa

from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, now
from .publications import IS_UNDONE, PUBLISHED

MISSING, WITHOUT, REFUSED = "missing", "without", "refused"
"""Actions: the image is not in ISPyB; the score has no four probabilities; ISPyB refuses its rows."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A publication that ISPyB has not got yet."""

    publication_id: int
    score_id: int
    was_refused: bool


@dataclass(frozen=True, slots=True)
class IspybPublication:
    """A score for ISPyB.

    Attributes
    ----------
    image
        blSampleImageId; None if the image is not there.
    action
        insert, replace, same, `MISSING`, `WITHOUT` or `REFUSED`.
    four, previous
        Probabilities by class, ours and those that were there; empty: none.
    """

    publication_id: int
    schema: str
    image: int | None
    action: str
    four: dict[str, float]
    previous: dict[str, float]
    why: str = ""


class IspybPublications:
    """The part of the ledger for ISPyB."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def waiting(self, schema: str, since: datetime, after: int, limit: int) -> list[Waiting]:
        """Return publications that are to be written into a schema, in the order of their ids.

        Of each inspection, only the newest publication that stands counts. Images that were missing, and what was
        refused, are tried again if that was first recorded after `since`.
        """
        published, done = t.publications, t.ispyb_publications.c
        newer = t.publications.alias("newer")
        is_newer_undone = sa.exists().where(t.undone.c.publication_id == newer.c.id)
        is_old = sa.exists().where(
            newer.c.inspect_id == published.c.inspect_id,
            newer.c.id > published.c.id,
            newer.c.done_at.is_not(None),
            newer.c.action.in_(PUBLISHED),
            ~is_newer_undone,
        )
        is_done = sa.exists().where(
            done.publication_id == published.c.id,
            done.schema == schema,
            done.done_at.is_not(None),
            done.action.not_in((MISSING, REFUSED)) | (done.intended_at < since),
        )
        is_refused = sa.exists().where(
            done.publication_id == published.c.id, done.schema == schema, done.action == REFUSED
        )
        statement = (
            sa.select(published.c.id, published.c.score_id, is_refused.label("was_refused"))
            .where(published.c.id > after, published.c.done_at.is_not(None), published.c.action.in_(PUBLISHED))
            .where(~is_done, ~IS_UNDONE, ~is_old)
            .order_by(published.c.id)
            .limit(limit)
        )
        return [Waiting(row.id, row.score_id, bool(row.was_refused)) for row in self._db.rows(statement)]

    def intend(self, rows: Sequence[IspybPublication]) -> None:
        """Record what is about to be written, before it is written.

        A run that was killed records its intentions again. What it finds already written (``same``) keeps its first
        record, which has what was there before; all others get the new one, but for the time, and are to be done again.
        """
        table = t.ispyb_publications
        with self._db.writing() as connection:
            known: dict[tuple[int, str], tuple[int, str]] = {}
            for part in chunks([row.publication_id for row in rows]):
                chosen = sa.select(table.c.id, table.c.publication_id, table.c.schema, table.c.action)
                for row in connection.execute(chosen.where(table.c.publication_id.in_(part))):
                    known[row.publication_id, row.schema] = row.id, row.action
            for each in rows:
                values = _values(each)
                key, action = known.get((each.publication_id, each.schema), (None, ""))
                if key is None:
                    connection.execute(table.insert().values(intended_at=now(), **values))
                elif each.action != "same" or action in (MISSING, WITHOUT, REFUSED):
                    connection.execute(table.update().where(table.c.id == key).values(done_at=None, **values))

    def set_done(self, rows: Sequence[IspybPublication]) -> None:
        """Record that this is in ISPyB now, or can't be."""
        table = t.ispyb_publications
        with self._db.writing() as connection:
            for row in rows:
                chosen = table.c.publication_id == row.publication_id, table.c.schema == row.schema
                connection.execute(table.update().where(*chosen).values(done_at=now()))

    def of_run(self, run: str) -> list[IspybPublication]:
        """Return what a run of the finalizer brought into ISPyB and is not taken back, in the order of writing."""
        table = t.ispyb_publications
        statement = (
            sa.select(table)
            .join(t.publications, t.publications.c.id == table.c.publication_id)
            .where(t.publications.c.run == run, table.c.undone_at.is_(None))
            .order_by(table.c.id)
        )
        return [
            IspybPublication(
                row.publication_id, row.schema, row.image, row.action, _read(row.four), _read(row.previous), row.why
            )
            for row in self._db.rows(statement)
        ]

    def later_runs(self, run: str) -> dict[tuple[str, int], str]:
        """Return the newest later run that changed an image's scores and is not taken back, by schema and image."""
        table, mine = t.ispyb_publications, t.ispyb_publications.alias("mine")
        of_mine = t.publications.alias("of_mine")
        statement = (
            sa.select(table.c.schema, table.c.image, t.publications.c.run)
            .join(t.publications, t.publications.c.id == table.c.publication_id)
            .join(mine, sa.and_(mine.c.image == table.c.image, mine.c.schema == table.c.schema))
            .join(of_mine, of_mine.c.id == mine.c.publication_id)
            .where(of_mine.c.run == run, t.publications.c.run != run, table.c.id > mine.c.id)
            .where(table.c.action.in_(("insert", "replace")), table.c.undone_at.is_(None))
            .order_by(table.c.id)
        )
        return {(row.schema, row.image): row.run for row in self._db.rows(statement)}

    def undo(self, rows: Sequence[IspybPublication], who: str) -> None:
        """Record that these were taken back."""
        table = t.ispyb_publications
        with self._db.writing() as connection:
            for row in rows:
                chosen = table.c.publication_id == row.publication_id, table.c.schema == row.schema
                connection.execute(table.update().where(*chosen).values(undone_at=now(), undone_by=who))


def _values(row: IspybPublication) -> dict[str, object]:
    return {
        "publication_id": row.publication_id,
        "schema": row.schema,
        "image": row.image,
        "action": row.action,
        "four": _text(row.four),
        "previous": _text(row.previous),
        "why": row.why[:500],
    }


def _text(four: dict[str, float]) -> str:
    return msgspec.json.encode(four).decode() if four else ""


def _read(text: str) -> dict[str, float]:
    return msgspec.json.decode(text, type=dict[str, float]) if text else {}
