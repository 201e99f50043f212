"""The commands that read files of other programs, and write such files (docs/exchange.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.files import STANDARD_OUTPUT

from ..config import Config
from ..exchange.export import FORMATS, WITH_BOXES, Format, export, exported_lines
from ..exchange.foreign import Told
from ..exchange.import_annotations import annotation_lines, import_annotations
from ..exchange.import_scores import import_lines, import_scores, import_source
from ..exchange.ispyb import open_ispyb
from ..exchange.layouts import read_layout, unread
from ..exchange.polo import export_runs
from ..exchange.scored import ExportedScores, export_scored
from ..reports.entries import Filter
from ..steps.system import System
from ..storage.permissions import outside
from .options import INSPECTION_FROM_ZERO, filter_options, log_access, tell_unknown, with_config
from .parameters import GivenPath
from .printing import json_option, print_found, print_lines

EXIT_REFUSED = 1
"""Lines of a file were refused."""


@click.command()
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False))
@click.option("--barcode", default="", help="The plate, if the file has no column barcode.")
@with_config
def layout(config: Config, file: Path, barcode: str) -> None:
    """Record what is in the drops of a plate: sample, condition and project by well.

    FILE is a CSV or Excel table, or a screen as XML by Rock Maker or CrystalTrak.
    """
    with System(config) as system:
        done = read_layout(system.config, system.ledger, file, barcode)
    say(f"{done.rows} wells read, {done.recorded} new or changed")
    for line in unread(done):
        say(line)


@click.command("import-scores")
@click.argument("file", type=GivenPath(path_type=Path), required=False)
@click.option("--ispyb", is_flag=True, help="Import people's scores from ISPyB (imager.ispyb or publish.ispyb).")
@click.option("--schema", default="", help="With --ispyb: a program's scores instead, by their schema, such as MARCO.")
@click.option("--by", default="", help="Who gave the scores, if the file does not say.")
@click.option("--kind", type=click.Choice(["person", "program"]), help="Whether that is a person or a program.")
@click.option("--barcode", default="", help="The plate, if the file does not say.")
@click.option("--inspection", type=INSPECTION_FROM_ZERO, help="The inspection, if the file does not say.")
@click.option("--sheet", default="", help="The sheet of an Excel workbook.")
@click.option("--dry-run", is_flag=True, help="Show the account of what would be imported; record nothing.")
@click.option(
    "--refused", type=GivenPath(path_type=Path, dir_okay=False), help="Write all refused lines to this CSV file."
)
@click.option("--accept-sorted", is_flag=True, help="Accept probabilities that look mixed up.")
@json_option
@with_config
def import_scores_command(
    config: Config,
    file: Path | None,
    ispyb: bool,
    schema: str,
    dry_run: bool,
    refused: Path | None,
    accept_sorted: bool,
    as_json: bool,
    **of_file: Any,
) -> None:
    """Import scores of people and programs from a FILE of another program, or a table, or from ISPyB.

    The exit code is 1 if lines of a FILE were refused. ISPyB may well have plates that are not here.
    """
    if (file is None) != ispyb or (schema and not ispyb):
        raise XtalgridError("give a FILE, or --ispyb, which --schema is for")
    told = Told(**of_file)  # by, kind, barcode, inspection, sheet
    with System(config) as system:
        opened = system.config, system.imager, system.ledger
        options: Any = {"dry_run": dry_run, "accept_sorted": accept_sorted, "refused_file": refused}
        if file is not None:
            done = import_scores(*opened, file, told, **options)
        else:
            source = open_ispyb(system.config, system.imager, told, schema)
            done = import_source(*opened, source, "ISPyB", "ISPyB", **options)
    print_found(done, import_lines(done, dry_run), as_json)
    if done.refused and not ispyb:
        sys.exit(EXIT_REFUSED)


@click.command("import-annotations")
@click.argument("file", metavar="FILE|FOLDER", type=GivenPath(path_type=Path, exists=True))
@click.option("--by", default="", help="Who drew them, if the file does not say.")
@click.option("--kind", type=click.Choice(["person", "program"]), help="Whether that is a person or a program.")
@click.option("--barcode", default="", help="The plate, if the file does not say.")
@click.option("--inspection", type=INSPECTION_FROM_ZERO, help="The inspection, if the file does not say.")
@click.option("--confirmed", is_flag=True, help="A person looked at all: what is as exported is theirs too.")
@click.option("--dry-run", is_flag=True, help="Show the account of what would be imported; record nothing.")
@click.option(
    "--refused", type=GivenPath(path_type=Path, dir_okay=False), help="Write all that was refused to this CSV file."
)
@json_option
@with_config
def import_annotations_command(
    config: Config, file: Path, confirmed: bool, dry_run: bool, refused: Path | None, as_json: bool, **of_file: Any
) -> None:
    """Import boxes and outlines that people drew or corrected, as marks, from COCO, YOLO, Label Studio or labelme.

    The exit code is 1 if some were refused.
    """
    with System(config) as system:
        done = import_annotations(
            system.config,
            system.imager,
            system.ledger,
            file,
            Told(**of_file),
            confirmed=confirmed,
            dry_run=dry_run,
            refused_file=refused,
        )
    print_found(done, annotation_lines(done, dry_run), as_json)
    if done.refused:
        sys.exit(EXIT_REFUSED)


@click.command("export")
@click.argument("kind", metavar="FORMAT", type=click.Choice((*FORMATS, "xtal")))
@click.argument("out", type=GivenPath(path_type=Path))
@filter_options
@click.option("--inspection", type=INSPECTION_FROM_ZERO, help="Only this inspection; xtal has the newest by default.")
@click.option("--confirmed", is_flag=True, help="Only chops in the group that a person gave (boxes, --chops).")
@click.option(
    "--chops",
    "chops_folder",
    type=GivenPath(path_type=Path, file_okay=False),
    help="Also write the best chops as PNG files into this folder, in a subfolder for each class.",
)
@with_config
def export_command(
    config: Config,
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
    labelme are folders, or a zip file if OUT ends in .zip. If OUT is -, a file goes to standard output.
    """
    to_stdout = out == STANDARD_OUTPUT
    chosen = replace(chosen, inspection=inspection)
    if kind == "xtal":
        with System(config) as system, outside(config.home, out):
            runs = export_runs(config, system.imager, system.ledger, out, chosen)
        log_access(config, "export", kind=kind, images=sum(runs.values()), out=str(out))
        for file, images in runs.items():
            say(f"{images} images in {file}", err=to_stdout)
        return
    if confirmed and kind not in WITH_BOXES and chops_folder is None:
        raise XtalgridError(f"--confirmed selects chops; use it with {', '.join(WITH_BOXES)} or --chops")
    folder = chops_folder or out
    with System(config) as system, outside(config.home, out), outside(config.home, folder):
        tell_unknown(system, chosen.barcode)
        done = export(
            config,
            system.ledger,
            cast(Format, kind),
            out,
            chosen,
            confirmed=confirmed,
            chops_folder=chops_folder,
        )
    log_access(config, "export", kind=kind, images=done.images, out=str(out))
    print_lines(exported_lines(done, kind, out), err=to_stdout)
    if chops_folder is not None:
        say(f"{done.chops} chops in {chops_folder}", err=to_stdout)
    if done.missing:
        say(
            f"left out  the chops of {done.missing} images that can no longer be read, or were replaced since",
            err=to_stdout,
        )


