"""The tests of the score table rules, of publishing and of create_work once more, on a real PostgreSQL server.

It holds both databases here: the ledger, and the vendor's tables as a lab on PostgreSQL would have them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import missing
from tests.server.conftest import *  # noqa: F403  the same fixtures, over another configuration
from tests.server.test_create_work import *  # noqa: F403
from tests.server.test_publish import *  # noqa: F403
from tests.server.test_rules import *  # noqa: F403
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.imager.tables import CrystalTrak

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts PostgreSQL as Unix does")

_numbers = itertools.count()


def _programs() -> Path | None:
    """The folder of initdb and postgres: Debian keeps it off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[sa.URL]:
    """A PostgreSQL server of this module's own, on 127.0.0.1."""
    programs = _programs()
    if programs is None:
        missing("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="the driver is not installed (extra postgres)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="xtalgrid-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres")
            user = ["runuser", "-u", "postgres", "--"]
        data, log = folder / "data", folder / "log"
        initdb = [*user, str(programs / "initdb"), "-A", "trust", "-U", "xtalgrid", "-N", "-D", str(data)]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        control = [*user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        subprocess.run([*control, "-l", str(log), "-o", options, "start"], check=True, cwd=folder, stdout=sys.stderr)
        try:
            yield sa.URL.create("postgresql+psycopg", "xtalgrid", host="127.0.0.1", port=port, database="postgres")
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=folder, stdout=sys.stderr)


@pytest.fixture
def config(server: sa.URL, tmp_path: Path) -> Iterator[Config]:
    """A fresh ledger and imager database on the server, and everything else as in the other tests."""
    number = next(_numbers)
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    urls = {}
    with admin.connect() as connection:
        for name in ("imager", "ledger"):
            connection.exec_driver_sql(f"CREATE DATABASE {name}{number}")
            urls[name] = server.set(database=f"{name}{number}")
    admin.dispose()
    vendor = sa.create_engine(urls["imager"])
    with vendor.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA crystal")
        CrystalTrak("CRYSTAL").metadata.create_all(connection)
    vendor.dispose()
    toml = f"""
        [imager]
        url = "{urls["imager"].render_as_string()}"
        owner = "CRYSTAL"
        [ledger]
        url = "{urls["ledger"].render_as_string()}"
        [work]
        segmenter = "{"a" * 64}"
        classifier = "{"b" * 64}"
    """
    yield from_string(toml, home=tmp_path / "home")


def test_the_vendors_sequence_gives_the_score_ids(system, score, score_table):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE})  # noqa: F405
    system.finalize(frames="none")
    system.set_autoscore()
    with system.imager._engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT last_value FROM crystal.seq_jtng_score_id").scalar() == 2
    assert [row[0] for row in score_table()] == [1, 2]
