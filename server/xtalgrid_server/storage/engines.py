"""Open databases: the one place that knows what SQLite, PostgreSQL and Oracle each need."""

from __future__ import annotations

import logging
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_exponential

from xtalgrid_core.errors import ConfigError, not_installed

from .connecting import limit_connecting

T = TypeVar("T")

log = logging.getLogger("xtalgrid")

_READS = "xtalgrid_reads"

IN_LIST = 500
"""Maximum number of values in one IN list; Oracle accepts at most 1,000."""


_EXTRAS = {"oracledb": "oracle", "cx_Oracle": "cx-oracle", "psycopg": "postgres", "pymysql": "ispyb"}
"""Our extras that bring a driver; for BOINC's database, pymysql comes with the extra `boinc`."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to connect to a database, besides its URL.

    Attributes
    ----------
    password_file
        File that contains the URL's password; empty: none.
    pool_size
        Maximum number of connections, which are kept open; None for SQLAlchemy's default.
    connect_timeout_s, statement_timeout_s
        Time limits in seconds; None for the driver's default. The first also limits the wait for a connection of the
        pool.
    oracle_client
        Folder of Oracle's client libraries; empty: thin mode, which needs none.
    """

    password_file: str = ""
    pool_size: int | None = None
    connect_timeout_s: float | None = None
    statement_timeout_s: float | None = None
    oracle_client: str = ""


def open_engine(url: str, key: str, access: Access | None = None) -> sa.Engine:
    """Create an engine for a URL. It does not connect yet, but the folder of a SQLite file is created.

    Parameters
    ----------
    url
        SQLAlchemy URL. A password missing from it is read from the file given in `access` or else from the environment
        variable `password_variable`.
    key
        Configuration key of the URL, for messages; they never show the URL itself, because it may contain a password.
    access
        Password file, pool and time limits.

    Raises
    ------
    ConfigError
        If the URL is invalid, the password file cannot be read, or the driver is not installed.
    """
    access = access or Access()
    try:
        parsed = _with_password(sa.make_url(url), key, access.password_file)
        engine = sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True, **_arguments(parsed, access))
    except sa.exc.NoSuchModuleError as error:
        raise ConfigError(_unsupported(url, key)) from error
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            f"{key}: not a database URL ({type(error).__name__}); give one such as "
            f"oracle+oracledb://user@host/?service_name=x, and the password in {_password_file(key)}"
        ) from error
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")  # none for MySQLdb, which mysql:// takes
        extra = "boinc" if extra == "ispyb" and key.startswith("boinc.") else extra
        raise ConfigError(
            f"{key}: the driver {not_installed(error.name, extra)}" if extra else _unsupported(url, key)
        ) from error
    except Exception as error:
        if not access.oracle_client:
            raise
        words = str(error).partition(". See")[0]  # the driver's own exceptions can't be imported: it is optional
        raise ConfigError(
            f"{key.partition('.')[0]}.oracle_client: {words}; on Linux the folder must also be in ldconfig's path "
            "(docs/imager-databases.md#oracles-client-libraries)"
        ) from error
    _listen(engine, parsed, access)
    return engine


def _unsupported(url: str, key: str) -> str:
    name = url.partition("://")[0]
    return f"{key}: {name}:// is not supported; use oracle+oracledb://, postgresql+psycopg://, mysql+pymysql:// or sqlite://"


def _listen(engine: sa.Engine, parsed: sa.URL, access: Access) -> None:
    """Prepare each connection as its database needs."""
    if engine.dialect.name == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
    elif access.connect_timeout_s is not None:
        limit_connecting(engine, access.connect_timeout_s)
    if parsed.get_driver_name() == "psycopg":
        event.listen(engine, "connect", _replace_nul)
    if engine.dialect.name == "oracle" and access.statement_timeout_s is not None:
        milliseconds = math.ceil(access.statement_timeout_s * 1000)
        event.listen(engine, "connect", lambda connection, _: _limit_calls(connection, milliseconds))


def _replace_nul(connection: Any, _record: Any) -> None:
    """Send NUL as U+FFFD: PostgreSQL's texts hold none, and a search or a note with one would be an error of its own.

    The other databases hold it.
    """
    from psycopg.types.string import StrDumperUnknown

    class Replacing(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, Replacing)


def _limit_calls(connection: Any, milliseconds: int) -> None:
    """Limit an Oracle connection's statements; client libraries before 18 cannot."""
    try:
        connection.call_timeout = milliseconds
    except Exception as error:
        if "DPI-1050" not in str(error):
            raise
        log.warning("Oracle's client libraries are older than 18, so imager.statement_timeout_s has no effect")


def password_variable(key: str) -> str:
    """Return the environment variable for a URL's password: ``imager.url`` → ``XTALGRID_IMAGER_PASSWORD``."""
    section, _, name = key.partition(".")
    return f"XTALGRID_{section}_{name.removesuffix('url')}".upper().replace(".", "_").rstrip("_") + "_PASSWORD"


