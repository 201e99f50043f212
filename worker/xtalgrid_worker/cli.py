"""The command ``xtalgrid-worker``."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import numpy
import PIL

from xtalgrid_core import weights, wire
from xtalgrid_core.chops import STEP, STRIDE, dense_step_error
from xtalgrid_core.command_group import CommandGroup, say, say_error
from xtalgrid_core.errors import BrokenModel, Busy, ConfigError, ImageError, ModelError, XtalgridError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.frames import SUFFIX as FRAME_SUFFIX
from xtalgrid_core.frames import frame, percent
from xtalgrid_core.images import SUFFIXES, read_image
from xtalgrid_core.lines import LineFormatter, json_lines
from xtalgrid_core.options import DEFAULTS, ZOOM, Rule, group_limits, second_look
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_scoring.failures import read_file
from xtalgrid_scoring.memory import keep_freed_memory
from xtalgrid_scoring.networks import RUNTIME, Networks
from xtalgrid_scoring.table import SECOND_OPINION_COLUMNS, row

from . import selfcheck as selfchecks
from .boinc import app as boinc_app
from .boinc import init_data
from .boinc.slot import use_stderr_file
from .checkpoint import checkpoint_of
from .limits import TIME_LIMIT, take_lowest_priority
from .run import run_unit, score_unit, version
from .stopping import Stopped, StopRequest
from .workunit import ImageFiles, image_files

RESULT = "result.json"
SCORES = "scores.csv"

_CSV_COLUMNS = ("image", "outcome", "score", "probability", "p_crystal", "drop_confidence", "seconds", "failure")

EXIT_NOTHING_SCORED = 1
EXIT_CHECK_FAILED = 1
EXIT_ERROR = 2
EXIT_DISK = 74
EXIT_BUSY = 75
EXIT_NO_WEIGHTS = 78

_LONGEST_NAME = 255
"""Bytes of a file's name on usual file systems."""

log = logging.getLogger(__name__)