@click.command("export-scored")
@click.argument("out", type=GivenPath(path_type=Path, dir_okay=False))
@click.option(
    "--uv", multiple=True, help="Names of UV images, such as '*_UV_*', to export as mates of crystals. Repeatable."
)
@with_config
def export_scored_command(config: Config, out: Path, uv: tuple[str, ...]) -> None:
    """Write the wells that people scored to the CSV file OUT, for a training set by `xtalgrid-train sets dataset`.

    If OUT is -, they go to standard output.
    """
    tell = partial(say, err=out == STANDARD_OUTPUT)
    with System(config) as system, outside(config.home, out):
        done = export_scored(config, system.imager, system.ledger, out, uv)
    log_access(config, "export", kind="scored", wells=done.wells, out=str(out))
    tell(f"{done.wells} scored wells in {out}, {done.pairs} with a UV image")
    for line in left_out_lines(done, config, "use xtalgrid-train sets dataset --map"):
        tell(line)


def left_out_lines(done: ExportedScores, config: Config, remedy: str) -> Iterator[str]:
    """Say which scores have no label, and which were left out; `remedy` is for codes without an outcome."""
    if done.disputed:
        yield f"no label  {done.disputed} wells that people disagree about: see the column disagreement"
    if done.group_only:
        yield f"group     {done.group_only} wells of which people agree only on the group, such as 'any crystal'"
    if done.again:
        yield f"left out  {done.again} inspections whose image another one has; scored differently, it has no label"
    if done.without_image:
        yield f"left out  {done.without_image} scores of inspections without an image that matches imager.patterns"
    if done.missing:
        yield f"left out  {done.missing} images that are not under imager.image_root ({config.image_root})"
    for code, number in sorted(done.codes.items()):
        yield f"no outcome for score {code!r} ({number} wells): add it to imager.codes or {remedy}"
