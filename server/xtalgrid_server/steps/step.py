"""What all steps share: the lock, the one log line, and the switch that pauses the system."""

from __future__ import annotations

import errno
import getpass
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import filelock

from xtalgrid_core.errors import Busy, ConfigError, XtalgridError
from xtalgrid_core.lines import one_line

from ..config import Config
from ..domain.log import log
from ..domain.times import in_words
from ..ledger.store import PAUSED, Ledger

_ACCOUNT = "run this as the account that owns it, or choose another folder"
_SPACE = "free some disk space, then run the same command again"
_REMEDIES = {errno.EACCES: _ACCOUNT, errno.EPERM: _ACCOUNT, errno.ENOSPC: _SPACE, errno.EDQUOT: _SPACE}

_LONGEST = timedelta(days=1)
"""A run that takes longer hangs, such as on a share that does not respond."""

_WATCHED = ("create_work", "assimilate", "finalizer", "set_autoscore", "sync", "look_again", "alerts")
"""Steps that never take so long; the grid may run for ever, an import or an adaptation for days."""

_LONGEST_ERROR = 500


class Report(dict[str, object]):
    """Figures of a run for its log line: ``planned=144 failed=0``. With `quiet`, a run without errors logs no line."""

    quiet = False

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.items())


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
        If a file cannot be read or written, or the step has been running for more than a day.
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
        if name in _WATCHED and (running := _running(config, name)) and running.hangs:
            raise XtalgridError(f"{running}; this run did nothing") from error
        raise Busy(f"{name} is already running; this run did nothing") from error
    except FileExistsError as error:
        raise ConfigError(f"home: {error.filename} is a file; choose a folder") from error
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk, or the share, that it lies on")
        raise ConfigError(f"home: cannot write {config.home}: {error.strerror}; {remedy}") from error
    _write(_note(config, name), f"{os.getpid()} {time.time():.0f}")
    try:
        with _end_noted(config, name):
            yield report
        if not report.quiet:
            log.info("%s %s seconds=%.1f", name, report, time.monotonic() - start)
    finally:
        with suppress(OSError):
            _note(config, name).unlink(missing_ok=True)
        lock.release()


@contextmanager
def _end_noted(config: Config, name: str) -> Iterator[None]:
    """Note when a step ends, and log and note what stops it; errors are raised as by `step`."""
    try:
        yield
    except OSError as error:
        _log_stop(name, error)
        _note_end(config, name, error)
        raise XtalgridError(f"{name}: {error}; fix this (is the disk full?), then run it again to resume") from error
    except XtalgridError as error:
        _log_stop(name, error)
        _note_end(config, name, error)
        raise
    except Exception as error:
        _note_end(config, name, f"{type(error).__name__}: {error}")
        raise
    _note_end(config, name)


@dataclass(frozen=True, slots=True)
class Running:
    """A run of a step, by its process, and since when it runs (UTC)."""

    name: str
    process: int
    since: datetime

    @property
    def hangs(self) -> bool:
        """Whether it takes so long that it must hang."""
        return datetime.now(UTC) - self.since > _LONGEST

    def __str__(self) -> str:
        return (
            f"{self.name} has been running since {self.since:%Y-%m-%d %H:%M} UTC (process {self.process}); if a share "
            f"does not respond, mend that, then end it: kill {self.process}"
        )


def hanging(config: Config) -> tuple[Running, ...]:
    """Return the runs of steps that have taken more than a day."""
    found = (_running(config, name) for name in _WATCHED)
    # A run that was killed leaves its note, and its process's id may be another's after a reboot.
    return tuple(one for one in found if one is not None and one.hangs and is_locked(config, one.name))


def is_locked(config: Config, name: str) -> bool:
    """Tell whether a step is under way, whoever runs it."""
    file = config.home / "locks" / f"{name}.lock"
    if not file.exists():  # one that this account made might be closed to the services'
        return False
    lock = filelock.FileLock(file, timeout=0)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError):  # another account's file may not be opened
        return True
    lock.release()
    return False


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a step: when it ended (UTC), or began if it was killed, and what stopped it, if anything."""

    name: str
    ended: datetime
    error: str

    @property
    def age(self) -> float:
        """Seconds since it ended."""
        return max((datetime.now(UTC) - self.ended).total_seconds(), 0.0)

    @property
    def ago(self) -> str:
        """How long ago it ended."""
        return f"{in_words(self.age)} ago"


def last_runs(config: Config) -> tuple[LastRun, ...]:
    """Return the newest run of each step of the chain that ran here; one that is under way does not count."""
    found = []
    for name in _WATCHED:
        last = None
        with suppress(OSError, ValueError, OverflowError):
            ended, _, error = _ended(config, name).read_text(encoding="utf-8").partition("\n")
            last = LastRun(name, datetime.fromtimestamp(int(ended), UTC), error.strip())
        begun = _noted(config, name)
        if begun is not None and not is_locked(config, name) and _note(config, name).exists():
            last = LastRun(name, begun.since, "it was killed, or the computer went off; memory may be short")
        found += [last] if last is not None else []
    return tuple(found)


def _note_end(config: Config, name: str, error: Exception | str = "") -> None:
    if name in _WATCHED:
        _write(_ended(config, name), f"{time.time():.0f}\n{one_line(str(error))[:_LONGEST_ERROR]}")


def _write(note: Path, text: str) -> None:
    """Write a note anew, since an old one may be root's, who ran a step once."""
    with suppress(OSError):  # on a full disk, a step may still do its work
        note.unlink(missing_ok=True)
        note.write_text(text, encoding="utf-8", errors="backslashreplace")


def _ended(config: Config, name: str) -> Path:
    """Return the file that says when a step's newest run ended, and what stopped it."""
    return config.home / "locks" / f"{name}.ended"


def _note(config: Config, name: str) -> Path:
    """Return the file that says which process runs a step, and since when."""
    return config.home / "locks" / f"{name}.running"


def _noted(config: Config, name: str) -> Running | None:
    """Return the run of a step that its note tells of, under way or killed; None if there is none."""
    try:
        process, since = map(int, _note(config, name).read_text(encoding="ascii").split())
        return Running(name, process, datetime.fromtimestamp(since, UTC))
    except (OSError, ValueError, OverflowError):
        return None


def _running(config: Config, name: str) -> Running | None:
    """Return the run of a step that its note tells of; None if there is none, or its process is gone."""
    noted = _noted(config, name)
    if noted is None:
        return None
    try:
        os.kill(noted.process, 0)
    except PermissionError:
        pass  # another account's process
    except (OSError, OverflowError):
        return None
    return noted


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
