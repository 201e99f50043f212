"""The one place where the viewer makes pictures: a few at a time, with few pixels together, and each client in turn.

Requests wait here without a thread, so no page waits for pictures. A picture needs about eight bytes a pixel; what it
leaves behind is given back to the operating system.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from xtalgrid_core.errors import Busy
from xtalgrid_core.images import MAX_PIXELS

from .proxies import one_computer, reached
from .threads import DaemonThreads

T = TypeVar("T")

_SMALL = 6_000_000
"""Pixels of a usual picture, for which there is room beside a large one."""
_MOST_WAITING = 120
_PATIENCE = 20.0
"""Seconds after which a waiting request is told to come again."""
_TRIM_FROM = 1_000_000
"""Pixels from which a picture leaves memory behind that is worth giving back."""

_MOST_REMEMBERED = 10_000
"""Clients."""
_NICE = 5
RETRY_SECONDS = 5


@dataclass(eq=False, slots=True)
class _Job:
    """A picture to make."""

    client: str
    pixels: int
    is_map: bool
    turn: asyncio.Future[_Lane]


@dataclass(eq=False, slots=True)
class _Lane:
    """What is worked on at once: at most `pixels`, and `jobs`."""

    pixels: int
    jobs: int
    working: set[_Job] = field(default_factory=set)

    def has_room(self, job: _Job) -> bool:
        """Tell whether a job can begin now."""
        return len(self.working) < self.jobs and sum(each.pixels for each in self.working) + job.pixels <= self.pixels


class PicturePool:
    """Makes the pictures of one viewer.

    Parameters
    ----------
    maps
        Class maps at once; they are drawn by processes of their own, but count here.
    """

    def __init__(self, maps: int) -> None:
        threads = max(1, min(os.cpu_count() or 1, 4))
        self._maps = maps
        self._lanes = (_Lane(_SMALL, 1), _Lane(MAX_PIXELS, threads + maps))
        self._threads = DaemonThreads(sum(lane.jobs for lane in self._lanes), _let_pages_go_first)
        self._waiting: list[_Job] = []
        self._last_turn: dict[str, int] = {}
        self._turns = 0

    def close(self) -> None:
        """Make no more pictures."""
        self._threads.shutdown()

    async def make(self, request: Request, pixels: int, work: Callable[[], T], *, is_map: bool = False) -> T:
        """Return what `work` returns, which is called in a thread when it is this client's turn.

        Parameters
        ----------
        pixels
            Pixels that are decoded, at most `MAX_PIXELS`.

        Raises
        ------
        Busy
            If too many pictures are waited for, or this one for too long, or if the client is gone.
        """
        loop = asyncio.get_running_loop()
        job = _Job(one_computer(reached(request).client), pixels, is_map, loop.create_future())
        self._enter(job)
        gone = loop.create_task(_disconnected(request))
        try:
            either: set[asyncio.Future[Any]] = {job.turn, gone}
            await asyncio.wait(either, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if job in self._waiting:
                self._waiting.remove(job)
        if not job.turn.done():
            raise Busy("Too many pictures are being made; try again in a moment.")
        lane = job.turn.result()
        making = loop.run_in_executor(self._threads, _made, work, pixels)
        making.add_done_callback(lambda _: self._leave(job, lane))  # also after this request was given up
        return await asyncio.shield(making)

    def _enter(self, job: _Job) -> None:
        """Put a job into the queue; if that is full, those who have most in it lose the largest."""
        self._waiting.append(job)
        if len(self._waiting) > _MOST_WAITING:
            clients = [each.client for each in self._waiting]
            most = max(set(clients), key=clients.count)
            loser = max((each for each in self._waiting if each.client == most), key=lambda each: each.pixels)
            self._waiting.remove(loser)
            loser.turn.set_exception(Busy("Too many pictures are waited for; try again in a moment."))
        self._start()

    def _leave(self, job: _Job, lane: _Lane) -> None:
        lane.working.discard(job)
        self._start()

    def _start(self) -> None:
        """Start what there is room for: the client's turn is next that had none for longest, with its smallest one."""
        for lane in self._lanes:
            while (job := self._next(lane)) is not None and lane.has_room(job):
                self._waiting.remove(job)
                lane.working.add(job)
                self._turns += 1
                self._last_turn[job.client] = self._turns
                job.turn.set_result(lane)
        is_idle = not self._waiting and not any(lane.working for lane in self._lanes)
        if is_idle or len(self._last_turn) > _MOST_REMEMBERED:
            self._last_turn.clear()

    def _next(self, lane: _Lane) -> _Job | None:
        maps = sum(job.is_map for each in self._lanes for job in each.working)
        fitting = (job for job in self._waiting if job.pixels <= lane.pixels and (not job.is_map or maps < self._maps))
        return min(fitting, key=lambda job: (self._last_turn.get(job.client, 0), job.pixels), default=None)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _let_pages_go_first() -> None:
    """Lower the priority of this thread, and of the processes that it starts."""
    if sys.platform == "linux":  # elsewhere, it would be that of the whole program
        os.nice(_NICE)


def _made(work: Callable[[], T], pixels: int) -> T:
    try:
        return work()
    finally:
        if pixels >= _TRIM_FROM:
            _give_memory_back()


def _give_memory_back() -> None:
    """Return free memory to the operating system; glibc keeps what threads freed, hundreds of megabytes here."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
