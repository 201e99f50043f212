"""cx_Oracle, installed as docs/imager-databases.md says, is what SQLAlchemy and we expect."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import missing
from tests.docs.pages import ROOT, blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="its instructions are for a POSIX shell"),
]

USE = """
from pathlib import Path
import cx_Oracle
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
url = "oracle+cx_oracle://reader:p@127.0.0.1:1/?service_name=x"
database = ImagerDatabase(from_string(f"[imager]\\nurl = '{url}'\\nretry_s = 0", home=Path("home")))
print(cx_Oracle.version)
next(database.newest_first(None, None))
"""


def test_it_installs_and_connects_as_far_as_the_client_libraries(tmp_path):
    if not shutil.which("cc"):
        missing("a C compiler, which builds cx_Oracle")
    (block,) = (block for block in blocks(ROOT / "docs" / "imager-databases.md") if "cx_Oracle" in block.text)
    install = block.text.replace("pip install", f"'{sys.executable}' -m pip install --target packages")
    done = subprocess.run(["sh", "-e", "-c", install], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode and "connection" in done.stderr.lower():
        missing(f"no network for cx_Oracle: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    path = os.pathsep.join([*sys.path, str(tmp_path / "packages")])
    environment = os.environ | {"PYTHONPATH": path}
    used = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert used.stdout.startswith("8.3")
    # Without Oracle's libraries (DPI-1047), or with them and no listener there.
    assert "enter their folder in ldconfig" in used.stderr or "ORA-12541" in used.stderr, used.stderr