class _Commands(CommandGroup):
    """A group of commands whose errors are one line on standard error and an exit code, never a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and Path(init_data.NAME).is_file():
            args = ["boinc"]  # BOINC clients start programs without arguments
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Stopped as stop:
            say(f"stopped: {stop}; run the same command again to resume", err=True)
            ctx.exit(stop.exit_code)
        except Busy as error:
            say_error(f"Error: {error}")
            ctx.exit(EXIT_BUSY)
        except XtalgridError as error:
            say_error(f"Error: {error}")
            lacks_weights = isinstance(error, ModelError) and ctx.invoked_subcommand == "run"
            ctx.exit(EXIT_NO_WEIGHTS if lacks_weights else EXIT_ERROR)
        except BrokenPipeError:
            raise  # the reader of our output has closed the pipe: click exits quietly
        except OSError as error:
            where = f"{click.format_filename(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
            say_error(f"Error: {where}{error.strerror or error}; fix this and run the same command again to resume")
            ctx.exit(EXIT_DISK if ctx.invoked_subcommand == "run" else EXIT_ERROR)


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be a finite number")
    return value


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        try:
            segmenter, classifier = weights.default_models()
            defaults = f"segmenter {segmenter[:12]}, classifier {classifier[:12]}"
            models = weights.read_manifest().models
        except XtalgridError:
            defaults, models = "no weights", ()
        say(f"xtalgrid-worker {version()} ({defaults})")
        python = f"python {platform.python_version()}"
        say(f"{python}, {RUNTIME}, numpy {numpy.__version__}, pillow {PIL.__version__}")
        for entry in models:
            say(f"{entry.role:<10}  {entry.variant}  {entry.sha256}")
        ctx.exit()


_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_weights = click.option(
    "--weights",
    "weights_folder",
    type=_folder,
    help="Folder with manifest.json and ONNX weights, searched before the packaged ones.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_threads = click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Cores to use.")
_time_limit = click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=TIME_LIMIT,
    show_default=True,
    callback=_finite,
    help="CPU seconds after which an image fails.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show versions."
)
def main() -> None:
    """Score images of protein crystallization wells."""
    keep_freed_memory()
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help=f"Folder for {RESULT}, {SCORES} and frames."
)
@click.option("--frames", is_flag=True, help=f"Also save each scored image with its frame: NAME{FRAME_SUFFIX}.")
@click.option(
    "--rule", type=click.Choice(get_args(Rule)), default=DEFAULTS.rule, show_default=True, help="Decision rule."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=DEFAULTS.threshold,
    show_default=True,
    callback=_finite,
    help="Rules published and group: minimum probability for a chop to count.",
)
@click.option("--exact", is_flag=True, help="Classify chops one by one, as published; many times slower.")
@click.option(
    "--step",
    type=click.IntRange(1, 256),
    help=f"Pixels from chop to chop: a multiple of {STRIDE} (default {DEFAULTS.step}); "
    f"any with --exact (default {STEP}).",
)
@click.option(
    "--boxes",
    type=click.IntRange(0, 100),
    default=DEFAULTS.n_boxes,
    show_default=True,
    help="Maximum number of best chops.",
)
@click.option(
    "--support",
    type=click.FloatRange(0, 1),
    default=DEFAULTS.support,
    show_default=True,
    callback=_finite,
    help="Rule group: fraction of the chops at a point that must agree on a crystal.",
)
@click.option(
    "--crystal-from",
    type=click.FloatRange(0, 1, min_open=True),
    default=DEFAULTS.crystal_from,
    show_default=True,
    callback=_finite,
    help="Rule pooled: minimum p_crystal to call crystals.",
)
@click.option(
    "--undecided",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    callback=_finite,
    help="Rule pooled: a well of a lower probability is undecided; 0: never.",
)
@click.option(
    "--zoom",
    type=click.FloatRange(1, 10),
    default=ZOOM,
    show_default=True,
    callback=_finite,
    help="Rule pooled: without a known pixel size, score again as if magnified so many times; 1: score once.",
)
@click.option(
    "--pixel-size",
    type=click.FloatRange(0.05, 50),
    callback=_finite,
    help="Micrometres per pixel (default: guessed from the image's size).",
)
@click.option(
    "--variant",
    type=click.Choice(["fp32", "int8"]),
    help="Variant of the default weights (default: the default weights themselves).",
)
@click.option(
    "--second-opinion",
    type=click.Path(exists=True, path_type=Path),
    help="Folder that `xtalgrid-train import marco` made, or an ONNX file in it, for a second opinion.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each image's score as a line of JSON, and nothing else.")
@_weights
@_threads
@_time_limit
def score(
    images: tuple[Path, ...],
    out: Path,
    frames: bool,
    rule: Any,
    threshold: float,
    exact: bool,
    step: int | None,
    boxes: int,
    support: float,
    crystal_from: float,
    undecided: float,
    zoom: float,
    pixel_size: float | None,
    variant: weights.Variant | None,
    second_opinion: Path | None,
    as_json: bool,
    weights_folder: Path | None,
    threads: int,
    time_limit: float,
) -> None:
    """Score image files, or the images in folders.

    Exit code: 0 if at least one image was scored, 1 if none could be, 2 if the run failed, 75 if another worker is
    writing to the same folder. If it is stopped or killed, run the same command again to resume.
    """
    paths = _chosen(images)
    if step is None:
        step = STEP if exact else DEFAULTS.step
    if not exact and step % STRIDE:
        raise click.BadParameter(dense_step_error(step), param_hint="--step")
    options = weights.default_options(
        weights_folder or weights.PACKAGED,
        variant,
        rule=rule,
        threshold=threshold,
        mode="exact" if exact else "dense",
        step=step,
        n_boxes=boxes,
        support=support,
        crystal_from=crystal_from,
        undecided=group_limits(undecided),
        zoom=second_look(zoom),
    )
    folders = [weights_folder] if weights_folder else []
    has_second = second_opinion is not None
    if second_opinion:
        entry, folder = weights.second_opinion_at(second_opinion)
        options, folders = weights.with_second_opinion(options, entry, folders), [*folders, folder]
    with StopRequest() as pause:
        networks = Networks.load(options, folders, threads)
        out.mkdir(parents=True, exist_ok=True)
        source = ImageFiles(paths, options, pixel_size, pause)
        frame_files = frame_names(paths, out)
        width = min(max(len(path.name) for path in paths), 80)
        with click.progressbar(
            length=len(paths), show_pos=True, file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:

            def report(entry: wire.ImageEntry, answer: wire.Answer, is_new: bool) -> None:
                frame_file = out / frame_files[entry.number]
                if frames and isinstance(answer, wire.Scored) and (is_new or not frame_file.exists()):
                    _draw_frame(source, entry, answer, frame_file)
                with _progress_hidden():
                    path = source.path(entry)
                    if as_json:
                        click.echo(json_lines(json_line(path, answer, has_second)))
                    else:
                        say(line(path, answer, width))
                bar.update(1)

            result = score_unit(
                source, out / RESULT, checkpoint_of(out / RESULT), networks, pause, report, time_limit=time_limit
            )
    write_atomically(out / SCORES, table(paths, result, has_second))
    counts = Counter(outcome(answer) for answer in result.images)
    summary = ", ".join(f"{counts[name]} {name}" for name in Outcome if counts[name])
    say(f"{len(paths)} images: {summary}", err=as_json)
    if counts[Outcome.FAILED] == len(paths):
        click.get_current_context().exit(EXIT_NOTHING_SCORED)


def _chosen(images: tuple[Path, ...]) -> list[Path]:
    """Return the files that `score` is to score, and say what else is in the folders."""
    paths, others = image_files(images, SUFFIXES, FRAME_SUFFIX, (RESULT, SCORES, checkpoint_of(Path(RESULT)).name))
    passed_over = f"passed over: {', '.join(f'{number} {kind}' for kind, number in others.most_common())}"
    if not paths:
        more = f"; {passed_over}" if others else ""
        raise ConfigError(f"no images found; a folder is searched for {', '.join(SUFFIXES)}{more}")
    if len(paths) > wire.MAX_IMAGES:
        raise ConfigError(f"{len(paths)} images; a run takes at most {wire.MAX_IMAGES}: divide them among several runs")
    if others:
        say(passed_over, err=True)
    return paths


@main.command()
@click.argument("workunit", type=click.Path(path_type=Path))
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--weights",
    "weights_folder",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path),
    help="Folder with manifest.json and ONNX weights, searched before the packaged ones.",
)
@_threads
@_time_limit
@click.option("--parent", type=click.IntRange(1), help="Stop when the process with this id exits.")
@click.option("--keep-priority", is_flag=True, help="Don't lower the priority.")
def run(
    workunit: Path,
    result: Path,
    weights_folder: Path | None,
    threads: int,
    time_limit: float,
    parent: int | None,
    keep_priority: bool,
) -> None:
    """Score a WORKUNIT.zip and write RESULT.json.

    Exit code: 0 if the result was written, 2 if this worker cannot score the unit, 74 if a file cannot be read or
    written (because the disk is full, for example; try again), 75 if another worker is working on this unit, 78 if the
    unit's weights are not here, or not whole. If it is stopped or killed, run the same command again to resume from
    RESULT.json.checkpoint.
    """
    if weights_folder is not None and not weights_folder.is_dir():
        raise BrokenModel(f"{weights_folder}: no folder of weights is there now")
    if not keep_priority:
        take_lowest_priority()
    with StopRequest(parent) as pause:
        run_unit(
            workunit,
            result,
            checkpoint_of(result),
            pause,
            folders=[weights_folder] if weights_folder else [],
            threads=threads,
            time_limit=time_limit,
        )


@main.command()
@_threads
@_time_limit
def boinc(threads: int, time_limit: float) -> None:
    """Run the BOINC job in this folder: unit.zip and, if present, weights.json and the weights it lists.

    BOINC clients start this command, also without its name; exit codes are BOINC's. Without a client it does the same
    as run unit.zip result.json.
    """
    slot = Path()
    init = init_data.read(slot)
    if init is None:
        take_lowest_priority()
        with StopRequest() as pause:
            boinc_app.score(slot, pause, threads=threads, time_limit=time_limit)
        return
    use_stderr_file(slot)
    boinc_app.exit_now(boinc_app.run(slot, init, threads, time_limit))


@main.command()
@_weights
@_json
def models(weights_folder: Path | None, as_json: bool) -> None:
    """List the available weights; * marks the defaults."""
    folders = [folder for folder in (weights_folder, weights.PACKAGED) if folder]
    listed = [entry for folder in folders for entry in _entries(folder)]
    if as_json:
        _print_json(listed)
        return
    for folder in folders:
        say(f"{folder}:")
        for one in listed:
            if one.folder == str(folder):
                mark = "*" if one.is_default else " "
                say(f"{mark} {one.role:<10} {one.sha256[:12]}  {one.variant}  {one.architecture}  {one.file}")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A file of weights as `models` lists it."""

    folder: str
    role: weights.Role
    sha256: str
    variant: weights.Variant
    architecture: str
    file: str
    is_default: bool


