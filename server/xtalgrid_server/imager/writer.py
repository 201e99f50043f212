"""The score table inside one transaction: what we write there, and only there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from .database import ImagerDatabase, ScoreRow


class ScoreWriter:
    """The score table inside one transaction."""

    def __init__(self, database: ImagerDatabase, connection: sa.Connection) -> None:
        self._database = database
        self._connection = connection
        self._table = database.tables.scores

    def scores_of_drop(self, inspect_id: int) -> list[ScoreRow]:
        """All scores of an inspection's drop, as they are now."""
        return self._database._scores_of_drops(self._connection, [inspect_id])[inspect_id]

    def insert(self, inspect_id: int, code: str, date: datetime, by: str, image_name: str) -> int:
        """Add a row and return its SCOREID."""
        values = {
            "inspectid": inspect_id,
            "score": code,
            "scoredate": date,
            "scoredby": by,
            "imagename": image_name,
        }
        key = self._connection.execute(self._table.insert().values(**values)).inserted_primary_key
        return int(key[0]) if key else 0

    def replace(self, score_id: int, by: str, code: str, date: datetime, image_name: str | None) -> None:
        """Change a row of our own; `by` is checked in the statement, so that a person's row can never be hit."""
        self._connection.execute(
            self._table.update()
            .where(self._table.c.scoreid == score_id, self._table.c.scoredby == by)
            .values(score=code, scoredate=date, imagename=image_name)
        )

    def remove(self, score_id: int, by: str) -> None:
        """Delete a row of our own."""
        self._connection.execute(
            self._table.delete().where(self._table.c.scoreid == score_id, self._table.c.scoredby == by)
        )
