"""Limit how long connecting to a database may take, whether DNS, TCP, listener or login is slow.

Drivers limit parts of it: python-oracledb's limit ends with the TCP connection, libpq's begins after DNS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def limit_connecting(engine: sa.Engine, seconds: float) -> None:
    """Let each attempt to connect end after `seconds`, with the driver's `OperationalError`.

    An attempt that nobody answers cannot be stopped, so it goes on in a thread, and no other is begun until it ends: a
    server that runs for weeks collects no threads.
    """
    attempts = _Attempts(engine, seconds)
    event.listen(engine, "do_connect", attempts.connect)


class _Attempts:
    """Attempts to connect to one database."""

    def __init__(self, engine: sa.Engine, seconds: float) -> None:
        self._place = engine.url.host or engine.url.database or ""
        self._error: type[Exception] = engine.dialect.loaded_dbapi.OperationalError
        self._seconds = seconds
        self._unanswered: threading.Thread | None = None

    def connect(self, dialect: sa.Dialect, _record: Any, arguments: Any, named: Any) -> Any:
        """Connect in place of the dialect."""
        if self._unanswered is not None and self._unanswered.is_alive():
            raise self._unavailable(f"{self._place} has not answered an earlier attempt to connect")
        attempt = _Attempt(lambda: dialect.connect(*arguments, **named))
        thread = threading.Thread(target=attempt.run, name="connecting", daemon=True)
        thread.start()
        if not attempt.wait(self._seconds):
            self._unanswered = thread
            raise self._unavailable(f"{self._place} did not answer within {self._seconds:g} s")
        try:
            return attempt.result()
        except OSError as error:  # such as a name that DNS does not know, which python-oracledb does not convert
            raise self._unavailable(f"{self._place}: {error.strerror or error}") from error

    def _unavailable(self, text: str) -> Exception:
        error = self._error(text)
        error.is_unavailable = True  # type: ignore[attr-defined]  # see `engines.is_gone`
        return error


class _Attempt:
    """One attempt, in a thread; a connection that comes too late is closed."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._is_given_up = False
        self._connection: Any = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:
            self._failure = error
        else:
            with self._lock:
                if self._is_given_up:
                    connection.close()
                    return
                self._connection = connection
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Return whether it ended in time."""
        if self._done.wait(seconds):
            return True
        with self._lock:
            self._is_given_up = self._connection is None
        return not self._is_given_up

    def result(self) -> Any:
        if self._failure is not None:
            raise self._failure
        return self._connection
