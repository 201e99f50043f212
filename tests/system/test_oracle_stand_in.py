"""The tests of `test_oracle` on H2 in Oracle mode, and columns of other types on HSQLDB, which pads CHAR as Oracle does.

The Java machine runs in a process of its own, because it uses signals that pytest's faulthandler takes for crashes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).parents[2]


def run(module: str, engine: str, version: str = "19.3.0.0.0") -> int:
    """Run a module's tests on a stand-in; return how many passed."""
    jar = Path(f"/usr/share/java/{engine}.jar")
    if importlib.util.find_spec("jpype") is None or not jar.is_file():
        missing(f"lib{engine}-java and JPype")
    stand_in = {
        "XTALGRID_ORACLE_ENGINE": engine,
        "XTALGRID_ORACLE_VERSION": version,
        "ORACLE_URL": "oracle+oracledb://xg:xg@localhost/?service_name=xg",
    }
    plugins = ("-p", "no:faulthandler", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.rig.oracle.plugin")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, module],
        cwd=ROOT,
        env=os.environ | stand_in,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr]
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", last[0])
    assert passed and "skipped" not in last[0], last[0]
    return int(passed[1])


@pytest.mark.parametrize("version", ["11.2.0.4.0", "19.3.0.0.0", "23.4.0.0.0"])
def test_the_imager_database_on_oracle_as_h2_speaks_it(version):
    assert run("tests/system/test_oracle.py", "h2", version) >= 60


@pytest.mark.parametrize("version", ["11.2.0.4.0", "23.4.0.0.0"])
def test_check_imager_at_odd_labs_as_h2_speaks_oracle(version):
    assert run("tests/rig/oracle/labs.py", "h2", version) >= 7


def test_columns_of_other_types_on_oracle_as_hsqldb_speaks_it():
    assert run("tests/rig/oracle/types.py", "hsqldb") >= 4
