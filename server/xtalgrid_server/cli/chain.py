"""One command for each step of the chain and of what runs beside it, and those that pause it or review its scores."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..domain.exit_codes import EXIT_WAITS
from ..imager.ispyb.auto_scores import schema_sql
from ..ledger.store import PAUSED
from ..steps.alerts import Alert, as_row, check_sent, describe, preview
from ..steps.publish_ispyb_marks import is_run_of_marks
from ..steps.step import user
from ..steps.system import System
from .options import dry_run_option, log_access, tell_unknown, with_config
from .parameters import FiniteRange, GivenPath
from .printing import json_option, print_found, print_lines

_LONGEST_NAME = 100
"""Characters of a person's name that the ledger holds."""


@click.command("create_work")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of images to plan; default: work.limit.")
@click.option("--barcode", "barcodes", multiple=True, help="Only this plate, even if it was read before. Repeatable.")
@click.option("--retry", is_flag=True, help="Plan again what failed in units or workers, however old.")
@click.option("--backfill", is_flag=True, help="Continue with the archive if no new images wait.")
@dry_run_option
@with_config
def create_work_command(
    config: Config, limit: int | None, barcodes: tuple[str, ...], retry: bool, backfill: bool, dry_run: bool
) -> None:
    """Find new images in the imager database and pack them into work units, newest first."""
    if barcodes and backfill:
        raise click.UsageError("give either --barcode or --backfill, which is for all plates of the archive")
    with System(config) as system:
        created = system.create_work(limit=limit, barcodes=barcodes, dry_run=dry_run, retry=retry, backfill=backfill)
    would = "would be " if dry_run else ""
    also = f", {len(created.waiting)} waiting" if created.waiting else ""
    also += f", {len(created.failed)} failed"
    if created.unusable:
        also += (
            f", {len(created.unusable)} unusable row{'s' if len(created.unusable) > 1 else ''} (see xtalgrid status)"
        )
    say(f"{created.planned} images {would}planned in {created.units} units{also}")
    if created.older_wait:
        say(f"older images wait: {created.older_wait}")
    for line in created.lights.lines():
        say(line)


@click.command()
@click.option("--watch", is_flag=True, help="Keep waiting for units, as a service.")
@with_config
def grid(config: Config, watch: bool) -> None:
    """Run the local grid's workers until no units wait.

    The exit code is 78 if units still wait for weights that are not here, as while a share is off.
    """
    with System(config) as system:
        worked = system.work(watch=watch)
    if number := worked.waiting:
        wait = "unit waits" if number == 1 else "units wait"
        say(f"{number} {wait} for weights that are not here now; the log says which")
        if not watch:  # with it, somebody stopped this
            sys.exit(EXIT_WAITS)


@click.command("assimilate")
@with_config
def assimilate_command(config: Config) -> None:
    """Validate returned results and write them to the ledger."""
    with System(config) as system:
        done = system.assimilate()
    if done.unread:
        say(f"{done.unread} results could not be read and wait for the next run; the log names their units")


@click.command("finalizer")
@click.option("--shadow", is_flag=True, help="Decide again on scores from shadow mode, under the current policy.")
@with_config
def finalizer_command(config: Config, shadow: bool) -> None:
    """Compare new scores with people's, hold those that need approval, and write a CSV to the outbox."""
    with System(config) as system:
        done = system.finalize(shadow=shadow)
    say(str(done.csv) if done.csv else "no scores were waiting")
    if done.not_framed:
        say(f"{done.not_framed} framed images could not be drawn, as their originals can't be read; the log names them")
    if done.outdated:
        say(
            f"{done.outdated} inspections are undecided now, but the score table still has their ARTscore of before: "
            "score them in the viewer, or take them back by runs (set_autoscore --undo)"
        )


@click.command("set_autoscore")
@click.argument("files", nargs=-1, type=GivenPath(path_type=Path))
@click.option(
    "--undo",
    metavar="RUN",
    help="Restore the scores from before this run, which is named like its CSV file; "
    "a run of marks, or marks for all of them: delete them from ISPyB.",
)
@dry_run_option
@with_config
def set_autoscore_command(config: Config, files: tuple[Path, ...], undo: str | None, dry_run: bool) -> None:
    """Write the ARTscores in the finalizer's CSV FILES (default: the outbox) to the score table."""
    if undo is not None:
        if files:
            raise XtalgridError("--undo takes the name of a run, not files")
        if is_run_of_marks(undo):
            _undo_marks(config, undo, dry_run)
            return
        with System(config) as system:
            back = system.undo(undo.removesuffix(".csv"), user(), dry_run=dry_run)
        if not dry_run:
            log_access(config, "undo", run=undo, removed=back.removed, restored=back.restored)
        would = "would be " if dry_run else ""
        say(f"{back.removed} rows {would}removed, {back.restored} {would}restored")
        left = list(back.left)
        if back.ispyb is not None:
            say(f"ISPyB: {back.ispyb.removed} images' scores {would}removed, {back.ispyb.restored} {would}restored")
            left += back.ispyb.left
        for line in left:
            say(f"left  {line}")
        return
    with System(config) as system:
        done = system.publish(list(files) or None, dry_run=dry_run)
    would = "would be written" if dry_run else "done"
    say(f"{done.files} files {would}: " + (", ".join(f"{n} {a}" for a, n in done.actions.items()) or "no rows"))
    for line in done.refused:
        say(f"refused  {line}")
    for part in (done.ispyb, done.marks):
        for line in part.lines() if part is not None else ():
            say(line)


def _undo_marks(config: Config, run: str, dry_run: bool) -> None:
    with System(config) as system:
        done = system.undo_marks(run, user(), dry_run=dry_run)
    if not dry_run:
        log_access(config, "undo", run=run, removed=done.actions["removed"], restored=0)
    would = "would be " if dry_run else ""
    say(f"ISPyB: {done.actions['removed']} sub-samples of marks {would}removed")
    for line in done.problems:
        say(f"left  {line}")


@click.command("ispyb-schema")
@with_config
def ispyb_schema(config: Config) -> None:
    """Print the SQL that creates our auto-score schema in ISPyB, for the database's administrator."""
    print_lines(schema_sql(config.publish.ispyb).splitlines())


@click.command()
@with_config
def sync(config: Config) -> None:
    """Copy people's scores and the plates' samples from the imager database into the ledger."""
    with System(config) as system:
        done = system.sync()
    say(f"{done.recorded} of {done.rows} score rows new or changed, contents of {done.contents} plates")


@click.command("look_again")
@click.option("--all", "everything", is_flag=True, help="Of the whole archive (default: of the last alerts.days days).")
@click.option("--barcode", "barcodes", multiple=True, help="Only this plate, however old. Repeatable.")
@click.option("--minutes", type=FiniteRange(min=0), help="Stop after this time; the next run goes on.")
@with_config
def look_again(config: Config, everything: bool, barcodes: tuple[str, ...], minutes: float | None) -> None:
    """Compare crystals with the drop's first inspection, and look at them in UV light.

    What appeared or grew since is new, the rest is dirt, salt or an old crystal (p_new). No outcome changes.
    """
    with System(config) as system:
        tell_unknown(system, *barcodes)
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
@with_config
def alerts(config: Config, as_json: bool, dry_run: bool) -> None:
    """Report drops with their first crystal, each drop only once; by mail if [alerts] names a mail server."""

    def show(new: list[Alert]) -> None:
        lines = [f"{alert.crystal.image.barcode}  {describe(alert.crystal)}" for alert in new]
        print_found([as_row(alert) for alert in new], lines or ["no new crystals"], as_json)

    with System(config) as system:
        if dry_run:
            crystals = preview(system.config, system.ledger)
            contents = system.ledger.contents.of_plates(crystal.image.barcode for crystal in crystals)
            show([Alert(0, crystal, contents(*crystal.image.drop)) for crystal in crystals])
            return
        done = system.send_alerts(show)
    if done.mails:
        say(f"{done.mails} mails sent", err=True)
    if done.told:
        say(f"{done.told} mails and messages sent to people and webhooks", err=True)
    check_sent(done)


def _review(action: str, past: str) -> click.Command:
    @click.command(action, help=f"{action.capitalize()} held scores, by their score_id in the finalizer's CSV.")
    @click.argument("score_ids", nargs=-1, type=int)
    @click.option("--all", "everything", is_flag=True, help="All held scores.")
    @click.option("--barcode", help="All held scores of this plate.")
    @click.option("--as", "who", default=user, help="Who decides; default: the user running this.")
    @with_config
    def command(config: Config, score_ids: tuple[int, ...], everything: bool, barcode: str | None, who: str) -> None:
        who = who.strip()
        if not 0 < len(who) <= _LONGEST_NAME:
            raise click.UsageError(f"--as needs a name of 1 to {_LONGEST_NAME} characters")
        if everything and barcode is not None:
            raise click.UsageError("give either --all or --barcode")
        with System(config) as system:
            held = {score_id for score_id, action in system.ledger.decisions.actions().items() if action == "hold"}
            held |= system.ledger.publications.undone_scores()
            selected = set(score_ids)
            if everything or barcode:
                # only an explicit score_id overrules an earlier review
                waiting = held - system.ledger.decisions.reviews(sorted(held)).keys()
                scores = system.ledger.scores.by_id(sorted(waiting))
                selected |= {score.score_id for score in scores if not barcode or score.barcode == barcode}
            unknown = selected - held
            if unknown:
                raise XtalgridError(
                    f"not held: {', '.join(map(str, sorted(unknown)))}; nothing was {past}. "
                    "Held scores have the action hold in the finalizer's CSV"
                )
            if not selected and not (everything or barcode):
                raise XtalgridError("give SCORE_IDS, --barcode or --all")
            if not selected:
                tell_unknown(system, barcode or "")
                raise XtalgridError("no held scores wait" + (f" on plate {barcode}" if barcode else ""))
            system.ledger.decisions.add_reviews(sorted(selected), "approve" if action == "approve" else "reject", who)
            log_access(config, "review", who, verdict=action, scores=sorted(selected))
            say(f"{len(selected)} scores {past}; the next finalizer and set_autoscore act on this")

    return command


approve = _review("approve", "approved")
reject = _review("reject", "rejected")


@click.command()
@with_config
def pause(config: Config) -> None:
    """Pause planning, starting and publishing work; running units are finished."""
    with System(config) as system:
        system.ledger.set_switch(PAUSED, "yes", user())
    log_access(config, "pause")
    say("paused; `xtalgrid resume` continues")


@click.command()
@with_config
def resume(config: Config) -> None:
    """Resume work after a pause."""
    with System(config) as system:
        system.ledger.set_switch(PAUSED, "no", user())
    log_access(config, "resume")
    say("running")
