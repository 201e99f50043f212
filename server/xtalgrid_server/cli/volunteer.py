"""``xtalgrid volunteer``: workstations that compute for a BOINC project."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import click

from xtalgrid_core.command_group import CommandGroup
from xtalgrid_core.errors import ConfigError

from ..grids.boinc.volunteer import System, script
from .printing import print_script

_SHELL: dict[str, System] = {"linux": "linux", "darwin": "macos"}

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


@click.group(cls=CommandGroup)
def volunteer() -> None:
    """Let workstations compute for a BOINC project while nobody uses them (docs/guides/volunteer.md)."""


@volunteer.command("script")
@click.argument("system", type=click.Choice(get_args(System)), default="linux")
def script_command(system: System) -> None:
    """Print the script that attaches a workstation, which needs nothing else there.

    Copy it to workstations, or run it over ssh; its first lines say how. Those for macOS and Windows have not been run.
    """
    print_script(script(system))


@volunteer.command("install")
@click.argument("url")
@click.argument("key")
@click.option("--idle-minutes", type=click.IntRange(0, 1440), help="Compute after so long without use; 0: always.")
@click.option("--cpus", type=click.IntRange(1, 100), help="Percent of the cores.")  # 0 is no limit to BOINC
@click.option("--memory", type=click.IntRange(1, 100), help="Percent of the memory.")
@click.option("--disk", type=click.IntRange(1, 100_000), help="GB of the disk.")
@_dry_run
def install_command(url: str, key: str, dry_run: bool, **limits: int | None) -> None:
    """Install BOINC's client on this computer if there is none, attach it to the project at URL, and limit its use.

    KEY is the project's account key. Defaults: 5 minutes, half of the cores and of the memory, 5 GB. Run it again to
    change something. It is the script of `xtalgrid volunteer script`.
    """
    given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in limits.items() if value is not None]
    _run("install", url, key, *(word for option in given for word in option), *(["--dry-run"] if dry_run else []))


@volunteer.command("uninstall")
@_dry_run
def uninstall_command(dry_run: bool) -> None:
    """Detach this computer, and give back what install found: preferences, service and packages."""
    _run("uninstall", *(["--dry-run"] if dry_run else []))


@volunteer.command("status")
def status_command() -> None:
    """Show what this computer is attached to.

    The exit code is 0 if the client runs, and the project accepts its account key.
    """
    _run("status")


def _run(*words: str) -> None:
    """Run the script for this system, and exit with its exit code."""
    system = _SHELL.get(sys.platform)
    if system is None:
        raise ConfigError("on Windows, run the script that `xtalgrid volunteer script windows` prints")
    done = subprocess.run(["sh", "-s", "--", *words], input=script(system), text=True)
    sys.exit(done.returncode)
