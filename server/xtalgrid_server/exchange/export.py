"""``export``: write scores, with samples, conditions and people's scores, as tables or in forms of other programs.

The best chops can be saved as image files too. Plates are processed one at a time, so memory does not grow with the
archive; of a zip file, it keeps the list of its files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

import msgspec
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import STANDARD_OUTPUT, replacing, write_atomically
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_scoring.table import SECOND_OPINION_COLUMNS

from ..config import Config
from ..domain.log import log
from ..ledger.marks import Mark
from ..ledger.store import Ledger
from ..reports.entries import DropInspection, Entry, Filter, have_second_opinion, inspections
from ..reports.tables import COLUMNS, full_row, row, second_opinion
from ..steps.pack import image_path, read_scored
from .coco import coco_writer
from .label_studio import INTERFACE, LabelStudioWriter, zip_with_interface
from .labelme import labelme_file
from .many_files import Add, NameTaken, new_folder, zip_of
from .marco import COLUMNS as COLUMNS_OF_MARCO
from .marco import marco_row
from .mark_rows import COLUMNS as COLUMNS_OF_MARKS
from .mark_rows import mark_row
from .regions import DROP, RegionsOfImage, clipped, image_file, regions_of
from .texrank import texrank_row
from .yolo import YoloWriter

Format = Literal[
    "csv", "xlsx", "jsonl", "parquet", "coco", "yolo", "label-studio", "labelme", "annotations", "marco", "texrank"
]
FORMATS: tuple[Format, ...] = get_args(Format)
WITH_BOXES: tuple[Format, ...] = ("coco", "yolo", "label-studio", "labelme")
_WITHOUT_ANSWERS: tuple[Format, ...] = ("csv", "xlsx", "annotations")
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
    marks
        Marks in a file of annotations.
    chops
        Chops saved as files.
    missing
        Originals that could not be read, or are not the files that were scored, so that their chops are missing.
    same_name
        Images left out of several files, as another one's has the same name.
    no_probabilities
        Images left out of a file of four probabilities: without an ARTscore, undecided (of TeXRank's only dark ones),
        or scored by an old worker.
    """

    images: int = 0
    no_artscore: int = 0
    boxes: int = 0
    drops: int = 0
    marks: int = 0
    chops: int = 0
    missing: int = 0
    same_name: int = 0
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
        File to write; ``-`` is standard output. Of a format of several files, the folder, or their zip file if its
        name ends in ``.zip``.
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
    if kind == "label-studio" and out == STANDARD_OUTPUT:
        raise ConfigError("-: this format is two files; give a name, which may end in .zip")
    job = _Job(config, ledger, kind, chosen, confirmed, chops_folder)
    try:
        if chops_folder is not None:
            for outcome in CLASSES:
                (chops_folder / _class_folder(outcome)).mkdir(parents=True, exist_ok=True)
        if kind in _OF_MANY_FILES and out.suffix.lower() != ".zip":
            with new_folder(out) as add:
                return job.write(add)
        with replacing(out) as stream:
            if out.suffix.lower() == ".zip" or kind != "label-studio":
                return _to_stream(job, stream)
            done = job.write(stream)
        write_atomically(interface_beside(out), INTERFACE)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or out}: {error.strerror}; give another folder") from error
    return done


def write(config: Config, ledger: Ledger, kind: Format, stream: IO[bytes], chosen: Filter) -> Exported:
    """Write the same to a stream, several files as one zip file; for others, who need not know where images lie."""
    return _to_stream(_Job(config, ledger, kind, chosen, with_folders=False), stream)


def _to_stream(job: _Job, stream: IO[bytes]) -> Exported:
    if job.kind in _OF_MANY_FILES:
        with zip_of(stream) as add:
            return job.write(add)
    if job.kind == "label-studio":
        with zip_with_interface(stream) as tasks:
            return job.write(tasks)
    return job.write(stream)


