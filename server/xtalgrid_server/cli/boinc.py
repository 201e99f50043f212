"""``xtalgrid boinc``: the BOINC project's side of the command line."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import ConfigError

from ..config import Config
from ..grids.boinc.app_version import app_version
from ..grids.boinc.grid import BoincGrid
from ..grids.boinc.install import Accounts, install, next_steps
from ..grids.boinc.project import Project
from ..grids.boinc.status import boinc_status, boinc_status_lines, lost_units
from ..steps.step import last_runs
from ..steps.system import System
from ..storage.permissions import as_given
from .options import with_config
from .printing import json_option, print_found


@click.group(cls=CommandGroup)
@click.pass_context
def boinc(ctx: click.Context) -> None:
    """Manage the BOINC project that distributes the work (docs/boinc.md)."""
    ctx.with_resource(as_given())  # BOINC's programs and its web server read what these commands write


boinc.add_command(app_version)


@boinc.command("install")
@click.argument("project_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--accounts", type=click.Choice(["open", "closed"]), help="Whether anybody may create an account.")
@with_config
def install_command(config: Config, project_dir: Path, accounts: Accounts | None) -> None:
    """Install templates, hooks, the application and config.xml entries in PROJECT_DIR, and list the changes."""
    project = Project(project_dir)
    changes = []
    for line in install(config, project, accounts):
        say(line)
        changes.append(line)
    say(f"{len(changes)} changes" if changes else "no changes needed")
    for line in next_steps(config, project, changes):
        say(f"next  {line}")


@boinc.command("status")
@json_option
@with_config
def status_command(config: Config, as_json: bool) -> None:
    """Show what is unsent, in progress and failed, which hosts fail, and how far scores lag behind the imager."""
    with System(config) as system:
        assimilated = next((run.age for run in last_runs(config) if run.name == "assimilate"), None)
        status = boinc_status(system.ledger, system.imager, _boinc_grid(system), assimilated_ago=assimilated)
    print_found(status, boinc_status_lines(status), as_json)


@boinc.command("retry")
@click.argument("units", nargs=-1)
@with_config
def retry_command(config: Config, units: tuple[str, ...]) -> None:
    """Let the next create_work make failed and lost UNITS again (default: all of them)."""
    with System(config) as system:
        ledger = system.ledger.units
        stuck = {*ledger.attempts("failed"), *lost_units(system.ledger, _boinc_grid(system))}
        unknown = [name for name in units if name not in stuck]
        if unknown:
            raise ConfigError(f"not failed or lost: {', '.join(unknown)}; see `xtalgrid boinc status`")
        chosen = [ledger.named(name) for name in units or sorted(stuck)]
        again = [unit for unit in chosen if unit is not None and ledger.plan_again(unit)]
    say(f"the next `xtalgrid create_work` makes {len(again)} units again")


def _boinc_grid(system: System) -> BoincGrid:
    """Return the grid, which has to be a BOINC project.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not isinstance(system.grid, BoincGrid):
        raise ConfigError('grid.kind is "local"; set kind = "boinc" and boinc.project first')
    return system.grid
