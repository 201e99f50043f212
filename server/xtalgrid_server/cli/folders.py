"""Commands for folders of images: `run`, `import-folder`, `demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.frames import percent
from xtalgrid_core.images import FORMATS
from xtalgrid_core.lines import first_lines
from xtalgrid_core.terminal import print_table

from ..config import Config
from ..domain.light import dark_line
from ..imager.folder.entering import Imported
from ..steps.account import Account, account, account_lines
from ..steps.run import FolderRun, run_folder
from ..steps.system import System
from .operations import serve
from .options import copy_option, names_option, recursive_option, with_config
from .parameters import GivenPath
from .printing import json_option, print_json

EXIT_FAILED = 1
"""Images failed, or none could be imported."""

_NOTES_SHOWN = 20


@click.command()
@click.argument("folder", type=GivenPath(path_type=Path), required=False)
@recursive_option
@copy_option
@names_option
@click.option(
    "--frames", type=click.Choice(["none", "crystals", "all"]), default="all", help="Which framed images to draw."
)
@json_option
@with_config
def run(
    config: Config, folder: Path | None, recursive: bool, copy: bool, names: str | None, frames: str, as_json: bool
) -> None:
    """Take a FOLDER of well images through every stage, and account for each image.

    Without FOLDER: the images of ISPyB (imager.ispyb) or of the watched folder (imager.folder).

    The exit code is 1 if any of them failed.
    """
    with System(config) as system:
        done = run_with_progress(system, folder, recursive=recursive, copy=copy, names=names, frames=frames)
    if done.total == 0:
        raise XtalgridError(_no_images(folder, done.account))
    if as_json:
        print_json(done.account)
    else:
        _print_account(config, done)
    if done.account.failed:
        sys.exit(EXIT_FAILED)


def _no_images(folder: Path | None, account: Account) -> str:
    if folder is None:
        return "there are no images yet"
    others = ", ".join(f"{number} {kind}" for kind, number in account.passed_over.items())
    passed_over = f"; passed over {others}" if others else ""
    return f"{folder}: no image files here ({', '.join(FORMATS)}){passed_over}; --recursive includes subfolders"


def run_with_progress(system: System, folder: Path | None, **options: Any) -> FolderRun:
    """Call `run_folder` with a progress bar if this is a terminal."""
    with tqdm(desc="scoring", unit=" wells", disable=None, leave=False) as bar:

        def show(done: int) -> None:
            bar.n = done
            bar.refresh()

        return run_folder(system, folder, on_progress=None if bar.disable else show, **options)


def _print_account(config: Config, done: FolderRun) -> None:
    if done.imported.fell_back:
        say(f"no file name matches the pattern {config.import_.names!r}, so each file is its own well (--names any)")
    account = done.account
    accounted = account.there - done.imported.passed_over.total()
    say(f"{accounted} of {done.total} images accounted for")
    for line in account_lines(account):
        say(line)
    for outcome, number in done.outcomes.items():
        say(f"  {number:5d}  {outcome.style.letter}  {outcome} ({outcome.group})")
    crystals = sorted(done.scored, key=lambda score: -score.p_crystal)[:10]
    if crystals:
        say("look at these first:")
    for score in crystals:
        say(
            f"  {score.barcode} {score.well!s:>5}  {score.outcome!s:<27} {percent(score.probability):>6}"
            f"  p_crystal {percent(score.p_crystal)}  {score.image_name}"
        )
    for (reason, detail), files in done.failures().items():
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        say(f"  failed  {files[0]}{others}: {reason}: {detail}")
    lines = [dark_line(done.looking_like_uv)] if done.looking_like_uv else []
    for line in lines + done.imported.lights.lines():
        say(f"  {line}")
    for double in done.imported.doubles:
        say(f"  skipped  {double.name}: another file has the same name without its suffix")
    _print_notes(done.imported)
    say(f"framed images: {config.frames_dir}")
    if done.finalized.csv:
        say(f"decisions:     {config.outbox / 'done' / done.finalized.csv.name}")
    say(f"to browse:     {_program()} --home {config.home} serve")
    say("               and open the address that it prints, or let it: serve --open")


def _print_notes(imported: Imported) -> None:
    for line in first_lines(imported.notes, _NOTES_SHOWN, start="note: "):
        say(line)


def _program() -> str:
    """Return how this program was called, for a command that can be pasted."""
    path = Path(sys.argv[0])
    return str(path) if path.name == "xtalgrid" else f"{sys.executable} -m xtalgrid_server"


@click.command("import-folder")
@click.argument("folder", type=GivenPath(path_type=Path), required=False)
@recursive_option
@copy_option
@names_option
@click.option(
    "--watch", is_flag=True, help="Keep watching FOLDER (default: imager.folder) and its subfolders, as a service."
)
@json_option
@with_config
def import_command(
    config: Config, folder: Path | None, recursive: bool, copy: bool, names: str | None, watch: bool, as_json: bool
) -> None:
    """Import a FOLDER's images into the embedded imager database.

    The exit code is 1 if none of the files could be imported.
    """
    with System(config) as system:
        if watch:
            for _ in system.watch_folder(folder, copy=copy, names=names):
                pass
        if folder is None:
            raise ConfigError("give the FOLDER that contains the images")
        imported = system.import_folder(folder, recursive=recursive, copy=copy, names=names)
        counted = account(config, system.ledger, system.imager, imported)
    if as_json:
        print_json(counted)
    else:
        _print_imported(imported, counted)
    if counted.there and not imported.entered:
        sys.exit(EXIT_FAILED)


def _print_imported(imported: Imported, counted: Account) -> None:
    say(f"{len(imported.entered)} images of {len(imported.barcodes)} plates imported")
    for line in imported.lights.lines():
        say(line)
    reasons: dict[str, list[Path]] = {}
    for path, why in imported.rejected.items():
        reasons.setdefault(why, []).append(path)
    for why, paths in reasons.items():
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        say(f"failed  {paths[0]}{others}: {why}")
    for path in imported.doubles:
        say(f"skipped  {path}: another file has the same name without its suffix")
    _print_notes(imported)
    for line in account_lines(counted):
        say(line)


@click.command()
@click.option("--wells", type=click.IntRange(1, 96), default=24, show_default=True, help="Wells to render.")
@click.option("--serve", "then_serve", is_flag=True, help="Start the viewer at the end.")
@with_config
@click.pass_context
def demo(ctx: click.Context, config: Config, wells: int, then_serve: bool) -> None:
    """Render a plate, score it in every stage, and show the scores."""
    from .demo import render_demo_plate

    folder, truth = render_demo_plate(config, wells)
    with System(config) as system:
        done = run_with_progress(system, folder)
        _print_scores(done, truth)
        _print_account(config, done)
    if then_serve:
        ctx.invoke(serve)


def _print_scores(folder_run: FolderRun, truth: dict[str, str]) -> None:
    rows = [
        (
            score.well,
            (score.outcome and score.outcome.code) or "–",
            score.outcome,
            percent(score.probability),
            percent(score.p_crystal),
            truth.get(score.image_name, ""),
        )
        for score in folder_run.scored
    ]
    header = ("well", "ARTscore", "outcome", "probability", "p_crystal", "rendered as")
    print_table(header, rows, right="well probability p_crystal")
