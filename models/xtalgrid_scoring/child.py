"""A scoring process, as `xtalgrid_scoring.pool` starts it: answers jobs until the pool closes the pipe, or is gone."""

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
from xtalgrid_core.weights import MANIFEST

from .classmap import draw_maps
from .failures import failed, read_file
from .messages import MARK, Answer, Job, Maps, Refused, receive_job, send
from .networks import Networks
from .score import score_image

_KEPT = 3
"""Networks kept loaded: 20 MB each."""


def main() -> NoReturn:
    """Answer jobs."""
    jobs, answers = _pipes()
    faulthandler.enable()
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, waiting), daemon=True).start()
    answers.write(MARK)
    answers.flush()
    while True:
        send(answers, answer(waiting.get()))


def answer(job: Job) -> Answer:
    """Do a job. No error leaves this: the image's own is a `wire.Failed`, all others are `Refused`."""
    folders = tuple(Path(os.fsdecode(folder)) for folder in job.folders)
    try:
        networks = _networks(job.options, folders, tuple(map(_state, folders)), job.threads)
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
        return score_image(data, entry, job.options, networks)
    except ConfigError as error:  # these weights cannot do what was asked
        return _refused(error)
    except Exception as error:
        return failed(job.number, error)


def _refused(error: Exception) -> Refused:
    said = str(error) if isinstance(error, XtalgridError) else f"the weights cannot be loaded: {error!r}"
    return Refused(type(error).__name__, said)


@lru_cache(_KEPT)
def _networks(options: wire.Options, folders: tuple[Path, ...], states: tuple[object, ...], threads: int) -> Networks:
    """Networks, loaded once for each state of the folders: weights are named by their hash, but may be calibrated anew."""
    return Networks.load(options, folders, threads)


def _state(folder: Path) -> object:
    try:
        about = (folder / MANIFEST).stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output, which then are others, so that nothing that is printed gets between the messages."""
    nothing = os.open(os.devnull, os.O_RDWR)  # where standard error is closed, this takes its place
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return jobs, answers


def _listen(jobs: IO[bytes], waiting: queue.SimpleQueue[Job]) -> None:
    """Take jobs in while another one is worked at: so the pool's end is noticed then too."""
    try:
        while True:
            waiting.put(receive_job(jobs))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
