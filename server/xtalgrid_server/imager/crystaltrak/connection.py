"""Connections to the imager database, for reading and writing, with retries while it is unavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...config import Config
from ...storage.engines import Access, is_gone, open_engine, patiently, place, reading, short_reason, sqlite_remedy
from .column_types import ColumnTypes, Tables, read_column_types
from .remedies import remedy

T = TypeVar("T")

_WHAT = "the imager database"


def _read_any_text(connection: Any, _: Any) -> None:
    """Let SQLite return text that is not UTF-8 with backslashes, instead of ending the query."""
    connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")


class Connections:
    """Connections to the imager database of one configuration; database errors are raised as `ImagerError`.

    Writing may use an account of its own (``imager.write_url``).
    """

    def __init__(self, config: Config) -> None:
        self._settings = settings = config.imager
        access = Access(
            password_file=settings.password_file,
            pool_size=settings.pool_size,
            connect_timeout_s=settings.connect_timeout_s,
            statement_timeout_s=settings.statement_timeout_s,
            oracle_client=settings.oracle_client,
        )
        self._engine = open_engine(config.imager_url, "imager.url", access)
        self._writer = self._engine
        if settings.write_url:
            access = replace(access, password_file=settings.write_password_file)
            self._writer = open_engine(settings.write_url, "imager.write_url", access)
        for engine in {self._engine, self._writer}:
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", _read_any_text)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
        self._writer.dispose()

    def abandon(self) -> None:
        """Open new connections from now on, and leave the old ones alone, because they hang."""
        self._engine.dispose(close=False)
        self._writer.dispose(close=False)

    @property
    def dialect_name(self) -> str:
        """``oracle``, ``postgresql`` or ``sqlite``."""
        return self._engine.dialect.name

    @property
    def accounts(self) -> tuple[str, str]:
        """The names in the URLs of the accounts that read and write; empty where there are none."""
        return self._engine.url.username or "", self._writer.url.username or ""

    @property
    def place(self) -> str:
        """Where the database is, without account and password; see `storage.engines.place`."""
        return place(self._engine.url)

    def _advice(self, reason: str) -> str:
        if known := sqlite_remedy(reason) or remedy(reason):
            return known
        what = (
            "free disk space" if self.dialect_name == "sqlite" else "account and password, and that the database is up"
        )
        return f"check imager.url, {what} (test with `xtalgrid check-imager`), then run the same command again"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise database errors as `ImagerError`."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            original = getattr(error, "orig", None)
            if isinstance(original, ImagerError):  # raised by VendorText or VendorDate
                raise original from None
            reason = short_reason(error)
            raise ImagerError(f"{_WHAT} ({self.place}): {reason}; {self._advice(reason)}") from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for reading."""
        with self.errors(), reading(self._engine) as connection:
            yield connection

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of `work`, which is called again if the database was unavailable."""

        def attempt() -> T:
            with reading(self._engine) as connection:
                return work(connection)

        with self.errors():
            return patiently(attempt, self._settings.retry_s, _WHAT)

    def read_all(self, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Return all rows of a statement, with the retries of `read`."""
        return self.read(lambda connection: connection.execute(statement).all())

    def read_types(self, tables: Tables) -> ColumnTypes:
        """Return the types of the columns of those tables that can be read; see `read_column_types`."""
        return self.read(lambda connection: read_column_types(connection, tables, self._settings.time_zone))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction with the account that writes; roll back if an error leaves the block."""
        with self.errors():
            connection = patiently(self._begin, self._settings.retry_s, _WHAT)
            with self._committed(connection):
                yield connection

    @contextmanager
    def trying(self) -> Iterator[sa.Connection]:
        """Open a transaction with the account that writes, which is rolled back in any case."""
        with self.errors(), patiently(self._begin, self._settings.retry_s, _WHAT) as connection:
            yield connection  # closing it rolls back

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Call `work` in a transaction, and retry if the database becomes unavailable before the commit.

        Raises
        ------
        ImagerError
            On any database error. If the connection is lost during the commit, it is unknown whether the changes were
            saved; the next run checks.
        """

        def attempt() -> T:
            connection = self._begin()
            with self._committed(connection):
                return work(connection)

        with self.errors():
            return patiently(attempt, self._settings.retry_s, _WHAT)

    def _begin(self) -> sa.Connection:
        connection = self._writer.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _committed(self, connection: sa.Connection) -> Iterator[None]:
        """Commit what the block did, or nothing; closing a connection rolls back."""
        with connection:
            yield
            try:
                connection.commit()
            except sa.exc.SQLAlchemyError as error:
                if not is_gone(error):
                    raise
                raise ImagerError(
                    f"{_WHAT} ({self.place}) was lost during a commit ({short_reason(error)}), so the last scores may "
                    "or may not be saved; run the same command again, which checks before it writes"
                ) from error