@dataclass(frozen=True, slots=True)
class _Job:
    """What to export, and the counts.

    Attributes
    ----------
    with_folders
        Whether formats that have images' paths get those of this server.
    """

    config: Config
    ledger: Ledger
    kind: Format
    chosen: Filter
    confirmed: bool = False
    chops_folder: Path | None = None
    with_folders: bool = True
    done: Exported = field(default_factory=Exported)

    def write(self, target: Any) -> Exported:
        """Write to a stream, or to a function that adds files."""
        chosen, done = self.chosen, self.done
        answers = self.kind not in _WITHOUT_ANSWERS or self.chops_folder is not None or bool(self.further)
        with _WRITERS[self.kind](self, target) as put:
            for inspection in inspections(self.ledger, chosen, answers):
                for entry in inspection.entries:
                    done.no_artscore += not entry.image.is_scored
                    if self.kind in WITH_BOXES and not entry.image.is_scored:  # it has no size and no boxes
                        continue
                    put(inspection, entry)
                    done.images += 1
                    if self.chops_folder is not None:
                        _write_chops(self, inspection, entry, self.chops_folder)
        return done

    @property
    def further(self) -> tuple[str, ...]:
        """Columns that CSV and JSON lines have at the end."""
        has_some = self.kind in ("csv", "jsonl") and have_second_opinion(self.ledger, self.chosen)
        return SECOND_OPINION_COLUMNS if has_some else ()


def exported_lines(done: Exported, kind: str, out: Path) -> Iterator[str]:
    """Format the counts of an export as text."""
    if kind in ("marco", "texrank"):
        yield f"{done.images - done.no_probabilities} images in {out}"
        if done.no_probabilities:
            unsure = "undecided" if kind == "marco" else "dark as in UV light"
            yield (
                f"left out  {done.no_probabilities} images without the four probabilities: not scored, {unsure}, or "
                "scored by an old worker (score them again)"
            )
    elif kind == "annotations":
        yield f"{done.marks} marks in {out}"
    elif kind in WITH_BOXES:
        boxes = f"{done.boxes} boxes in {len(CLASSES)} categories"
        yield f"{done.images - done.same_name} images with {boxes} and {done.drops} drops in {out}"
        if done.same_name:
            yield (
                f"left out  {done.same_name} images whose file would have the same name as another's, as of A1.jpg and "
                "A1.png; the formats coco and label-studio have them"
            )
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


