"""State of the files in watched folders, in a table of the embedded database, so that it outlives the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import sqlalchemy as sa

from ...storage.engines import chunks
from ..crystaltrak.database import ImagerDatabase

State = Literal["waiting", "entered", "rejected", "failed", "double"]


@dataclass(frozen=True, slots=True)
class Seen:
    """State of a file when last seen.

    Attributes
    ----------
    folder, name
        Path of the file.
    size
        In bytes.
    modified
        Modification time, in nanoseconds since 1970.
    first
        When it was first seen waiting, in seconds since 1970; reset if it changes after it was done with.
    since
        When it was first seen with this size and modification time, in seconds since 1970.
    state
        ``waiting`` until it is complete, then what became of it; ``double``: another file has the same stem.
    """

    folder: str
    name: str
    size: int
    modified: int
    first: float
    since: float
    state: State = "waiting"


class SeenFiles:
    """Table of the files seen."""

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

    def of_folders(self, folders: Sequence[str]) -> dict[tuple[str, str], Seen]:
        """Return the files seen in these folders, by folder and name."""
        files: dict[tuple[str, str], Seen] = {}
        with self._database.reading() as connection:
            for part in chunks(folders):
                for row in connection.execute(self._table.select().where(self._table.c.folder.in_(part))):
                    files[row[0], row[1]] = Seen(*row)
        return files

    def keep(self, files: Sequence[Seen]) -> None:
        """Record files, replacing earlier records of them."""
        if not files:
            return
        table, names = self._table, [field.name for field in fields(Seen)]
        same = sa.and_(table.c.folder == sa.bindparam("of_folder"), table.c.name == sa.bindparam("of_name"))
        with self._database.transaction() as connection:
            connection.execute(
                table.delete().where(same), [{"of_folder": file.folder, "of_name": file.name} for file in files]
            )
            connection.execute(table.insert(), [{name: getattr(file, name) for name in names} for file in files])
