"""A job from its start to its exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, XtalgridError

from ..run import Progress, run_unit, version
from ..stopping import Stopped, StopRequest, tidy_up
from . import links
from .client import Client
from .init_data import InitData
from .memory import SharedMemory
from .slot import ask_for_later, say_ended, take_lock

EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_OUT_OF_MEMORY = 205
EXIT_CANNOT = 206
"""``EXIT_INIT_FAILURE``: a broken work unit, weights that are not here, a client that shares no memory."""

LATER = 600
"""Seconds after which to try again where a disk is full, or another worker is in the slot."""

log = logging.getLogger(__name__)


def run(slot: Path, init: InitData, threads: int, time_limit: float) -> int:
    """Do the job of a slot folder, and leave word of how it ended; the code to exit with, at once.

    Parameters
    ----------
    slot
        The folder.
    init
        What the client says of the job.
    threads
        Cores to use.
    time_limit
        CPU seconds for an image.
    """
    log.info("%s: xtalgrid-worker %s, BOINC client %s", init.job, version(), init.client)
    try:
        with StopRequest(init.client_pid) as stop:
            return _converse(slot, Client(SharedMemory.attach(slot, init), init, stop), threads, time_limit)
    except (XtalgridError, FileNotFoundError) as error:
        log.error("%s", error)
        return _ended(slot, EXIT_CANNOT)
    except MemoryError:
        log.error("out of memory: a worker takes up to 400 MB")
        return _ended(slot, EXIT_OUT_OF_MEMORY)
    except Exception:
        log.exception("unexpected")
        return _ended(slot, EXIT_UNEXPECTED)


def score(
    folder: Path,
    pause: Callable[[], None],
    progress: Progress = lambda fraction, is_new: None,
    *,
    threads: int,
    time_limit: float,
) -> None:
    """Score the unit in a folder, its files being links or themselves; the other parameters, and what is raised, are as of `run_unit`."""
    weights = links.weights_folder(folder)
    run_unit(
        links.resolve(folder, wire.UNIT_FILE),
        links.resolve(folder, wire.RESULT_FILE),
        folder / links.CHECKPOINT,
        pause,
        progress,
        folders=[weights] if weights else [],
        threads=threads,
        time_limit=time_limit,
    )


def leave(code: int) -> NoReturn:
    """End the process without delay: the client takes one that lingers after its last word for hung."""
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    tidy_up()
    os._exit(code)


def _converse(slot: Path, client: Client, threads: int, time_limit: float) -> int:
    """Score the unit, and say how that ended; what no later try would change is raised."""
    try:
        take_lock(slot, client)
        score(slot, client, client.progress, threads=threads, time_limit=time_limit)
        client.last_word()
        return _ended(slot, EXIT_DONE)
    except Stopped as reason:
        log.info("stopped: %s", reason)
        return client.exit_code
    except FileNotFoundError:
        raise  # an input file: waiting brings none
    except (Busy, OSError) as error:
        log.warning("%s; trying again in %d s", error, LATER)
        with contextlib.suppress(OSError):  # where the disk is full for this, too, the client tries again at once
            ask_for_later(slot, LATER, str(error))
        return client.exit_code


def _ended(slot: Path, code: int) -> int:
    say_ended(slot, code)
    return code