@contextmanager
def _csv(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    further = job.further
    stream.write(csv_line((*COLUMNS, *further)))

    def put(inspection: DropInspection, entry: Entry) -> None:
        values = row(job.config, inspection, entry) | (second_opinion(entry.answer) if further else {})
        stream.write(csv_line(list(values.values())))

    yield put


@contextmanager
def _json_lines(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    further = job.further

    def put(inspection: DropInspection, entry: Entry) -> None:
        values = full_row(job.config, inspection, entry) | (second_opinion(entry.answer) if further else {})
        stream.write(msgspec.json.encode(values) + b"\n")

    yield put


def _boxes(add: Callable[[RegionsOfImage], None], job: _Job) -> Put:
    done = job.done

    def put(inspection: DropInspection, entry: Entry) -> None:
        answer = entry.answer
        of_image = regions_of(inspection, entry, _chops(inspection, answer, job.confirmed) if answer else ())
        if of_image is not None:
            try:
                add(of_image)
            except NameTaken:
                done.same_name += 1
                return
            drops = sum(region.label == DROP for region in of_image.regions)
            done.drops += drops
            done.boxes += len(of_image.regions) - drops

    return put


@contextmanager
def _coco(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    with coco_writer(stream) as writer:
        yield _boxes(writer.add, job)


@contextmanager
def _finished(writer: YoloWriter | LabelStudioWriter, job: _Job) -> Iterator[Put]:
    yield _boxes(writer.add, job)
    writer.finish()


@contextmanager
def _labelme(job: _Job, add: Add) -> Iterator[Put]:
    yield _boxes(lambda of_image: labelme_file(add, of_image), job)


@contextmanager
def _parquet(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    from .parquet import parquet_writer  # needs pyarrow

    with parquet_writer(job.config, stream) as add:
        yield add


@contextmanager
def _marco(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    stream.write(csv_line(COLUMNS_OF_MARCO))
    yield _rows(stream, job.done, marco_row)


@contextmanager
def _texrank(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    def line(entry: Entry) -> tuple[object, ...] | None:
        try:
            path = str(image_path(job.config, entry.image)) if job.with_folders else image_file(entry.image)
        except ImageError:
            path = entry.image.image_name
        return texrank_row(path, entry.answer)

    yield _rows(stream, job.done, line)


@contextmanager
def _xlsx(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    from .xlsx import XlsxWriter  # loads openpyxl, a third of a second

    with XlsxWriter(job.config, stream) as writer:
        yield writer.add


def _rows(stream: IO[bytes], done: Exported, line: Callable[[Entry], tuple[object, ...] | None]) -> Put:
    def put(_inspection: DropInspection, entry: Entry) -> None:
        values = line(entry)
        if values is None:
            done.no_probabilities += 1
        else:
            stream.write(csv_line(values))

    return put


@contextmanager
def _annotations(job: _Job, stream: IO[bytes]) -> Iterator[Put]:
    stream.write(csv_line(COLUMNS_OF_MARKS))
    plate: list[str] = []
    marks: dict[int, list[Mark]] = {}

    def put(_inspection: DropInspection, entry: Entry) -> None:
        nonlocal marks
        if plate != [entry.image.barcode]:
            plate[:] = [entry.image.barcode]
            marks = job.ledger.marks.of_plates(plate)
        for mark in marks.get(entry.image.image_id, ()):
            stream.write(csv_line(mark_row(job.config, entry.image, mark)))
            job.done.marks += 1

    yield put


_WRITERS: dict[Format, Any] = {
    "csv": _csv,
    "xlsx": _xlsx,
    "jsonl": _json_lines,
    "parquet": _parquet,
    "coco": _coco,
    "yolo": lambda job, add: _finished(YoloWriter(add), job),
    "label-studio": lambda job, stream: _finished(LabelStudioWriter(stream), job),
    "labelme": _labelme,
    "annotations": _annotations,
    "marco": _marco,
    "texrank": _texrank,
}


def _chops(inspection: DropInspection, answer: wire.Scored, confirmed: bool) -> list[wire.BestChop]:
    group = inspection.state.group if inspection.state.said else None
    return [chop for chop in answer.boxes if not confirmed or chop.outcome.group is group]


def _class_folder(outcome: Outcome) -> str:
    """Return the name of the folder for an outcome's chops: ``crystals_harvestable``."""
    return str(outcome).replace(" ", "_")


def _write_chops(job: _Job, inspection: DropInspection, entry: Entry, folder: Path) -> None:
    """Cut an image's best chops out of the original; writing them again replaces the files."""
    answer = entry.answer
    if answer is None:
        return
    wanted = [
        (number, chop, box)
        for number, chop in enumerate(_chops(inspection, answer, job.confirmed), start=1)
        if chop.outcome in CLASSES and (box := clipped(chop.box, answer)) is not None
    ]
    if not wanted:
        return
    try:
        pixels = read_scored(job.config, entry.image)  # in another picture, boxes show something else
    except ImageError as error:
        log.warning("chops of %s: %s", entry.image.image_name, error)
        job.done.missing += 1
        return
    image = entry.image
    for number, chop, (x, y, width, height) in wanted:
        plate = re.sub(r"[^A-Za-z0-9-]", "-", image.barcode)
        name = f"{plate}_{image.inspection:03d}_{image.well}_{image.score_id}_{number}.png"
        with replacing(folder / _class_folder(chop.outcome) / name) as stream:
            Image.fromarray(pixels[y : y + height, x : x + width]).save(stream, "PNG")
        job.done.chops += 1
