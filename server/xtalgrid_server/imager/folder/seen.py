"""State of the files in imported and watched folders, in tables of the embedded database."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from xtalgrid_core.files import readable

from ...storage.engines import chunks
from ..crystaltrak.database import ImagerDatabase

State = Literal["waiting", "entered", "changing", "rejected", "postponed", "failed", "double"]
_UNDONE = ("waiting", "changing", "rejected", "postponed", "failed", "double")


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
        ``waiting`` until it is complete, then what became of it; ``double``: another file has the same stem;
        ``changing``: it was entered, has changed since, and is not complete; ``postponed``: it could not be read or
        stored at `since`, and is tried again.
    """

    folder: str
    name: str
    size: int
    modified: int
    first: float
    since: float
    state: State = "waiting"


class SeenFiles:
    """Table of the files seen, and of the settings by which each watched folder's files were read last."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        self._table = sa.Table(
            "xtalgrid_folder",
            sa.MetaData(),
            sa.Column("folder", sa.String(4096), primary_key=True),
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("size", sa.Integer, nullable=False),
            sa.Column("modified", sa.Integer, nullable=False),
            sa.Column("first", sa.Float, nullable=False),
            sa.Column("since", sa.Float, nullable=False),
            sa.Column("state", sa.String(10), nullable=False),
        )
        self._settings = sa.Table(
            "xtalgrid_folder_settings",
            sa.MetaData(),
            sa.Column("folder", sa.String(4096), primary_key=True),
            sa.Column("settings", sa.String(64), nullable=False),
        )

    def of_folders(self, folders: Sequence[str]) -> dict[tuple[str, str], Seen]:
        """Return the files seen in these folders, by folder and name."""
        files: dict[tuple[str, str], Seen] = {}
        for part in chunks(folders):
            for row in _read(self._database, self._table.select().where(self._table.c.folder.in_(part))):
                files[row[0], row[1]] = Seen(*row)
        return files

    def waiting(self) -> list[Seen]:
        """Return the files that wait for their rest, in the order in which they were seen."""
        table = self._table
        waiting = table.select().where(table.c.state == "waiting").order_by(table.c.first)
        return [Seen(*row) for row in _read(self._database, waiting)]

    def undone_below(self, folder: str) -> list[Seen]:
        """Return the files in a folder and its subfolders that were not entered, or changed since."""
        table = self._table
        below = sa.or_(table.c.folder == folder, table.c.folder.startswith(f"{folder}{os.sep}", autoescape=True))
        undone = table.select().where(table.c.state.in_(_UNDONE), below)
        return [Seen(*row) for row in _read(self._database, undone)]

    def has_any_below(self, folder: str) -> bool:
        """Tell whether any file was ever seen in a folder or its subfolders."""
        below = self._table.c.folder.startswith(f"{folder}{os.sep}", autoescape=True)
        first = self._table.select().where(sa.or_(self._table.c.folder == folder, below)).limit(1)
        return bool(_read(self._database, first))

    def try_rejected(self, folder: str, settings: str) -> None:
        """Let what was rejected in a folder and its subfolders wait again if the settings were others then."""
        table, known = self._table, self._settings
        before = known.select().where(known.c.folder == folder)
        if [row.settings for row in _read(self._database, before)] == [settings]:
            return
        below = sa.or_(table.c.folder == folder, table.c.folder.startswith(f"{folder}{os.sep}", autoescape=True))
        again = table.update().where(table.c.state == "rejected", below).values(state="waiting")
        with self._database.transaction() as connection:
            table.create(connection, checkfirst=True)
            known.create(connection, checkfirst=True)
            connection.execute(again)
            connection.execute(known.delete().where(known.c.folder == folder))
            connection.execute(known.insert().values(folder=folder, settings=settings))

    def forget(self, files: Sequence[Seen]) -> None:
        """Remove the records of files that are gone."""
        table = self._table
        same = table.c.folder == sa.bindparam("of_folder"), table.c.name == sa.bindparam("of_name")
        if files:
            with self._database.transaction() as connection:
                values = [{"of_folder": file.folder, "of_name": file.name} for file in files]
                connection.execute(table.delete().where(*same), values)

    def keep(self, files: Sequence[Seen]) -> None:
        """Record files, replacing earlier records of them."""
        if not files:
            return
        table, names = self._table, [field.name for field in fields(Seen)]
        same = sa.and_(table.c.folder == sa.bindparam("of_folder"), table.c.name == sa.bindparam("of_name"))
        with self._database.transaction() as connection:
            table.create(connection, checkfirst=True)
            connection.execute(
                table.delete().where(same), [{"of_folder": file.folder, "of_name": file.name} for file in files]
            )
            connection.execute(table.insert(), [{name: getattr(file, name) for name in names} for file in files])


class OtherFiles:
    """Table of the files in each imported or watched folder that are no images to score: numbers by kind."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        self._table = sa.Table(
            "xtalgrid_passed_over",
            sa.MetaData(),
            sa.Column("folder", sa.String(4096), primary_key=True),
            sa.Column("kinds", sa.Text, nullable=False),
        )

    def keep(self, folder: str, kinds: Mapping[str, int], recursive: bool) -> bool:
        """Record a folder's numbers, in place of its own before and, if they include them, of its subfolders'.

        Returns whether they differ from those.
        """
        found = {kind: number for kind, number in kinds.items() if number}
        wanted = {folder: msgspec.json.encode(found).decode()} if found else {}
        column = self._table.c.folder
        below = [column.startswith(f"{folder}{os.sep}", autoescape=True)] if recursive else []
        covered = sa.or_(column == folder, *below)
        if {row.folder: row.kinds for row in _read(self._database, self._table.select().where(covered))} == wanted:
            return False
        with self._database.transaction() as connection:
            self._table.create(connection, checkfirst=True)
            connection.execute(self._table.delete().where(covered))
            for place, text in wanted.items():
                connection.execute(self._table.insert().values(folder=place, kinds=text))
        return True

    def total(self) -> collections.Counter[str]:
        """Return the numbers of all folders."""
        total = collections.Counter[str]()
        for row in _read(self._database, self._table.select()):
            total.update(msgspec.json.decode(row.kinds, type=dict[str, int]))
        return total


