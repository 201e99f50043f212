"""The short form of scripts/fuzz_images.py: broken files through one worker process."""

import subprocess
import sys
from pathlib import Path

import pytest

from xtalgrid_core.weights import MANIFEST, PACKAGED

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.skipif(not (PACKAGED / MANIFEST).is_file(), reason="the package has no weights")
def test_broken_images_are_scored_or_failed_with_their_reason_and_cost_no_worker():
    command = [sys.executable, SCRIPTS / "fuzz_images.py", "--cases", "90", "--width", "320", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout
