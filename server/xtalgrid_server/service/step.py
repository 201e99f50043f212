"""Run one command of the chain for cron: log it, repeat errors on standard error, and ignore a step already running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from xtalgrid_core.command_group import say

from ..steps.step import EXIT_BUSY
from .jobs import program

_SIGKILL = -9
"""Exit code that Python tells of a program that was killed so; Windows does not know it."""

TAIL = 20
"""How many of a failed run's last lines cron mails."""


def run_step(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run an ``xtalgrid`` command and return its exit code, or 0 if another run of the step is in progress.

    Without a terminal and outside systemd, which keeps its own log, the output is appended to ``log/COMMAND.log`` in
    ``XTALGRID_HOME``, if that is set.
    """
    command = [str(program()), *words]
    home = environment.get("XTALGRID_HOME")
    if home and not sys.stderr.isatty() and "JOURNAL_STREAM" not in environment:
        code = _run_with_log(command, environment, Path(home) / "log" / f"{words[0]}.log")
    else:
        code = subprocess.run(command, env=environment).returncode
    if code == EXIT_BUSY:
        return 0
    return code if code >= 0 else 128 - code  # killed by a signal: the code a shell would give


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by signal {-code}" + (", as where memory is short" if code == _SIGKILL else "")


def _run_with_log(command: Sequence[str], environment: Mapping[str, str], file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as log:
        start = log.seek(0, 2)
        code = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
        if code not in (0, EXIT_BUSY):
            log.seek(start if start <= log.seek(0, 2) else 0)  # the log may have been cut meanwhile (logrotate)
            for line in log.read().decode(errors="replace").splitlines()[-TAIL:]:
                say(line, err=True)
            # cron mails nothing of a run that says nothing, as one that the system kills.
            say(f"xtalgrid {' '.join(command[1:])}: {_how_it_ended(code)}; see {file}", err=True)
    return code
