"""Peak memory of a benchmark's process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """Return this process's peak of resident memory in MB.

    On Linux it is ``VmHWM``, since ``ru_maxrss`` there starts at the parent's own peak.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
