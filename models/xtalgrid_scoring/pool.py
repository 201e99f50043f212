"""A pool of scoring processes that stay warm, with limits: an image that hangs, bloats or kills one costs that image only.

They are programs of their own (`xtalgrid_scoring.child`), not forked or spawned by `multiprocessing`: a script without a ``__main__``
guard is not run again, and threads and notebooks do no harm. This process loads no network.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal

from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel, Busy, ConfigError, FailureReason, ImageError, UnknownModel, XtalgridError
from xtalgrid_core.outcomes import Group

from .failures import failed
from .messages import Answer, Job, Maps, Refused
from .process import Ended, Process

_WATCH_SECONDS = 0.05

_ERRORS = {kind.__name__: kind for kind in (ConfigError, UnknownModel, BrokenModel)}


class Pool:
    """Scoring processes, started when they are needed. Any number of threads may use one pool at once.

    Use it in a ``with`` statement, or `close` it. Processes end by themselves when this one does, however it ends.

    Parameters
    ----------
    processes
        Most of them at once. A warm one takes 200 MB.
    seconds
        By the clock, from when a process takes an image.
    memory_mb
        Resident memory of a process while it works on an image; watched on Linux and Windows. The largest image that is read takes 450.
    waiting
        Most requests that wait for a process; what comes then is refused.
    patience
        Seconds a request waits before it is refused; None: as long as it takes.
    idle_seconds
        A process without work ends after this long.
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
        self._idle: list[Process] = []  # the one used last is last, and taken first
        self._busy: set[Process] = set()
        self._queue: deque[object] = deque()  # who waits, the first one first
        self._is_watched = self._is_closed = False
        self._process_id = os.getpid()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all processes. Requests under way raise `XtalgridError`, as do all later ones."""
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
    ) -> wire.Scored | wire.Failed:
        """Score an image, as `score.score_image` does.

        Parameters
        ----------
        image
            A file's bytes, or its path.
        options
            They name the weights.
        pixel_size_um
            Micrometres a pixel; None: guessed.
        number
            The answer's.
        folders
            Folders of weights, before those packaged.

        Raises
        ------
        ModelError
            When the weights are not here, or cannot be used.
        Busy
            When too many requests wait.
        XtalgridError
            When no process can be started.
        """
        answer = self._answer("score", image, options, pixel_size_um, number, folders)
        assert isinstance(answer, wire.Scored | wire.Failed)
        return answer

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
            When the image cannot be read, or cost its process.
        ConfigError
            When the classifier has no class map.
        """
        answer = self._answer("maps", image, options, pixel_size_um, 0, folders)
        if isinstance(answer, wire.Failed):
            raise ImageError(answer.reason, answer.detail)
        assert isinstance(answer, Maps)
        return {Group(name): picture for name, picture in answer.pictures.items()}

    def _answer(
        self,
        want: Literal["score", "maps"],
        image: bytes | Path,
        options: wire.Options,
        pixel_size_um: float | None,
        number: int,
        folders: Iterable[Path],
    ) -> Answer:
        if os.getpid() != self._process_id:
            raise XtalgridError("this pool belongs to the process that was forked from; make one in each process")
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
            answer = process.ask(job, self._seconds)
        except (Ended, XtalgridError) as error:
            if self._is_closed:
                raise XtalgridError("the pool was closed while this image was worked on") from None
            if not isinstance(error, Ended):
                raise
            return failed(number, ImageError(error.reason, error.detail))
        finally:
            self._give_back(process)
        if isinstance(answer, Refused):
            raise _ERRORS.get(answer.error, XtalgridError)(answer.message)
        return answer

    def _take(self) -> Process:
        """A process of one's own, until it is given back."""
        with self._lock:
            if len(self._queue) >= self._most_waiting and not (self._has_room() and not self._queue):
                raise Busy(f"{len(self._queue)} images wait to be scored already; try again in a moment")
            me = object()
            self._queue.append(me)
            try:
                if not self._freed.wait_for(lambda: self._queue[0] is me and self._has_room(), self._patience):
                    raise Busy(f"no scoring process was free within {self._patience:g} s; try again in a moment")
                if self._is_closed:
                    raise XtalgridError("this pool is closed; make another one")
                if not self._is_watched:
                    threading.Thread(target=self._watch, name="xtalgrid-pool", daemon=True).start()
                    self._is_watched = True
                process = self._idle.pop() if self._idle else Process()
                self._busy.add(process)
            finally:
                self._queue.remove(me)
                self._freed.notify_all()
            self._taken.notify()
            return process

    def _has_room(self) -> bool:
        """Whether the first in the queue need not wait."""
        while self._idle and not self._idle[-1].is_running:  # killed by somebody else
            self._idle.pop().end()
        return self._is_closed or bool(self._idle) or len(self._busy) < self._processes

    def _give_back(self, process: Process) -> None:
        with self._lock:
            self._busy.discard(process)
            is_kept = process.is_usable and not self._is_closed
            if is_kept:
                process.idle_since = time.monotonic()
                self._idle.append(process)
            self._freed.notify_all()
        if not is_kept:
            process.end()

    def _watch(self) -> None:
        """End processes over their limits, and those that nobody needs; ends itself with the last of them."""
        with self._lock:
            while self._busy or self._idle:
                for process in self._busy:
                    process.check(self._memory_mb)
                now = time.monotonic()
                while self._idle and now >= self._idle[0].idle_since + self._idle_seconds:
                    self._idle.pop(0).end()
                next_end = self._idle[0].idle_since + self._idle_seconds - now if self._idle else 0.0
                self._taken.wait(_WATCH_SECONDS if self._busy else next_end)
            self._is_watched = False


def _absolute(path: Path) -> bytes:
    return os.fsencode(path.absolute())
