"""``export``: write scores, with samples, conditions and people's scores, as tables or in forms of other programs.

The best chops can be saved as image files too. Plates are processed one at a time, so memory does not grow with the
archive; of a zip file, it keeps the list of its files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

import msgspec
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.images import read_image
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_scoring.table import SECOND_OPINION_COLUMNS

from ..config import Config
from ..domain.log import log
from ..ledger.store import Ledger
from ..reports.entries import DropInspection, Entry, Filter, have_second_opinion, inspections
from ..reports.tables import COLUMNS, full_row, row, second_opinion
from ..steps.pack import image_path, read_original
from .coco import coco_writer
from .label_studio import INTERFACE, LabelStudioWriter, zip_with_interface
from .labelme import labelme_file
from .many_files import Add, new_folder, zip_of
from .marco import COLUMNS as COLUMNS_OF_MARCO
from .marco import marco_row
from .regions import DROP, RegionsOfImage, clipped, regions_of
from .texrank import texrank_row
from .yolo import YoloWriter

Format = Literal["csv", "xlsx", "jsonl", "parquet", "coco", "yolo", "label-studio", "labelme", "marco", "texrank"]
FORMATS: tuple[Format, ...] = get_args(Format)
WITH_BOXES: tuple[Format, ...] = ("coco", "yolo", "label-studio", "labelme")
_OF_MANY_FILES: tuple[Format, ...] = ("yolo", "labelme")

Put = Callable[[DropInspection, Entry], None]


@dataclass(slots=True)
class Exported:
    """Counts of what was written.

    Attributes
    ----------
    images
        Images in the file.
    no_artscore
        Images that people scored and that have no ARTscore; they are in tables, but not in a file of boxes.
    boxes, drops
        Boxes of chops and drops in a file for annotation tools.
    chops
        Chops saved as files.
    missing
        Originals that could not be read, so that their chops are missing.
    no_probabilities
        Images left out of a file of four probabilities: without an ARTscore, undecided, or scored by an old worker.
    """

    images: int = 0
    no_artscore: int = 0
    boxes: int = 0
    drops: int = 0
    chops: int = 0
    missing: int = 0
    no_probabilities: int = 0


def export(
    config: Config,
    ledger: Ledger,
    kind: Format,
    out: Path,
    chosen: Filter,
    *,
    confirmed: bool = False,
    chops_folder: Path | None = None,
) -> Exported:
    """Write the newest score of each image that passes the filter; images that nobody has scored are left out.

    Parameters
    ----------
    config, ledger
        The configuration and its ledger.
    kind
        Format of the file.
    out
        File to write. Of a format of several files, the folder, or their zip file if its name ends in ``.zip``.
    chosen
        Filter for the images.
    confirmed
        For boxes and chops: whether to write only chops of the group that a person gave the drop at that inspection.
    chops_folder
        Folder for the best chops as PNG files, with a subfolder for each class; None: they are not saved.

    Raises
    ------
    ConfigError
        If something cannot be written; `out` is left as it was.
    """
    try:
        if chops_folder is not None:
            for outcome in CLASSES:
                (chops_folder / _class_folder(outcome)).mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".zip" and kind in WITH_BOXES and kind != "coco":
            with replacing(out) as stream:
                done = write(config, ledger, kind, stream, chosen, confirmed=confirmed, chops_folder=chops_folder)
        elif kind in _OF_MANY_FILES:
            with new_folder(out) as add:
                done = _write(config, ledger, kind, add, chosen, confirmed, chops_folder)
        else:
            with replacing(out) as stream:
                done = _write(config, ledger, kind, stream, chosen, confirmed, chops_folder)
            if kind == "label-studio":
                write_atomically(interface_beside(out), INTERFACE)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or out}: {error.strerror}; give another folder") from error
    return done


def write(
    config: Config,
    ledger: Ledger,
    kind: Format,
    stream: IO[bytes],
    chosen: Filter,
    *,
    confirmed: bool = False,
    chops_folder: Path | None = None,
) -> Exported:
    """Write the same to a stream; several files as one zip file."""
    if kind in _OF_MANY_FILES:
        with zip_of(stream) as add:
            return _write(config, ledger, kind, add, chosen, confirmed, chops_folder)
    if kind == "label-studio":
        with zip_with_interface(stream) as tasks:
            return _write(config, ledger, kind, tasks, chosen, confirmed, chops_folder)
    return _write(config, ledger, kind, stream, chosen, confirmed, chops_folder)


def exported_lines(done: Exported, kind: str, out: Path) -> Iterator[str]:
    """Format the counts of an export as text."""
    if kind in ("marco", "texrank"):
        yield f"{done.images - done.no_probabilities} images in {out}"
        if done.no_probabilities:
            yield (
                f"left out  {done.no_probabilities} images without the four probabilities: not scored, undecided, or "
                "scored by an old worker (score them again)"
            )
    elif kind in WITH_BOXES:
        boxes = f"{done.boxes} boxes in {len(CLASSES)} categories"
        yield f"{done.images} images with {boxes} and {done.drops} drops in {out}"
        if done.no_artscore:
            yield f"left out  {done.no_artscore} images that people scored and that have no ARTscore, so no boxes"
        if kind == "label-studio" and out.suffix.lower() != ".zip":
            yield f"the labelling interface for the project's settings is {interface_beside(out)}"
    else:
        without = f", {done.no_artscore} of them without an ARTscore" if done.no_artscore else ""
        yield f"{done.images} images in {out}{without}"


def interface_beside(tasks: Path) -> Path:
    """Return the file of the labelling interface that goes with Label Studio's tasks."""
    return tasks.with_name(f"{tasks.stem}_interface.xml")


