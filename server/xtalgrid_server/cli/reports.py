"""The commands that read or export what the ledger knows (docs/reports.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome
from xtalgrid_core.terminal import print_table

from ..config import Config
from ..exchange.export import FORMATS, WITH_BOXES, Format, exported_lines
from ..exchange.export import export as write_export
from ..exchange.foreign import Told
from ..exchange.import_annotations import annotation_lines
from ..exchange.import_annotations import import_annotations as read_annotations
from ..exchange.import_scores import import_lines, import_source
from ..exchange.import_scores import import_scores as read_scores
from ..exchange.ispyb import open_ispyb
from ..exchange.layouts import read_layout, unread
from ..exchange.polo import export_runs
from ..ledger.imported_scores import Kind
from ..reports.agreement import AgreementWithPeople, Order, agreement_with_people
from ..reports.agreement import disagreements as find_disagreements
from ..reports.entries import Filter
from ..reports.explain import explain as find_explanation
from ..reports.explain import explanation_lines
from ..reports.fluorescence import crystals_in_uv
from ..reports.history import history as find_history
from ..reports.history import history_lines
from ..reports.marks import COLUMNS as MARK_COLUMNS
from ..reports.marks import mark_rows, plate_marks
from ..reports.search import KEYS, DropGroup, Key
from ..reports.search import search as find_drops
from ..steps import alerts as alerts_module
from ..steps.alerts import Alert
from ..steps.system import System
from ..storage.permissions import outside
from .options import log_access
from .printing import IMAGER_TIMES, csv_option, json_option, print_csv, print_json, print_lines

EXIT_REFUSED = 1
"""Lines of a file were refused."""

Load = Callable[[], Config]


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
        before = until + timedelta(days=1) if until else None
        if since and before and since >= before:
            raise click.BadParameter("--from is later than --to")
        return command(*args, chosen=Filter(**fields, since=since, before=before), **options)

    return call


@click.command()
@click.pass_obj
def sync(load: Load) -> None:
    """Copy people's scores and the plates' samples from the imager database into the ledger."""
    with System(load()) as system:
        done = system.sync()
    say(f"{done.recorded} of {done.rows} score rows new or changed, contents of {done.contents} plates")


@click.command("look_again")
@click.option("--all", "everything", is_flag=True, help="Of the whole archive (default: of the last alerts.days days).")
@click.option("--barcode", "barcodes", multiple=True, help="Only this plate, however old. Repeatable.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after this time; the next run goes on.")
@click.pass_obj
def look_again(load: Load, everything: bool, barcodes: tuple[str, ...], minutes: float | None) -> None:
    """Compare crystals with the drop's first inspection, and look at them in UV light.

    What appeared or grew since is new, the rest is dirt, salt or an old crystal (p_new). No outcome changes.
    """
    with System(load()) as system:
        done = system.look_again(everything=everything, barcodes=barcodes or None, minutes=minutes)
    say(
        f"looked at {done.looked} drops with crystals: {done.new} new, {done.standing} there before, "
        f"{done.unsure} unsure, {done.unsaid} where it can't be said"
    )
    also = [(done.known, "known"), (done.alone, "with nothing to compare")]
    why = ", ".join(f"{number} {reason}" for reason, number in done.unreadable.most_common())
    also += [(done.unreadable.total(), f"unreadable ({why})"), (done.waiting, "left for the next run")]
    say("besides  " + ", ".join(f"{number} {what}" for number, what in also if number or what == "known"))


@click.command()
@json_option
@click.option("--dry-run", is_flag=True, help="Show what would be reported; record and send nothing.")
@click.pass_obj
def alerts(load: Load, as_json: bool, dry_run: bool) -> None:
    """Report drops with their first crystal, each drop only once; by mail if [alerts] names a mail server."""

    def show(new: list[Alert]) -> None:
        if as_json:
            print_json([alerts_module.as_row(alert) for alert in new])
        else:
            lines = [f"{alert.crystal.image.barcode}  {alerts_module.describe(alert.crystal)}" for alert in new]
            print_lines(lines or ["no new crystals"])

    with System(load()) as system:
        if dry_run:
            crystals = alerts_module.preview(system.config, system.ledger)
            contents = system.ledger.contents.of_plates(crystal.image.barcode for crystal in crystals)
            show([Alert(0, crystal, contents(*crystal.image.drop)) for crystal in crystals])
            return
        done = system.send_alerts(show)
    if done.mails:
        say(f"{done.mails} mails sent", err=True)
    if done.told:
        say(f"{done.told} mails and messages sent to people and webhooks", err=True)
    alerts_module.check_sent(done)


@click.command()
@click.argument("barcode")
@click.argument("well")
@click.option("--inspection", type=int, help="Number of the inspection; default: the newest.")
@click.option("--recompute", is_flag=True, help="Score the image again with the same models and options, and compare.")
@json_option
@click.pass_obj
def explain(load: Load, barcode: str, well: str, inspection: int | None, recompute: bool, as_json: bool) -> None:
    """Show everything that is known about the score of a drop, WELL (A1a) on plate BARCODE.

    With --recompute, the exit code is 1 if the score cannot be reproduced.
    """
    with System(load()) as system:
        story = find_explanation(
            system.config, system.imager, system.ledger, barcode, well, inspection, again=recompute
        )
        if as_json:
            print_json(story)
        else:
            print_lines(explanation_lines(system.config, story))
    verdicts = [score.recomputed.verdict for image in story.images for score in image.scores if score.recomputed]
    if recompute and (not verdicts or not set(verdicts) <= {"same", "agrees"}):
        sys.exit(1)


@click.command()
@click.argument("barcode")
@click.argument("well")
@json_option
@click.pass_obj
def history(load: Load, barcode: str, well: str, as_json: bool) -> None:
    """Show every score of a drop, WELL (A1a) on plate BARCODE: automatic and by people, at all inspections."""
    with System(load()) as system:
        scores = find_history(system.config, system.imager, system.ledger, barcode, well)
    if as_json:
        print_json(scores, IMAGER_TIMES | {"at"})
    else:
        print_lines(history_lines(scores))


@click.command()
@filter_options
@json_option
@csv_option
@click.pass_obj
def agreement(load: Load, chosen: Filter, as_json: bool, as_csv: bool) -> None:
    """Compare ARTscores with people's scores of the same inspections, by group and by month.

    Run `xtalgrid sync` first to read people's newest scores.
    """
    with System(load()) as system:
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


@click.command()
@filter_options
@click.option(
    "--order",
    type=click.Choice(["newest", "p_crystal"]),
    default="newest",
    show_default=True,
    help="Newest inspections first, or likeliest crystals first.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Maximum number of inspections."
)
@json_option
@csv_option
@click.pass_obj
def disagreements(load: Load, chosen: Filter, order: Order, limit: int, as_json: bool, as_csv: bool) -> None:
    """List inspections that a person and xtalgrid put into different groups."""
    with System(load()) as system:
        differing = find_disagreements(system.config, system.ledger, chosen, order, limit)
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
            f"{one.at:%Y-%m-%d}",
            "; ".join(one.others),
        )
        for one in differing
    ]
    if as_csv:
        print_csv(header, rows)
    elif rows:
        print_table(header, rows, right="inspection p_crystal")
    else:
        say("no disagreements")


@click.command()
@filter_options
@click.option(
    "--group-by",
    type=click.Choice(KEYS),
    multiple=True,
    default=("condition", "sample"),
    show_default=True,
    help="What the drops of a group have in common. Repeatable.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Maximum number of groups."
)
@json_option
@csv_option
@click.pass_obj
def search(load: Load, chosen: Filter, group_by: tuple[Key, ...], limit: int, as_json: bool, as_csv: bool) -> None:
    """Search the whole archive for what led to an outcome: conditions, samples, projects, with numbers of drops."""
    with System(load()) as system:
        groups = find_drops(system.ledger, chosen, group_by)
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
@click.option("--inspection", type=int, help="Only this inspection (default: all).")
@json_option
@csv_option
@click.pass_obj
def fluorescence(load: Load, barcode: str, inspection: int | None, as_json: bool, as_csv: bool) -> None:
    """List a plate's crystals by whether they fluoresce in UV light, as protein does and salt does not.

    Crystals without a UV image of their inspection are left out. Dark crystals may be protein all the same.
    """
    with System(load()) as system:
        images = system.ledger.images.of_plate(barcode, None if inspection is None else [inspection])
        crystals = [image.score_id for image in images if image.outcome and image.outcome.group is Group.CRYSTAL]
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
@click.option("--inspection", type=int, help="Only this inspection (default: all).")
@json_option
@click.pass_obj
def marks(load: Load, barcode: str, inspection: int | None, as_json: bool) -> None:
    """List the marks in a plate's images as CSV: crystals with their positions, for harvesting by other programs.

    Positions are of centres: in pixels from the top left corner of the image, and in micrometres right of and below its
    centre, which is the well's. Micrometres are left out where the scale is only guessed; times are UTC.
    """
    config = load()
    with System(config) as system:
        rows = mark_rows(plate_marks(system.ledger, barcode, None if inspection is None else [inspection]))
    log_access(config, "export", kind="marks", barcode=barcode, marks=len(rows))
    if as_json:
        print_json([dict(zip(MARK_COLUMNS, row, strict=True)) for row in rows])
    else:
        print_csv(MARK_COLUMNS, rows)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--barcode", default="", help="The plate, if the file has no column barcode.")
@click.pass_obj
def layout(load: Load, file: Path, barcode: str) -> None:
    """Record what is in the drops of a plate: sample, condition and project by well.

    FILE is a CSV or Excel table, or a screen as XML by Rock Maker or CrystalTrak.
    """
    with System(load()) as system:
        done = read_layout(system.config, system.ledger, file, barcode)
    say(f"{done.rows} wells read, {done.recorded} new or changed")
    for line in unread(done):
        say(line)


@click.command("import-scores")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--ispyb", is_flag=True, help="Import people's scores from ISPyB (imager.ispyb or publish.ispyb).")
@click.option("--schema", default="", help="With --ispyb: a program's scores instead, by their schema, such as MARCO.")
@click.option("--by", default="", help="Who gave the scores, if the file does not say.")
@click.option("--kind", type=click.Choice(["person", "program"]), help="Whether that is a person or a program.")
@click.option("--barcode", default="", help="The plate, if the file does not say.")
@click.option("--inspection", type=click.IntRange(min=0), help="The inspection, if the file does not say.")
@click.option("--sheet", default="", help="The sheet of an Excel workbook.")
@click.option("--dry-run", is_flag=True, help="Show the account of what would be imported; record nothing.")
@click.option(
    "--refused", type=click.Path(path_type=Path, dir_okay=False), help="Write all refused lines to this CSV file."
)
@click.option("--accept-sorted", is_flag=True, help="Accept probabilities that look mixed up.")
@json_option
@click.pass_obj
def import_scores(
    load: Load,
    file: Path | None,
    ispyb: bool,
    schema: str,
    by: str,
    kind: Kind | None,
    barcode: str,
    inspection: int | None,
    sheet: str,
    dry_run: bool,
    refused: Path | None,
    accept_sorted: bool,
    as_json: bool,
) -> None:
    """Import scores of people and programs from a FILE of another program, or a table, or from ISPyB.

    The exit code is 1 if lines of a FILE were refused. ISPyB may well have plates that are not here.
    """
    if (file is None) != ispyb or (schema and not ispyb):
        raise XtalgridError("give a FILE, or --ispyb, which --schema is for")
    told = Told(by, kind, barcode, inspection, sheet)
    with System(load()) as system:
        opened = system.config, system.imager, system.ledger
        options: Any = {"dry_run": dry_run, "accept_sorted": accept_sorted, "refused_file": refused}
        if file is not None:
            done = read_scores(*opened, file, told, **options)
        else:
            source = open_ispyb(system.config, system.imager, told, schema)
            done = import_source(*opened, source, "ISPyB", "ISPyB", **options)
    if as_json:
        print_json(done)
    else:
        print_lines(import_lines(done, dry_run))
    if done.refused and not ispyb:
        sys.exit(EXIT_REFUSED)


@click.command("import-annotations")
@click.argument("file", metavar="FILE|FOLDER", type=click.Path(path_type=Path, exists=True))
@click.option("--by", default="", help="Who drew them, if the file does not say.")
@click.option("--kind", type=click.Choice(["person", "program"]), help="Whether that is a person or a program.")
@click.option("--barcode", default="", help="The plate, if the file does not say.")
@click.option("--inspection", type=click.IntRange(min=0), help="The inspection, if the file does not say.")
@click.option("--confirmed", is_flag=True, help="A person looked at all: what is as exported is theirs too.")
@click.option("--dry-run", is_flag=True, help="Show the account of what would be imported; record nothing.")
@click.option(
    "--refused", type=click.Path(path_type=Path, dir_okay=False), help="Write all that was refused to this CSV file."
)
@json_option
@click.pass_obj
def import_annotations(
    load: Load,
    file: Path,
    by: str,
    kind: Kind | None,
    barcode: str,
    inspection: int | None,
    confirmed: bool,
    dry_run: bool,
    refused: Path | None,
    as_json: bool,
) -> None:
    """Import boxes and outlines that people drew or corrected, as marks, from COCO, YOLO, Label Studio or labelme.

    The exit code is 1 if some were refused.
    """
    with System(load()) as system:
        done = read_annotations(
            system.config,
            system.imager,
            system.ledger,
            file,
            Told(by, kind, barcode, inspection),
            confirmed=confirmed,
            dry_run=dry_run,
            refused_file=refused,
        )
    if as_json:
        print_json(done)
    else:
        print_lines(annotation_lines(done, dry_run))
    if done.refused:
        sys.exit(EXIT_REFUSED)


@click.command()
@click.argument("kind", metavar="FORMAT", type=click.Choice((*FORMATS, "xtal")))
@click.argument("out", type=click.Path(path_type=Path))
@filter_options
@click.option("--inspection", type=click.IntRange(min=0), help="Only this inspection; xtal has the newest by default.")
@click.option("--confirmed", is_flag=True, help="Only chops in the group that a person gave (boxes, --chops).")
@click.option(
    "--chops",
    "chops_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the best chops as PNG files into this folder, in a subfolder for each class.",
)
@click.pass_obj
def export(
    load: Load,
    kind: str,
    out: Path,
    chosen: Filter,
    inspection: int | None,
    confirmed: bool,
    chops_folder: Path | None,
) -> None:
    """Write scores with conditions, samples and people's scores to OUT, or in the form of another program.

    csv, xlsx, jsonl and parquet are tables; coco, yolo, label-studio and labelme are boxes for annotation tools; marco
    and texrank are tables of these programs' form; xtal is a run for Polo, one plate at one inspection. yolo and
    labelme are folders, or a zip file if OUT ends in .zip.
    """
    config = load()
    chosen = replace(chosen, inspection=inspection)
    if kind == "xtal":
        with System(config) as system, outside(config.home, out):
            runs = export_runs(config, system.imager, system.ledger, out, chosen)
        log_access(config, "export", kind=kind, images=sum(runs.values()), out=str(out))
        for file, images in runs.items():
            say(f"{images} images in {file}")
        return
    if confirmed and kind not in WITH_BOXES and chops_folder is None:
        raise XtalgridError(f"--confirmed selects chops; use it with {', '.join(WITH_BOXES)} or --chops")
    folder = chops_folder or out
    with System(config) as system, outside(config.home, out), outside(config.home, folder):
        done = write_export(
            config,
            system.ledger,
            cast(Format, kind),
            out,
            chosen,
            confirmed=confirmed,
            chops_folder=chops_folder,
        )
    log_access(config, "export", kind=kind, images=done.images, out=str(out))
    print_lines(exported_lines(done, kind, out))
    if chops_folder is not None:
        say(f"{done.chops} chops in {chops_folder}")
    if done.missing:
        say(f"left out  the chops of {done.missing} images that can no longer be read")


REPORTS = [
    sync,
    look_again,
    alerts,
    explain,
    history,
    agreement,
    disagreements,
    search,
    fluorescence,
    marks,
    layout,
    import_scores,
    import_annotations,
    export,
]
"""The commands of this module."""
