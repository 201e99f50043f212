"""A scoring process, started by `xtalgrid_scoring.pool`: it answers jobs until the pool closes the pipe or exits."""

from __future__ import annotations

import faulthandler
import os
import queue
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO, NoReturn

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.options import first_opinion
from xtalgrid_core.weights import MANIFEST

from .classmap import draw_maps
from .failures import failed, read_file
from .memory import keep_freed_memory
from .messages import READY, Job, Maps, Refused, Reply, receive_job, send
from .networks import Networks
from .score import score_image

_CACHED_NETWORKS = 3
"""Networks kept in memory; they take 20 MB each, and a second opinion up to 90 MB more."""


def main() -> NoReturn:
    """Answer jobs until standard input ends."""
    keep_freed_memory()
    jobs, replies = _pipes()
    faulthandler.enable()
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, waiting), daemon=True).start()
    replies.write(READY)
    replies.flush()
    while True:
        send(replies, reply(waiting.get()))


def reply(job: Job) -> Reply:
    """Do a job. Never raises: an image's own error becomes `wire.Failed`, all others `Refused`."""
    folders = tuple(Path(os.fsdecode(folder)) for folder in job.folders)
    options = job.options if job.want == "score" else first_opinion(job.options)
    try:
        networks = _networks(options, folders, tuple(map(_state, folders)), job.threads)
    except Exception as error:
        return _refused(error)
    try:
        data = job.image if job.image is not None else read_file(Path(os.fsdecode(job.path or b"")))
        if job.want == "maps":
            maps = draw_maps(data, networks, job.pixel_size_um)
            return Maps({str(group): picture for group, picture in maps.items()})
        entry = wire.ImageEntry(
            number=job.number, file="000.img", inspect_id=0, sha256="0" * 64, pixel_size_um=job.pixel_size_um
        )
        return score_image(data, entry, options, networks)
    except ConfigError as error:  # these weights cannot do this job
        return _refused(error)
    except Exception as error:
        return failed(job.number, error)


def _refused(error: Exception) -> Refused:
    message = str(error) if isinstance(error, XtalgridError) else f"the weights cannot be loaded: {error!r}"
    return Refused(type(error).__name__, message)


@lru_cache(_CACHED_NETWORKS)
def _networks(options: wire.Options, folders: tuple[Path, ...], states: tuple[object, ...], threads: int) -> Networks:
    """Load networks, once for each state of the folders: the same weights may get a new calibration."""
    return Networks.load(options, folders, threads)


def _state(folder: Path) -> object:
    try:
        stat = (folder / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Take over standard input and output, and replace them, so that printed text can't get between the messages."""
    null = os.open(os.devnull, os.O_RDWR)  # becomes standard error if that is closed
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(null, 0)
    os.dup2(null, 1)
    return jobs, replies


def _listen(jobs: IO[bytes], waiting: queue.SimpleQueue[Job]) -> None:
    """Receive jobs in a thread of its own, to notice the end of the pool even while a job is being done."""
    try:
        while True:
            waiting.put(receive_job(jobs))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