def _write(
    config: Config,
    ledger: Ledger,
    kind: Format,
    target: Any,
    chosen: Filter,
    confirmed: bool,
    chops_folder: Path | None,
) -> Exported:
    """Write to a stream, or to a function that adds files."""
    done = Exported()
    further = SECOND_OPINION_COLUMNS if kind in ("csv", "jsonl") and have_second_opinion(ledger, chosen) else ()
    answers = kind not in ("csv", "xlsx") or chops_folder is not None or bool(further)
    with _WRITERS[kind](config, target, further, confirmed, done) as put:
        for inspection in inspections(ledger, chosen, answers):
            for entry in inspection.entries:
                done.no_artscore += not entry.image.is_scored
                if kind in WITH_BOXES and not entry.image.is_scored:  # it has no size and no boxes
                    continue
                put(inspection, entry)
                done.images += 1
                if chops_folder is not None:
                    _write_chops(config, inspection, entry, confirmed, chops_folder, done)
    return done


@contextmanager
def _csv(config: Config, stream: IO[bytes], further: Sequence[str], _confirmed: bool, _done: Exported) -> Iterator[Put]:
    stream.write(csv_line((*COLUMNS, *further)))

    def put(inspection: DropInspection, entry: Entry) -> None:
        values = row(config, inspection, entry)
        if further:
            values |= second_opinion(entry.answer)
        stream.write(csv_line(list(values.values())))

    yield put


@contextmanager
def _json_lines(
    config: Config, stream: IO[bytes], further: Sequence[str], _confirmed: bool, _done: Exported
) -> Iterator[Put]:
    def put(inspection: DropInspection, entry: Entry) -> None:
        answer = entry.answer
        values = full_row(config, inspection, entry, answer)
        if further:
            values |= second_opinion(answer)
        stream.write(msgspec.json.encode(values) + b"\n")

    yield put


def _boxes(add: Callable[[RegionsOfImage], None], confirmed: bool, done: Exported) -> Put:
    def put(inspection: DropInspection, entry: Entry) -> None:
        answer = entry.answer
        of_image = regions_of(inspection, entry, _chops(inspection, answer, confirmed) if answer else ())
        if of_image is not None:
            drops = sum(region.label == DROP for region in of_image.regions)
            done.drops += drops
            done.boxes += len(of_image.regions) - drops
            add(of_image)

    return put


@contextmanager
def _coco(
    _config: Config, stream: IO[bytes], _further: Sequence[str], confirmed: bool, done: Exported
) -> Iterator[Put]:
    with coco_writer(stream) as writer:
        yield _boxes(writer.add, confirmed, done)


@contextmanager
def _yolo(_config: Config, add: Add, _further: Sequence[str], confirmed: bool, done: Exported) -> Iterator[Put]:
    writer = YoloWriter(add)
    yield _boxes(writer.add, confirmed, done)
    writer.finish()


