"""Entries that people add and undo, never change. What undoes an entry is an entry, names it, and can be undone too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError

from ..storage.engines import chunks
from .database import LedgerDatabase, insert

UNDO = "undo"
"""The kind of an entry that undoes another one; its other columns are those of what it undoes."""


class NothingToUndo(LedgerError):
    """There is no such entry, or it was undone already."""


def undone_by(entries: Sequence[Any]) -> dict[int, Any]:
    """Return the entries that undo another one and were not undone themselves, by the id of the one they undo.

    `entries` are all of an image or a drop, oldest first.
    """
    found: dict[int, Any] = {}
    for one in reversed(entries):
        if one.undoes is not None and one.id not in found:
            found[one.undoes] = one
    return found


class UndoableEntries:
    """A table of such entries; see `tables.marks` and `tables.drop_notes`."""

    def __init__(self, database: LedgerDatabase, table: sa.Table) -> None:
        self._db, self._table = database, table

    def add_new(self, values: Mapping[str, dict[str, Any]]) -> int:
        """Add the rows, given by key, whose key no entry has yet; return how many."""
        with self._db.writing() as connection:
            known: set[str] = set()
            for part in chunks(list(values)):
                keys = sa.select(self._table.c.key).where(self._table.c.key.in_(part))
                known.update(connection.scalars(keys))
            rows = [{**row, "key": key} for key, row in values.items() if key not in known]
            if rows:
                connection.execute(self._table.insert(), rows)
        return len(rows)

    def stored(self, keys: Sequence[str]) -> set[str]:
        """Return those of some keys that entries have, undone ones too."""
        return {row.key for row in self._db.rows_in(sa.select(self._table.c.key), self._table.c.key, keys)}

    def undo(self, entry: int, who: str, key: str, at: datetime) -> None:
        """Add an entry that undoes another one, by its id; nothing if there is an entry with this key already.

        Raises
        ------
        NothingToUndo
            If there is no such entry, or it was undone.
        """
        columns = self._table.c
        with self._db.writing() as connection:
            if connection.scalar(sa.select(columns.id).where(columns.key == key)) is not None:
                return
            row = connection.execute(sa.select(self._table).where(columns.id == entry).with_for_update()).first()
            if row is None or self._is_undone(connection, entry):
                raise NothingToUndo("there is nothing to undo: it was undone already")
            values = {name: value for name, value in row._mapping.items() if name != "id"}
            own = {"kind": UNDO, "who": who[:100], "at": at, "key": key, "undoes": entry}
            insert(connection, self._table, **{**values, **own})

    def _is_undone(self, connection: sa.Connection, entry: int) -> bool:
        """Whether an entry that undoes this one stands."""
        columns = self._table.c
        undoing = connection.scalars(sa.select(columns.id).where(columns.undoes == entry))
        return any(not self._is_undone(connection, each) for each in list(undoing))

    def row_with_key(self, key: str) -> Any:
        """Return the entry, also one that undoes another, that has a key, or None."""
        return next(iter(self._db.rows(sa.select(self._table).where(self._table.c.key == key))), None)