def _password_file(key: str) -> str:
    """Return the configuration key for a URL's password file: ``imager.url`` → ``imager.password_file``."""
    return key.replace("url", "password_file")


def _check_address(url: sa.URL, key: str) -> None:
    """Refuse URLs that mean something else than what they seem to say."""
    if "@" in (url.host or ""):
        raise ConfigError(
            f"{key}: the password contains @; write %40 instead, or put the password as it is into "
            f"{_password_file(key)}"
        )
    if url.get_backend_name() == "oracle" and "protocol" in url.query:
        raise ConfigError(
            f"{key}: protocol is not used with host and service_name; "
            "write oracle+oracledb://user@/?dsn=tcps://host:2484/service"
        )


def _with_password(url: sa.URL, key: str, file: str) -> sa.URL:
    _check_address(url, key)
    if not file:
        password = os.environ.get(password_variable(key))
        return url.set(password=password) if password and url.username and url.password is None else url
    key = _password_file(key)
    if url.password is not None:
        raise ConfigError(f"{key}: the URL has a password too; remove it from the URL")
    try:
        password = Path(file).expanduser().read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{key}: cannot read {file}: {why}; let this account read it") from error
    if not password or "\n" in password:
        raise ConfigError(f"{key}: {file} must contain the password, on one line")
    return url.set(password=password)


def _arguments(url: sa.URL, access: Access) -> dict[str, Any]:
    """Build the arguments of ``create_engine``, under each driver's own names."""
    connect: dict[str, Any] = {}
    found: dict[str, Any] = {"connect_args": connect}
    if url.get_backend_name() == "sqlite":
        return found
    if access.pool_size is not None:
        found |= {"pool_size": access.pool_size, "max_overflow": 0}
        if access.connect_timeout_s is not None:
            found["pool_timeout"] = access.connect_timeout_s
        found["pool_recycle"] = 1800  # firewalls drop idle connections
    driver = url.get_driver_name()
    if driver in ("psycopg", "psycopg2"):
        if access.connect_timeout_s is not None:
            connect["connect_timeout"] = math.ceil(access.connect_timeout_s)
        if access.statement_timeout_s is not None and "options" not in url.query:
            connect["options"] = f"-c statement_timeout={math.ceil(access.statement_timeout_s * 1000)}"
    elif driver == "oracledb":
        if access.connect_timeout_s is not None:
            connect["tcp_connect_timeout"] = access.connect_timeout_s
        if access.oracle_client:
            found["thick_mode"] = {"lib_dir": access.oracle_client}
    connect |= {"read_timeout": access.statement_timeout_s} if driver == "pymysql" else {}
    return found


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin starts the transactions, not the driver
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads and then writes must hold the write lock from its start; otherwise two of them could read
    # the same state and both decide to write. One that only reads must not take it, or the viewer would wait for every
    # writer.
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection for reading only, which on SQLite takes no write lock."""
    with engine.connect() as connection:
        yield connection.execution_options(**{_READS: True})


def place(url: sa.URL) -> str:
    """Say where a database is, without account and password: ``oracle at db1:1521``, ``sqlite /data/ledger.db``."""
    kind = url.get_backend_name()
    named = re.search(r"(?:HOST=|^tcps?://|^)([\w.-]+)", str(url.query.get("dsn") or url.host or ""), re.IGNORECASE)
    if kind == "oracle" and named:
        return f"{kind} at {named[1]}" + (f":{url.port}" if url.port else "")
    if kind == "sqlite" or not url.host:
        return f"{kind} {url.database or ''}".strip()
    return f"{kind} at {url.host}" + (f":{url.port}" if url.port else "")


_DAMAGED = "the file is damaged; restore it from a backup"
_FULL = "free some disk space, then run the same command again"
_LOCAL = "check the disk; SQLite's files must be on a local one, because a network share does not lock them reliably"
_SQLITE = {
    "malformed": _DAMAGED,
    "not a database": _DAMAGED,
    "readonly database": "let this account write the file and its folder, or run this as the account that owns them",
    "database is locked": "another program holds the file, such as a backup or a sqlite3 shell; end it, then run the "
    "same command again",
    "disk is full": _FULL,
    # SQLite says so too where the disk is full and a file beside the database could not be made.
    "disk I/O error": f"free some disk space if the disk is full; if not, {_LOCAL}",
    "locking protocol": _LOCAL,
}


def sqlite_remedy(reason: str) -> str:
    """Return what to do about one of SQLite's messages; empty if nothing is known."""
    return next((words for sign, words in _SQLITE.items() if sign in reason), "")


