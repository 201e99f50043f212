"""The ledger's database: open it, migrate it to the newest schema, read and write it in transactions."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from xtalgrid_core.errors import LedgerError

from ..config import Config
from ..storage.engines import chunks, open_engine, place, reading, short_reason, sqlite_remedy
from . import tables as t

_MIGRATIONS = Path(__file__).parent / "migrations"


def now() -> datetime:
    """Return the current time in UTC, without a time zone, as the ledger stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


@functools.cache
def _newest() -> str:
    """Return the revision of the newest schema: files of migrations begin with theirs."""
    return max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _revision(connection: sa.Connection) -> str | None:
    """Return the revision of a ledger's schema, None for a new one, as Alembic keeps it."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


class LedgerDatabase:
    """One configuration's database. All its errors become `LedgerError`.

    Attributes
    ----------
    source
        The imager, as images are recorded with it.
    light
        Tells which images have a say; earlier versions scored others too.
    held
        How long an incomplete file is waited for.
    crystal_from
        `p_crystal` from which on the lab calls a well crystals.
    """

    def __init__(self, config: Config) -> None:
        self.source, self.light = config.imager.source, config.light
        self.held = timedelta(hours=config.import_.give_up_hours)
        self.crystal_from = config.work.crystal_from
        self._engine = open_engine(config.ledger_url, "ledger.url")
        with self.reading() as connection:
            migrated = _revision(connection)
        if migrated != _newest():
            self._migrate()
        with self.reading() as connection:
            self._be_of_one_imager(connection)

    def _migrate(self) -> None:
        import alembic.command  # most commands find nothing to migrate, and it takes as long to import as SQLAlchemy
        import alembic.config
        import alembic.util

        settings = alembic.config.Config()
        settings.set_main_option("script_location", str(_MIGRATIONS))
        with self.writing() as connection:
            settings.attributes["connection"] = connection
            try:
                alembic.command.upgrade(settings, "head")
            except alembic.util.CommandError as error:
                raise LedgerError(
                    f"the ledger ({place(self._engine.url)}) was written by a newer version of xtalgrid ({error}); "
                    "install that version, or restore an older backup of the ledger"
                ) from error

    def _be_of_one_imager(self, connection: sa.Connection) -> None:
        """Refuse a ledger of another imager: its units would fail, as their images lie where that imager keeps them."""
        for end in (sa.func.min, sa.func.max):  # two look-ups in the index; any other question reads all images
            known = connection.scalar(sa.select(end(t.images.c.source)))
            if known not in (None, self.source):
                raise LedgerError(
                    f'the ledger ({place(self._engine.url)}) is that of the imager "{known}", and imager.source is '
                    f'"{self.source}": set imager.source = "{known}", or give the other imager a home and ledger of '
                    "its own"
                )

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that is committed when the block ends, and rolled back if an error leaves the block."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one state of the database and waits for no writer."""
        with self._errors(), reading(self._engine) as connection:
            yield connection

    def rows(self, statement: sa.Select[Any]) -> list[Any]:
        """Return a statement's rows, in a transaction of its own."""
        with self.reading() as connection:
            return list(connection.execute(statement))

    def rows_in(self, statement: sa.Select[Any], column: sa.ColumnElement[Any], values: Collection[Any]) -> list[Any]:
        """Return a statement's rows whose column has one of these values; the order holds within parts of them."""
        with self.reading() as connection:
            parts = chunks(list(values))
            return [row for part in parts for row in connection.execute(statement.where(column.in_(part)))]

    def scalar(self, statement: sa.Select[Any]) -> Any:
        """Return the first value of a statement's first row, or None."""
        with self.reading() as connection:
            return connection.scalar(statement)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            reason = short_reason(error)
            raise LedgerError(f"the ledger ({place(self._engine.url)}): {reason}; {_advice(reason)}") from error


def _advice(reason: str) -> str:
    otherwise = "check ledger.url, the free disk space, and that the database is up, then run the same command again"
    return sqlite_remedy(reason) or otherwise


def is_of(source: str, column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return a condition for the rows of one imager that uses no index, as nearly all rows belong to it."""
    return _Unindexed(column) == source


class _Unindexed(FunctionElement[str]):
    """A column that SQLite uses no index for.

    Without ANALYZE, SQLite would prefer an index that begins with the imager, and read everything, to one that begins
    with the plate. PostgreSQL chooses well, as long as it sees the bare column.
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
