"""When the worker has to stop: a signal came, or a process that it belongs to is gone.

It stops at safe points only, which the scoring passes many times a second.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_UNPACKED = Path(getattr(sys, "_MEIPASS", ""))
"""Where the frozen worker's files are."""

_BOOTLOADER = os.getppid() if _UNPACKED.name.startswith("_MEI") else None
"""The process that unpacked the one-file worker, waits for it, and removes what it unpacked; None if this is no such worker."""


class Stopped(BaseException):
    """The worker was asked to stop. No `Exception`, so that a broken image's handler cannot take it for one."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequest:
    """Notes SIGTERM and SIGINT (and Windows' Ctrl-Break) while it is entered; called at a safe point, it raises `Stopped` if there is a reason to.

    A second signal of the kind does what it did before, so that an impatient Ctrl-C always works.

    Parameters
    ----------
    parent
        Id of a process without which there is nothing to work for. The one-file worker's own bootloader always is one.
    """

    _SIGNALS: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
    if sys.platform == "win32":
        _SIGNALS += (signal.SIGBREAK,)

    def __init__(self, parent: int | None = None) -> None:
        self._parents = [pid for pid in (parent, _BOOTLOADER) if pid is not None]
        self._child_of = os.getppid()
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> None:
        """Raise `Stopped`, with the exit code a shell expects, if the worker has to stop."""
        if self._signal is not None:
            raise Stopped(f"{self._signal.name} came", 128 + self._signal)
        for pid in self._parents:
            if self._is_gone(pid):
                raise Stopped(f"process {pid}, which started this worker, is gone", 128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)
        signal.signal(number, self._before[self._signal])

    def _is_gone(self, pid: int) -> bool:
        """Whether a process is gone; a child of it sees at once that it has another parent."""
        return (pid == self._child_of and os.getppid() != pid) or not is_running(pid)


def tidy_up() -> None:
    """Remove what was unpacked, if the bootloader that would do it was killed. Nothing can be imported afterwards."""
    if _BOOTLOADER is not None and os.getppid() != _BOOTLOADER:
        shutil.rmtree(_UNPACKED, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Whether there is a process with this id."""
    if sys.platform == "win32":  # os.kill(pid, 0) would end it there
        import ctypes

        synchronize, running = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return bool(ctypes.windll.kernel32.GetLastError() == 5)  # access denied: it is there
        state = ctypes.windll.kernel32.WaitForSingleObject(handle, 0)
        ctypes.windll.kernel32.CloseHandle(handle)
        return bool(state == running)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
