"""What keeps a BOINC project from working although its database is up: app versions, daemons, tasks, page, disks."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...domain.times import in_words
from .database import AppVersion
from .project import Project

_PATIENCE_SECONDS = 5.0
_LONG_WITHOUT = 3600.0
"""Seconds without a run of a task that is due every five minutes."""
_LITTLE_SPACE = 1e9
"""Bytes; a work unit may have 400 MB, and BOINC's database writes, too."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person has to mend, and how."""

    what: str
    remedy: str


def problems(
    project: Project, home: Path, versions: Sequence[AppVersion], assimilated_ago: float | None = None
) -> Iterator[Problem]:
    """Yield what keeps the project from working; `assimilated_ago`: see `task_problems`."""
    yield from version_problems(versions)
    yield from daemon_problems(project)
    yield from task_problems(project, assimilated_ago)
    yield from page_problems(project)
    yield from disk_problems([home, project.folder])


def version_problems(versions: Sequence[AppVersion]) -> Iterator[Problem]:
    """Yield unsigned app versions, and say if no computer can get work."""
    for version in versions:
        if not version.is_signed:
            yield Problem(
                f"app version {version.name} for {version.platform} is not signed, and every client "
                "that takes it fails",
                "deprecate it on BOINC's operations pages (manage app versions), and release a signed one with a "
                "higher version",
            )
    if not any(version.is_signed for version in versions):
        yield Problem(
            "no signed app version is registered, so no computer can get work, except with a Python of its own",
            "docs/boinc.md, App versions from frozen workers",
        )


def daemon_problems(project: Project) -> Iterator[Problem]:
    """Yield the daemons of config.xml that do not run on this machine."""
    if (project.folder / "stop_daemons").exists():
        yield Problem("the project's daemons were stopped by bin/stop", f"in {project.folder}: bin/start")
        return
    folders = [Path(folder)] if (folder := project.setting("pid_dir")) else sorted(project.folder.glob("pid_*"))
    stopped = [
        name
        for name, program in _daemons(project)
        if not any(_runs(folder / f"{name}.pid", program) for folder in folders)
    ]
    if stopped:
        yield Problem(
            f"daemons that are not running: {', '.join(stopped)}",
            f"in {project.folder}: bin/start; then see log_*/; `bin/start --cron` must be in the crontab",
        )


def _daemons(project: Project) -> Iterator[tuple[str, str]]:
    """Yield the name of each daemon's pid file, without .pid, and its program."""
    for daemon in ET.parse(project.folder / "config.xml").getroot().iter("daemon"):  # noqa: S314  the owner's own
        command = (daemon.findtext("cmd") or "").split()
        is_here = not (daemon.findtext("host") or "").strip()
        if command and is_here and (daemon.findtext("disabled") or "0").strip() == "0":
            program = Path(command[0]).name
            pid_file = (daemon.findtext("pid_file") or f"{program}.pid").strip()
            yield pid_file.removesuffix(".pid"), program


def _runs(pid_file: Path, program: str) -> bool:
    """Tell whether the process of a pid file runs, and is that program: numbers are used again after a restart."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    command = Path(f"/proc/{pid}/cmdline")
    try:
        return program.encode() in command.read_bytes()
    except OSError:
        return True


def task_problems(project: Project, assimilated_ago: float | None) -> Iterator[Problem]:
    """Yield that the project does not run its tasks, as without its line in the crontab.

    `assimilated_ago` is how many seconds ago `xtalgrid assimilate` ended, the one step that a pause does not stop; None
    if it never ran.
    """
    script = project.folder / "bin" / "xtalgrid_publish"
    if (project.folder / "stop_daemons").exists() or not script.exists():
        return
    installed_ago = time.time() - script.stat().st_ctime
    if min(installed_ago, installed_ago if assimilated_ago is None else assimilated_ago) > _LONG_WITHOUT:
        last = "has never run" if assimilated_ago is None else f"ran {in_words(assimilated_ago)} ago for the last time"
        yield Problem(
            f"the task {script.name} {last}: no new images go out, and no results come in",
            f"`{project.folder}/bin/start --cron` must be in the crontab of the project's owner, every five minutes; "
            f"then see log_*/{script.name}.out",
        )


def page_problems(project: Project) -> Iterator[Problem]:
    """Yield what the project's page answers, unless it is the page."""
    url = project.setting("master_url")
    if urlsplit(url).scheme not in ("http", "https"):
        return
    try:
        try:
            _ask(url)
        except urllib.error.HTTPError:
            raise
        except OSError:  # its name may be known outside only, or its certificate
            _ask(f"http://127.0.0.1{urlsplit(url).path}")
    except urllib.error.HTTPError as error:
        remedy = "see the web server's error log"
        if error.code == 403:
            remedy = (
                f"the web server's user must be able to enter {project.folder} and all folders above it: "
                "put it into the owner's group, and chmod g+x"
            )
        yield Problem(
            f"the project's page {url} answers {error.code} ({error.reason}), and clients get the same", remedy
        )
    except OSError as error:
        yield Problem(
            f"the project's page {url} cannot be reached from here: {getattr(error, 'reason', error)}",
            "check that the web server runs, and that its configuration includes the project's *.httpd.conf",
        )


def _ask(url: str) -> None:
    """Ask for a page of this machine's, not through a proxy for the web, whose answer would be taken for the page's."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with directly.open(url, timeout=_PATIENCE_SECONDS):
        pass


def disk_problems(folders: Sequence[Path]) -> Iterator[Problem]:
    """Yield folders on disks that are almost full."""
    for folder in folders:
        if folder.exists() and (free := shutil.disk_usage(folder).free) < _LITTLE_SPACE:
            yield Problem(
                f"the disk of {folder} has only {free / 1e6:.0f} MB left",
                "free some space; uploads and daemons go on by themselves, or with bin/start",
            )
