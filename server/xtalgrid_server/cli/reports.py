"""The commands that show what the ledger knows (docs/reports.md)."""

from __future__ import annotations

import sys
from functools import partial

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.terminal import print_table

from ..config import Config
from ..domain.images import has_date
from ..reports.agreement import AgreementWithPeople, Order, agreement_with_people, disagreements
from ..reports.entries import Filter
from ..reports.explain import explain, explanation_lines
from ..reports.fluorescence import crystals_in_uv
from ..reports.history import history, history_lines
from ..reports.marks import COLUMNS as MARK_COLUMNS
from ..reports.marks import mark_rows, plate_marks
from ..reports.search import KEYS, DropGroup, Key, search
from ..steps.system import System
from .options import INSPECTION, filter_options, log_access, tell_unknown, with_config
from .printing import IMAGER_TIMES, csv_option, json_option, print_csv, print_found, print_json

_inspection_option = click.option("--inspection", type=INSPECTION, help="Only this inspection (default: all).")
_limit_option = partial(click.option, "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)


@click.command("explain")
@click.argument("barcode")
@click.argument("well")
@click.option("--inspection", type=INSPECTION, help="Number of the inspection; default: the newest.")
@click.option("--recompute", is_flag=True, help="Score the image again with the same models and options, and compare.")
@json_option
@with_config
def explain_command(
    config: Config, barcode: str, well: str, inspection: int | None, recompute: bool, as_json: bool
) -> None:
    """Show everything that is known about the score of a drop, WELL (A1a) on plate BARCODE.

    With --recompute, the exit code is 1 if the score cannot be reproduced.
    """
    with System(config) as system:
        story = explain(system.config, system.imager, system.ledger, barcode, well, inspection, again=recompute)
        print_found(story, explanation_lines(system.config, story), as_json)
    verdicts = [score.recomputed.verdict for image in story.images for score in image.scores if score.recomputed]
    if recompute and (not verdicts or not set(verdicts) <= {"same", "agrees"}):
        sys.exit(1)


@click.command("history")
@click.argument("barcode")
@click.argument("well")
@json_option
@with_config
def history_command(config: Config, barcode: str, well: str, as_json: bool) -> None:
    """Show every score of a drop, WELL (A1a) on plate BARCODE: automatic and by people, at all inspections."""
    with System(config) as system:
        scores = history(system.config, system.imager, system.ledger, barcode, well)
    print_found(scores, history_lines(scores), as_json, IMAGER_TIMES | {"at"})


@click.command("agreement")
@filter_options
@json_option
@csv_option
@with_config
def agreement_command(config: Config, chosen: Filter, as_json: bool, as_csv: bool) -> None:
    """Compare ARTscores with people's scores of the same inspections, by group and by month.

    Run `xtalgrid sync` first to read people's newest scores.
    """
    with System(config) as system:
        tell_unknown(system, chosen.barcode)
        result = agreement_with_people(system.config, system.ledger, chosen)
    if as_json:
        print_json(result)
    elif as_csv:
        _print_agreement_csv(result)
    else:
        _print_agreement(result)


def _print_agreement_csv(result: AgreementWithPeople) -> None:
    parts = [("all", "same group", result.agree), ("all", "same outcome", result.same_outcome)]
    parts.append(("scored before the ARTscore was seen", "same group", result.unseen))
    parts += [(f"people say {group}", "ARTscore says so too", value) for group, value in result.by_group.items()]
    parts += [(f"ARTscore says {group}", "people say so too", value) for group, value in result.named.items()]
    parts += [(month.month, "same group", month.agree) for month in result.months]
    parts += [(month.month, "people's crystals found", month.crystals) for month in result.months]
    print_csv(
        ("of", "what", "hits", "number", "low", "high"),
        [(of, what, p.hits, p.number, *(f"{bound:.4f}" for bound in p.interval)) for of, what, p in parts],
    )


def _print_agreement(result: AgreementWithPeople) -> None:
    if not result.agree.number:
        say("no inspection has both an ARTscore and a person's score; `xtalgrid sync` reads people's scores")
    else:
        say(f"same group    {result.agree} inspections")
        say(f"same outcome  {result.same_outcome}")
        if result.unseen.number:
            say(f"unseen        {result.unseen} in the same group, scored before the person saw the ARTscore")
        say(f"crystals      {result.missed} missed by xtalgrid, {result.only_ours} seen by xtalgrid only")
        groups = (*SCORED_GROUPS, Group.UNKNOWN)
        names = ["undecided" if group is Group.UNKNOWN else str(group) for group in groups]
        say("")
        say("people's groups in rows, the ARTscore's in columns:")
        rows = [
            (group, *(result.table[group][ours] for ours in groups), result.by_group[group]) for group in SCORED_GROUPS
        ]
        print_table(("", *names, "found"), rows, right=" ".join(names))
        say("")
        say("people agree with the ARTscore's group:")
        print_table(("", "part"), [(group, result.named[group]) for group in SCORED_GROUPS])
        say("")
        say("by month of inspection:")
        rows = [(month.month, month.agree, month.crystals) for month in result.months]
        print_table(("", "same group", "people's crystals found"), rows)
    if result.disputed:
        say(f"not counted   {result.disputed} inspections that people put into different groups")
    if result.failed or result.waiting:
        without = f"{result.failed + result.waiting} inspections without an ARTscore"
        say(f"not counted   {without}: {result.failed} failed, {result.waiting} still to come")
    for code, number in result.unmapped.items():
        say(f"not counted   {number} people's scores {code!r}, which imager.codes does not list")


@click.command("disagreements")
@filter_options
@click.option(
    "--order",
    type=click.Choice(["newest", "p_crystal"]),
    default="newest",
    show_default=True,
    help="Newest inspections first, or likeliest crystals first.",
)
@_limit_option(help="Maximum number of inspections.")
@json_option
@csv_option
@with_config
def disagreements_command(
    config: Config, chosen: Filter, order: Order, limit: int, as_json: bool, as_csv: bool
) -> None:
    """List inspections that a person and xtalgrid put into different groups."""
    with System(config) as system:
        tell_unknown(system, chosen.barcode)
        differing = disagreements(system.config, system.ledger, chosen, order, limit + 1)
    has_more, differing = len(differing) > limit, differing[:limit]
    if as_json or as_csv:
        _say_that_more(has_more)
    if as_json:
        print_json(differing)
        return
    header = ("plate", "well", "inspection", "date", "ARTscore", "p_crystal", "person's score", "by", "on", "others")
    rows = [
        (
            one.barcode,
            one.well,
            one.inspection,
            f"{one.inspected:%Y-%m-%d}",
            one.artscore,
            f"{one.p_crystal:.3f}" if as_csv else percent(one.p_crystal),
            f"{one.code} {one.person or f'any {one.group}'}",
            one.who,
            f"{one.at:%Y-%m-%d}" if has_date(one.at) else "",
            "; ".join(one.others),
        )
        for one in differing
    ]
    if as_csv:
        print_csv(header, rows)
    elif rows:
        print_table(header, rows, right="inspection p_crystal")
        if has_more:
            say("… and more; --limit shows them")
    else:
        say("no disagreements")


def _say_that_more(has_more: bool) -> None:
    """Say on standard error that a file has not all."""
    if has_more:
        say("there are more; --limit shows them", err=True)


@click.command("search")
@filter_options
@click.option(
    "--group-by",
    type=click.Choice(KEYS),
    multiple=True,
    default=("condition", "sample"),
    show_default=True,
    help="What the drops of a group have in common. Repeatable.",
)
@_limit_option(help="Maximum number of groups.")
@json_option
@csv_option
@with_config
def search_command(
    config: Config, chosen: Filter, group_by: tuple[Key, ...], limit: int, as_json: bool, as_csv: bool
) -> None:
    """Search the whole archive for what led to an outcome: conditions, samples, projects, with numbers of drops."""
    with System(config) as system:
        tell_unknown(system, chosen.barcode)
        groups = search(system.ledger, chosen, group_by)
    if as_json or as_csv:
        _say_that_more(len(groups) > limit)
    if as_json:
        print_json(groups[:limit])
        return
    what = chosen.outcome or "scored"
    header = (*group_by, "drops", what, "part", "p_crystal", "best")
    if as_csv:
        print_csv((*group_by, *_CSV_COLUMNS), [_csv_row(group) for group in groups[:limit]])
    elif groups:
        print_table(header, [_table_row(group) for group in groups[:limit]], right=f"drops {what} p_crystal")
        if len(groups) > limit:
            say(f"… and {len(groups) - limit} more; --limit shows them")
    else:
        say("no such drops")


_CSV_COLUMNS = ("drops", "matching", "low", "high", "p_crystal", "barcode", "well", "inspection", "inspected")


def _csv_row(group: DropGroup) -> tuple[object, ...]:
    p_crystal = "" if group.p_crystal is None else f"{group.p_crystal:.5f}"
    numbers = group.drops, group.matching, *(f"{bound:.4f}" for bound in group.interval), p_crystal
    return (*group.keys, *numbers, group.barcode, group.well, group.inspection, group.inspected.isoformat(sep=" "))


def _table_row(group: DropGroup) -> tuple[object, ...]:
    keys = (key or "unknown" for key in group.keys)
    low, high = group.interval
    share = f"{percent(group.matching / group.drops)} ({percent(low)} to {percent(high)})"
    best = f"{group.barcode} {group.well} inspection {group.inspection}"
    return (*keys, group.drops, group.matching, share, _chance(group.p_crystal), best)


def _chance(p_crystal: float | None) -> str:
    return "" if p_crystal is None else percent(p_crystal)


@click.command()
@click.argument("barcode")
@_inspection_option
@json_option
@csv_option
@with_config
def fluorescence(config: Config, barcode: str, inspection: int | None, as_json: bool, as_csv: bool) -> None:
    """List a plate's crystals by whether they fluoresce in UV light, as protein does and salt does not.

    Crystals without a UV image of their inspection are left out. Dark crystals may be protein all the same.
    """
    with System(config) as system:
        images = system.ledger.images.of_plate(barcode, None if inspection is None else [inspection])
        crystals = [
            image.score_id
            for image in images
            if image.is_scored and image.outcome and image.outcome.group in (Group.CRYSTAL, Group.UNKNOWN)
        ]
        scores = system.ledger.scores.by_id([score_id for score_id in crystals if score_id is not None])
        found = list(crystals_in_uv(system.config, scores, system.imager.mates))
    rows = [
        (
            str(one.score.well),
            one.score.inspection,
            str(one.glow),
            None if one.contrast is None else round(one.contrast, 3),
            round(one.score.p_crystal, 5),
            str(one.score.outcome),
            one.score.image_name,
            one.uv_image,
        )
        for one in found
    ]
    header = ("well", "inspection", "uv", "contrast", "p_crystal", "outcome", "image", "uv_image")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    elif as_csv:
        print_csv(header, rows)
    elif rows:
        short = [(*row[:3], "" if row[3] is None else f"{row[3]:.2f}", _chance(row[4]), row[5]) for row in rows]
        print_table(header[:-2], short, right="contrast p_crystal")
    else:
        say("no crystals with a UV image; imager.light.uv names UV images that their names don't tell")


@click.command()
@click.argument("barcode")
@_inspection_option
@json_option
@with_config
def marks(config: Config, barcode: str, inspection: int | None, as_json: bool) -> None:
    """List the marks in a plate's images as CSV: crystals with their positions, for harvesting by other programs.

    Positions are of centres: in pixels from the top left corner of the image, and in micrometres right of and below its
    centre, which is the well's. Micrometres are left out where the scale is only guessed; times are UTC.
    """
    with System(config) as system:
        rows = mark_rows(plate_marks(system.ledger, barcode, None if inspection is None else [inspection]))
    log_access(config, "export", kind="marks", barcode=barcode, marks=len(rows))
    if as_json:
        print_json([dict(zip(MARK_COLUMNS, row, strict=True)) for row in rows])
    else:
        print_csv(MARK_COLUMNS, rows)
