"""What every step of the chain shares: its lock, its one log line, and the switch that pauses all."""

from __future__ import annotations

import getpass
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import filelock

from xtalgrid_core.errors import Busy, ConfigError, XtalgridError

from ..config import Config
from ..domain.log import log
from ..ledger.store import PAUSED, Ledger

EXIT_BUSY = 75
"""Exit code of a command whose step is running already."""


class Report(dict[str, object]):
    """Figures of a step's run, for its log line: ``planned=144 failed=0``. `quiet`: no line when all went well."""

    quiet = False

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.items())


def set_up_logging() -> None:
    """Log lines on stderr: UTC time, step, figures."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def step(config: Config, name: str, wait: float = 0) -> Iterator[Report]:
    """Run a step alone, and log one line at its end with its figures, or with its error.

    Another run of it is waited for `wait` seconds. The lock is the operating system's, so that a killed step leaves none behind.

    Raises
    ------
    Busy
        When the step is running already; nothing was done.
    ConfigError
        When ``home`` cannot be written.
    """
    folder = config.home / "locks"
    report, start = Report(), time.monotonic()
    lock = filelock.FileLock(folder / f"{name}.lock", timeout=wait)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise Busy(f"{name} is running already; this run did nothing") from error
    except OSError as error:
        raise ConfigError(
            f"home: {config.home} cannot be written ({error.strerror}); run this as the account that owns it, or choose another folder"
        ) from error
    try:
        yield report
    except OSError as error:
        _log_stop(name, error)
        raise XtalgridError(f"{name}: {error}; fix this (a full disk?) and run it again: it goes on") from error
    except XtalgridError as error:
        _log_stop(name, error)
        raise
    else:
        if not report.quiet:
            log.info("%s %s seconds=%.1f", name, report, time.monotonic() - start)
    finally:
        lock.release()


def _log_stop(name: str, error: Exception) -> None:
    """A line with its time for a log; at a terminal the command's own message is enough."""
    if not sys.stderr.isatty():
        log.error("%s stopped: %s", name, str(error).replace("\n", " "))


def paused(ledger: Ledger) -> str | None:
    """Who paused the system and when, or None while it runs."""
    setting = ledger.switch(PAUSED)
    if setting is None or setting[0] != "yes":
        return None
    return f"paused by {setting[1]} since {setting[2]:%Y-%m-%d %H:%M} UTC; `xtalgrid resume` lets it go on"


def user() -> str:
    """Name of the person or service that runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
