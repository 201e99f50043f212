"""A scoring process keeps the memory that it frees."""

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
import numpy as np
from xtalgrid_scoring.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for part in range(20):
    if part == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(megabytes << 17) for megabytes in (14, 20, 4, 14)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told to keep it")
def test_freed_memory_is_used_again() -> None:
    """An image's arrays, again and again: each page of new memory would be a fault, 13,000 a time."""
    kept, usual = (int(subprocess.check_output([sys.executable, "-c", _FAULTS, how])) for how in ("keep", "as usual"))
    assert kept < 1000 < 10_000 < usual
