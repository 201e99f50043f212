"""How the worker behaves on somebody else's computer: last in the queue, and no image may keep it forever."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

from xtalgrid_core.errors import FailureReason, ImageError

TIME_LIMIT = 600.0
"""CPU seconds for an image. A usual well takes well below one; the largest that is scored, chop by chop, a few minutes."""

_LOWEST_NICE = 19
_IDLE_PRIORITY_CLASS = 0x40

log = logging.getLogger(__name__)


class TimeLimit:
    """A safe point (see `scoring.score_image`) that ends an image which takes too long.

    The time is the CPU's: a worker that is suspended, or waits for a busy computer, loses none of it. It is looked at when a safe point is
    passed, so an image may take longer by as much as lies between two of them: decoding, one tile, or one chop.

    Parameters
    ----------
    pause
        What a safe point does besides.
    seconds
        CPU seconds from now on.
    """

    def __init__(self, pause: Callable[[], None], seconds: float) -> None:
        self._pause = pause
        self._seconds = seconds
        self._end = time.process_time() + seconds

    def __call__(self) -> None:
        """Go on.

        Raises
        ------
        ImageError
            `TIMED_OUT` when the time is over; and whatever `pause` raises.
        """
        self._pause()
        if time.process_time() > self._end:
            raise ImageError(
                FailureReason.TIMED_OUT, f"more than {self._seconds:g} CPU seconds; --time-limit allows an image more"
            )


def take_lowest_priority() -> None:
    """Run when nothing else on this computer wants to. What hinders it is no reason not to score."""
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
        log.warning("the priority stays as it was: %s", error)
