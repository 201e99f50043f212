"""Stop the worker on a signal, or when its parent process has exited.

It stops only at safe points, which scoring passes many times a second.
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
"""Folder with the frozen worker's files."""

_BOOTLOADER = os.getppid() if _UNPACKED.name.startswith("_MEI") else None
"""Process that unpacks the one-file worker, waits for it, and deletes the files; None for other workers."""


class Stopped(BaseException):
    """The worker was asked to stop. Not an `Exception`, so that the handlers for broken images don't catch it."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequest:
    """Context manager that catches SIGTERM and SIGINT (and Ctrl-Break on Windows); call it at safe points to stop.

    A second signal of the same kind has its original effect, so that an impatient Ctrl-C always works.

    Parameters
    ----------
    parent
        Id of a process with which the worker must stop, in addition to the bootloader of the one-file worker.
    """

    _SIGNALS: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
    if sys.platform == "win32":
        _SIGNALS += (signal.SIGBREAK,)

    def __init__(self, parent: int | None = None) -> None:
        self._parents = [pid for pid in (parent, _BOOTLOADER) if pid is not None]
        self._child_of = os.getppid()
        self._signal: signal.Signals | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._handlers = {number: signal.signal(number, self._catch) for number in self._SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __call__(self) -> None:
        """Raise `Stopped`, with the usual exit code, if the worker has to stop."""
        if self._signal is not None:
            raise Stopped(f"received {self._signal.name}", 128 + self._signal)
        for pid in self._parents:
            if self._has_exited(pid):
                raise Stopped(f"process {pid}, which started this worker, has exited", 128 + signal.SIGTERM)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)
        signal.signal(number, self._handlers[self._signal])

    def _has_exited(self, pid: int) -> bool:
        """Tell whether a process has exited; if it was our parent, we now have another one."""
        return (pid == self._child_of and os.getppid() != pid) or not is_running(pid)


def tidy_up() -> None:
    """Delete the unpacked files if the bootloader was killed before it could. Nothing can be imported afterwards."""
    if _BOOTLOADER is not None and os.getppid() != _BOOTLOADER:
        shutil.rmtree(_UNPACKED, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Tell whether a process with this id is running."""
    if sys.platform == "win32":  # where os.kill(pid, 0) would end it
        import ctypes

        synchronize, running = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return bool(ctypes.windll.kernel32.GetLastError() == 5)  # access denied: it exists
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
