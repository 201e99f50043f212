"""Options and the configuration that several commands take, and the line that those who change something leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..steps.step import user
from ..storage.access_log import AccessLog


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the configuration to a command; it is read when the command runs."""

    @wraps(command)
    @click.pass_context
    def call(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        return command(ctx.obj(), *args, **options)

    return call


def log_access(config: Config, act: str, who: str = "", **details: Any) -> None:
    """Write to the log of access what this account did, in the name of `who` if it is given."""
    if who and who != user():
        details["account"] = user()
    AccessLog(config).write(act, who or user(), **details)


def check_account(home: Path) -> None:
    """Check that this is the account of the home, so that root leaves no file there which the service cannot read."""
    if sys.platform == "win32" or not home.exists():
        return
    import pwd

    owner = home.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"  # as sudo takes it
        raise XtalgridError(f"{home} belongs to {name}; run this as that account: sudo -u {name} xtalgrid …")


dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
names_option = click.option(
    "--names",
    help="rigaku, rockimager, rockmaker-export, xchem, hwi, ami, marco, any (each file a well), or a pattern such as "
    "'{barcode}/{row}{column}'.",
)
recursive_option = click.option("--recursive", is_flag=True, help="Include subfolders.")
copy_option = click.option("--copy", is_flag=True, help="Copy the images instead of linking them.")
