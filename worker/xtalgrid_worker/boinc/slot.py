"""The job's files in its slot: the lock, and messages for the client (``api/boinc_api.cpp``)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from xtalgrid_core.errors import Busy
from xtalgrid_core.files import write_atomically

from ..checkpoint import LOCKED

LOCK = "boinc_lockfile"
FINISHED = "boinc_finish_called"
TEMPORARY_EXIT = "boinc_temporary_exit"
STDERR = "stderr.txt"

LOCK_SECONDS = 35.0
"""Time in which a worker whose client has exited is sure to notice that and exit, too."""


def write_finish(slot: Path, code: int) -> None:
    """Tell the client that the job has ended with this exit code, for good. The process must exit at once."""
    write_atomically(slot / FINISHED, f"{code}\n".encode())  # an empty one would mean success


def write_temporary_exit(slot: Path, seconds: int, reason: str) -> None:
    """Ask the client to restart the job after a delay; the exit code must be 0. The client gives up after 100 times."""
    write_atomically(slot / TEMPORARY_EXIT, f"{seconds}\n{' '.join(reason.split())}\n".encode())


def take_lock(slot: Path, pause: Callable[[], None], wait: float = LOCK_SECONDS) -> None:
    """Lock the slot against other workers until the process ends.

    Parameters
    ----------
    slot
        Its folder.
    pause
        Called while waiting for another worker to exit; may raise.
    wait
        Maximum wait in seconds.

    Raises
    ------
    Busy
        If the other worker doesn't exit.
    OSError
        If the slot's file system has no locks.
    """
    end = time.monotonic() + wait
    while not _lock(slot / LOCK):
        if time.monotonic() > end:
            raise Busy(f"{slot / LOCK}: another worker is in this slot; nothing was done")
        pause()
        time.sleep(0.2)


def use_stderr_file(slot: Path) -> None:
    """On Windows, redirect standard error to the file that is sent to the server; elsewhere the client does it."""
    if sys.platform == "win32":
        stream = (slot / STDERR).open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        sys.stderr = stream
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)


def _lock(path: Path) -> bool:
    """Lock the file until this process ends; False if another process has locked it."""
    if sys.platform == "win32":
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.CreateFileW.restype = ctypes.c_void_p
        write, no_sharing, open_always, normal = 0x40000000, 0, 4, 0x80
        handle = kernel32.CreateFileW(str(path), write, no_sharing, None, open_always, normal, None)
        return bool(handle != ctypes.c_void_p(-1).value)
    import fcntl

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o664)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in LOCKED:
            return False
        error.filename = str(path)
        raise
    return True
