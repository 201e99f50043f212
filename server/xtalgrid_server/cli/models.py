"""``xtalgrid model``: list, promote and roll back models."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..reports.models import list_models, model_lines, pair_text
from ..steps.step import user
from ..steps.system import System
from .options import log_access, with_config
from .printing import json_option, print_json, print_lines


@click.group(cls=CommandGroup)
def model() -> None:
    """Manage the networks' weights."""


@model.command("list")
@json_option
@with_config
def model_list(config: Config, as_json: bool) -> None:
    """List the weights, those in use marked *, and what was promoted when, by whom and why."""
    with System(config) as system:
        listed = list_models(config, system.ledger)
    if as_json:
        print_json(listed)
    else:
        print_lines(model_lines(listed))


@model.command("promote")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--force", metavar="REASON", help="Promote weights that were not shown to be better; the REASON is recorded."
)
@click.option("--as", "who", default=user, help="Who decides; default: the user running this.")
@with_config
def model_promote(config: Config, folder: Path, force: str | None, who: str) -> None:
    """Score new work with the weights in FOLDER, which `xtalgrid-train adapt` made and compared.

    They are checked, tried by a worker on one well, and copied to home/weights. Work that was sent keeps its models.
    """
    if force is not None and not force.strip():
        raise XtalgridError("--force needs a REASON, which is recorded")
    with System(config) as system:
        pair = system.promote(folder, force=force, who=who)
    log_access(config, "promote", who, models=pair, forced=force is not None)
    say(f"in use for new work: {pair_text(*pair)}; `xtalgrid model rollback` undoes this")


@model.command("rollback")
@click.option("--why", default="", help="The reason, which is recorded.")
@click.option("--as", "who", default=user, help="Who decides; default: the user running this.")
@with_config
def model_rollback(config: Config, why: str, who: str) -> None:
    """Undo the newest promotion: new work is scored with the models used before it."""
    with System(config) as system:
        pair = system.rollback(why=why, who=who)
    log_access(config, "rollback", who, models=pair)
    say(f"in use for new work: {pair_text(*pair)}")
