"""Corrections: the scores that people give in the viewer. A score taken back is a new row, not a deleted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError
from xtalgrid_core.outcomes import CLASSES, Outcome

from ..domain.images import ImageRow
from . import tables as t
from .database import LedgerDatabase, insert, is_of, now
from .image_scores import ImageScores
from .shapes import image_row
from .undoable import NothingToUndo

HURRIED = timedelta(seconds=0.5)
"""So soon after one another, nobody has looked at two drops."""

HURRIED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Correction:
    """A score that a person gave in the viewer at `at` (UTC); `outcome` None takes their earlier score back.

    `score_id` is the ARTscore they saw. `written_id` is the SCOREID of the row written for it into the imager's score
    table. `key` is the browser's name for it; None for one sent by a plain form. `undoes` is the id of the score or
    withdrawal that this one undoes; None if it undoes none. `code` is that of the lab's own set of scores; None if it
    has none, or for the outcome's.
    """

    id: int
    image_id: int
    score_id: int | None
    outcome: Outcome | None
    note: str
    who: str
    at: datetime
    written_id: int | None
    written_at: datetime | None
    key: str | None = None
    undoes: int | None = None
    code: str | None = None


def standing(own: Sequence[Correction]) -> list[Correction]:
    """Return those of a person's scores of an image that were not undone, oldest first, without the undoing ones."""
    undone = {one.undoes for one in own}
    return [one for one in own if one.undoes is None and one.id not in undone]


