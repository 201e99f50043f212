"""The commands of reports: what people and other programs ask of the ledger (docs/reports.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from ..config import Config
from ..exchange.export import FORMATS, Format
from ..exchange.export import export as write_export
from ..exchange.layouts import read_layout, unread
from ..reports.agreement import AgreementWithPeople, Order, agreement_with_people
from ..reports.agreement import disagreements as find_disagreements
from ..reports.entries import Filter
from ..reports.explain import explain as find_explanation
from ..reports.explain import explanation_lines
from ..reports.history import history as find_history
from ..reports.history import history_lines
from ..reports.search import KEYS, Found, Key
from ..reports.search import search as find_drops
from ..steps import alerts as alerts_module
from ..steps.alerts import Alert
from ..steps.system import System
from ..storage.text import csv_line, table

Load = Callable[[], Config]

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="As CSV, for spreadsheets.")


def print_json(value: Any) -> None:
    """Anything of this package as JSON: dates as ISO 8601, outcomes as their names."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows as CSV."""
    for row in (header, *rows):
        click.echo(csv_line(row).decode(), nl=False)


def _outcome(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    known = [*Group, *(outcome for outcome in Outcome if outcome is not Outcome.FAILED)]
    if value and value not in known:
        raise click.BadParameter(f"{value!r} is neither an outcome nor a group; one of: {', '.join(known)}")
    return value


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which drops, given to the command as `chosen`, a `Filter`."""

    @click.option("--outcome", default="", callback=_outcome, help="An outcome or a group, such as crystal.")
    @click.option("--sample", default="", help="Part of the sample's name.")
    @click.option("--condition", default="", help="Part of the condition, such as 'PEG 3350'.")
    @click.option("--project", default="", help="Part of the project's name.")
    @click.option("--barcode", default="", help="One plate.")
    @click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="Inspected from this day on.")
    @click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Inspected until this day, it included.")
    @click.option("--scored-by-people", is_flag=True, help="Only inspections that a person scored.")
    @wraps(command)
    def call(*args: Any, since: datetime | None, until: datetime | None, **options: Any) -> Any:
        names = ("outcome", "sample", "condition", "project", "barcode", "scored_by_people")
        fields = {name: options.pop(name) for name in names}
        before = until + timedelta(days=1) if until else None
        if since and before and since >= before:
            raise click.BadParameter("--from is later than --to")
        return command(*args, chosen=Filter(**fields, since=since, before=before), **options)

    return call


@click.command()
@click.pass_obj
def sync(load: Load) -> None:
    """Record people's scores and the plates' samples, as the imager database has them now."""
    with System(load()) as system:
        done = system.sync()
    click.echo(f"{done.recorded} of {done.rows} score rows new or changed, contents of {done.contents} plates")


@click.command()
@json_option
@click.option("--dry-run", is_flag=True, help="Say what would be told; record and send nothing.")
@click.pass_obj
def alerts(load: Load, as_json: bool, dry_run: bool) -> None:
    """Tell of drops that show their first crystal, each once for ever; by mail where [alerts] names a mail server."""

    def show(found: list[Alert]) -> None:
        if as_json:
            print_json([alerts_module.as_row(alert) for alert in found])
        elif not found:
            click.echo("no new crystals")
        for alert in [] if as_json else found:
            click.echo(f"{alert.crystal.image.barcode}  {alerts_module.describe(alert.crystal)}")

    with System(load()) as system:
        if dry_run:
            crystals = alerts_module.preview(system.config, system.ledger)
            recipes = system.ledger.people.contents(crystal.image.barcode for crystal in crystals)
            show([Alert(0, crystal, recipes(*crystal.drop)) for crystal in crystals])
            return
        told = system.alerts(show)
    if told.mails:
        click.echo(f"{told.mails} mails sent", err=True)
    alerts_module.check(told)


@click.command()
@click.argument("barcode")
@click.argument("well")
@click.option("--inspection", type=int, help="Number of the inspection; default: the newest.")
@click.option("--recompute", is_flag=True, help="Score the image again with the same models and options, and compare.")
@json_option
@click.pass_obj
def explain(load: Load, barcode: str, well: str, inspection: int | None, recompute: bool, as_json: bool) -> None:
    """Say everything that is known of the score of a drop, WELL (A1a) on plate BARCODE.

    With --recompute, exit status 1 when the score cannot be made again as it was.
    """
    with System(load()) as system:
        story = find_explanation(
            system.config, system.imager, system.ledger, barcode, well, inspection, again=recompute
        )
        if as_json:
            print_json(story)
        else:
            for line in explanation_lines(system.config, story):
                click.echo(line)
    verdicts = [score.recomputed.verdict for image in story.images for score in image.scores if score.recomputed]
    if recompute and (not verdicts or not set(verdicts) <= {"same", "agrees"}):
        sys.exit(1)


@click.command()
@click.argument("barcode")
@click.argument("well")
@json_option
@click.pass_obj
def history(load: Load, barcode: str, well: str, as_json: bool) -> None:
    """Tell a drop's story, WELL (A1a) on plate BARCODE: every automatic and every person's score of all its inspections."""
    with System(load()) as system:
        told = find_history(system.config, system.imager, system.ledger, barcode, well)
    if as_json:
        print_json(told)
    else:
        for line in history_lines(told):
            click.echo(line)


@click.command()
@filter_options
@json_option
@csv_option
@click.pass_obj
def agreement(load: Load, chosen: Filter, as_json: bool, as_csv: bool) -> None:
    """Compare ARTscores with people's scores of the same inspections, by group and by month.

    Run `xtalgrid sync` before, so that people's newest scores are known.
    """
    with System(load()) as system:
        found = agreement_with_people(system.config, system.ledger, chosen)
    if as_json:
        print_json(found)
    elif as_csv:
        _print_agreement_csv(found)
    else:
        _print_agreement(found)


def _print_agreement_csv(found: AgreementWithPeople) -> None:
    parts = [("all", "same group", found.agree), ("all", "same outcome", found.same_outcome)]
    parts += [(f"people say {group}", "ARTscore says so too", value) for group, value in found.by_group.items()]
    parts += [(f"ARTscore says {group}", "people say so too", value) for group, value in found.named.items()]
    parts += [(month.month, "same group", month.agree) for month in found.months]
    parts += [(month.month, "people's crystals found", month.crystals) for month in found.months]
    print_csv(
        ("of", "what", "hits", "number", "low", "high"),
        [(of, what, p.hits, p.number, *(f"{bound:.4f}" for bound in p.interval)) for of, what, p in parts],
    )


def _print_agreement(found: AgreementWithPeople) -> None:
    if not found.agree.number:
        click.echo("no inspection with an ARTscore was scored by a person; `xtalgrid sync` reads people's scores")
    else:
        click.echo(f"same group    {found.agree} inspections")
        click.echo(f"same outcome  {found.same_outcome}")
        click.echo(f"crystals      {found.missed} missed by xtalgrid, {found.only_ours} seen by xtalgrid only")
        groups = (*SCORED_GROUPS, Group.UNKNOWN)
        names = ["undecided" if group is Group.UNKNOWN else str(group) for group in groups]
        click.echo("\npeople's group in rows, the ARTscore's in columns:")
        rows = [
            (group, *(found.table[group][ours] for ours in groups), found.by_group[group]) for group in SCORED_GROUPS
        ]
        _print_table(("", *names, "found"), rows, right=" ".join(names))
        click.echo("\nof what the ARTscore calls so, people call so too:")
        _print_table(("", "part"), [(group, found.named[group]) for group in SCORED_GROUPS])
        click.echo("\nby month of the inspection:")
        rows = [(month.month, month.agree, month.crystals) for month in found.months]
        _print_table(("", "same group", "people's crystals found"), rows)
    for code, number in found.unmapped.items():
        click.echo(f"not counted   {number} people's scores {code!r}, for which imager.codes has no outcome")


@click.command()
@filter_options
@click.option(
    "--order",
    type=click.Choice(["newest", "p_crystal"]),
    default="newest",
    show_default=True,
    help="Newest inspections first, or likeliest crystals.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Most inspections shown."
)
@json_option
@csv_option
@click.pass_obj
def disagreements(load: Load, chosen: Filter, order: Order, limit: int, as_json: bool, as_csv: bool) -> None:
    """List inspections that a person and xtalgrid put into different groups."""
    with System(load()) as system:
        found = find_disagreements(system.config, system.ledger, chosen, order, limit)
    if as_json:
        print_json(found)
        return
    header = ("plate", "well", "inspection", "date", "ARTscore", "p_crystal", "person's score", "by", "on")
    rows = [
        (
            one.barcode,
            one.well,
            one.inspection,
            f"{one.inspected:%Y-%m-%d}",
            one.artscore,
            f"{one.p_crystal:.3f}",
            f"{one.code} {one.person}",
            one.who,
            f"{one.at:%Y-%m-%d}",
        )
        for one in found
    ]
    if as_csv:
        print_csv(header, rows)
    elif rows:
        _print_table(header, rows, right="inspection p_crystal")
    else:
        click.echo("no disagreements")


@click.command()
@filter_options
@click.option(
    "--group-by",
    type=click.Choice(KEYS),
    multiple=True,
    default=("condition", "sample"),
    show_default=True,
    help="What drops of a group have in common. Repeatable.",
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Most groups shown.")
@json_option
@csv_option
@click.pass_obj
def search(load: Load, chosen: Filter, group_by: tuple[Key, ...], limit: int, as_json: bool, as_csv: bool) -> None:
    """Screen the whole archive for what gave an outcome: conditions, samples, projects, with counts of drops."""
    with System(load()) as system:
        found = find_drops(system.ledger, chosen, group_by)
    if as_json:
        print_json(found[:limit])
        return
    what = chosen.outcome or "scored"
    header = (*group_by, "drops", what, "part", "p_crystal", "best")
    if as_csv:
        print_csv((*group_by, *CSV_FOUND), [_csv_found(one) for one in found[:limit]])
    elif found:
        _print_table(header, [_found(one) for one in found[:limit]], right=f"drops {what} p_crystal")
        if len(found) > limit:
            click.echo(f"… and {len(found) - limit} more; --limit shows them")
    else:
        click.echo("no such drops")


CSV_FOUND = ("drops", "matching", "low", "high", "p_crystal", "barcode", "well", "inspection", "inspected")


def _csv_found(one: Found) -> tuple[object, ...]:
    numbers = one.drops, one.matching, *(f"{bound:.4f}" for bound in one.interval), f"{one.p_crystal:.5f}"
    return (*one.keys, *numbers, one.barcode, one.well, one.inspection, one.inspected.isoformat(sep=" "))


def _found(one: Found) -> tuple[object, ...]:
    keys = (key or "not known" for key in one.keys)
    low, high = one.interval
    share = f"{one.matching / one.drops:.0%} ({low:.0%}–{high:.0%})"
    best = f"{one.barcode} {one.well} inspection {one.inspection}"
    return (*keys, one.drops, one.matching, share, f"{one.p_crystal:.3f}", best)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--barcode", default="", help="The plate, where the file has no column barcode.")
@click.pass_obj
def layout(load: Load, file: Path, barcode: str) -> None:
    """Record what is in the drops of a plate, from a CSV FILE: sample, condition, project by well."""
    with System(load()) as system:
        done = read_layout(system.ledger, file, barcode)
    click.echo(f"{done.rows} wells read, {done.recorded} new or changed")
    for line in unread(done):
        click.echo(line)


@click.command()
@click.argument("kind", metavar="csv|jsonl|coco", type=click.Choice(FORMATS))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@filter_options
@click.option("--confirmed", is_flag=True, help="Only chops whose group is what a person said (coco, --chops).")
@click.option(
    "--chops",
    "chops_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the best chops as PNG files into a folder for each of their classes, under this one.",
)
@click.pass_obj
def export(load: Load, kind: Format, out: Path, chosen: Filter, confirmed: bool, chops_folder: Path | None) -> None:
    """Write scores with conditions, samples and people's scores into OUT."""
    if confirmed and kind != "coco" and chops_folder is None:
        raise XtalgridError("--confirmed is about chops; take it with coco or with --chops")
    with System(load()) as system:
        done = write_export(
            system.config, system.ledger, kind, out, chosen, confirmed=confirmed, chops_folder=chops_folder
        )
    boxes = f" with {done.boxes} boxes in {len(CLASSES)} categories" if kind == "coco" else ""
    click.echo(f"{done.images} images{boxes} in {out}")
    if chops_folder is not None:
        click.echo(f"{done.chops} chops in {chops_folder}")
    if done.missing:
        click.echo(f"left out  the chops of {done.missing} images that cannot be read any more")


def _print_table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> None:
    for line in table(header, rows, right):
        click.echo(line)


REPORTS = [sync, alerts, explain, history, agreement, disagreements, search, layout, export]
"""What the command line is given."""