class Copies:
    """Table of the files that images were copied from, so that a copy follows its file and no other."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        self._table = sa.Table(
            "xtalgrid_copies",
            sa.MetaData(),
            sa.Column("target", sa.String(4096), primary_key=True),
            sa.Column("file", sa.String(4096), nullable=False),
        )

    def is_of(self, target: Path, file: Path) -> bool:
        """Tell whether `target` was copied from `file`."""
        origin = self._table.select().where(self._table.c.target == readable(str(target)))
        return [row.file for row in _read(self._database, origin)] == [readable(str(file.absolute()))]

    def origins(self, folder: Path) -> dict[str, str]:
        """Return the files that images below a folder were copied from, by the images' paths."""
        below = self._table.c.target.startswith(f"{readable(str(folder))}{os.sep}", autoescape=True)
        return {row.target: row.file for row in _read(self._database, self._table.select().where(below))}

    def add(self, target: Path, file: Path) -> None:
        """Record that `target` was copied from `file`."""
        values = {"target": readable(str(target)), "file": readable(str(file.absolute()))}
        with self._database.transaction() as connection:
            self._table.create(connection, checkfirst=True)
            connection.execute(self._table.delete().where(self._table.c.target == values["target"]))
            connection.execute(self._table.insert().values(**values))


def _read(database: ImagerDatabase, statement: sa.Select[Any]) -> Sequence[Any]:
    """Return a statement's rows; none if its table was never written."""
    with database.reading() as connection:
        is_there = all(sa.inspect(connection).has_table(str(table)) for table in statement.get_final_froms())
        return connection.execute(statement).all() if is_there else []
