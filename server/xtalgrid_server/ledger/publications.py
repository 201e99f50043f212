"""Publications: the rows that `set_autoscore` wrote into the imager's score table, or left alone, and took back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.outcomes import Outcome

from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, now
from .images import scored_by_somebody
from .shapes import newest_score

ELSEWHERE = "elsewhere"
"""The action for a score that is not written to the score table, but to other places (``publish.score_table``)."""
PUBLISHED = ("insert", "replace", "same", ELSEWHERE)
"""Actions after which a score is published."""

WRITTEN = ("insert", "replace")
"""Actions that wrote a row of the score table."""

IS_UNDONE = sa.exists().where(t.undone.c.publication_id == t.publications.c.id)


@dataclass(frozen=True, slots=True)
class Publication:
    """A row for the score table: `action` is insert, replace, same, keep or `ELSEWHERE`.

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


class Publications:
    """The part of the ledger that `set_autoscore` writes."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def intend(self, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record what is about to be written to the score table, before it is written.

        A run that was killed records its intentions again. Rows that it finds already written (``same``) keep their
        first record, which has the row as it was before; all others get the new one.
        """
        with self._db.writing() as connection:
            known: dict[int, Any] = {}
            for part in chunks([row["score_id"] for row in rows]):
                statement = sa.select(t.publications.c.score_id, t.publications.c.done_at).where(
                    t.publications.c.run == run, t.publications.c.score_id.in_(part)
                )
                known.update({row.score_id: row.done_at for row in connection.execute(statement)})
            new = [row for row in rows if row["score_id"] not in known]
            if new:
                connection.execute(t.publications.insert(), [{"run": run, "intended_at": now(), **row} for row in new])
            for row in rows:
                if known.get(row["score_id"], row) is None and row["action"] != "same":
                    same = (t.publications.c.run == run, t.publications.c.score_id == row["score_id"])
                    connection.execute(t.publications.update().where(*same).values(**row))

    def set_done(self, run: str, score_ids: Sequence[int]) -> None:
        """Record that these rows of a run are in the score table."""
        written = t.publications.c
        with self._db.writing() as connection:
            for part in chunks(score_ids):
                chosen = written.run == run, written.score_id.in_(part), written.done_at.is_(None)
                connection.execute(t.publications.update().where(*chosen).values(done_at=now()))

    def of_run(self, run: str) -> dict[int, Any]:
        """Return what a run wrote, by score id."""
        statement = sa.select(t.publications).where(t.publications.c.run == run)
        return {row.score_id: row for row in self._db.rows(statement)}

    def of_scores(self, score_ids: Sequence[int]) -> dict[int, list[Publication]]:
        """Return all publications of each of these scores, oldest first."""
        statement = sa.select(
            t.publications, t.undone.c.at.label("undone"), t.undone.c.who.label("undone_by")
        ).select_from(t.publications.outerjoin(t.undone, t.undone.c.publication_id == t.publications.c.id))
        publications: dict[int, list[Publication]] = {score_id: [] for score_id in score_ids}
        for row in self._db.rows_in(statement.order_by(t.publications.c.id), t.publications.c.score_id, score_ids):
            publications[row.score_id].append(
                Publication(
                    row.run,
                    row.intended_at,
                    row.code,
                    row.action,
                    row.why,
                    row.previous,
                    row.done_at,
                    row.undone,
                    row.undone_by,
                )
            )
        return publications

    def newest_decisions(self, inspect_ids: Sequence[int]) -> dict[int, int]:
        """Return the newest decision that was written to the score table for each inspection, by inspect id.

        Scores don't tell what is newer: a file that is put back has the score of its content again.
        """
        written, decided = t.publications.c, t.finalizations.c
        same = sa.and_(decided.run == written.run, decided.score_id == written.score_id)
        statement = (
            sa.select(written.inspect_id, sa.func.max(decided.id).label("decision"))
            .join_from(t.publications, t.finalizations, same)
            .where(written.done_at.is_not(None), ~IS_UNDONE)
            .group_by(written.inspect_id)
        )
        return {row.inspect_id: row.decision for row in self._db.rows_in(statement, written.inspect_id, inspect_ids)}

    def outdated(self, programs: Sequence[str]) -> int:
        """Count the images that are undecided now, by their newest score, while the score table has an earlier one.

        Those that a person scored are left out; `programs` are SCOREDBY names of programs.
        """
        written, scores, later = t.publications, t.scores.alias("published"), t.publications.alias("later")
        stands = written.c.done_at.is_not(None), written.c.action.in_(WRITTEN), ~IS_UNDONE
        is_last = ~sa.exists().where(
            later.c.inspect_id == written.c.inspect_id, later.c.id > written.c.id, later.c.action.in_(WRITTEN)
        )
        is_there = (
            sa.exists()
            .where(written.c.inspect_id == t.images.c.inspect_id, *stands, is_last)
            .where(scores.c.id == written.c.score_id, scores.c.image_id == t.images.c.id)
        )
        statement = (
            sa.select(sa.func.count()).select_from(t.scores).join(t.images, t.images.c.id == t.scores.c.image_id)
        )
        undecided = t.scores.c.outcome == str(Outcome.UNDECIDED), t.scores.c.id == newest_score()
        return int(self._db.scalar(statement.where(*undecided, is_there, ~scored_by_somebody(programs))) or 0)

    def later_runs(self, run: str) -> dict[int, str]:
        """Return the newest later run that also wrote there and was not undone, by inspect id."""
        mine, later = t.publications.alias("mine"), t.publications
        statement = (
            sa.select(later.c.inspect_id, later.c.run)
            .join_from(later, mine, sa.and_(mine.c.inspect_id == later.c.inspect_id, later.c.id > mine.c.id))
            .where(mine.c.run == run, later.c.run != run, later.c.action.in_(WRITTEN), ~IS_UNDONE)
            .order_by(later.c.id)
        )
        return {row.inspect_id: row.run for row in self._db.rows(statement)}

    def undo(self, publication_ids: Sequence[int], who: str) -> None:
        """Record that these publications were taken back, each only once."""
        with self._db.writing() as connection:
            known: set[int] = set()
            for part in chunks(publication_ids):
                undone = sa.select(t.undone.c.publication_id).where(t.undone.c.publication_id.in_(part))
                known.update(connection.scalars(undone))
            new = [{"publication_id": key, "who": who, "at": now()} for key in publication_ids if key not in known]
            if new:
                connection.execute(t.undone.insert(), new)

    def undone_scores(self, run: str | None = None) -> set[int]:
        """Return the scores whose publication, by this run or by any, was taken back."""
        statement = sa.select(t.publications.c.score_id).join(
            t.undone, t.undone.c.publication_id == t.publications.c.id
        )
        if run is not None:
            statement = statement.where(t.publications.c.run == run)
        return {row.score_id for row in self._db.rows(statement)}
