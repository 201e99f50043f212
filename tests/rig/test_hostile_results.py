"""The short form of tests/rig/fuzz_results.py, and what it has found."""

import random
import subprocess
import sys

import pytest

from xtalgrid_core import wire
from xtalgrid_core.errors import ManifestError, ResultError
from xtalgrid_worker.workunit import WorkUnit

from .conftest import ROOT, run
from .faults.hostile_units import _LARGE


def test_hostile_results_and_units_do_no_harm():
    done = run("fuzz_results", "--cases", "200", "--seed", "2026")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout


def test_the_fuzzer_sees_a_validator_that_lets_lies_through():
    """With a check taken out, the same cases end with 1: the program can fail."""
    program = (
        "import sys; sys.argv = ['fuzz_results', '--cases', '120']\n"
        "import xtalgrid_server.steps.assimilate.validate as validation\n"
        "validation._check_scored = lambda *_: None\n"
        "from tests.rig import fuzz_results; fuzz_results.main()\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "accepted: this must be refused" in done.stdout


def test_lists_that_would_fill_the_memory_are_refused_before_they_are_read():
    with pytest.raises(ResultError, match="more than 2000000 values"):
        wire.decode_result(b'{"schema":1,"images":[' + b"0," * 2_000_001 + b"0]}")


@pytest.mark.parametrize("kind", ["300,000 names", "60,000 names"])
def test_a_zip_with_more_names_than_any_unit_is_refused_unread(tmp_path, kind):
    _LARGE[kind](random.Random(0))(tmp_path / "unit.zip")
    with pytest.raises(ManifestError, match="its directory has"):
        WorkUnit(tmp_path / "unit.zip")
