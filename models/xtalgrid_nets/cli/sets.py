"""``xtalgrid-train sets``: make training sets and test plates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError, not_installed
from xtalgrid_core.lines import first_lines
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.terminal import print_table

from .options import finite
from .recordio import recordio

if TYPE_CHECKING:
    from ..sets.build import Summary

_FOLDER = click.Path(path_type=Path, file_okay=False)
_LISTED = 20


def _one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Report a user's errors in one line, never as a traceback."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except XtalgridError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            raise click.ClickException(not_installed(error.name, "train")) from error
        except BrokenProcessPool as error:
            raise click.ClickException(
                "a process was killed, perhaps because memory ran out; "
                "run the same command again with fewer --jobs to resume"
            ) from error
        except OSError as error:
            raise click.ClickException(f"{error}; fix this, then run the same command again to resume") from error

    return call


_map_option = click.option(
    "--map",
    "also",
    multiple=True,
    metavar="TEXT=OUTCOME",
    help="Meaning of a label or score code; TEXT= leaves such wells out. Repeatable.",
)
_plate_option = click.option(
    "--plate-from",
    default="",
    metavar="REGEX",
    help="Regular expression whose first group is the plate in a file name.",
)


def _cutting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option(
                "--contour",
                default=1.0,
                show_default=True,
                type=click.FloatRange(0),
                callback=finite,
                help="Minimum length of contours in a chop, in units of a chop's side.",
            ),
            click.option(
                "--rim",
                default=0.5,
                show_default=True,
                type=click.FloatRange(0),
                callback=finite,
                help="The same for a chop at the edge of a clear drop to be rim.",
            ),
            click.option(
                "--edge-counts", is_flag=True, help="Contours of the drop's edge count for every class, as published."
            ),
            click.option(
                "--most",
                default=0,
                show_default=True,
                type=click.IntRange(0),
                help="Maximum number of chops per well; 0: all.",
            ),
            click.option("--whole", is_flag=True, help="Make one picture of each whole well instead of chops."),
            click.option(
                "--weights", type=_FOLDER, help="Folder of weights with the segmenter (default: the package's)."
            ),
            click.option(
                "--jobs", default=1, show_default=True, type=click.IntRange(1, 512), help="Number of processes."
            ),
        )
    ):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def sets() -> None:
    """Make training sets, and plates to judge networks on."""


sets.add_command(recordio)


@sets.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--wells",
    default=3000,
    show_default=True,
    type=click.IntRange(0),
    help="Number of full-size wells, for chops and views.",
)
@click.option(
    "--views", default=6000, show_default=True, type=click.IntRange(0), help="Number of small wells, for views only."
)
@click.option(
    "--seed", default=1_000_000, show_default=True, type=click.IntRange(0), help="The same seed renders the same wells."
)
@click.option(
    "--only",
    multiple=True,
    metavar="OUTCOME",
    type=click.Choice([outcome.value for outcome in Outcome if outcome is not Outcome.RIM]),
    help="Render wells of this outcome only, such as 'phase separation'. Repeatable.",
)
@click.option("--in-precipitate", is_flag=True, help="Put precipitate around the crystals of all full-size wells.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 512), help="Number of processes.")
@_one_line_errors
def render(
    folder: Path, wells: int, views: int, seed: int, only: tuple[str, ...], in_precipitate: bool, jobs: int
) -> None:
    """Render a training set into FOLDER."""
    from ..data import render_dataset

    outcomes = tuple(Outcome(name) for name in only)
    render_dataset(folder, wells=wells, views=views, seed=seed, jobs=jobs, only=outcomes, in_precipitate=in_precipitate)


@sets.command("render-test")
@click.argument("folder", type=_FOLDER)
@click.option(
    "--validation",
    is_flag=True,
    help="Render the plates for choosing rules and calibrating instead of those for judging.",
)
@click.option("--plates", type=click.IntRange(1), help="Number of plates, from the first (default: all).")
@click.option("--wells", type=click.IntRange(1, 288), default=150, show_default=True, help="Drops per plate.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Number of processes.")
@_one_line_errors
def render_test(folder: Path, validation: bool, plates: int | None, wells: int, jobs: int) -> None:
    """Render the test plates into FOLDER: for each barcode a folder with its truth.csv.

    Existing images are kept, so a run that was killed can be repeated to continue.
    """
    from xtalgrid_synth.evaluation_plates import TEST_PLATES, VALIDATION_PLATES, render_evaluation_plates

    settings = VALIDATION_PLATES if validation else TEST_PLATES
    if plates is not None and plates > len(settings):
        raise click.BadParameter(f"there are only {len(settings)} plates", param_hint="--plates")
    files = render_evaluation_plates(folder, range(plates or len(settings)), wells, jobs, settings)
    say(f"{len(files)} images of {plates or len(settings)} plates in {folder}")


@sets.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=_FOLDER)
@click.option("--images", type=_FOLDER, help="Base folder of a table's relative paths (default: the table's folder).")
@click.option("--image-column", default="image", show_default=True, help="Column with the image files.")
@click.option("--label-column", default="", help="Column with the labels (default: outcome, else label, else score).")
@click.option(
    "--plate-column",
    default="plate",
    show_default=True,
    help="Column with the plates, which are never split between training and validation.",
)
@click.option("--uv-column", default="uv_image", show_default=True, help="Column with the UV images.")
@click.option("--source-column", default="source", show_default=True, help="Column with the origin of the images.")
@_plate_option
@_map_option
@click.option("--groups", is_flag=True, help="Take precipitate, other and clear as groups, not classes.")
@click.option(
    "--pixel-size",
    type=click.FloatRange(0.05, 50),
    callback=finite,
    help="Micrometres per pixel (default: that of known imagers, by image size, else a guess).",
)
@click.option(
    "--masks", type=_FOLDER, help="Folder of hand-drawn masks, named like the images, used instead of the segmenter's."
)
@click.option(
    "--uv",
    type=click.Choice(["required", "confirm", "ignore"]),
    default="confirm",
    show_default=True,
    help="required: leave out crystals without a UV mate, as published; confirm: keep them; ignore: use no mates.",
)
@click.option(
    "--frozen",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Wells that no model is fitted to, as for `adapt`: their images are left out. Repeatable.",
)
@_cutting_options
@_one_line_errors
def dataset(source: Path, out: Path, jobs: int, **options: Any) -> None:
    """Make a chop set from scored wells.

    SOURCE is a CSV table (from `xtalgrid export-scored`, or a lab's own), or a folder whose sub-folders are named
    after outcomes. After an interruption, run the same command again to continue.
    """
    from ..sets.arrays import sha256_of
    from ..sets.labels import Labels
    from ..sets.sources import Columns, from_class_folders, from_table

    labels = Labels(options["also"], groups=options["groups"])
    columns = Columns(
        options["image_column"],
        options["label_column"],
        options["plate_column"],
        options["uv_column"],
        options["source_column"],
    )

    def wells() -> Any:
        if source.is_dir():
            return from_class_folders(
                source, labels, plate_from=options["plate_from"], pixel_size_um=options["pixel_size"]
            )
        return from_table(
            source,
            labels,
            columns=columns,
            images=options["images"],
            plate_from=options["plate_from"],
            pixel_size_um=options["pixel_size"],
        )

    # An edited table counts as another one, because wells that were already processed may have new scores.
    digest = sha256_of(source) if source.is_file() else ""
    if not options["frozen"]:
        options.pop("frozen")  # as in the records of sets before there was this option
    _build(out, "dataset", {"source": source, "source_sha256": digest, **options}, wells, options, jobs)


@sets.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=_FOLDER)
@click.option("--unpack", is_flag=True, help="Only write the wells as image files, with a labels.csv.")
@_plate_option
@_map_option
@_cutting_options
@_one_line_errors
def marco(shards: tuple[Path, ...], out: Path, jobs: int, unpack: bool, **options: Any) -> None:
    """Make a chop set from MARCO's TFRecord SHARDS, or unpack them. TensorFlow is not needed.

    MARCO's labels are groups, not classes, and are marked as such. The shards don't name plates, so images are split
    singly.
    """
    from ..sets.labels import Labels
    from ..sets.sources import from_marco

    labels = Labels(options["also"], groups=True)
    if unpack:
        from ..sets.marco import unpack as unpack_shards

        with _bar(None) as advance:
            written, failed = unpack_shards(shards, out, labels, advance)
        say(f"{written} wells in {out}")
        _report_failures(failed)
        return
    options |= {"uv": "ignore", "masks": None}
    _build(
        out,
        "marco",
        {"shards": shards, **options},
        lambda: from_marco(shards, labels, plate_from=options["plate_from"]),
        options,
        jobs,
    )


@sets.command()
@click.argument("images", type=_FOLDER)
@click.argument("masks", type=_FOLDER)
@click.argument("out", type=_FOLDER)
@_plate_option
@click.option("--inverted", is_flag=True, help="The drop is the dark part of the masks.")
@_one_line_errors
def masks(images: Path, masks: Path, out: Path, plate_from: str, inverted: bool) -> None:
    """Make a segmenter set from wells in IMAGES and hand-drawn masks (PNG, as GIMP saves them) in MASKS.

    A mask has the same name as its image.
    """
    from ..sets.drawn import build_from_masks

    _report(build_from_masks(images, masks, out, plates=plate_from, inverted=inverted))


@sets.command()
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=_FOLDER)
@click.option("--images", type=_FOLDER, help="Base folder of the table's paths (default: the table's folder).")
@click.option(
    "--pixel-size",
    type=click.FloatRange(0.05, 50),
    callback=finite,
    help="Micrometres per pixel where the table has none (default: a guess).",
)
@_map_option
@_one_line_errors
def boxes(table: Path, out: Path, images: Path | None, pixel_size: float | None, also: tuple[str, ...]) -> None:
    """Make a set of chops from boxes, and of views from drops' outlines, that people drew.

    TABLE is from `xtalgrid export annotations`. After an interruption, run the same command again to continue.
    """
    from ..sets.boxes import build_from_marks
    from ..sets.labels import Labels

    _report(build_from_marks(table, out, Labels(also), images=images, pixel_size_um=pixel_size))


@sets.command()
@click.argument("listing", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=_FOLDER)
@click.option("--images", type=_FOLDER, help="Base folder of the list's paths (default: the list's folder).")
@click.option(
    "--patches",
    default=6,
    show_default=True,
    type=click.IntRange(1),
    help="Number of patches for each line of the list.",
)
@click.option("--weights", type=_FOLDER, help="Folder of weights with the segmenter (default: the package's).")
@_one_line_errors
def uniform(listing: Path, out: Path, images: Path | None, patches: int, weights: Path | None) -> None:
    """Make a set of context patches of wells whose drop looks the same everywhere.

    LISTING is a CSV table with the columns image, outcome, pixel_size_um and stretch (factor to widen the picture by;
    1 or empty for none). After an interruption, run the same command again to continue.
    """
    from xtalgrid_core.weights import PACKAGED

    from ..sets.crops import Segmenter
    from ..sets.uniform import build as build_uniform

    segmenter = Segmenter(weights or PACKAGED)
    root = images or listing.parent
    _report_failures(build_uniform(listing, root, out, segmenter.mask, patches=patches, segmenter=segmenter.sha256))


@sets.command()
@click.argument("listing", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=_FOLDER)
@click.option("--images", type=_FOLDER, help="Base folder of the list's paths (default: the list's folder).")
@click.option(
    "--parts",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="Number of random parts of each picture, beside the whole.",
)
@click.option("--weights", type=_FOLDER, help="Folder of weights with the segmenter (default: the package's).")
@_one_line_errors
def views(listing: Path, out: Path, images: Path | None, parts: int, weights: Path | None) -> None:
    """Make a segmenter set of whole pictures, with the masks that the weights find.

    A smaller segmenter learns from it what the larger one sees. LISTING is a CSV table with the column image; of one
    with a column split, only the lines with train count. After an interruption, run the same command again to continue.
    """
    from xtalgrid_core.weights import PACKAGED

    from ..sets.crops import Segmenter
    from ..sets.views import build as build_views

    _report(build_views(listing, images or listing.parent, out, Segmenter(weights or PACKAGED), parts=parts))


@sets.command()
@click.argument("folder", type=_FOLDER)
@click.option("--marco", type=_FOLDER, required=True, help="Folder that `xtalgrid-train import marco` made.")
@click.option("--weights", type=_FOLDER, help="Weights whose mistakes count (default: the package's own).")
@_one_line_errors
def teach(folder: Path, marco: Path, weights: Path | None) -> None:
    """Write beside the patches of the set in FOLDER what a recipe's hint and hard need.

    That is what MARCO's network sees in each, and how far the weights are wrong about it.
    """
    from xtalgrid_core.weights import PACKAGED

    from ..sets.teach import teach as write

    if not write(folder, marco, weights or PACKAGED):
        say(
            f"{folder}: was taught by other networks, and stays so; to teach it anew, remove its patch_hints.npy",
            err=True,
        )


@sets.command("chop-rules")
@click.option(
    "--wells",
    default=66,
    show_default=True,
    type=click.IntRange(1),
    help="Number of wells to render, with all outcomes in turn.",
)
@click.option(
    "--seed", default=7_000_000, show_default=True, type=click.IntRange(0), help="The same seed renders the same wells."
)
@click.option(
    "--contour",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    callback=finite,
    help="Minimum length of contours in a chop, in units of a chop's side.",
)
@_one_line_errors
def chop_rules(wells: int, seed: int, contour: float) -> None:
    """Measure how often `sets dataset` labels chops correctly, on rendered wells with known content."""
    from ..sets.judge_rules import judge_rules

    with _bar(wells) as advance:
        tallies = judge_rules(wells, seed, contour, advance)
    click.echo("| rule | group | right | wrong | missed | right, % |\n|---|---|---|---|---|---|")
    for rule, groups in tallies.items():
        for group, tally in sorted(groups.items()):
            share = 100 * tally.right / max(tally.right + tally.wrong, 1)
            say(f"| {rule} | {group} | {tally.right} | {tally.wrong} | {tally.missed} | {share:.0f} |")


def _build(
    out: Path,
    builder: str,
    arguments: Mapping[str, Any],
    wells: Callable[[], Any],
    options: Mapping[str, Any],
    jobs: int,
) -> None:
    import dataclasses

    from xtalgrid_core.weights import default_models

    from ..judge.truth import known_images
    from ..sets.build import Settings, build
    from ..sets.drawn import drawn_masks
    from ..sets.format import SetError
    from ..sets.published import Rules
    from ..sets.sources import LabelledWell, without

    rules = Rules(options["contour"], options["rim"], options["uv"], options["edge_counts"], options["most"])
    settings = Settings(
        rules, whole=options["whole"], **({"weights": options["weights"]} if options["weights"] else {})
    )
    arguments = {**arguments, "segmenter": default_models(settings.weights)[0]}
    drawn = drawn_masks(options["masks"]) if options["masks"] else {}
    owners: dict[str, str] = {}

    def with_masks() -> Any:
        for entry in wells():
            stem = Path(entry.image).stem
            if isinstance(entry, LabelledWell) and stem in drawn:
                if owners.setdefault(stem, entry.image) != entry.image:
                    raise SetError(
                        f"{drawn[stem]}: is it the mask of {owners[stem]} or of {entry.image}? "
                        "Make a set of each folder, or give the images different names"
                    )
                entry = dataclasses.replace(entry, mask=drawn[stem])
            yield entry

    frozen = known_images(options.get("frozen", ()))
    # counting shards would mean reading them twice
    total = sum(1 for _ in with_masks()) if builder == "dataset" else None
    with _bar(total) as advance:
        entries = without(frozen, with_masks()) if frozen else with_masks()
        summary = build(out, builder, arguments, entries, settings, jobs=jobs, on_well=advance)
    _report(summary)


@contextmanager
def _bar(total: int | None) -> Any:
    from tqdm import tqdm

    with tqdm(total=total, desc="wells", unit="", disable=None) as bar:
        yield bar.update


def _report(summary: Summary) -> None:
    counts = dict(summary.counts)
    tables = {name: counts.pop(name) for name in ("chops_by_class", "wells_by_outcome", "wells_by_source")}
    say(f"{summary.folder}: " + ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items()))
    if counts["wells"] and not counts["plates_held_out"]:
        say("no plate is held out for validation (one in ten is, by its name); train with another set that has some")
    wells = tables["wells_by_outcome"]
    if any(wells):
        chops = tables["chops_by_class"]
        numbers = ((name, wells.get(name, 0), chops.get(name, 0)) for name in dict.fromkeys([*chops, *wells]))
        rows = [(name or "–", *counted) for name, *counted in numbers if any(counted)]
        print_table(("outcome", "wells", "chops"), rows, right="wells chops")
    for reason, number in summary.left_out.items():
        say(f"left out  {number:>7}  {reason}")
    _report_failures(summary.failed)


def _report_failures(failed: Mapping[str, str]) -> None:
    """List what failed; exit with code 1 if anything did."""
    lines = [f"{image}: {reason}" for image, reason in failed.items()]
    for line in first_lines(lines, _LISTED, start="failed  ", more=", listed in dataset.json"):
        say(line, err=True)
    if failed:
        raise SystemExit(1)
