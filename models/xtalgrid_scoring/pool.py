"""A pool of warm scoring processes with limits: an image that hangs a process or kills it affects no other image.

The processes run a separate program (`xtalgrid_scoring.child`) instead of using `multiprocessing`, so that scripts need
no ``__main__`` guard, and threads and notebooks cause no problems. The pool's own process loads no networks.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel, Busy, ConfigError, FailureReason, ImageError, UnknownModel, XtalgridError
from xtalgrid_core.outcomes import Group

from .failures import failed
from .messages import Job, Maps, Refused, Reply
from .process import Ended, Process

T = TypeVar("T")
R = TypeVar("R")

_WATCH_SECONDS = 0.05

_AHEAD = 2
"""Items that `Pool.map` takes per process before the caller takes a result, so that no process waits for the caller."""

_ERRORS = {kind.__name__: kind for kind in (ConfigError, UnknownModel, BrokenModel)}


class Pool:
    """Scoring processes, started on demand. Any number of threads may use one pool at once.

    Use it in a ``with`` statement, or `close` it. The processes exit when their parent does, for whatever reason.

    Parameters
    ----------
    processes
        Maximum number of processes. A warm one takes 200 MB.
    seconds
        Time limit for an image, by the clock.
    memory_mb
        Limit on the resident memory of a process at work; enforced on Linux and Windows. The largest image takes 450.
    waiting
        Maximum number of requests that wait for a process; further ones raise `Busy`.
    patience
        Seconds after which a waiting request raises `Busy`; None for no limit.
    idle_seconds
        Seconds after which an idle process is stopped.
    threads
        Cores for each process.

    Examples
    --------
    >>> from pathlib import Path
    >>> from xtalgrid_core import wire, weights
    >>> segmenter, classifier = weights.default_models()
    >>> with Pool(processes=1) as pool:
    ...     answer = pool.score(Path("no such file.jpg"), wire.Options(segmenter=segmenter, classifier=classifier))
    >>> str(answer.reason)
    'missing file'
    """

    def __init__(
        self,
        processes: int = 2,
        *,
        seconds: float = 600.0,
        memory_mb: float = 1000.0,
        waiting: int = 64,
        patience: float | None = None,
        idle_seconds: float = 300.0,
        threads: int = 1,
    ) -> None:
        self._processes, self._seconds, self._memory_mb = processes, seconds, memory_mb
        self._most_waiting, self._patience = waiting, patience
        self._idle_seconds, self._threads = idle_seconds, threads
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._taken = threading.Condition(self._lock)
        self._idle: list[Process] = []  # the most recently used last; taken from the end
        self._busy: set[Process] = set()
        self._queue: deque[object] = deque()  # waiting requests, oldest first
        self._is_watched = self._is_closed = False
        self._process_id = os.getpid()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop all processes. Current and later requests raise `XtalgridError`."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill(FailureReason.INTERNAL, "the pool was closed")
            self._freed.notify_all()
            self._taken.notify_all()
        for process in idle:
            process.end()

    def score(
        self,
        image: bytes | Path,
        options: wire.Options,
        *,
        pixel_size_um: float | None = None,
        number: int = 0,
        folders: Iterable[Path] = (),
    ) -> wire.Answer:
        """Score an image, as `score.score_image` does.

        Parameters
        ----------
        image
            A file's bytes, or its path.
        options
            Scoring options, which also name the weights.
        pixel_size_um
            Micrometres per pixel; None to guess.
        number
            Number of the image in the answer.
        folders
            Folders of weights, searched before the package's.

        Raises
        ------
        ModelError
            If the weights are not available or cannot be used.
        Busy
            If too many requests are waiting.
        XtalgridError
            If no process can be started.
        """
        reply = self._reply("score", image, options, pixel_size_um, number, folders)
        assert isinstance(reply, wire.Scored | wire.Failed)
        return reply

    def class_maps(
        self,
        image: bytes | Path,
        options: wire.Options,
        *,
        pixel_size_um: float | None = None,
        folders: Iterable[Path] = (),
    ) -> dict[Group, bytes]:
        """Draw an image's class maps, as `classmap.draw_maps` does; see `score`.

        Raises
        ------
        ImageError
            If the image cannot be read, or its process ended.
        ConfigError
            If the classifier has no class map.
        """
        reply = self._reply("maps", image, options, pixel_size_um, 0, folders)
        if isinstance(reply, wire.Failed):
            raise ImageError(reply.reason, reply.detail)
        assert isinstance(reply, Maps)
        return {Group(name): picture for name, picture in reply.pictures.items()}

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Call `work`, which scores with this pool, for each item, in as many threads as there are processes.

        Results are yielded in the order of the items, which are taken a few at a time. If the caller stops early, or
        `work` or `items` raises an error, the pool is closed, since nobody waits for the other results.
        """
        threads = ThreadPoolExecutor(self._processes)
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(threads.submit(work, item))
                if len(pending) == self._processes * _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            self.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _reply(
        self,
        want: Literal["score", "maps"],
        image: bytes | Path,
        options: wire.Options,
        pixel_size_um: float | None,
        number: int,
        folders: Iterable[Path],
    ) -> Reply:
        if os.getpid() != self._process_id:
            raise XtalgridError("this pool belongs to the parent process; create one in each process")
        data, path = (image, None) if isinstance(image, bytes) else (None, _absolute(image))
        if data is not None and len(data) > wire.MAX_IMAGE_BYTES:
            detail = f"{len(data):,} bytes; at most {wire.MAX_IMAGE_BYTES:,} are read"
            return failed(number, ImageError(FailureReason.TOO_LARGE, detail))
        job = Job(
            want=want,
            number=number,
            image=data,
            path=path,
            options=options,
            pixel_size_um=pixel_size_um,
            folders=tuple(map(_absolute, folders)),
            threads=self._threads,
        )
        process = self._take()
        try:
            reply = process.run(job, self._seconds)
        except (Ended, XtalgridError) as error:
            if self._is_closed:
                raise XtalgridError("the pool was closed while this image was being scored") from None
            if not isinstance(error, Ended):
                raise
            return failed(number, ImageError(error.reason, error.detail))
        finally:
            self._give_back(process)
        if isinstance(reply, Refused):
            raise _ERRORS.get(reply.error, XtalgridError)(reply.message)
        return reply

    def _take(self) -> Process:
        """Reserve a process, until it is given back."""
        with self._lock:
            if len(self._queue) >= self._most_waiting and not (self._has_room() and not self._queue):
                raise Busy(f"{len(self._queue)} images are already waiting to be scored; try again in a moment")
            request = object()
            self._queue.append(request)
            try:
                if not self._freed.wait_for(lambda: self._queue[0] is request and self._has_room(), self._patience):
                    raise Busy(f"no scoring process was free within {self._patience:g} s; try again in a moment")
                if self._is_closed:
                    raise XtalgridError("this pool is closed; create another one")
                if not self._is_watched:
                    threading.Thread(target=self._watch, name="xtalgrid-pool", daemon=True).start()
                    self._is_watched = True
                process = self._idle.pop() if self._idle else Process(self._memory_mb)
                self._busy.add(process)
            finally:
                self._queue.remove(request)
                self._freed.notify_all()
            self._taken.notify()
            return process

    def _has_room(self) -> bool:
        """Tell whether the first request in the queue can go ahead."""
        while self._idle and not self._idle[-1].is_running:  # killed from outside
            self._idle.pop().end()
        return self._is_closed or bool(self._idle) or len(self._busy) < self._processes

    def _give_back(self, process: Process) -> None:
        with self._lock:
            self._busy.discard(process)
            is_reusable = process.is_usable and not self._is_closed
            if is_reusable:
                process.idle_since = time.monotonic()
                self._idle.append(process)
            self._freed.notify_all()
        if not is_reusable:
            process.end()

    def _watch(self) -> None:
        """Stop processes that exceed a limit or have been idle for too long; return when there are none left."""
        with self._lock:
            while self._busy or self._idle:
                for process in self._busy:
                    process.check()
                now = time.monotonic()
                while self._idle and now >= self._idle[0].idle_since + self._idle_seconds:
                    self._idle.pop(0).end()
                next_end = self._idle[0].idle_since + self._idle_seconds - now if self._idle else 0.0
                self._taken.wait(_WATCH_SECONDS if self._busy else next_end)
            self._is_watched = False


def _absolute(path: Path) -> bytes:
    return os.fsencode(path.absolute())
