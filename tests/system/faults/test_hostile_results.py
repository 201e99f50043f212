"""The short form of scripts/fuzz_results.py, and what it has found."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from xtalgrid_core import wire
from xtalgrid_core.errors import ManifestError, ResultError
from xtalgrid_worker.workunit import WorkUnit

SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_hostile_results_and_units_do_no_harm():
    command = [sys.executable, SCRIPTS / "fuzz_results.py", "--cases", "200", "--seed", "2026"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout


def test_the_fuzzer_sees_a_validator_that_lets_lies_through(tmp_path):
    """With a check taken out, the same cases end with 1: the script can fail."""
    program = (
        "import sys, runpy; sys.argv = ['fuzz_results.py', '--cases', '120']\n"
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import xtalgrid_server.validation as validation\n"
        "validation._check_scored = lambda *_: None\n"
        f"runpy.run_path({str(SCRIPTS / 'fuzz_results.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "accepted: this must be refused" in done.stdout


def test_lists_that_would_fill_the_memory_are_refused_before_they_are_read():
    with pytest.raises(ResultError, match="more than 2000000 values"):
        wire.decode_result(b'{"schema":1,"images":[' + b"0," * 2_000_001 + b"0]}")


@pytest.mark.parametrize("kind", ["300,000 names", "60,000 names"])
def test_a_zip_with_more_names_than_any_unit_is_refused_unread(tmp_path, monkeypatch, kind):
    monkeypatch.syspath_prepend(SCRIPTS)
    from faults.hostile_units import _LARGE

    _LARGE[kind](random.Random(0))(tmp_path / "unit.zip")
    with pytest.raises(ManifestError, match="list of names has"):
        WorkUnit(tmp_path / "unit.zip")
