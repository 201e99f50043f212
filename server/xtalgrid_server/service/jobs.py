"""What runs, when, and what it needs from the machine, whether systemd or cron starts it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xtalgrid_core.errors import ConfigError

from ..config import Config


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Commands that run one after the other, each only if the one before it succeeded, unless they `are_apart`."""

    name: str
    about: str
    commands: tuple[str, ...]
    are_apart: bool = False
    """Whether each runs whatever became of the one before it."""
    minute: int = 0
    """Minute of the hour of the first run."""
    every: int = 0
    """Minutes between runs; 0: it runs all the time."""
    watches: bool = False
    """Whether it can also run all the time, with ``--watch``."""


def together(commands: Sequence[str]) -> str:
    """Return one command that runs all of them, whatever becomes of each, and fails if one does."""
    # These quotes are a shell's, and systemd's too.
    return "service steps " + " ".join(f'"{command}"' if " " in command else command for command in commands)


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an installed job."""

    job: str
    """The systemd unit, or the line of the crontab."""
    where: str
    """``systemd`` or the crontab."""
    state: str | None = None
    """None for cron, which does not know."""
    is_good: bool = True
    """Whether the state is as it should be."""

    def __str__(self) -> str:
        return f"{self.where}: {self.job}" if self.state is None else f"{self.job:<30} {self.state}"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """An installation and its jobs. All paths are absolute."""

    program: Path
    config: Path
    home: Path
    user: str | None
    """Account that it runs as; None: the account of whoever installs it, who need not be root."""
    jobs: tuple[Job, ...]
    writes: tuple[Path, ...] = ()
    """Folders outside `home` that it writes to."""
    mounts: tuple[Path, ...] = ()
    """Folders outside `home` that may be on a network mount; without them nothing should start."""


def plan(config: Config, user: str | None, *, backfill: bool = False, publish: bool = True) -> Service:
    """Return what to install for a configuration.

    Parameters
    ----------
    backfill
        Whether ``create_work`` also works through the archive.
    publish
        Whether the jobs include ``set_autoscore``; if not, a person runs it.

    Raises
    ------
    ConfigError
        If there is no configuration file, no installed program beside this Python, or a path that systemd rejects.
    """
    if config.file is None:
        raise ConfigError(
            "a service needs a configuration file: xtalgrid init /etc/xtalgrid/xtalgrid.toml, then "
            "xtalgrid --config /etc/xtalgrid/xtalgrid.toml service install"
        )
    from sqlalchemy.engine import make_url  # a quarter of the start of a command that cron runs

    urls = (config.imager_url, config.imager.write_url, config.ledger_url)
    databases = [make_url(url).database for url in urls if url.startswith("sqlite")]
    written = [config.frames_dir, *(Path(database).parent for database in databases if database)]
    written += [config.image_root] if config.imager.folder else []  # create_work links its images there
    further = [config.imager.folder, *config.imager.linked_folders, *config.imager.ispyb.paths.values()]
    folders = [config.image_root, *(Path(folder) for folder in further if folder)]
    planned = Service(
        program=program(),
        config=config.file.absolute(),
        home=config.home,
        user=user,
        jobs=_jobs(config, backfill, publish),
        writes=_outside(config.home, written),
        mounts=_outside(config.home, [*written, *folders]),
    )
    for path in (planned.program, planned.config, planned.home, *planned.writes, *planned.mounts):
        if any(character in str(path) for character in "\"'\\\n"):
            raise ConfigError(
                f"{path}: systemd does not accept paths with quotes, backslashes or line breaks; choose another"
            )
    return planned


def program() -> Path:
    """Return the path of the ``xtalgrid`` command installed with this Python.

    Raises
    ------
    ConfigError
        If it is missing.
    """
    path = Path(sys.executable).absolute().with_name("xtalgrid")
    if not path.is_file():
        raise ConfigError(f"{path} is missing; install the wheel (docs/installing.md) and run its xtalgrid")
    return path


def _outside(home: Path, folders: list[Path]) -> tuple[Path, ...]:
    """Return the folders that are not below `home`, without duplicates."""
    absolute = [folder.expanduser().absolute() for folder in folders]
    return tuple(dict.fromkeys(folder for folder in absolute if not folder.is_relative_to(home)))


def _jobs(config: Config, backfill: bool, publish: bool) -> tuple[Job, ...]:
    chain = (
        Job(
            name="create-work",
            about="pack new well images into work units",
            commands=("create_work --backfill" if backfill else "create_work",),
            every=5,
        ),
        Job(name="grid", about="this machine's workers", commands=("grid",), every=5, watches=True),
        Job(
            name="publish",
            about="assimilate results, decide, and write the score table"
            if publish
            else "assimilate results and decide",
            commands=("assimilate", "finalizer", *(["set_autoscore"] if publish else [])),
            minute=2,
            every=5,
        ),
    )
    others = (
        Job(
            name="tell",
            about="read people's scores, look at crystals again, and report new ones",
            commands=(
                "sync",
                *(["import-scores --ispyb"] if config.imager.ispyb.url else []),
                "look_again --minutes 20",
                "alerts",
            ),
            are_apart=True,
            minute=4,
            every=30,
        ),
        Job(name="viewer", about="the viewer", commands=("serve",)),
    )
    return others if config.grid.kind == "boinc" else chain + others  # a BOINC project runs the chain itself
