"""Threads for what may never end, such as reading from a share that went away: no page waits for them for long.

Pages run in few threads. If those read files themselves, a share that hangs would take the whole viewer with it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from xtalgrid_core.errors import Busy

T = TypeVar("T")

_MOST = 16
"""Files read at once."""
_PATIENCE = 20.0
"""Seconds to wait for a file: a disk may have to start."""
_SHORT_PATIENCE = 2.0
"""Seconds to wait where a person waits for the page, or where files do not come as it is."""


class DaemonThreads(Executor):
    """Threads for which the program's end does not wait, as it does for those of `ThreadPoolExecutor`.

    Parameters
    ----------
    most
        Their number, at most.
    begin
        Called first in each of them.
    """

    def __init__(self, most: int, begin: Callable[[], object] = lambda: None) -> None:
        self._most, self._begin = most, begin
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock, self._idle, self._number = threading.Lock(), threading.Semaphore(0), 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a thread call a function; its turn comes when one is free."""
        future: Future[T] = Future()
        with self._lock:
            self._jobs.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and self._number < self._most:
                self._number += 1
                threading.Thread(target=self._work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """End the threads, each after what it does now; what has not begun is cancelled."""
        with self._lock:
            with suppress(Empty):
                while (job := self._jobs.get_nowait()) is not None:
                    job[0].cancel()
            for _ in range(self._number):
                self._jobs.put(None)

    def _work(self) -> None:
        self._begin()
        while (job := self._jobs.get()) is not None:
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, work  # nothing is kept until the next one comes
            self._idle.release()


class FileThreads:
    """Reads files in threads of their own, with a limit to how long anybody waits for one."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(_MOST)
        self._since: dict[object, float] = {}  # those at work, by when they began

    def close(self) -> None:
        """Read no more files."""
        self._threads.shutdown()

    async def read(self, work: Callable[..., T], *args: Any) -> T:
        """Return what `work` returns, which reads a file.

        Raises
        ------
        Busy
            If it takes too long. It may still end later.
        """
        reading = asyncio.wrap_future(self._threads.submit(self._timed, work, *args))
        try:
            return await asyncio.wait_for(reading, _SHORT_PATIENCE if self._is_away() else _PATIENCE)
        except TimeoutError as error:
            raise _busy() from error

    def read_soon(self, work: Callable[..., T], *args: Any) -> T:
        """Do the same for a page, which waits for a short time only."""
        reading: Future[T] = self._threads.submit(self._timed, work, *args)
        try:
            return reading.result(_SHORT_PATIENCE)
        except TimeoutError as error:
            reading.cancel()
            raise _busy() from error

    def _timed(self, work: Callable[..., T], *args: Any) -> T:
        key = object()
        self._since[key] = time.monotonic()
        try:
            return work(*args)
        finally:
            del self._since[key]

    def _is_away(self) -> bool:
        """Whether half of the threads wait for files that do not come."""
        now = time.monotonic()
        return sum(now - began > _PATIENCE for began in tuple(self._since.values())) >= _MOST // 2


def _busy() -> Busy:
    return Busy("The folder of the images does not respond; try again in a moment.")
