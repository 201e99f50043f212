"""Run the jobs with cron: from a file in the machine's cron.d, or a block in a person's own crontab.

cron keeps nothing running: workers are started every few minutes and stop when no unit waits, and there is no viewer.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from xtalgrid_core.errors import ConfigError

from .files import MARK, is_ours, put
from .jobs import Job, JobState, Service, together

FILE = Path("/etc/cron.d/xtalgrid")
_AS_IT_IS = ("utf-8", "surrogateescape")
"""A person's own lines may be in an old encoding, whatever the locale; they are written back byte by byte."""
END = "# End of what `xtalgrid service install` wrote."


def is_here() -> bool:
    """Return whether this machine has cron."""
    return FILE.parent.is_dir() and shutil.which("crontab") is not None


def lines(service: Service) -> str:
    """Return the text of the file in cron.d, or of the block in a person's crontab."""
    head = [
        MARK,
        "# A run exits at once if the previous one is still in progress. Logs: log/COMMAND.log in XTALGRID_HOME.",
        *([] if service.user is None else ["SHELL=/bin/sh", "MAILTO=root"]),
        f"XTALGRID_CONFIG={service.config}",
        f"XTALGRID_HOME={service.home}",
    ]
    return "\n".join([*head, *(_line(service, job) for job in service.jobs if job.every), END]) + "\n"


def _line(service: Service, job: Job) -> str:
    program = shlex.quote(str(service.program))
    commands = [together(job.commands)] if job.are_apart else [f"service step {command}" for command in job.commands]
    command = " && ".join(f"{program} {command}" for command in commands).replace("%", r"\%")
    account = "" if service.user is None else f"{service.user} "
    return f"{job.minute}-59/{job.every} * * * * {account}{command}"


class SystemCron:
    """The file in /etc/cron.d."""

    def install(self, service: Service) -> Iterator[str]:
        """Write the file; yield a line if it changed."""
        yield from put(FILE, lines(service))

    def uninstall(self) -> Iterator[str]:
        """Remove the file; yield a line if it existed."""
        if is_ours(FILE):
            FILE.unlink()
            yield f"removed  {FILE}"

    def status(self) -> Iterator[JobState]:
        """Yield the installed lines; cron cannot say whether they work."""
        if is_ours(FILE):
            yield from (JobState(job=line, where=str(FILE)) for line in jobs_of(FILE.read_text(encoding="utf-8")))


class UserCron:
    """The block in the current user's crontab."""

    def install(self, service: Service) -> Iterator[str]:
        """Replace the existing block, or append one; yield a line if the crontab changed."""
        old = self._read()
        new = without_block(old) + lines(service)
        if new != old:
            self._write(new)
            yield "changed  your crontab"

    def uninstall(self) -> Iterator[str]:
        """Remove the block; yield a line if it existed."""
        old = self._read()
        new = without_block(old)
        if new != old:
            self._write(new)
            yield "changed  your crontab"

    def status(self) -> Iterator[JobState]:
        """Yield the installed lines."""
        _, mark, block = self._read().partition(MARK)
        if mark:
            yield from (JobState(job=line, where="your crontab") for line in jobs_of(block.partition(END)[0]))

    def _read(self) -> str:
        if shutil.which("crontab") is None:
            return ""
        done = subprocess.run(["crontab", "-l"], capture_output=True)
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode and not re.search("no crontab|not allowed", said):
            raise ConfigError(f"crontab: {(said or 'cannot be read').splitlines()[-1]}")
        return done.stdout.decode(*_AS_IT_IS)

    def _write(self, text: str) -> None:
        done = subprocess.run(["crontab", "-"], input=text.encode(*_AS_IT_IS), capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise ConfigError(f"crontab: {(said or 'refused').splitlines()[-1]}")


def without_block(crontab: str) -> str:
    """Return a crontab without our block; all other lines stay as they are.

    Raises
    ------
    ConfigError
        If the last line of the block is missing, so that its end is unknown.
    """
    before, mark, rest = crontab.partition(MARK)
    if not mark:
        return crontab if crontab.endswith("\n") or not crontab else f"{crontab}\n"
    _, end, after = rest.partition(f"{END}\n")
    if not end:
        raise ConfigError(f"your crontab lacks the line {END!r}; add it below our lines with crontab -e")
    return before + after


def jobs_of(text: str) -> list[str]:
    """Return the lines that start a job."""
    return [line for line in text.splitlines() if line[:1].isdigit()]
