"""Write to the imager database: to the score table and, if configured, the table of images and the auto-score table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...domain.images import ScoreRow
from ...storage.engines import chunks
from .tables import CrystalTrak, is_name, named

Autoscore = tuple[float | None, float | None, int | float | None]
"""Probabilities of a crystal and of a clear drop, 0..1, and the good/bad score: 0 good, 1 empty, 2 faulty."""


class ChangedRow(ImagerError):
    """A row of ours that was changed or deleted since it was read, in the same transaction."""


@dataclass(frozen=True, slots=True)
class NewScore:
    """New row for the score table; `date` is naive local time."""

    inspect_id: int
    code: str
    date: datetime
    image_name: str


class ScoreWriter:
    """Writes to the imager database in one transaction; `scores_of_drops` reads in the same one."""

    def __init__(
        self,
        tables: CrystalTrak,
        connection: sa.Connection,
        scores_of_drops: Callable[[sa.Connection, Sequence[int]], dict[int, list[ScoreRow]]],
    ) -> None:
        self._connection = connection
        self._scores_of_drops = scores_of_drops
        self._statements = _Statements(tables)

    def scores_of_drops(self, inspect_ids: Sequence[int]) -> dict[int, list[ScoreRow]]:
        """Return the current scores of each inspection's drop; see `ImagerDatabase.scores_of_drops`."""
        return self._scores_of_drops(self._connection, inspect_ids)

    # ---- scores ------------------------------------------------------------------------------------------------

    def insert(self, inspect_id: int, code: str, date: datetime, by: str, image_name: str) -> int:
        """Add a row and return its SCOREID."""
        values = _values(NewScore(inspect_id, code, date, image_name), by)
        key = self._connection.execute(self._statements.insert_score().values(**values)).inserted_primary_key
        return int(key[0]) if key else 0

    def insert_many(self, rows: Sequence[NewScore], by: str) -> None:
        """Add rows."""
        if rows:
            self._connection.execute(self._statements.insert_score(), [_values(row, by) for row in rows])

    def replace(self, score_id: int, by: str, code: str, date: datetime, image_name: str | None) -> bool:
        """Change one of our rows, and tell whether it was there.

        The statement checks `by`, so that a person's row is never changed.
        """
        changed = {"score": code, "scoredate": date, "imagename": image_name}
        return self._connection.execute(self._statements.update_score(score_id, by).values(**changed)).rowcount == 1

    def remove(self, score_id: int, by: str, inspect_id: int | None = None) -> bool:
        """Delete one of our rows, and tell whether it was there; see `replace`.

        With `inspect_id` it is left if it is another inspection's: some databases give a deleted row's id again.
        """
        return self._connection.execute(self._statements.delete_score(score_id, by, inspect_id)).rowcount == 1

    # ---- framed images -----------------------------------------------------------------------------------------

    def add_images(self, names: Mapping[int, str]) -> dict[int, str]:
        """Add framed images, given by inspect id, and return those that are new."""
        there: set[tuple[int, str]] = set()
        for part in chunks(list(names)):
            there.update((int(row.inspectid), row.imagename) for row in self._execute(self._statements.images(part)))
        new = {inspect_id: name for inspect_id, name in names.items() if (inspect_id, name) not in there}
        if new:
            rows = [{"inspectid": inspect_id, "imagename": name} for inspect_id, name in new.items()]
            self._connection.execute(self._statements.insert_image(), rows)
        return new

    def remove_image(self, inspect_id: int, name: str) -> None:
        """Delete a framed image's row."""
        self._connection.execute(self._statements.delete_image(inspect_id, name))

    # ---- the lab's table of machine scores ---------------------------------------------------------------------

    def autoscores(self, inspect_ids: Sequence[int]) -> dict[int, Autoscore]:
        """Return the rows of these inspections, by inspect id."""
        autoscores: dict[int, Autoscore] = {}
        for part in chunks(inspect_ids):
            for row in self._execute(self._statements.autoscores(part)):
                rank, clear, good_bad = row.xtal_rank_score, row.xtal_clear_score, row.xtal_good_bad_score
                autoscores[int(row.inspectid)] = _number(rank), _number(clear), _number(good_bad)
        return autoscores

    def set_autoscores(self, scores: Mapping[int, Autoscore | None]) -> None:
        """Replace the rows of these inspections, given by inspect id; None deletes the row."""
        for part in chunks(list(scores)):
            self._connection.execute(self._statements.delete_autoscores(part))
        columns = ("xtal_rank_score", "xtal_clear_score", "xtal_good_bad_score")
        rows = [
            {"inspectid": inspect_id, **dict(zip(columns, score, strict=True))}
            for inspect_id, score in scores.items()
            if score is not None
        ]
        if rows:
            self._connection.execute(self._statements.insert_autoscore(), rows)

    def _execute(self, statement: sa.Select[Any]) -> sa.CursorResult[Any]:
        return self._connection.execute(statement)


class _Statements:
    """SQL statements of a `ScoreWriter`."""

    def __init__(self, tables: CrystalTrak) -> None:
        self._tables = tables

    def insert_score(self) -> sa.Insert:
        return self._tables.scores.insert()

    def update_score(self, score_id: int, by: str) -> sa.Update:
        scores = self._tables.scores
        return scores.update().where(scores.c.scoreid == score_id, is_name(scores.c.scoredby, by))

    def delete_score(self, score_id: int, by: str, inspect_id: int | None = None) -> sa.Delete:
        scores = self._tables.scores
        statement = scores.delete().where(scores.c.scoreid == score_id, is_name(scores.c.scoredby, by))
        return statement if inspect_id is None else statement.where(scores.c.inspectid == inspect_id)

    def images(self, inspect_ids: Sequence[int]) -> sa.Select[Any]:
        images = self._tables.images.c
        return sa.select(*named(images.inspectid, images.imagename)).where(images.inspectid.in_(inspect_ids))

    def insert_image(self) -> sa.Insert:
        return self._tables.images.insert()

    def delete_image(self, inspect_id: int, name: str) -> sa.Delete:
        images = self._tables.images
        return images.delete().where(images.c.inspectid == inspect_id, images.c.imagename == name)

    def autoscores(self, inspect_ids: Sequence[int]) -> sa.Select[Any]:
        table = self._tables.autoscores
        return sa.select(*named(*table.c)).where(table.c.inspectid.in_(inspect_ids))

    def insert_autoscore(self) -> sa.Insert:
        return self._tables.autoscores.insert()

    def delete_autoscores(self, inspect_ids: Sequence[int]) -> sa.Delete:
        table = self._tables.autoscores
        return table.delete().where(table.c.inspectid.in_(inspect_ids))


def _number(value: Any) -> float | int | None:
    """Return a number of whatever type: a lab's columns may give decimals, which an undo could not read back."""
    if value is None:
        return None
    return int(value) if value == int(value) else float(value)


def _values(row: NewScore, by: str) -> dict[str, Any]:
    return {
        "inspectid": row.inspect_id,
        "score": row.code,
        "scoredate": row.date,
        "scoredby": by,
        "imagename": row.image_name,
    }
