"""Limits that the worker keeps on other people's computers: the lowest priority, and a time limit for each image."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

from xtalgrid_core.errors import FailureReason, ImageError

TIME_LIMIT = 600.0
"""CPU seconds for an image. A usual well takes well below one; the largest in exact mode takes a few minutes."""

_LOWEST_NICE = 19
_IDLE_PRIORITY_CLASS = 0x40

log = logging.getLogger(__name__)


class TimeLimit:
    """A callable for safe points (see `score.score_image`) that stops an image which takes too long.

    Only CPU time counts, so a worker that is suspended, or waits for a busy computer, loses none. The limit is
    checked at safe points, so an image may exceed it by the time between two of them: for decoding, one tile, or one
    chop.

    Parameters
    ----------
    pause
        Called first at each safe point.
    seconds
        CPU seconds from now on.
    """

    def __init__(self, pause: Callable[[], None], seconds: float) -> None:
        self._pause = pause
        self._seconds = seconds
        self._end = time.process_time() + seconds

    def __call__(self) -> None:
        """Check the limit.

        Raises
        ------
        ImageError
            `TIMED_OUT` if the time is over.
        """
        self._pause()
        if time.process_time() > self._end:
            raise ImageError(
                FailureReason.TIMED_OUT, f"more than {self._seconds:g} CPU seconds; raise the limit with --time-limit"
            )


def take_lowest_priority() -> None:
    """Run at the lowest priority; if that fails, log a warning and continue."""
    try:
        if sys.platform == "win32":
            import ctypes

            kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
            kernel32.GetCurrentProcess.restype = ctypes.c_void_p
            kernel32.SetPriorityClass.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
            if not kernel32.SetPriorityClass(kernel32.GetCurrentProcess(), _IDLE_PRIORITY_CLASS):
                raise ctypes.WinError(ctypes.get_last_error())
        else:
            os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_NICE)
    except OSError as error:
        log.warning("cannot lower the priority: %s", error)
