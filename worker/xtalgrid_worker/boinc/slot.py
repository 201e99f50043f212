"""What the job leaves in its slot for the client, and for another worker that might be in it (``api/boinc_api.cpp``)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from xtalgrid_core.errors import Busy

LOCK = "boinc_lockfile"
FINISHED = "boinc_finish_called"
TEMPORARY_EXIT = "boinc_temporary_exit"
STDERR = "stderr.txt"

LOCK_WAIT = 35.0
"""Seconds in which a worker that lost its client has surely noticed and left the slot."""


def say_ended(slot: Path, code: int) -> None:
    """Note that the job has ended, with this exit code, and is not to be started again. The process has to end at once."""
    (slot / FINISHED).write_text(f"{code}\n")


def ask_for_later(slot: Path, seconds: int, reason: str) -> None:
    """Ask to be started again after some seconds; leave with exit code 0 then. The client gives up after a hundred times."""
    (slot / TEMPORARY_EXIT).write_text(f"{seconds}\n{' '.join(reason.split())}\n")


def take_lock(slot: Path, pause: Callable[[], None], wait: float = LOCK_WAIT) -> None:
    """Be the only worker in the slot, until the process ends.

    Parameters
    ----------
    slot
        Its folder.
    pause
        Called while another worker is waited for; may raise.
    wait
        Seconds.

    Raises
    ------
    Busy
        When the other one does not leave.
    """
    end = time.monotonic() + wait
    while not _locks(slot / LOCK):
        if time.monotonic() > end:
            raise Busy(f"{slot / LOCK}: another worker is in this slot; nothing was done")
        pause()
        time.sleep(0.2)


def use_stderr_file(slot: Path) -> None:
    """Let standard error be the file that the client sends to the server: on Windows, it leaves that to the job."""
    if sys.platform == "win32":
        stream = (slot / STDERR).open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        sys.stderr = stream
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)


def _locks(path: Path) -> bool:
    """Lock the file for as long as this process lives; False if another one has."""
    if sys.platform == "win32":
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.CreateFileW.restype = ctypes.c_void_p
        write, shared_with_nobody, open_always, normal = 0x40000000, 0, 4, 0x80
        handle = kernel32.CreateFileW(str(path), write, shared_with_nobody, None, open_always, normal, None)
        return bool(handle != ctypes.c_void_p(-1).value)
    import fcntl

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o664)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True