class Corrections(ImageScores[Correction]):
    """The part of the ledger that the viewer's score buttons write."""

    def __init__(self, database: LedgerDatabase) -> None:
        super().__init__(database, t.corrections, _correction)

    def add(
        self,
        image_id: int,
        outcome: Outcome | None,
        who: str,
        *,
        score_id: int | None = None,
        note: str = "",
        key: str | None = None,
        at: datetime | None = None,
        undoes: int | None = None,
        session: str | None = None,
        code: str | None = None,
    ) -> Correction | None:
        """Record a person's score of an image: one without a key that undoes none, unless it is the same as before.

        Parameters
        ----------
        outcome
            One of the 13 classes; None takes their earlier score back.
        score_id
            The ARTscore they saw.
        key
            What the browser calls this score. It is always recorded, also if it changes nothing, so that the same key
            is never recorded a second time.
        at
            When it was given (UTC); None: now.
        undoes
            The id of the correction that this one undoes.
        session
            Names the session of the browser.
        code
            That of the lab's own set of scores; None: the outcome's.

        Returns
        -------
        Correction or None
            The person's current score, or the one recorded under this key before; None if there was nothing to take
            back.

        Raises
        ------
        NothingToUndo
            If what it undoes is no longer the person's last score of the image that stands.
        LedgerError
            If there is no such image, or `who` is empty.
        ValueError
            If the outcome is not one that a person can give.
        """
        if outcome is not None and outcome not in CLASSES:
            raise ValueError(f"{outcome}: a person's score must be one of {', '.join(CLASSES)}")
        who, note = who.strip()[:100], note.strip()[:500]
        if not who:
            raise LedgerError("a correction needs the name of the person who made it")
        with self._db.writing() as connection:
            earlier = _newest_by(who).where(t.corrections.c.image_id == image_id)
            if key is not None:
                known = connection.execute(sa.select(t.corrections).where(t.corrections.c.key == key)).first()
                if known is not None:
                    return _correction(known)
            elif undoes is None:
                row = connection.execute(earlier).first()
                before = None if row is None else _correction(row)
                if before is None and outcome is None:
                    return None
                same = before is not None and (before.outcome, before.code) == (outcome, code)
                if before is not None and same and (before.note == note or outcome is None):
                    return before
            image = sa.select(t.images.c.id).where(t.images.c.id == image_id, t.images.c.source == self._db.source)
            if connection.scalar(image.with_for_update()) is None:  # one score of an image at a time
                raise LedgerError(f"there is no image {image_id} in the ledger; nothing was recorded")
            if undoes is not None and undoes != connection.scalar(_last_that_stands(who, image_id)):
                raise NothingToUndo("This score cannot be undone: it was undone already, or has changed since.")
            values = {
                "image_id": image_id,
                "score_id": score_id,
                "note": note,
                "who": who,
                "at": at or now(),
                "key": key,
                "undoes": undoes,
                "session": session,
                "code": code,
            }
            added = insert(connection, t.corrections, outcome=str(outcome or ""), **values)
            return _correction(connection.execute(sa.select(t.corrections).where(t.corrections.c.id == added)).one())

    def of_images(self, image_ids: Sequence[int]) -> dict[int, list[Correction]]:
        """Return all scores that people gave each of these images in the viewer, even if taken back, oldest first."""
        return {image_id: [] for image_id in image_ids} | super().of_images(image_ids)

    def inspect_ids(self) -> list[int]:
        """Return the inspections whose images people scored in the viewer, even if they took all scores back."""
        return self._inspect_ids()

    def in_force(self, barcodes: Sequence[str]) -> list[tuple[ImageRow, Correction]]:
        """Return the scores of these plates that people gave in the viewer and have not replaced or taken back."""
        images, made, later = t.images.c, t.corrections.c, t.corrections.alias()
        replaced = sa.exists().where(later.c.image_id == made.image_id, later.c.who == made.who, later.c.id > made.id)
        statement = sa.select(t.corrections).join(t.images, images.id == made.image_id)
        statement = statement.where(is_of(self._db.source, images.source), made.outcome != "", ~replaced)
        current = [_correction(row) for row in self._db.rows_in(statement, images.barcode, barcodes)]
        rows = self._db.rows_in(sa.select(t.images), images.id, {one.image_id for one in current})
        image_rows = {row.id: image_row(row) for row in rows}
        return [(image_rows[one.image_id], one) for one in current]

    def with_key(self, key: str) -> Correction | None:
        """Return the score that was recorded under a browser's key, or None."""
        statement = sa.select(t.corrections).where(t.corrections.c.key == key)
        return next(map(_correction, self._db.rows(statement)), None)

    def hurried(self, limit: int) -> list[tuple[Correction, int]]:
        """Return scores that a person gave within half a second of their score of another image, newest first.

        Those without a key may be on the wrong drop, as earlier versions stored quick typing; of those with one, which
        are on the right drop, only the last `HURRIED_DAYS` are read. What the person has replaced since is left out.

        Returns
        -------
        list
            Each as (score, id of the other image), at most `limit`.
        """
        made = t.corrections.c

        def beside(neighbour: Any, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[Any]:
            of_person = neighbour(column, type_=column.type)
            in_order: sa.ColumnElement[Any] = of_person.over(partition_by=made.who, order_by=(made.at, made.id))
            return in_order.label(name)

        neighbours = sa.select(
            made.id,
            beside(sa.func.lag, made.image_id, "image_before"),
            beside(sa.func.lag, made.at, "at_before"),
            beside(sa.func.lead, made.image_id, "image_after"),
            beside(sa.func.lead, made.at, "at_after"),
        ).where(made.key.is_(None) | (made.at >= now() - timedelta(days=HURRIED_DAYS)))
        near = neighbours.subquery()
        later = t.corrections.alias()
        replaced = sa.exists().where(later.c.image_id == made.image_id, later.c.who == made.who, later.c.id > made.id)
        statement = (
            sa.select(t.corrections, near)
            .join(near, near.c.id == made.id)
            .join(t.images, t.images.c.id == made.image_id)
            .where(is_of(self._db.source, t.images.c.source), made.outcome != "", ~replaced)
            .order_by(made.id.desc())
        )
        found: list[tuple[Correction, int]] = []
        for row in self._db.rows(statement):
            for other, at in ((row.image_before, row.at_before), (row.image_after, row.at_after)):
                if other not in (None, row.image_id) and abs(row.at - at) <= HURRIED:
                    found.append((_correction(row), other))
                    break
            if len(found) == limit:
                break
        return found

    def by_id(self, correction: int) -> Correction | None:
        """Return a correction by its id, or None."""
        statement = sa.select(t.corrections).where(t.corrections.c.id == correction)
        return next(map(_correction, self._db.rows(statement)), None)

    def last_standing(self, who: str, session: str, since: datetime) -> Correction | None:
        """Return the last score that a person gave or withdrew in a session since then (UTC), and has not undone.

        One that they replaced later, in whichever session, is passed over.
        """
        made, later = t.corrections.c, t.corrections.alias()
        replaced = sa.exists().where(
            later.c.image_id == made.image_id, later.c.who == made.who, later.c.id > made.id, *_stands(later.c)
        )
        chosen = made.who == who, made.session == session, made.at >= since, *_stands(made), ~replaced
        statement = sa.select(t.corrections).where(*chosen).order_by(made.id.desc()).limit(1)
        return next(map(_correction, self._db.rows(statement)), None)

    def set_written(self, correction: int, score_id: int) -> None:
        """Record that a correction is in the imager's score table, as the row with this SCOREID."""
        with self._db.writing() as connection:
            chosen = t.corrections.update().where(t.corrections.c.id == correction)
            connection.execute(chosen.values(written_id=score_id, written_at=now()))


def _newest_by(who: str) -> sa.Select[Any]:
    return sa.select(t.corrections).where(t.corrections.c.who == who).order_by(t.corrections.c.id.desc()).limit(1)


def _last_that_stands(who: str, image_id: int) -> sa.Select[Any]:
    made = t.corrections.c
    chosen = made.who == who, made.image_id == image_id, *_stands(made)
    return sa.select(made.id).where(*chosen).order_by(made.id.desc()).limit(1)


def _stands(made: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """Select what is no undoing correction and was not undone."""
    undoing = t.corrections.alias()
    return made.undoes.is_(None), ~sa.exists().where(undoing.c.undoes == made.id)


def _correction(row: Any) -> Correction:
    outcome = Outcome(row.outcome) if row.outcome else None
    return Correction(
        row.id,
        row.image_id,
        row.score_id,
        outcome,
        row.note,
        row.who,
        row.at,
        row.written_id,
        row.written_at,
        row.key,
        row.undoes,
        row.code,
    )
