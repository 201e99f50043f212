"""``xtalgrid model``: list, promote and roll back models."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..exchange.adapt import LEAST_WELLS, adapt
from ..reports.models import list_models, model_lines, pair_text
from ..steps.step import step, user
from ..steps.system import System
from .exchange import left_out_lines
from .options import log_access, with_config
from .printing import json_option, print_found, print_lines


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
    print_found(listed, model_lines(listed), as_json)


@model.command("adapt", context_settings={"ignore_unknown_options": True})
@click.argument("further", metavar="[OPTIONS OF XTALGRID-TRAIN ADAPT]...", nargs=-1, type=click.UNPROCESSED)
@with_config
def model_adapt(config: Config, further: tuple[str, ...]) -> None:
    """Fit what decides to people's scores, and compare it with the models in use. Nothing changes.

    The scores of the viewer and of the imager's score table are exported to home/adapted, beside the candidate and its
    report. If that is better, `xtalgrid model promote` puts it into use. Wells in home/frozen/wells.csv are not fitted
    to, but judged by. If no score is new, and nothing else has changed, nothing is done.
    """
    with System(config) as system, step(config, "adapt"):
        made = adapt(config, system.imager, system.ledger, further)
    comparison = made.comparison
    log_access(config, "adapt", wells=made.labelled, verdict=comparison.verdict if comparison else "too few wells")
    say(f"{made.labelled} of {made.scored.wells} scored wells have a label that people agree on")
    print_lines(left_out_lines(made.scored, config, "leave it out"))
    if comparison is None:
        say(f"too few: {LEAST_WELLS} are needed")
        if made.withdrawn:
            say(f"the last candidate in {made.folder} can't be promoted: people took back scores that it was made of")
        return
    if made.fitted < made.labelled:
        say(f"{made.fitted} of these are fitted to; the others are frozen, copies or can't be read: see the report")
    if not made.is_new:
        say(f"no new score since {comparison.made_at}")
    say(f"{comparison.verdict}:")
    for reason in comparison.reasons:
        say(f"  {reason}")
    say(f"report: {made.folder / 'report.md'}")
    if comparison.verdict == "better":
        say(f"to use it: xtalgrid model promote {made.folder}")


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
