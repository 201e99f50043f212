"""A folder that one process writes: another one that is begun there at the same time is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from xtalgrid_core.errors import Busy

LOCK = ".lock"


class Claim:
    """The claim of this process on a folder, until it is given up, or the process ends in whatever way.

    Its children don't share the claim: those that outlive a killed process keep nobody out.

    Raises
    ------
    Busy
        If another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._handle)
        except OSError as error:
            os.close(self._handle)
            raise Busy(f"{folder}: another process is at work in this folder; wait for it, or end it") from error

    def give_up(self) -> None:
        """Let others write the folder; twice does no harm."""
        if self._handle >= 0:
            if sys.platform != "win32":  # where an open file can't be removed
                self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, forked processes have no part in it
