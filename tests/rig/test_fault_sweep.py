"""The short form of tests/rig/fault_sweep.py."""

import os
from pathlib import Path

import pytest

from .conftest import run

pytest.importorskip("onnx", reason="the small test networks are made with onnx (extra dev)")


@pytest.mark.skipif(
    not Path("/proc/self/task").exists() or not hasattr(os, "fork"), reason="finds the workers by /proc"
)
def test_a_sweep_of_faults_ends_as_an_undisturbed_run():
    done = run("fault_sweep", "--kills", "9", "--wells", "60", "--gone", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout
    for fault in ("killed", "a worker hangs", "two runs at once", "the clock jumps back", "read-only folders"):
        assert f"{fault:<24}" in done.stdout