def short_reason(error: sa.exc.SQLAlchemyError) -> str:
    """Return the database's own message in one line, without the statement and the URL."""
    original = getattr(error, "orig", None)
    shown = error if isinstance(error, sa.exc.TimeoutError) else original or ""  # the pool's names no statement
    text = str(shown).strip() or error.__class__.__name__
    lines = 2 if text.startswith("DPY-6005") else 1  # "cannot connect", with the cause on the next line
    return " ".join(line.strip() for line in text.splitlines()[:lines])[:300]


_GONE_ORACLE = {
    # Sessions: none left, killed, idle for too long, not logged on, the server process ended.
    "ORA": {18, 20, 22, 28, 31, 45, 600, 602, 603, 609, 1012, 1041, 2391, 2396, 3113, 3114, 3122, 3135, 28511}
    # The instance: starting, stopping, a file away.
    | {376, 1033, 1034, 1089, 1090, 1092, 1115, 27101, 27146, 56600}
    # Network and listener.
    | {12150, 12153, 12157, 12161, 12170, 12203, 12224, 12500, 12505, 12514, 12516, 12518, 12519, 12520}
    | {12521, 12525, 12526, 12527, 12528, 12537, 12541, 12543, 12545, 12547, 12560, 12564, 12570, 12571, 12583}
    | {12606, 12608, 12609, 12637, 12757}
    # Failover to another node of a cluster.
    | {25401, 25402, 25403, 25405, 25408, 25409},
    "DPY": {1001, 4011, 4033, 6000, 6001, 6003, 6005},
    "DPI": {1010, 1080},
}
"""Errors after which a retry may help.

Sources: python-oracledb's errors.py (recoverable errors, and those that close a connection); SQLAlchemy's
is_disconnect; Oracle Database Error Messages, on sessions (18, 20, 2391), listeners that block or have no handler
(12516-12528) and failover (25401-25409).
"""
_MISFITS = ("DPY-3001", "DPY-3010", "ORA-12660", "CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
"""Causes of "cannot connect" that stay: encryption or an old server, which need thick mode, and TLS that fails."""
_GONE_POSTGRESQL = ("08", "57P01", "57P02", "57P03", "53300")
"""SQLSTATE prefixes: connection exceptions, shutdown, crash, start-up, too many connections."""


_GONE_MYSQL = (1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013)
"""Errors of MySQL and MariaDB: too many connections, shutdown, lock time-out, deadlock, no connection or a lost one."""


def is_gone(error: BaseException | None) -> bool:
    """Return whether the error means that the database is unavailable, so that a retry may help."""
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    if error.connection_invalidated or getattr(error.orig, "is_unavailable", False):
        return True
    words = str(error.orig)
    code = re.match(r"\s*(ORA|DPY|DPI)-(\d+)", words)
    if code:
        return int(code[2]) in _GONE_ORACLE[code[1]] and not any(sign in words for sign in _MISFITS)
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state:
        return str(state).startswith(_GONE_POSTGRESQL)
    if type(error.orig).__module__.startswith("pymysql"):
        return error.orig is not None and error.orig.args[:1] in [(code,) for code in _GONE_MYSQL]
    # libpq gives no SQLSTATE while connecting. FATAL means that the server refused the connection: a retry won't help.
    is_refusal = "FATAL:" in words and not re.search("the database system is|too many|connection slots", words)
    return isinstance(error, sa.exc.OperationalError) and "connection" in words and not is_refusal


_REFUSED_MYSQL = (1364, 1366, 1644, 3819, 4025)
"""Values that don't fit, what a trigger signals, and constraints, which are no integrity errors of PyMySQL."""


def is_refused_row(error: sa.exc.DBAPIError) -> bool:
    """Return whether a database refuses a row for what it is: by a constraint, a type, or a trigger's own error."""
    if isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError)):
        return True
    if type(error.orig).__module__.startswith("pymysql"):
        return error.orig is not None and error.orig.args[:1] in [(code,) for code in _REFUSED_MYSQL]
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state == "P0001" or re.match(r"\s*ORA-20\d{3}\b", str(error.orig)) is not None


def patiently(work: Callable[[], T], patience_s: float, what: str) -> T:
    """Call `work`; while the database is unavailable, retry with growing pauses, for at most `patience_s` seconds."""

    def log_error(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        assert isinstance(error, sa.exc.DBAPIError)  # `is_gone` accepts no other
        log.warning("%s is unavailable (%s); retrying in %.1f s", what, short_reason(error), state.upcoming_sleep)

    retrying = Retrying(
        retry=retry_if_exception(is_gone),
        wait=wait_exponential(multiplier=0.5, max=15.0),
        stop=stop_before_delay(patience_s),
        before_sleep=log_error,
        # Random, so that the services don't all retry at once.
        sleep=lambda pause: time.sleep(pause * random.uniform(0.7, 1.0)),
        reraise=True,
    )
    return retrying(work)


def chunks(values: Sequence[T], size: int = IN_LIST) -> Iterator[Sequence[T]]:
    """Split a sequence into slices of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
