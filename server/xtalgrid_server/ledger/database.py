"""The ledger's database: opened, brought to the newest layout, read and written in transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from xtalgrid_core.errors import LedgerError

from ..config import Config
from ..storage.engines import open_engine, place, reading, short_reason


class LedgerDatabase:
    """The database of one configuration. Every error of it becomes a `LedgerError`."""

    def __init__(self, config: Config) -> None:
        self.source = config.imager.source
        self._engine = open_engine(config.ledger_url, "ledger.url")
        settings = alembic.config.Config()
        settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.writing() as connection:
            settings.attributes["connection"] = connection
            try:
                alembic.command.upgrade(settings, "head")
            except alembic.util.CommandError as error:
                raise LedgerError(
                    f"the ledger ({place(self._engine.url)}) was laid out by a newer xtalgrid than this one ({error}); install that "
                    "version, or bring back the ledger's backup from before"
                ) from error

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is committed when the block ends, or nothing of it when an error leaves the block."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database and waits for no writer."""
        with self._errors(), reading(self._engine) as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            reason = short_reason(error)
            raise LedgerError(f"the ledger ({place(self._engine.url)}): {reason}; {_advice(reason)}") from error


def _advice(reason: str) -> str:
    if "malformed" in reason or "not a database" in reason:  # SQLite's words for a damaged file
        return "the file is damaged: bring it back from a backup"
    return "check ledger.url, free disk space and that the database is up, then run the same command again"


def is_of(source: str, column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a row is of an imager, which nearly all are: no index on it is worth taking."""
    return _Unindexed(column) == source


class _Unindexed(FunctionElement[str]):
    """A column that SQLite takes no index for. Without an ANALYZE it would take one that begins with the imager, and read everything, before
    one that begins with the plate. PostgreSQL knows better, as long as it is asked for the column itself.
    """

    inherit_cache = True
    type = sa.String()


@compiles(_Unindexed)
def _column(element: _Unindexed, compiler: sa.sql.compiler.SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_Unindexed, "sqlite")
def _no_index(element: _Unindexed, compiler: sa.sql.compiler.SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


def insert(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    """Add a row and return its id."""
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])
