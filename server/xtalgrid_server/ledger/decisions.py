"""What happens to scores: the finalizer's decisions, people's reviews, and what was published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase
from .records import Verdict, newest_decisions, now


class Decisions:
    """The part of the ledger that `finalizer`, `approve`, `reject` and `set_autoscore` write."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add_finalizations(self, run: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record the decisions of a finalizer run: score_id, inspect_id, action and csv_row of each."""
        values = [{"run": run, "at": now(), **row} for row in rows]
        if values:
            with self._db.writing() as connection:
                connection.execute(t.finalizations.insert(), values)

    def finalizations(self, run: str) -> list[Any]:
        """Return the rows of one finalizer run (score_id, inspect_id, action, csv_row), in their order."""
        with self._db.reading() as connection:
            statement = sa.select(t.finalizations).where(t.finalizations.c.run == run).order_by(t.finalizations.c.id)
            return list(connection.execute(statement))

    def newest_run(self) -> str | None:
        """Return the newest run of the finalizer, or None."""
        with self._db.reading() as connection:
            return connection.scalar(sa.select(t.finalizations.c.run).order_by(t.finalizations.c.id.desc()).limit(1))

    def published_scores(self, inspect_ids: Sequence[int]) -> dict[int, int]:
        """Return the newest score written to the score table for each of these inspections, by inspect id."""
        found: dict[int, int] = {}
        with self._db.reading() as connection:
            for part in chunks(inspect_ids):
                statement = (
                    sa.select(t.publications.c.inspect_id, sa.func.max(t.publications.c.score_id).label("score_id"))
                    .where(t.publications.c.inspect_id.in_(part), t.publications.c.done_at.is_not(None), ~_is_undone)
                    .group_by(t.publications.c.inspect_id)
                )
                found.update({row.inspect_id: row.score_id for row in connection.execute(statement)})
        return found

    def actions(self) -> dict[int, str]:
        """Return the newest decision on each score, by score id."""
        statement = sa.select(t.finalizations.c.score_id, t.finalizations.c.action).where(
            t.finalizations.c.id.in_(newest_decisions())
        )
        with self._db.reading() as connection:
            return {row.score_id: row.action for row in connection.execute(statement)}

    def add_reviews(self, score_ids: Sequence[int], verdict: Verdict, who: str) -> None:
        """Record a person's verdict on held scores."""
        with self._db.writing() as connection:
            values = [{"score_id": score_id, "verdict": verdict, "who": who, "at": now()} for score_id in score_ids]
            connection.execute(t.reviews.insert(), values)

    def verdicts(self, score_ids: Sequence[int]) -> dict[int, tuple[Verdict, str]]:
        """Return the newest (verdict, who) on each of these scores that has one."""
        found: dict[int, tuple[Verdict, str]] = {}
        with self._db.reading() as connection:
            for part in chunks(score_ids):
                statement = sa.select(t.reviews).where(t.reviews.c.score_id.in_(part)).order_by(t.reviews.c.id)
                found.update({row.score_id: (row.verdict, row.who) for row in connection.execute(statement)})
        return found

    def intend(self, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record what is about to be written to the score table, before it is written.

        A run that was killed records its intentions again. Rows that it finds already written (``same``) keep their
        first record, which has the row as it was before; all others get the new one.
        """
        with self._db.writing() as connection:
            there: dict[int, Any] = {}
            for part in chunks([row["score_id"] for row in rows]):
                known = sa.select(t.publications.c.score_id, t.publications.c.done_at).where(
                    t.publications.c.run == run, t.publications.c.score_id.in_(part)
                )
                there.update({row.score_id: row.done_at for row in connection.execute(known)})
            new = [row for row in rows if row["score_id"] not in there]
            if new:
                connection.execute(t.publications.insert(), [{"run": run, "intended_at": now(), **row} for row in new])
            for row in rows:
                if there.get(row["score_id"], row) is None and row["action"] != "same":
                    same = (t.publications.c.run == run, t.publications.c.score_id == row["score_id"])
                    connection.execute(t.publications.update().where(*same).values(**row))

    def done(self, run: str, score_ids: Sequence[int]) -> None:
        """Record that these rows of a run are in the score table."""
        with self._db.writing() as connection:
            for part in chunks(score_ids):
                connection.execute(
                    t.publications.update()
                    .where(
                        t.publications.c.run == run,
                        t.publications.c.score_id.in_(part),
                        t.publications.c.done_at.is_(None),
                    )
                    .values(done_at=now())
                )

    def publications(self, run: str) -> dict[int, Any]:
        """Return what a run wrote, by score id."""
        with self._db.reading() as connection:
            statement = sa.select(t.publications).where(t.publications.c.run == run)
            return {row.score_id: row for row in connection.execute(statement)}

    def later_runs(self, run: str) -> dict[int, str]:
        """Return the newest later run that also wrote there and was not undone, by inspect id."""
        mine, later = t.publications.alias("mine"), t.publications
        statement = (
            sa.select(later.c.inspect_id, later.c.run)
            .join_from(later, mine, sa.and_(mine.c.inspect_id == later.c.inspect_id, later.c.id > mine.c.id))
            .where(mine.c.run == run, later.c.run != run, later.c.action.in_(("insert", "replace")), ~_is_undone)
            .order_by(later.c.id)
        )
        with self._db.reading() as connection:
            return {row.inspect_id: row.run for row in connection.execute(statement)}

    def undo(self, publication_ids: Sequence[int], who: str) -> None:
        """Record that these publications were taken back, each only once."""
        with self._db.writing() as connection:
            there: set[int] = set()
            for part in chunks(publication_ids):
                known = sa.select(t.undone.c.publication_id).where(t.undone.c.publication_id.in_(part))
                there.update(connection.scalars(known))
            new = [{"publication_id": key, "who": who, "at": now()} for key in publication_ids if key not in there]
            if new:
                connection.execute(t.undone.insert(), new)

    def undone_scores(self, run: str | None = None) -> set[int]:
        """Return the scores whose publication, by this run or by any, was taken back."""
        statement = sa.select(t.publications.c.score_id).join(
            t.undone, t.undone.c.publication_id == t.publications.c.id
        )
        with self._db.reading() as connection:
            return set(connection.scalars(statement if run is None else statement.where(t.publications.c.run == run)))


_is_undone = sa.exists().where(t.undone.c.publication_id == t.publications.c.id)
