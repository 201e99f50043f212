"""Options and the configuration that several commands take, and the line that those who change something leave."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import Group, Outcome

from ..config import Config
from ..reports.entries import Filter
from ..steps.step import user
from ..steps.system import System
from ..storage.access_log import AccessLog
from .parameters import InspectionNumber

_COMPARED = 10_000
"""Barcodes that a mistyped one is compared with, the last in their order."""


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the configuration to a command; it is read when the command runs."""

    @wraps(command)
    @click.pass_context
    def call(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        return command(ctx.obj(), *args, **options)

    return call


def _outcome(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    known = [*Group, *(outcome for outcome in Outcome if outcome is not Outcome.FAILED)]
    if value and value not in known:
        raise click.BadParameter(f"{value!r} is neither an outcome nor a group; choose from: {', '.join(known)}")
    return value


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select drops; the command gets them as `chosen`, a `Filter`."""

    @click.option("--outcome", default="", callback=_outcome, help="An outcome or a group, such as crystal.")
    @click.option("--sample", default="", help="Part of the sample's name.")
    @click.option("--condition", default="", help="Part of the condition, such as 'PEG 3350'.")
    @click.option("--project", default="", help="Part of the project's name.")
    @click.option("--barcode", default="", help="One plate.")
    @click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="Inspected on this day or later.")
    @click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Inspected on this day or earlier.")
    @click.option("--note", default="", help="Part of a note on the drop.")
    @click.option("--favourites", is_flag=True, help="Only drops that are somebody's favourites.")
    @click.option("--scored-by-people", is_flag=True, help="Only inspections that a person scored.")
    @wraps(command)
    def call(*args: Any, since: datetime | None, until: datetime | None, **options: Any) -> Any:
        names = ("outcome", "sample", "condition", "project", "barcode", "scored_by_people", "note", "favourites")
        fields = {name: options.pop(name) for name in names}
        # Nothing is inspected after the last day that there is.
        before = until + timedelta(days=1) if until and until.date() < date.max else None
        if since and before and since >= before:
            raise click.BadParameter("--from is later than --to")
        return command(*args, chosen=Filter(**fields, since=since, before=before), **options)

    return call


def tell_unknown(system: System, *barcodes: str) -> None:
    """Say on standard error which of these plates have no images: nothing found there would mean something else."""
    known = system.ledger.plates.barcodes() if any(barcodes) else []
    for barcode in filter(None, barcodes):
        if barcode not in known:
            near = difflib.get_close_matches(barcode, known[-_COMPARED:], n=1)
            say(f"no images of plate {barcode} yet" + (f"; is {near[0]} meant?" if near else ""), err=True)


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


INSPECTION = InspectionNumber(-(2**31))
"""Numbers of inspections that databases hold."""

INSPECTION_FROM_ZERO = InspectionNumber(0)
"""Those from 0 on."""

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
names_option = click.option(
    "--names",
    help="rigaku, rockimager, rockmaker-export, xchem, hwi, ami, marco, any (each file a well), or a pattern such as "
    "'{barcode}/{row}{column}'.",
)
recursive_option = click.option("--recursive", is_flag=True, help="Include subfolders.")
copy_option = click.option("--copy", is_flag=True, help="Copy the images instead of linking them.")
