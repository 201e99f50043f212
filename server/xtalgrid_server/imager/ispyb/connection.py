"""The connection to ISPyB's database, with retries while it is unavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...config import Config
from ...storage.engines import Access, is_gone, open_engine, patiently, place, reading, short_reason

T = TypeVar("T")

_WHAT = "ISPyB"


class Ispyb:
    """ISPyB's database of one configuration, a context manager; database errors are raised as `ImagerError`.

    Parameters
    ----------
    url, password_file
        As in the configuration. Time limits are the imager database's.
    key
        Configuration key of the URL, for messages.
    """

    def __init__(self, config: Config, url: str, password_file: str, key: str) -> None:
        settings = config.imager
        access = Access(password_file, 2, settings.connect_timeout_s, settings.statement_timeout_s)
        self._engine = open_engine(url, key, access)
        self._retry_s, self._key = settings.retry_s, key

    def __enter__(self) -> Ispyb:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of `work`, which is called again if the database was unavailable."""

        def attempt() -> T:
            with reading(self._engine) as connection:
                return work(connection)

        with self._errors():
            return patiently(attempt, self._retry_s, _WHAT)

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Call `work` in a transaction, and again if the database becomes unavailable before the commit.

        Raises
        ------
        ImagerError
            On any database error. If the connection is lost during the commit, the next run finds out whether the
            changes were saved.
        """

        def attempt() -> T:
            with self._engine.connect() as connection:
                connection.begin()
                done = work(connection)
                try:
                    connection.commit()
                except sa.exc.SQLAlchemyError as error:
                    if not is_gone(error):
                        raise
                    raise ImagerError(
                        f"{_WHAT} ({self._place}) was lost during a commit ({short_reason(error)}); run the same "
                        "command again, which checks before it writes"
                    ) from error
                return done

        with self._errors():
            return patiently(attempt, self._retry_s, _WHAT)

    def trying(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of `work` in a transaction that is rolled back."""
        with self._errors(), self._engine.connect() as connection:
            connection.begin()
            return work(connection)  # closing the connection rolls back

    @property
    def _place(self) -> str:
        return place(self._engine.url)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise ImagerError(
                f"{_WHAT} ({self._place}): {short_reason(error)}; check {self._key}, its account and what that is "
                "granted (docs/ispyb.md), then run the same command again"
            ) from error
