"""Run commands of the chain for cron: log each, repeat errors on standard error, and ignore a step already running."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from xtalgrid_core.command_group import say

from ..domain.exit_codes import EXIT_BUSY, EXIT_WAITS
from .jobs import program

_SIGKILL = -9
"""Exit code that Python tells of a program that was killed so; Windows does not know it."""

TAIL = 20
"""How many of a failed run's last lines cron mails."""


LONGEST = 3600.0
"""Seconds that one of several commands may take, so that one that hangs does not stop the others."""

_TO_END = 30.0
"""Seconds that a command has to end when it is told to, and again when it is killed: on a dead share it cannot."""

_TOO_LONG = 124
"""Exit code for a command that took too long, as ``timeout`` gives it."""

_AGAIN = 86400.0
"""Seconds after which it is repeated that units still wait."""


def run_step(words: Sequence[str], environment: Mapping[str, str], limit: float | None = None) -> int:
    """Run an ``xtalgrid`` command and return its exit code; 0 if another run is in progress, or units wait for weights.

    Without a terminal and outside systemd, which keeps its own log, the output is appended to ``log/COMMAND.log`` in
    ``XTALGRID_HOME``, if that is set. That units wait is said at first and once a day; what follows in a crontab's line
    goes on with the others.
    """
    command = [str(program()), *words]
    home = environment.get("XTALGRID_HOME")
    if home and not sys.stderr.isatty() and "JOURNAL_STREAM" not in environment:
        code = _run_with_log(command, environment, Path(home) / "log" / f"{words[0]}.log", limit)
    else:
        code = _run(command, environment, limit)
        if code == _TOO_LONG:
            say(f"xtalgrid {' '.join(words)}: {_how_it_ended(code)}", err=True)
    if code in (EXIT_BUSY, EXIT_WAITS):
        return 0
    return code if code >= 0 else 128 - code  # killed by a signal: the code a shell would give


def run_steps(commands: Sequence[Sequence[str]], environment: Mapping[str, str], limit: float = LONGEST) -> int:
    """Run several commands as `run_step` does, one after the other, even if one before it failed or took too long.

    Returns the first exit code that is not 0.
    """
    codes = [run_step(words, environment, limit) for words in commands]
    return next(filter(None, codes), 0)


def _run(
    command: Sequence[str], environment: Mapping[str, str], limit: float | None, log: IO[bytes] | None = None
) -> int:
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log and subprocess.STDOUT)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        for stop in (process.terminate, process.kill):
            stop()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TO_END)
                break
        return _TOO_LONG


def _how_it_ended(code: int) -> str:
    if code == _TOO_LONG:
        return "stopped, as it took too long"
    if code >= 0:
        return f"exit code {code}"
    return f"killed by signal {-code}" + (", as where memory is short" if code == _SIGKILL else "")


def _run_with_log(command: Sequence[str], environment: Mapping[str, str], file: Path, limit: float | None) -> int:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        log = file.open("ab+")
    except OSError as error:  # the command may still do its work, and cron mails what it says
        say(f"cannot write {file}: {error.strerror}", err=True)
        return _run(command, environment, limit)
    with log:
        start = log.seek(0, 2)
        code = _run(command, environment, limit, log)
        if code not in (0, EXIT_BUSY) and not _is_told(code, file.with_suffix(".waits")):
            log.seek(start if start <= log.seek(0, 2) else 0)  # the log may have been cut meanwhile (logrotate)
            for line in log.read().decode(errors="replace").splitlines()[-TAIL:]:
                say(line, err=True)
            # cron mails nothing of a run that says nothing, as one that the system kills.
            say(f"xtalgrid {' '.join(command[1:])}: {_how_it_ended(code)}; see {file}", err=True)
        if code == 0:
            with suppress(OSError):
                file.with_suffix(".waits").unlink(missing_ok=True)
    return code


def _is_told(code: int, note: Path) -> bool:
    """Tell whether it was said within a day that units wait; if not, note that it is said now."""
    if code != EXIT_WAITS:
        return False
    with suppress(OSError):
        if 0 <= time.time() - note.stat().st_mtime < _AGAIN:
            return True
    with suppress(OSError):
        note.touch()
    return False
