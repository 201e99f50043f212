"""Opens databases: one place that knows what SQLite, PostgreSQL and Oracle each need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from xtalgrid_core.errors import ConfigError

T = TypeVar("T")

_READS = "xtalgrid_reads"

IN_LIST = 500
"""Most values in one IN list: Oracle refuses more than 1,000."""


def open_engine(url: str, key: str) -> sa.Engine:
    """An engine for a URL; nothing is connected yet, but a SQLite file's folder is made.

    Parameters
    ----------
    url
        SQLAlchemy URL.
    key
        Name of the configuration key that the URL is from, for messages (which never show the URL: it holds a password).

    Raises
    ------
    ConfigError
        When the URL cannot be read or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        engine = sa.create_engine(parsed, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(f"{key}: not a database URL ({type(error).__name__})") from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}: the driver {error.name} is not installed; see the extras oracle, postgres, boinc"
        ) from error
    if engine.dialect.name == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver starts no transactions of its own; _begin does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads and then writes must hold the write lock from its start, or two may both decide to write.
    # One that only reads must not take it, or the viewer would wait for every writer.
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading only: on SQLite it takes no write lock."""
    with engine.connect() as connection:
        yield connection.execution_options(**{_READS: True})


def short_reason(error: sa.exc.SQLAlchemyError) -> str:
    """The database's own words, one line, without the statement and the URL."""
    original = getattr(error, "orig", None)
    text = str(original or error.__class__.__name__).strip()
    return text.splitlines()[0][:300] if text else error.__class__.__name__


def chunks(values: Sequence[T], size: int = IN_LIST) -> Iterator[Sequence[T]]:
    """Slices of a sequence, each of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
