"""The short form of tests/rig/fuzz_images.py: broken files through one worker process."""

import pytest

from xtalgrid_core.weights import MANIFEST, PACKAGED

from .conftest import run


@pytest.mark.skipif(not (PACKAGED / MANIFEST).is_file(), reason="the package has no weights")
def test_broken_images_are_scored_or_failed_with_their_reason_and_cost_no_worker():
    done = run("fuzz_images", "--cases", "90", "--width", "320", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout
