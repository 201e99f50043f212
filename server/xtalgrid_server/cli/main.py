"""The command ``xtalgrid``. Commands that replace a published script have the script's name."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from tqdm import tqdm

from xtalgrid_core.command_group import CommandGroup
from xtalgrid_core.errors import Busy, ConfigError, XtalgridError
from xtalgrid_core.terminal import print_table

from .. import config as configuration
from ..config import Config
from ..exchange.scored import export_scored
from ..imager.crystaltrak.check import check_imager
from ..ledger.store import PAUSED
from ..reports.models import list_models, model_lines, pair_text
from ..reports.status import status as pipeline_status
from ..reports.status import status_lines
from ..steps.run import FolderRun, run_folder
from ..steps.step import EXIT_BUSY, set_up_logging, user
from ..steps.system import System
from .boinc import boinc
from .printing import json_option, print_json, print_lines
from .reports import REPORTS
from .service import service
from .simulation import simulate_command
from .users import greeting, users

EXIT_ERROR = 2


class _Commands(CommandGroup):
    """Commands whose errors for users are one message and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Busy as error:
            click.echo(f"xtalgrid: {error}", err=True)
            sys.exit(EXIT_BUSY)
        except XtalgridError as error:
            click.echo(f"xtalgrid: {error}", err=True)
            sys.exit(EXIT_ERROR)
        except BrokenPipeError:
            raise  # the reader of our output has closed the pipe: click exits quietly
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"xtalgrid: {where}{error.strerror or error}; fix this, then run the command again", err=True)
            sys.exit(EXIT_ERROR)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="xtalgrid")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Configuration file; default: xtalgrid.toml in this folder.",
)
@click.option("--home", type=click.Path(path_type=Path), help="Data folder; default: as configured, or xtalgrid-data.")
@click.pass_context
def main(ctx: click.Context, file: Path | None, home: Path | None) -> None:
    """Score every drop a crystallization imager photographs."""
    set_up_logging()
    ctx.obj = lambda: configuration.load(file, home)


main.add_command(boinc)
main.add_command(service)
main.add_command(simulate_command)
main.add_command(users)
for report_command in REPORTS:
    main.add_command(report_command)


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the configuration to a command; it is read when the command runs."""

    @wraps(command)
    @click.pass_context
    def call(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        return command(ctx.obj(), *args, **options)

    return call


dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
names_option = click.option(
    "--names", help="rigaku, rockimager, marco, any (each file a well), or a regular expression with named groups."
)
recursive_option = click.option("--recursive", is_flag=True, help="Include subfolders.")
copy_option = click.option("--copy", is_flag=True, help="Copy the images instead of linking them.")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@recursive_option
@copy_option
@names_option
@click.option(
    "--frames", type=click.Choice(["none", "crystals", "all"]), default="all", help="Which framed images to draw."
)
@with_config
def run(config: Config, folder: Path, recursive: bool, copy: bool, names: str | None, frames: str) -> None:
    """Take a FOLDER of well images through every stage, and account for each image."""
    with System(config) as system:
        account = run_with_progress(system, folder, recursive=recursive, copy=copy, names=names, frames=frames)
        if account.total == 0:
            raise XtalgridError(f"{folder}: no image files here (JPEG, PNG, TIFF); --recursive includes subfolders")
        _print_account(config, account)


def run_with_progress(system: System, folder: Path, **options: Any) -> FolderRun:
    """Call `run_folder` with a progress bar if this is a terminal."""
    with tqdm(desc="scoring", unit=" wells", disable=None, leave=False) as bar:

        def show(done: int) -> None:
            bar.n = done
            bar.refresh()

        return run_folder(system, folder, on_progress=None if bar.disable else show, **options)


def _print_account(config: Config, account: FolderRun) -> None:
    if account.imported.fell_back:
        click.echo(
            f"no file name matches the pattern {config.import_.names!r}, so each file is its own well (--names any)"
        )
    click.echo(f"{account.accounted} of {account.total} images accounted for")
    for outcome, number in account.outcomes.items():
        click.echo(f"  {number:5d}  {outcome.style.letter}  {outcome} ({outcome.group})")
    crystals = sorted(account.scored, key=lambda score: -score.p_crystal)[:10]
    if crystals:
        click.echo("look at these first:")
    for score in crystals:
        click.echo(
            f"  {score.barcode} {score.well!s:>5}  {score.outcome!s:<27} {score.probability:6.1%}"
            f"  p_crystal {score.p_crystal:.3f}  {score.image_name}"
        )
    for (reason, detail), files in account.failures().items():
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        click.echo(f"  failed  {files[0]}{others}: {reason}: {detail}")
    for double in account.imported.doubles:
        click.echo(f"  skipped  {double.name}: another file has the same name without its suffix")
    click.echo(f"framed images: {config.frames_dir}")
    if account.finalized.csv:
        click.echo(f"decisions:     {config.outbox / 'done' / account.finalized.csv.name}")
    click.echo(f"to browse:     {_program()} --home {config.home} serve")
    click.echo(f"               and open http://{config.viewer.host}:{config.viewer.port}/")


def _program() -> str:
    """Return how this program was called, for a command that can be pasted."""
    path = Path(sys.argv[0])
    return str(path) if path.name == "xtalgrid" else f"{sys.executable} -m xtalgrid_server"


@main.command("import-folder")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@recursive_option
@copy_option
@names_option
@click.option(
    "--watch", is_flag=True, help="Keep watching FOLDER (default: imager.folder) and its subfolders, as a service."
)
@with_config
def import_command(
    config: Config, folder: Path | None, recursive: bool, copy: bool, names: str | None, watch: bool
) -> None:
    """Import a FOLDER's images into the embedded imager database."""
    with System(config) as system:
        if watch:
            for _ in system.watch_folder(folder, copy=copy, names=names):
                pass
        if folder is None:
            raise ConfigError("give the FOLDER that contains the images")
        imported = system.import_folder(folder, recursive=recursive, copy=copy, names=names)
        click.echo(f"{len(imported.entered)} images of {len(imported.barcodes)} plates imported")
        for path, why in imported.rejected.items():
            click.echo(f"failed  {path}: {why}")
        for path in imported.doubles:
            click.echo(f"skipped  {path}: another file has the same name without its suffix")


@main.command("check-imager")
@json_option
@with_config
def check_imager_command(config: Config, as_json: bool) -> None:
    """Check that the imager database has the configured tables, columns, sequence and image files."""
    at_once = msgspec.structs.replace(
        config, imager=msgspec.structs.replace(config.imager, retry_s=0.0)
    )  # a person is waiting
    with System(at_once) as system:
        findings = list(check_imager(config, system.imager))
    if as_json:
        print_json(findings)
    else:
        print_lines(f"{'ok     ' if finding.is_good else 'PROBLEM'}  {finding.text}" for finding in findings)
    if not all(finding.is_good for finding in findings):
        raise ConfigError(
            "the imager database does not match the configuration; see above and docs/imager-databases.md"
        )


@main.command("create_work")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of images to plan; default: work.limit.")
@click.option("--barcode", "barcodes", multiple=True, help="Only this plate, even if it was read before. Repeatable.")
@click.option("--retry", is_flag=True, help="Plan the images of failed units again.")
@click.option("--backfill", is_flag=True, help="Continue with the archive if no new images wait.")
@dry_run_option
@with_config
def create_work_command(
    config: Config, limit: int | None, barcodes: tuple[str, ...], retry: bool, backfill: bool, dry_run: bool
) -> None:
    """Find new images in the imager database and pack them into work units, newest first."""
    with System(config) as system:
        created = system.create_work(limit=limit, barcodes=barcodes, dry_run=dry_run, retry=retry, backfill=backfill)
    would = "would be " if dry_run else ""
    click.echo(f"{created.planned} images {would}planned in {created.units} units, {len(created.failed)} failed")


@main.command()
@click.option("--watch", is_flag=True, help="Keep waiting for units, as a service.")
@with_config
def grid(config: Config, watch: bool) -> None:
    """Run the local grid's workers until no units wait."""
    with System(config) as system:
        system.work(watch=watch)


@main.command("assimilate")
@with_config
def assimilate_command(config: Config) -> None:
    """Validate returned results and write them to the ledger."""
    with System(config) as system:
        system.assimilate()


@main.command("finalizer")
@click.option("--shadow", is_flag=True, help="Decide again on scores from shadow mode, under the current policy.")
@with_config
def finalizer_command(config: Config, shadow: bool) -> None:
    """Compare new scores with people's, hold those that need approval, and write a CSV to the outbox."""
    with System(config) as system:
        done = system.finalize(shadow=shadow)
    click.echo(str(done.csv) if done.csv else "no scores were waiting")


@main.command("set_autoscore")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--undo", metavar="RUN", help="Restore the scores from before this run, which is named like its CSV file."
)
@dry_run_option
@with_config
def set_autoscore_command(config: Config, files: tuple[Path, ...], undo: str | None, dry_run: bool) -> None:
    """Write the ARTscores in the finalizer's CSV FILES (default: the outbox) to the score table."""
    if undo is not None:
        if files:
            raise XtalgridError("--undo takes the name of a run, not files")
        with System(config) as system:
            back = system.undo(undo.removesuffix(".csv"), user(), dry_run=dry_run)
        would = "would be " if dry_run else ""
        click.echo(f"{back.removed} rows {would}removed, {back.restored} {would}restored")
        for line in back.left:
            click.echo(f"left  {line}")
        return
    with System(config) as system:
        done = system.publish(list(files) or None, dry_run=dry_run)
    would = "would be written" if dry_run else "done"
    click.echo(f"{done.files} files {would}: " + (", ".join(f"{n} {a}" for a, n in done.actions.items()) or "no rows"))
    for line in done.refused:
        click.echo(f"refused  {line}")


@main.command("export-scored")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--uv", multiple=True, help="Names of UV images, such as '*_UV_*', to export as mates of crystals. Repeatable."
)
@with_config
def export_scored_command(config: Config, out: Path, uv: tuple[str, ...]) -> None:
    """Write the wells that people scored to the CSV file OUT, for a training set by `xtalgrid-train sets dataset`."""
    with System(config) as system:
        done = export_scored(config, system.imager, out, uv)
    click.echo(f"{done.wells} scored wells in {out}, {done.pairs} with a UV image")
    if done.without_image:
        click.echo(
            f"left out  {done.without_image} scores of inspections without an image that matches imager.patterns"
        )
    if done.missing:
        click.echo(f"left out  {done.missing} images that are not under imager.image_root ({config.image_root})")
    for code, number in (done.codes or {}).items():
        click.echo(
            f"no outcome for score {code!r} ({number} wells): add it to imager.codes "
            "or use xtalgrid-train sets dataset --map"
        )


def _review(action: str, past: str) -> click.Command:
    @main.command(action, help=f"{action.capitalize()} held scores, by their score_id in the finalizer's CSV.")
    @click.argument("score_ids", nargs=-1, type=int)
    @click.option("--all", "everything", is_flag=True, help="All held scores.")
    @click.option("--barcode", help="All held scores of this plate.")
    @click.option("--as", "who", default=user, help="Who decides; default: the user running this.")
    @with_config
    def command(config: Config, score_ids: tuple[int, ...], everything: bool, barcode: str | None, who: str) -> None:
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
            if not selected:
                raise XtalgridError("give SCORE_IDS, --barcode or --all")
            system.ledger.decisions.add_reviews(sorted(selected), "approve" if action == "approve" else "reject", who)
            click.echo(f"{len(selected)} scores {past}; the next finalizer and set_autoscore act on this")

    return command


approve = _review("approve", "approved")
reject = _review("reject", "rejected")


@main.command()
@with_config
def pause(config: Config) -> None:
    """Pause planning, starting and publishing work; running units are finished."""
    with System(config) as system:
        system.ledger.set_switch(PAUSED, "yes", user())
    click.echo("paused; `xtalgrid resume` continues")


@main.command()
@with_config
def resume(config: Config) -> None:
    """Resume work after a pause."""
    with System(config) as system:
        system.ledger.set_switch(PAUSED, "no", user())
    click.echo("running")


@main.command()
@json_option
@with_config
def status(config: Config, as_json: bool) -> None:
    """Show the state of the pipeline and what needs a person."""
    with System(config) as system:
        state = pipeline_status(config, system.ledger)
    if as_json:
        print_json(state)
    else:
        print_lines(status_lines(state))


@main.command()
@click.option("--host", help="Address to listen on; default: viewer.host.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; default: viewer.port.")
@with_config
def serve(config: Config, host: str | None, port: int | None) -> None:
    """Show plates and wells in a browser."""
    import uvicorn

    from ..web.app import create_app

    host, port = host or config.viewer.host, port or config.viewer.port
    app = create_app(config)
    _check_port(host, port)
    click.echo(greeting(config, host, port))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        proxy_headers=False,  # the viewer itself decides who sends a request
        server_header=False,
    )


def _check_port(host: str, port: int) -> None:
    """Check that the address is free by binding it; uvicorn's own message would be an error number."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"viewer.host, viewer.port: cannot listen on {host}:{port} ({error.strerror}); "
            "if another viewer is running there, stop it or use another --port"
        ) from error


@main.command()
@click.option("--wells", type=click.IntRange(1, 96), default=24, show_default=True, help="Wells to render.")
@click.option("--serve", "then_serve", is_flag=True, help="Start the viewer at the end.")
@with_config
@click.pass_context
def demo(ctx: click.Context, config: Config, wells: int, then_serve: bool) -> None:
    """Render a plate, score it in every stage, and show the scores."""
    from .demo import render_demo_plate

    folder, truth = render_demo_plate(config, wells)
    with System(config) as system:
        account = run_with_progress(system, folder)
        _print_scores(account, truth)
        _print_account(config, account)
    if then_serve:
        ctx.invoke(serve)


def _print_scores(folder_run: FolderRun, truth: dict[str, str]) -> None:
    rows = [
        (
            score.well,
            (score.outcome and score.outcome.code) or "–",
            score.outcome,
            f"{score.probability:.3f}",
            f"{score.p_crystal:.3f}",
            truth.get(score.image_name, ""),
        )
        for score in folder_run.scored
    ]
    header = ("well", "ARTscore", "outcome", "probability", "p_crystal", "rendered as")
    print_table(header, rows, right="well probability p_crystal")


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path(configuration.FILE_NAME))
def init(file: Path) -> None:
    """Write a configuration FILE to start from (default: xtalgrid.toml in this folder)."""
    example = (Path(configuration.__file__).parent / "example.toml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(example)
    except FileExistsError as error:
        raise ConfigError(
            f"{file} already exists and was not changed; give another FILE, or remove it first"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}; give another folder") from error
    click.echo(f"{file} written; it explains every key")


@main.group(cls=CommandGroup)
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
    click.echo(f"in use for new work: {pair_text(*pair)}; `xtalgrid model rollback` undoes this")


@model.command("rollback")
@click.option("--why", default="", help="The reason, which is recorded.")
@click.option("--as", "who", default=user, help="Who decides; default: the user running this.")
@with_config
def model_rollback(config: Config, why: str, who: str) -> None:
    """Undo the newest promotion: new work is scored with the models used before it."""
    with System(config) as system:
        pair = system.rollback(why=why, who=who)
    click.echo(f"in use for new work: {pair_text(*pair)}")
