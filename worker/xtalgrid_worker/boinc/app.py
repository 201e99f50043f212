"""Run a BOINC job, from its start to its exit code."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, XtalgridError
from xtalgrid_core.files import Wait, give_up, keep_trying

from ..checkpoint import checkpoint_of
from ..run import Progress, run_unit, version
from ..stopping import Stopped, StopRequest, tidy_up
from . import links
from .client import POLL_SECONDS, Client
from .init_data import InitData
from .memory import SharedMemory
from .slot import take_lock, write_finish, write_temporary_exit

EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_OUT_OF_MEMORY = 205
EXIT_CANNOT = 206
"""``EXIT_INIT_FAILURE``: a broken work unit, missing weights, or a client without shared memory."""

WAIT_SECONDS = 120
"""Time to wait in the process for space on a full disk, before the client is asked for a delay."""

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
    with StopRequest(init.client_pid) as stop:
        try:
            return _run(slot, Client(SharedMemory.attach(slot, init), init, stop), threads, time_limit)
        except (XtalgridError, FileNotFoundError) as error:
            log.error("%s", error)
            code = EXIT_CANNOT
        except MemoryError:
            log.error("out of memory: a worker needs up to 400 MB")
            code = EXIT_OUT_OF_MEMORY
        except Exception:
            log.exception("unexpected error")
            code = EXIT_UNEXPECTED
        try:
            return _finish(slot, code, stop)
        except Stopped as stopped:
            return stopped.exit_code


def score(
    folder: Path,
    pause: Callable[[], None],
    progress: Progress = lambda fraction, is_new: None,
    wait: Wait = give_up,
    *,
    threads: int,
    time_limit: float,
) -> None:
    """Score the unit in a folder, where files may be BOINC's soft links; for the rest see `run_unit`."""
    weights = keep_trying(lambda: links.weights_folder(folder), wait)
    run_unit(
        links.resolve(folder, wire.UNIT_FILE),
        links.resolve(folder, wire.RESULT_FILE),
        checkpoint_of(folder / wire.RESULT_FILE),  # in the slot, which the client clears away
        pause,
        progress,
        wait,
        folders=[weights] if weights else [],
        threads=threads,
        time_limit=time_limit,
    )


def exit_now(code: int) -> NoReturn:
    """End the process without delay, because the client takes a job that lingers after its last message for hung."""
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError):  # the disk may be full
            stream.flush()
    tidy_up()
    os._exit(code)


def _run(slot: Path, client: Client, threads: int, time_limit: float) -> int:
    """Score the unit and return the exit code; raise errors for which there is no point in trying again."""
    try:
        try:
            take_lock(slot, client)
            score(slot, client, client.progress, FullDisk(client, WAIT_SECONDS), threads=threads, time_limit=time_limit)
        except FileNotFoundError:
            raise  # an input file, which will not appear later
        except (Busy, OSError) as error:
            log.warning("%s; trying again in %d s", error, RETRY_SECONDS)
            reason = str(error)
            keep_trying(lambda: write_temporary_exit(slot, RETRY_SECONDS, reason), FullDisk(client))
            return client.exit_code
        client.send_final_status()
        return _finish(slot, EXIT_DONE, client)
    except Stopped as stop:
        log.info("stopped: %s", stop)
        return client.exit_code


def _finish(slot: Path, code: int, pause: Callable[[], None]) -> int:
    keep_trying(lambda: write_finish(slot, code), FullDisk(pause))
    return code


class FullDisk:
    """Wait, as `files.Wait`, for space on the disk; raise any other error.

    The worker waits in its process, because a client counts every exit, and reports an error after 100 of them. Where
    the disk is too full for the message that asks for a delay, that takes three minutes.

    Parameters
    ----------
    pause
        Called ten times a second while waiting; may raise.
    limit
        Seconds to wait before the error is raised.
    """

    def __init__(self, pause: Callable[[], None], limit: float = math.inf) -> None:
        self._pause = pause
        self._limit = limit
        self._began = self._last = -math.inf

    def __call__(self, error: OSError) -> None:
        """Wait for a second."""
        now = time.monotonic()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        if now > self._last + 1:
            self._began = now
        elif now > self._began + self._limit:
            raise error
        while time.monotonic() < now + 1:
            self._pause()
            time.sleep(POLL_SECONDS)
        self._last = time.monotonic()
        log.warning("%s; waiting for space on the disk", error)  # the log may be on this disk
