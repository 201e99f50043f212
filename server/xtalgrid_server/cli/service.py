"""``xtalgrid service``: the chain and the viewer as services of this machine."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Literal, Protocol

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import ConfigError

from ..config import Config
from ..service import cron, systemd
from ..service.account import prepare
from ..service.jobs import JobState, Service, plan
from ..service.step import run_step, run_steps
from .printing import json_option, print_found

Way = Literal["systemd", "cron"]

USER = "xtalgrid"


class Host(Protocol):
    """What starts the jobs: systemd or cron, of the machine or of one account."""

    def install(self, service: Service) -> Iterator[str]:
        """Install and start the jobs, or change what differs; yields a line for each change."""

    def uninstall(self) -> Iterator[str]:
        """Stop the jobs and remove them; yields a line for each."""

    def status(self) -> Iterator[JobState]:
        """Yield what is known of each installed job."""


user_level_option = click.option("--user-level", is_flag=True, help="For your own account, without root.")


@click.group(cls=CommandGroup)
def service() -> None:
    """Install, remove and check the chain and the viewer as services of this machine (docs/service.md)."""


@service.command()
@click.option("--systemd", "way", flag_value="systemd", help="Use systemd; the default where it runs.")
@click.option("--cron", "way", flag_value="cron", help="Use cron, which starts no viewer.")
@click.option("--user", "account", help=f"Account that it runs as; default: {USER}.")
@user_level_option
@click.option("--backfill", is_flag=True, help="Also work through the archive: create_work --backfill.")
@click.option("--no-publish", is_flag=True, help="Leave set_autoscore to a person, who looks at each CSV first.")
@click.option("--dry-run", is_flag=True, help="Print the files; write nothing.")
@click.pass_context
def install(
    ctx: click.Context,
    way: Way | None,
    account: str | None,
    user_level: bool,
    backfill: bool,
    no_publish: bool,
    dry_run: bool,
) -> None:
    """Install and start the chain and the viewer under systemd or cron, and list the changes. It can be repeated."""
    if account and user_level:
        raise ConfigError("--user-level runs as your own account; leave out --user")
    config: Config = ctx.obj()
    user = None if user_level else account or USER
    planned = plan(config, user, backfill=backfill, publish=not no_publish)
    way = way or ("systemd" if systemd.is_running() else "cron")
    if dry_run:
        for name, text in _files(planned, way).items():
            for line in (f"# {name}", *text.split("\n")):
                say(line)
        return
    _see_that_allowed(user_level)
    _see_that_there(way)
    if any(_host(_other(way), user_level).status()):
        raise ConfigError(
            f"{_other(way)} already runs the chain; first run xtalgrid service uninstall{_level(user_level)}"
        )
    is_changed = False
    for line in chain(prepare(planned), _host(way, user_level).install(planned)):
        say(line)
        is_changed = True
    if not is_changed:
        say("nothing to change")
    for line in _next_steps(config, planned, way):
        say(f"next  {line}")


@service.command()
@user_level_option
def uninstall(user_level: bool) -> None:
    """Stop the services and remove the files that `install` wrote. Home, configuration and program are kept."""
    _see_that_allowed(user_level)
    removed = [line for host in _hosts(user_level) for line in host.uninstall()]
    for line in removed or ["nothing is installed"]:
        say(line)


@service.command()
@user_level_option
@json_option
def status(user_level: bool, as_json: bool) -> None:
    """Show which services are installed and running; `xtalgrid status` shows the progress of the chain."""
    states = [state for host in _hosts(user_level) for state in host.status()]
    print_found(states, map(str, states), as_json)
    if not states:
        raise ConfigError(f"no service is installed; run xtalgrid --config FILE service install{_level(user_level)}")
    bad = [state.job for state in states if not state.is_good]
    if bad:
        scope = " --user" if user_level else ""
        raise ConfigError(f"{', '.join(bad)}: not running properly; see journalctl{scope} -n 20 -u {bad[0]}")


@service.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def step(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Run a COMMAND of xtalgrid as cron does: keep a log, and treat a step that is already running as a success."""
    sys.exit(run_step(command, _environment(ctx)))


@service.command()
@click.argument("commands", nargs=-1, required=True)
@click.pass_context
def steps(ctx: click.Context, commands: tuple[str, ...]) -> None:
    """Run several COMMANDS of xtalgrid as `step` does, each in quotes with its options, even if one before it fails.

    Each may take an hour. The exit code is that of the first that failed.
    """
    try:
        words = [shlex.split(command) for command in commands]
    except ValueError as error:
        raise click.UsageError(f"{error}, in {' '.join(commands)}") from error
    if not all(words):
        raise click.UsageError("one of the commands is empty")
    sys.exit(run_steps(words, _environment(ctx)))


def _environment(ctx: click.Context) -> dict[str, str]:
    given = ctx.find_root().params
    named = {"XTALGRID_CONFIG": given.get("file"), "XTALGRID_HOME": given.get("home")}
    return os.environ | {name: str(path) for name, path in named.items() if path}


def _files(planned: Service, way: Way) -> dict[str, str]:
    if way == "systemd":
        folder = systemd.folder(user_level=planned.user is None)
        return {str(folder / name): text for name, text in systemd.units(planned).items()}
    return {"your crontab" if planned.user is None else str(cron.FILE): cron.lines(planned)}


def _host(way: Way, user_level: bool) -> Host:
    if way == "systemd":
        return systemd.Systemd(user_level=user_level)
    return cron.UserCron() if user_level else cron.SystemCron()


def _other(way: Way) -> Way:
    return "cron" if way == "systemd" else "systemd"


def _hosts(user_level: bool) -> list[Host]:
    ways: list[Way] = ["systemd", "cron"]
    return [_host(way, user_level) for way in ways]


def _level(user_level: bool) -> str:
    return " --user-level" if user_level else ""


def _see_that_allowed(user_level: bool) -> None:
    if sys.platform == "win32":
        raise ConfigError("Windows has neither systemd nor cron; see docs/installing.md")
    if not user_level and os.geteuid() != 0:
        raise ConfigError("a service of the whole machine needs root (sudo); --user-level is for your own account")


def _see_that_there(way: Way) -> None:
    if way == "systemd" and not systemd.is_running():
        raise ConfigError("this machine does not run systemd; use --cron")
    if way == "cron" and not cron.is_here():
        raise ConfigError("this machine has neither systemd nor cron; install cron (on Debian: apt install cron)")


def _next_steps(config: Config, planned: Service, way: Way) -> Iterator[str]:
    user_level = planned.user is None
    yield f"{planned.program} service status{_level(user_level)}"
    if user_level and way == "systemd":
        yield f"loginctl enable-linger {os.environ.get('USER', 'YOU')}, or it all stops when you log out"
    if way == "systemd" and cron.FILE.exists():
        yield f"rm {cron.FILE}, or cron runs the chain as well"
    if way == "cron":
        yield f"cron starts no viewer: {planned.program} --config {planned.config} serve"
    if config.grid.kind == "boinc":
        yield "the BOINC project runs the chain itself: xtalgrid boinc install"
