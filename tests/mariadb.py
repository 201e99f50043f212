"""A MariaDB server of a test module's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import missing


@contextmanager
def mariadb() -> Iterator[int]:
    """Start a server on 127.0.0.1 and return its port; root has no password."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        missing("MariaDB is not installed")
    pymysql = pytest.importorskip("pymysql", reason="the driver is not installed (extras boinc and ispyb)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="xtalgrid-my-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = ["--user=root"] if os.geteuid() == 0 else []
        data = ["--no-defaults", f"--datadir={folder / 'data'}", *user]
        make = ["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(make, check=True, capture_output=True, timeout=200)
        here = [f"--socket={folder / 'socket'}", f"--port={number}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        here.append("--log-bin-trust-function-creators=1")  # for ISPyB's own functions
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["mariadbd", *data, *here], stdout=log, stderr=log)
        try:
            for _ in range(600):
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    pymysql.connect(host="127.0.0.1", port=number, user="root").close()
                    break
                except pymysql.err.OperationalError:
                    time.sleep(0.2)
            yield number
        finally:
            process.terminate()
            process.wait(60)