def _entries(folder: Path) -> Iterator[Listed]:
    manifest = weights.read_manifest(folder)
    for entry in manifest.models:
        yield Listed(
            folder=str(folder),
            role=entry.role,
            sha256=entry.sha256,
            variant=entry.variant,
            architecture=entry.architecture,
            file=entry.file,
            is_default=entry.sha256 == manifest.default.get(entry.role),
        )


def _print_json(value: Any) -> None:
    click.echo(json_lines(msgspec.json.format(msgspec.json.encode(value), indent=2)))


@main.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for crystal.png and the others.")
@click.option("--segmenter", help="SHA-256 of the segmenter (default: the default weights).")
@click.option("--classifier", help="SHA-256 of the classifier (default: the default weights).")
@click.option("--pixel-size", type=click.FloatRange(0.05, 50), callback=_finite, help="Micrometres per pixel.")
@_weights
@_threads
def classmap(
    image: Path,
    out: Path,
    segmenter: str | None,
    classifier: str | None,
    pixel_size: float | None,
    weights_folder: Path | None,
    threads: int,
) -> None:
    """Draw class maps of an IMAGE: for each group a transparent picture to lay over it."""
    from xtalgrid_scoring.classmap import draw_maps

    models = {role: name for role, name in (("segmenter", segmenter), ("classifier", classifier)) if name}
    options = msgspec.structs.replace(
        weights.default_options(weights_folder or weights.PACKAGED), rule="group", **models
    )  # there is no decision, so the weights need no pooling
    networks = Networks.load(options, [weights_folder] if weights_folder else [], threads)
    try:
        maps = draw_maps(read_file(image), networks, pixel_size)
    except ImageError as error:
        raise ConfigError(f"{image}: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    for group, picture in maps.items():
        write_atomically(out / f"{group}.png", picture)
        say(str(out / f"{group}.png"))


@main.command()
@_threads
@_json
def selfcheck(threads: int, as_json: bool) -> None:
    """Score a built-in well with the packaged weights, and compare with the expected score.

    Exit code: 0 if this worker scores correctly, 1 if it does not, 2 if it cannot score at all.
    """
    checks = []
    for check in selfchecks.check(threads):
        if not as_json:
            say(f"{'ok    ' if check.passed else 'FAILED'}  {check.text}")
        checks.append(check)
    if as_json:
        _print_json(checks)
    if not all(check.passed for check in checks):
        say("selfcheck failed: this worker must not be used on this computer", err=as_json)
        click.get_current_context().exit(EXIT_CHECK_FAILED)
    say("selfcheck passed", err=as_json)


def outcome(answer: wire.Answer) -> Outcome:
    """Return the outcome of an image, including `FAILED`."""
    return answer.outcome if isinstance(answer, wire.Scored) else Outcome.FAILED


def line(path: Path, answer: wire.Answer, width: int) -> str:
    """Format the answer for one image for the terminal, its name in a column of this width."""
    name = click.format_filename(path, shorten=True).ljust(width)
    if isinstance(answer, wire.Failed):
        return f"{name}  failed: {answer.reason}: {answer.detail}"
    return f"{name}  {answer.outcome:<24}  {percent(answer.probability):>6}   crystal {percent(answer.p_crystal):>6}"


def json_line(path: Path, answer: wire.Answer, has_second_opinion: bool = False) -> bytes:
    """Format the answer for one image as JSON, with the keys of `xtalgrid_scoring.table`."""
    return msgspec.json.encode(row(click.format_filename(path), answer, has_second_opinion))


def table(paths: list[Path], result: wire.Result, has_second_opinion: bool = False) -> bytes:
    """Format the scores as CSV, one row for each image."""
    columns = (*_CSV_COLUMNS, *(SECOND_OPINION_COLUMNS if has_second_opinion else ()))
    lines = [csv_line(columns)]
    for path, answer in zip(paths, result.images, strict=True):
        values = row(click.format_filename(path), answer, has_second_opinion)
        cells = (values[name] for name in columns)
        lines.append(csv_line([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells]))
    return b"".join(lines)


def frame_names(paths: list[Path], folder: Path) -> list[str]:
    """Choose a file name for each framed image: unique on any file system, and not that of a scored image."""
    taken = {path.name.casefold() for path in paths if path.parent.resolve() == folder.resolve()}
    names = []
    for path in paths:
        name, number = _frame_name(path.stem), 2
        while name.casefold() in taken:
            name, number = _frame_name(path.stem, f"_{number}"), number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _frame_name(stem: str, number: str = "") -> str:
    """Return the name of a framed image, with only as much of the image's own name as there is room for."""
    while len(os.fsencode(name := f"{stem}{number}{FRAME_SUFFIX}")) > _LONGEST_NAME:
        stem = stem[:-1]
    return name


def _draw_frame(source: ImageFiles, entry: wire.ImageEntry, answer: wire.Scored, path: Path) -> None:
    picture = io.BytesIO()
    try:
        frame(read_image(source.read(entry)), answer).save(picture, "JPEG", quality=90)
    except ImageError as error:  # the file was changed or removed after it was scored
        log.warning("%s: no frame: %s", path.name, error)
        return
    write_atomically(path, picture.getvalue())


@contextlib.contextmanager
def _progress_hidden() -> Iterator[None]:
    """Hide the progress bar, which only a terminal has, while a line is printed."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    yield


if __name__ == "__main__":
    main()
