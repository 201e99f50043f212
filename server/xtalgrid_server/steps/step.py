"""What all steps share: the lock, the one log line, and the switch that pauses the system."""

from __future__ import annotations

import errno
import getpass
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import filelock

from xtalgrid_core.errors import Busy, ConfigError, XtalgridError
from xtalgrid_core.lines import LineFormatter

from ..config import Config
from ..domain.log import log
from ..ledger.store import PAUSED, Ledger

_ACCOUNT = "run this as the account that owns it, or choose another folder"
_SPACE = "free some disk space, then run the same command again"
_REMEDIES = {errno.EACCES: _ACCOUNT, errno.EPERM: _ACCOUNT, errno.ENOSPC: _SPACE, errno.EDQUOT: _SPACE}

EXIT_BUSY = 75
"""Exit code of a command whose step is already running."""


class Report(dict[str, object]):
    """Figures of a run for its log line: ``planned=144 failed=0``. With `quiet`, a run without errors logs no line."""

    quiet = False

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.items())


def set_up_logging() -> None:
    """Log to stderr, with the time in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = LineFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    for logger in (log, logging.getLogger("uvicorn"), logging.getLogger("asyncio")):
        logger.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def step(config: Config, name: str, wait: float = 0) -> Iterator[Report]:
    """Run a step under its lock, and log one line at its end, with its figures or its error.

    The operating system holds the lock, so that a step that is killed leaves none behind.

    Parameters
    ----------
    wait
        Seconds to wait for another run of the step to end.

    Raises
    ------
    Busy
        If the step is already running; nothing was done.
    ConfigError
        If ``home`` is not writable.
    XtalgridError
        If a file cannot be read or written.
    """
    folder = config.home / "locks"
    report, start = Report(), time.monotonic()
    lock = filelock.FileLock(folder / f"{name}.lock", timeout=wait)
    try:
        if not config.home.is_dir():
            config.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise Busy(f"{name} is already running; this run did nothing") from error
    except FileExistsError as error:
        raise ConfigError(f"home: {error.filename} is a file; choose a folder") from error
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk, or the share, that it lies on")
        raise ConfigError(f"home: cannot write {config.home}: {error.strerror}; {remedy}") from error
    try:
        yield report
    except OSError as error:
        _log_stop(name, error)
        raise XtalgridError(f"{name}: {error}; fix this (is the disk full?), then run it again to resume") from error
    except XtalgridError as error:
        _log_stop(name, error)
        raise
    else:
        if not report.quiet:
            log.info("%s %s seconds=%.1f", name, report, time.monotonic() - start)
    finally:
        lock.release()


def _log_stop(name: str, error: Exception) -> None:
    """Log the error that stopped a step, except at a terminal, where the command prints it."""
    if not sys.stderr.isatty():
        log.error("%s stopped: %s", name, str(error).replace("\n", " "))


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused the system, and when in UTC."""

    by: str
    since: datetime

    def __str__(self) -> str:
        return f"paused by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC; `xtalgrid resume` continues"


def paused(ledger: Ledger) -> Pause | None:
    """Return who paused the system and when, or None if it is not paused."""
    setting = ledger.switch(PAUSED)
    if setting is None or setting[0] != "yes":
        return None
    return Pause(by=setting[1], since=setting[2])


def user() -> str:
    """Return the name of the account that runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