@contextmanager
def _label_studio(
    _config: Config, stream: IO[bytes], _further: Sequence[str], confirmed: bool, done: Exported
) -> Iterator[Put]:
    writer = LabelStudioWriter(stream)
    yield _boxes(writer.add, confirmed, done)
    writer.finish()


@contextmanager
def _labelme(_config: Config, add: Add, _further: Sequence[str], confirmed: bool, done: Exported) -> Iterator[Put]:
    yield _boxes(lambda of_image: labelme_file(add, of_image), confirmed, done)


@contextmanager
def _parquet(
    config: Config, stream: IO[bytes], _further: Sequence[str], _confirmed: bool, _done: Exported
) -> Iterator[Put]:
    from .parquet import parquet_writer  # needs pyarrow

    with parquet_writer(config, stream) as add:
        yield add


@contextmanager
def _marco(
    _config: Config, stream: IO[bytes], _further: Sequence[str], _confirmed: bool, done: Exported
) -> Iterator[Put]:
    stream.write(csv_line(COLUMNS_OF_MARCO))
    yield _rows(stream, done, marco_row)


@contextmanager
def _texrank(
    config: Config, stream: IO[bytes], _further: Sequence[str], _confirmed: bool, done: Exported
) -> Iterator[Put]:
    def line(entry: Entry, answer: wire.Scored | None) -> tuple[object, ...] | None:
        try:
            path = str(image_path(config, entry.image))
        except ImageError:
            path = entry.image.image_name
        return texrank_row(path, answer)

    yield _rows(stream, done, line)


@contextmanager
def _xlsx(
    config: Config, stream: IO[bytes], _further: Sequence[str], _confirmed: bool, _done: Exported
) -> Iterator[Put]:
    from .xlsx import XlsxWriter  # loads openpyxl, a third of a second

    with XlsxWriter(config, stream) as writer:
        yield writer.add


def _rows(
    stream: IO[bytes], done: Exported, line: Callable[[Entry, wire.Scored | None], tuple[object, ...] | None]
) -> Put:
    def put(_inspection: DropInspection, entry: Entry) -> None:
        values = line(entry, entry.answer)
        if values is None:
            done.no_probabilities += 1
        else:
            stream.write(csv_line(values))

    return put


_WRITERS: dict[Format, Any] = {
    "csv": _csv,
    "xlsx": _xlsx,
    "jsonl": _json_lines,
    "parquet": _parquet,
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
    "labelme": _labelme,
    "marco": _marco,
    "texrank": _texrank,
}


def _chops(inspection: DropInspection, answer: wire.Scored, confirmed: bool) -> list[wire.BestChop]:
    group = inspection.state.group if inspection.state.said else None
    return [chop for chop in answer.boxes if not confirmed or chop.outcome.group is group]


def _class_folder(outcome: Outcome) -> str:
    """Return the name of the folder for an outcome's chops: ``crystals_harvestable``."""
    return str(outcome).replace(" ", "_")


def _write_chops(
    config: Config, inspection: DropInspection, entry: Entry, confirmed: bool, folder: Path, done: Exported
) -> None:
    """Cut an image's best chops out of the original; writing them again replaces the files."""
    answer = entry.answer
    if answer is None:
        return
    wanted = [
        (number, chop, box)
        for number, chop in enumerate(_chops(inspection, answer, confirmed), start=1)
        if chop.outcome in CLASSES and (box := clipped(chop.box, answer)) is not None
    ]
    if not wanted:
        return
    try:
        pixels = read_image(read_original(config, entry.image))
    except ImageError as error:
        log.warning("chops of %s: %s", entry.image.image_name, error)
        done.missing += 1
        return
    image = entry.image
    for number, chop, (x, y, width, height) in wanted:
        plate = re.sub(r"[^A-Za-z0-9-]", "-", image.barcode)
        name = f"{plate}_{image.inspection:03d}_{image.well}_{image.score_id}_{number}.png"
        with replacing(folder / _class_folder(chop.outcome) / name) as stream:
            Image.fromarray(pixels[y : y + height, x : x + width]).save(stream, "PNG")
        done.chops += 1
