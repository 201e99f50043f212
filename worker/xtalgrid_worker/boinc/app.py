"""Run a BOINC job, from its start to its exit code."""

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
from .slot import take_lock, write_finish, write_temporary_exit

EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_OUT_OF_MEMORY = 205
EXIT_CANNOT = 206
"""``EXIT_INIT_FAILURE``: a broken work unit, missing weights, or a client without shared memory."""

RETRY_SECONDS = 600
"""Delay before another try, if a disk is full or another worker is in the slot."""

log = logging.getLogger(__name__)


def run(slot: Path, init: InitData, threads: int, time_limit: float) -> int:
    """Run the job in a slot folder, and tell the client how it ended.

    Parameters
    ----------
    slot
        The folder.
    init
        The job's parameters from the client.
    threads
        Cores to use.
    time_limit
        CPU seconds for an image.

    Returns
    -------
    The exit code. The process must exit at once.
    """
    log.info("%s: xtalgrid-worker %s, BOINC client %s", init.job, version(), init.client)
    try:
        with StopRequest(init.client_pid) as stop:
            return _run(slot, Client(SharedMemory.attach(slot, init), init, stop), threads, time_limit)
    except (XtalgridError, FileNotFoundError) as error:
        log.error("%s", error)
        return _finish(slot, EXIT_CANNOT)
    except MemoryError:
        log.error("out of memory: a worker needs up to 400 MB")
        return _finish(slot, EXIT_OUT_OF_MEMORY)
    except Exception:
        log.exception("unexpected error")
        return _finish(slot, EXIT_UNEXPECTED)


def score(
    folder: Path,
    pause: Callable[[], None],
    progress: Progress = lambda fraction, is_new: None,
    *,
    threads: int,
    time_limit: float,
) -> None:
    """Score the unit in a folder, where files may be BOINC's soft links; for the rest see `run_unit`."""
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


def exit_now(code: int) -> NoReturn:
    """End the process without delay, because the client takes a job that lingers after its last message for hung."""
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    tidy_up()
    os._exit(code)


def _run(slot: Path, client: Client, threads: int, time_limit: float) -> int:
    """Score the unit and return the exit code; raise errors for which there is no point in trying again."""
    try:
        take_lock(slot, client)
        score(slot, client, client.progress, threads=threads, time_limit=time_limit)
        client.send_final_status()
        return _finish(slot, EXIT_DONE)
    except Stopped as stop:
        log.info("stopped: %s", stop)
        return client.exit_code
    except FileNotFoundError:
        raise  # an input file, which will not appear later
    except (Busy, OSError) as error:
        log.warning("%s; trying again in %d s", error, RETRY_SECONDS)
        with contextlib.suppress(OSError):  # if the disk is too full even for this, the client retries at once
            write_temporary_exit(slot, RETRY_SECONDS, str(error))
        return client.exit_code


def _finish(slot: Path, code: int) -> int:
    write_finish(slot, code)
    return code
