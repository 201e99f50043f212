"""What was seen of a watched folder, in a table of the embedded database: a file's state outlives the process that looked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from .database import ImagerDatabase

State = Literal["waiting", "entered", "rejected", "failed", "double"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was last seen: `modified` in nanoseconds, `first` and `since` (when it began to look so) in seconds."""

    name: str
    size: int
    modified: int
    first: float
    since: float
    state: State = "waiting"


class SeenFiles:
    """The table, by folder (its whole path)."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        metadata = sa.MetaData()
        self._table = sa.Table(
            "xtalgrid_folder",
            metadata,
            sa.Column("folder", sa.String(4096), primary_key=True),
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("size", sa.Integer, nullable=False),
            sa.Column("modified", sa.Integer, nullable=False),
            sa.Column("first", sa.Float, nullable=False),
            sa.Column("since", sa.Float, nullable=False),
            sa.Column("state", sa.String(10), nullable=False),
        )
        with database.transaction() as connection:
            metadata.create_all(connection)

    def of_folder(self, folder: str) -> dict[str, Seen]:
        """The files seen in a folder, by name."""
        table = self._table
        statement = sa.select(*table.c[1:]).where(table.c.folder == folder)
        return self._database.read(lambda connection: {row.name: Seen(*row) for row in connection.execute(statement)})

    def keep(self, folder: str, files: Iterable[Seen]) -> None:
        """Record files, in place of what was recorded of them."""
        rows = [
            {"folder": folder, **{name: getattr(file, name) for name in Seen.__dataclass_fields__}} for file in files
        ]
        if not rows:
            return
        table = self._table
        same = sa.and_(table.c.folder == folder, table.c.name == sa.bindparam("of_name"))
        with self._database.transaction() as connection:
            connection.execute(table.delete().where(same), [{"of_name": row["name"]} for row in rows])
            connection.execute(table.insert(), rows)
