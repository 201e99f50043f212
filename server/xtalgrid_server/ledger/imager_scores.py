"""The imager's score table as it was seen.

A row is recorded when first seen, and again whenever it is found changed or deleted, no matter who wrote it, so that no
score is lost that XtalTrak no longer shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..domain.images import ScoreRow
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, is_of, now

_GONE = ""
"""Code of a row that was deleted from the score table."""


@dataclass(frozen=True, slots=True)
class SeenScore:
    """A row of the imager's score table as it was at `seen_at` (UTC); `gone` means that it was deleted."""

    row: ScoreRow
    seen_at: datetime

    @property
    def gone(self) -> bool:
        """Whether the row had been deleted by then; its other columns are as they were before."""
        return self.row.code == _GONE


class ImagerScores:
    """The part of the ledger that records the imager's score table."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def record(self, rows: Iterable[ScoreRow], between: tuple[int, int, datetime] | None = None) -> int:
        """Record rows of the score table that are new or have changed; return how many.

        Parameters
        ----------
        between
            ``(after, upto, at)``: `rows` are all rows with after < SCOREID ≤ upto that existed at this time (UTC). Rows
            recorded before it that are not among them are recorded as deleted.
        """
        given = {row.score_id: _shortened(row) for row in rows if row.code}  # a row without a code is not a score
        added = 0
        with self._db.writing() as connection:
            if between is not None:
                after, upto, at = between
                ids = t.imager_scores.c.score_id
                seen = self._newest(connection, ids > after, ids <= upto)
                known = {score_id: one.row for score_id, one in seen.items()}
                missing = [seen[score_id] for score_id in sorted(seen.keys() - given.keys())]
                # What was seen ahead of now, was so while this computer's clock was.
                gone = [_gone(one.row) for one in missing if not at <= one.seen_at <= now() and not one.gone]
                return self._add(connection, [*given.values(), *gone], known)
            for part in chunks(sorted(given)):
                seen = self._newest(connection, t.imager_scores.c.score_id.in_(part))
                known = {score_id: one.row for score_id, one in seen.items()}
                added += self._add(connection, [given[score_id] for score_id in part], known)
        return added

    def _newest(self, connection: sa.Connection, *where: sa.ColumnElement[bool]) -> dict[int, SeenScore]:
        chosen = t.imager_scores.c.source == self._db.source, *where
        rows = connection.execute(sa.select(t.imager_scores).where(*chosen).order_by(t.imager_scores.c.id))
        return {row.score_id: SeenScore(_score_row(row), row.seen_at) for row in rows}

    def _add(self, connection: sa.Connection, rows: Iterable[ScoreRow], known: Mapping[int, ScoreRow]) -> int:
        values = [
            {
                "source": self._db.source,
                "score_id": row.score_id,
                "inspect_id": row.inspect_id,
                "code": row.code,
                "date": row.date,
                "by": row.by,
                "image_name": row.image_name,
                "seen_at": now(),
            }
            for new in rows
            for row in _changes(known.get(new.score_id), new)
        ]
        if values:
            connection.execute(t.imager_scores.insert(), values)
        return len(values)

    def history(self, inspect_ids: Sequence[int]) -> list[SeenScore]:
        """Return every recorded version of these inspections' rows in the score table, in the order seen."""
        recorded = self._of(inspect_ids)
        last: dict[int, ScoreRow] = {}
        versions = []
        for each in sorted(recorded, key=lambda each: each.id):
            row = _score_row(each)
            if last.get(row.score_id) != row:  # two programs may have recorded the same version at once
                versions.append(SeenScore(row, each.seen_at))
            last[row.score_id] = row
        return versions

    def of_inspections(self, inspect_ids: Sequence[int], besides: Sequence[str] = ()) -> dict[int, list[ScoreRow]]:
        """Return the rows of each of these inspections as last seen, without deleted ones, oldest SCOREDATE first.

        Parameters
        ----------
        besides
            SCOREDBY names whose rows are left out.
        """
        rows = self._of(inspect_ids, t.imager_scores.c.by.not_in(besides))
        newest = {row.score_id: _score_row(row) for row in rows}
        return {inspect_id: [] for inspect_id in inspect_ids} | _current(newest.values())

    def of_plates(self, barcodes: Sequence[str], besides: Sequence[str] = ()) -> dict[int, list[ScoreRow]]:
        """Return the same for the inspections of these plates, without inspections that have no rows."""
        seen, images = t.imager_scores.c, t.images.c
        statement = (
            sa.select(t.imager_scores)
            .join(t.images, sa.and_(images.source == seen.source, images.inspect_id == seen.inspect_id))
            .where(is_of(self._db.source, images.source), seen.by.not_in(besides))
            .order_by(seen.id)
        )
        newest = {row.score_id: _score_row(row) for row in self._db.rows_in(statement, images.barcode, barcodes)}
        return _current(newest.values())

    def gone_since(self, at: datetime, by: str) -> list[int]:
        """Return the inspect ids of the rows by one name that were found deleted since then (UTC)."""
        seen = t.imager_scores.c
        chosen = is_of(self._db.source, seen.source), seen.code == _GONE, seen.by == by, seen.seen_at >= at
        return sorted({row.inspect_id for row in self._db.rows(sa.select(seen.inspect_id).where(*chosen))})

    def _of(self, inspect_ids: Sequence[int], *where: sa.ColumnElement[bool]) -> list[Any]:
        seen = t.imager_scores.c
        statement = sa.select(t.imager_scores).where(seen.source == self._db.source, *where).order_by(seen.id)
        return self._db.rows_in(statement, seen.inspect_id, sorted(set(inspect_ids)))

    def first_dated(self, since: datetime) -> int | None:
        """Return the lowest recorded SCOREID with a SCOREDATE from `since` on (naive local time), or None."""
        chosen = is_of(self._db.source, t.imager_scores.c.source), t.imager_scores.c.date >= since
        first: int | None = self._db.scalar(sa.select(sa.func.min(t.imager_scores.c.score_id)).where(*chosen))
        return first


def _current(rows: Iterable[ScoreRow]) -> dict[int, list[ScoreRow]]:
    """Return the rows of each inspection that are not deleted, oldest first."""
    current: dict[int, list[ScoreRow]] = {}
    for row in sorted(rows, key=lambda row: (row.date, row.score_id)):
        if row.code != _GONE:
            current.setdefault(row.inspect_id, []).append(row)
    return current


def _shortened(row: ScoreRow) -> ScoreRow:
    """Shorten a row to the ledger's columns; a missing image name is always None."""
    return ScoreRow(
        row.score_id, row.inspect_id, row.code[:2], row.date, row.by[:30], (row.image_name or "")[:255] or None
    )


def _changes(before: ScoreRow | None, row: ScoreRow) -> list[ScoreRow]:
    """Return what to record for a row; if its SCOREID was another inspection's, also that row as deleted."""
    if before == row:
        return []
    moved = before is not None and before.inspect_id != row.inspect_id and before.code != _GONE
    return [_gone(before), row] if before is not None and moved else [row]


def _gone(row: ScoreRow) -> ScoreRow:
    return ScoreRow(row.score_id, row.inspect_id, _GONE, row.date, row.by, row.image_name)


def _score_row(row: Any) -> ScoreRow:
    return ScoreRow(row.score_id, row.inspect_id, row.code, row.date, row.by, row.image_name)
