"""Decisions: what each run of the finalizer decided on a score, and people's reviews of held scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from xtalgrid_core.outcomes import Outcome

from . import tables as t
from .database import LedgerDatabase, is_of, now

_PAGE = 5_000
"""Rows that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run of the finalizer decided, when (UTC), and why."""

    run: str
    at: datetime
    action: str
    why: str


@dataclass(frozen=True, slots=True)
class Review:
    """A person's review of a held score."""

    at: datetime
    who: str
    verdict: Literal["approve", "reject"]


class Decisions:
    """The part of the ledger that `finalizer`, `approve` and `reject` write."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(self, run: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record the decisions of a finalizer run: score_id, inspect_id, action and csv_row of each."""
        values = [{"run": run, "at": now(), **row} for row in rows]
        if values:
            with self._db.writing() as connection:
                connection.execute(t.finalizations.insert(), values)

    def of_run(self, run: str) -> Iterator[Any]:
        """Yield the rows of one finalizer run (score_id, inspect_id, action, csv_row), in their order.

        They are read as they are asked for, because a run may have decided on all scores there are.
        """
        statement = sa.select(t.finalizations).where(t.finalizations.c.run == run).order_by(t.finalizations.c.id)
        with self._db.reading() as connection:
            yield from connection.execution_options(yield_per=_PAGE).execute(statement)

    def ids_of_run(self, run: str, score_ids: Sequence[int]) -> dict[int, int]:
        """Return the ids of one finalizer run's decisions on these scores, by score id."""
        decided = t.finalizations.c
        # By score alone: to read a large run for each part of its scores would take as long as its square.
        rows = self._db.rows_in(sa.select(decided.id, decided.run, decided.score_id), decided.score_id, score_ids)
        return {row.score_id: row.id for row in rows if row.run == run}

    def has_run(self, run: str) -> bool:
        """Tell whether there is a finalizer run of this name."""
        return self._db.scalar(sa.select(t.finalizations.c.id).where(t.finalizations.c.run == run).limit(1)) is not None

    def newest_run(self) -> str | None:
        """Return the newest run of the finalizer, or None."""
        run: str | None = self._db.scalar(
            sa.select(t.finalizations.c.run).order_by(t.finalizations.c.id.desc()).limit(1)
        )
        return run

    def of_scores(self, score_ids: Sequence[int]) -> dict[int, list[Decision]]:
        """Return all decisions on each of these scores, oldest first."""
        decisions: dict[int, list[Decision]] = {score_id: [] for score_id in score_ids}
        decided = t.finalizations.c
        for row in self._db.rows_in(sa.select(t.finalizations).order_by(decided.id), decided.score_id, score_ids):
            why = msgspec.json.decode(row.csv_row).get("why", "")
            decisions[row.score_id].append(Decision(row.run, row.at, row.action, why))
        return decisions

    def actions(self) -> dict[int, str]:
        """Return the newest decision on each score, by score id."""
        decided = t.finalizations.c
        statement = sa.select(decided.score_id, decided.action).where(decided.id.in_(newest_decisions()))
        return {row.score_id: row.action for row in self._db.rows(statement)}

    def held(self) -> list[int]:
        """Return the ids of scores that the finalizer holds back and nobody has reviewed since, newest first."""
        later, decided = t.finalizations.alias(), t.finalizations
        newer = sa.exists().where(later.c.score_id == decided.c.score_id, later.c.id > decided.c.id)
        reviewed = sa.exists().where(
            t.reviews.c.score_id == decided.c.score_id, sa.or_(t.reviews.c.at >= decided.c.at, decided.c.at > now())
        )
        statement = sa.select(decided.c.score_id).where(decided.c.action == "hold", ~newer, ~reviewed)
        return [row.score_id for row in self._db.rows(statement.order_by(decided.c.id.desc()))]

    def inspections_due(self, after: int, shadow: bool = False) -> list[int]:
        """Return the inspect ids that the finalizer has to decide on.

        These are all inspections that have a score it has not seen, a review since its last decision, or an image whose
        file was found since then with a content that was scored before. It has seen every score up to the id `after`.
        `shadow` adds inspections whose last decision was in shadow mode.
        """
        decided = sa.exists().where(t.finalizations.c.score_id == t.scores.c.id)
        decisions = sa.select(t.finalizations.c.at).where(t.finalizations.c.score_id == t.scores.c.id)
        last = decisions.order_by(t.finalizations.c.id.desc()).limit(1).scalar_subquery()

        def is_later(at: sa.Column[datetime]) -> sa.ColumnElement[bool]:
            # A decision dated ahead was made while this computer's clock was: what came since is taken for later.
            return sa.or_(at > last, last > now())

        scored = (
            sa.select(t.images.c.inspect_id)
            .join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
            .where(is_of(self._db.source, t.images.c.source), t.scores.c.outcome != str(Outcome.FAILED))
        )
        new = scored.where(t.scores.c.id > after, ~decided)
        reviewed = scored.join(t.reviews, t.reviews.c.score_id == t.scores.c.id).where(is_later(t.reviews.c.at))
        images, scores = t.images.c, t.scores.c
        decided_before = sa.exists().where(
            scores.image_id == images.id, scores.sha256 == images.sha256, is_later(images.changed_at)
        )
        put_back = sa.select(images.inspect_id).where(
            is_of(self._db.source, images.source), images.changed_at.is_not(None), decided_before
        )
        in_shadow = scored.join(t.finalizations, t.finalizations.c.score_id == t.scores.c.id).where(
            t.finalizations.c.action == "shadow", t.finalizations.c.id.in_(newest_decisions())
        )
        statements = (new, reviewed, put_back, *([in_shadow] if shadow else []))
        with self._db.reading() as connection:
            return sorted({inspect_id for statement in statements for inspect_id in connection.scalars(statement)})

    def add_reviews(self, score_ids: Sequence[int], verdict: Literal["approve", "reject"], who: str) -> None:
        """Record a person's review of held scores."""
        with self._db.writing() as connection:
            values = [{"score_id": score_id, "verdict": verdict, "who": who, "at": now()} for score_id in score_ids]
            connection.execute(t.reviews.insert(), values)

    def reviews(self, score_ids: Sequence[int]) -> dict[int, list[Review]]:
        """Return all reviews of those of these scores that have one, oldest first: the newest counts."""
        reviews: dict[int, list[Review]] = {}
        statement = sa.select(t.reviews).order_by(t.reviews.c.id)
        for row in self._db.rows_in(statement, t.reviews.c.score_id, score_ids):
            reviews.setdefault(row.score_id, []).append(Review(row.at, row.who, row.verdict))
        return reviews


def newest_decisions() -> sa.Select[Any]:
    """Select the ids of the finalizer's newest decision on each score."""
    return sa.select(sa.func.max(t.finalizations.c.id)).group_by(t.finalizations.c.score_id)
