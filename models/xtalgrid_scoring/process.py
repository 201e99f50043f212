"""The pool's side of one scoring process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.errors import FailureReason, XtalgridError

from .messages import READY, Job, Reply, receive_reply, send

# -P: don't import modules from the current folder
_COMMAND = (sys.executable, "-P", "-m", "xtalgrid_scoring.child")
_START_SECONDS = 60.0
_END_SECONDS = 5.0
_MAX_NOISE = 1024 * 1024
_UNUSED_MB = 2000
"""Memory that is reserved but not resident: 160 MB more at work on one core, 410 on 16."""


class Ended(Exception):
    """A process ended before it replied."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Process:
    """One scoring process.

    Parameters
    ----------
    memory_mb
        Resident memory at which `check` kills it. On Linux the system also refuses it more than `_UNUSED_MB` beyond
        that, because it may take gigabytes between two checks.
    """

    def __init__(self, memory_mb: float) -> None:
        try:
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=_standard_error(), **_OWN_GROUP
            )
        except OSError as error:
            raise XtalgridError(f"cannot start a scoring process: {error}") from error
        _limit_memory(self._process.pid, memory_mb + _UNUSED_MB)
        self._memory_mb = memory_mb
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs, self._replies = self._process.stdin, self._process.stdout
        self._is_ready = False
        self._seconds = _START_SECONDS
        self._deadline: float | None = time.monotonic() + _START_SECONDS
        self._ended: Ended | None = None
        self._is_idle = True
        self.idle_since = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    @property
    def is_usable(self) -> bool:
        """Whether it has replied to its last job, and was not killed."""
        return self._is_idle and self._ended is None

    def run(self, job: Job, seconds: float) -> Reply:
        """Run a job and return the reply.

        Raises
        ------
        Ended
            If the process ends first, by itself or because it exceeded a limit.
        XtalgridError
            If it cannot be started.
        """
        self._is_idle = False
        try:
            if not self._is_ready:
                self._wait_until_ready()
            self._seconds, self._deadline = seconds, time.monotonic() + seconds
            send(self._jobs, job)
            reply = receive_reply(self._replies)
        except (ValueError, msgspec.DecodeError) as error:
            raise Ended(FailureReason.INTERNAL, f"its reply is invalid: {error}") from error
        except (EOFError, OSError) as error:
            detail = f"the process that worked on it ended ({self._exit()})"
            ended = self._ended or Ended(FailureReason.CRASHED_WORKER, detail)
            if not self._is_ready:
                raise XtalgridError(f"cannot start a scoring process: {ended}; see standard error") from None
            raise ended from error
        self._deadline = None
        self._is_idle = True
        return reply

    def check(self) -> None:
        """Kill the process if it exceeds a limit."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.kill(FailureReason.TIMED_OUT, f"more than {self._seconds:g} seconds")
        elif _resident_mb(self._process) > self._memory_mb:
            self.kill(FailureReason.INTERNAL, f"out of memory: more than {self._memory_mb:g} MB")

    def kill(self, reason: FailureReason, detail: str) -> None:
        """Kill it; a thread that waits for its reply gets this reason."""
        self._ended = self._ended or Ended(reason, detail)
        self._process.kill()

    def end(self) -> None:
        """Kill it, wait for its exit, and close the pipes."""
        self._process.kill()
        self._exit()
        for pipe in (self._jobs, self._replies):
            with suppress(OSError):  # unread data cannot be flushed any more
                pipe.close()

    def _wait_until_ready(self) -> None:
        received = b""
        while not received.endswith(READY):
            byte = self._replies.read(1)
            if not byte or len(received) > _MAX_NOISE:
                raise EOFError
            received += byte
        self._is_ready = True

    def _exit(self) -> str:
        """Wait for the process to end, and describe how it did."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it cannot be killed"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"exit code {code}"


def _standard_error() -> int | None:
    """Return None to inherit this process's standard error, or DEVNULL if it has none."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return None


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _OWN_GROUP: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    class _Counters(ctypes.Structure):
        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("rest", ctypes.c_size_t * 6),
        )

    def _resident_mb(process: subprocess.Popen[bytes]) -> float:
        counters = _Counters(size=ctypes.sizeof(_Counters))
        ask = ctypes.WinDLL("kernel32").K32GetProcessMemoryInfo
        ask.argtypes = (wintypes.HANDLE, ctypes.POINTER(_Counters), wintypes.DWORD)
        return counters.working_set / 1e6 if ask(int(process._handle), ctypes.byref(counters), counters.size) else 0.0

    def _limit_memory(process_id: int, memory_mb: float) -> None:
        """Leave it to the checks."""

else:
    import resource

    _OWN_GROUP: dict[str, Any] = {"process_group": 0}
    """Ctrl-C should only reach the pool's own process."""

    def _resident_mb(process: subprocess.Popen[bytes]) -> float:
        """Return the resident memory of a process; 0 if unknown."""
        try:
            pages = Path(f"/proc/{process.pid}/statm").read_bytes().split()[1]
        except (OSError, IndexError):  # it has ended, or this is not Linux
            return 0.0
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _limit_memory(process_id: int, memory_mb: float) -> None:
        """Let a process reserve at most this much memory of its own, where the system can limit another process."""
        if hasattr(resource, "prlimit"):
            limit = int(memory_mb * 1e6)
            with suppress(ProcessLookupError):  # it has ended, which `run` reports
                resource.prlimit(process_id, resource.RLIMIT_DATA, (limit, limit))
