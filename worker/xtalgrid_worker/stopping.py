"""When the worker has to stop: a signal came, or the process that started it is gone.

It stops at safe points only, which the scoring passes many times a second.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any


class Stopped(BaseException):
    """The worker was asked to stop. No `Exception`, so that a broken image's handler cannot take it for one."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequest:
    """Notes SIGTERM and SIGINT while it is entered; called at a safe point, it raises `Stopped` if there is a reason to.

    A second signal of the kind does what it did before, so that an impatient Ctrl-C always works.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, parent: int | None = None) -> None:
        self._parent = parent
        self._is_child = parent == os.getppid()
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
        if self._parent is not None and self._parent_is_gone():
            raise Stopped(f"process {self._parent}, which started this worker, is gone", 128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)
        signal.signal(number, self._before[self._signal])

    def _parent_is_gone(self) -> bool:
        assert self._parent is not None
        # A child sees at once that it has another parent; a frozen worker has its own bootloader for a parent.
        return (self._is_child and os.getppid() != self._parent) or not is_running(self._parent)


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
