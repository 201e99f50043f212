"""``import-annotations``: bring boxes and outlines that people corrected in annotation tools in, as marks.

COCO, YOLO, Label Studio and labelme are recognised by content. Each annotation is accepted or refused by its number,
with the reason; the account adds up. What is as we exported it is ours, not a person's. Twice is once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import readable
from xtalgrid_core.images import SUFFIXES, image_size

from ..config import Config
from ..domain.images import file_time
from ..domain.letters import composed
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.database import now
from ..ledger.marks import Mark, box_mark, content_key, outline_mark
from ..ledger.shapes import DropImage
from ..ledger.store import Ledger
from ..steps.pack import read_original
from .accounts import FileAccount, Refused, file_lines, refused_to
from .coco import coco_annotations, is_coco
from .foreign import Place, Told
from .foreign_marks import MOST, Annotation, ForeignMark
from .json_parts import JsonFile, open_json
from .label_studio import is_label_studio, label_studio_annotations
from .labelme import is_labelme, labelme_annotations
from .many_files import Unread, files_below
from .places import Places
from .regions import DROP, Corner, Region, all_regions
from .words import Words
from .yolo import names_file, yolo_annotations

_AT_ONCE = 200
"""Annotations at once; each may have 2,000 corners."""
_ANY_ENDING = ".*"
_SAME_SHAPE = 0.02
"""Largest difference between the ratios of width and height of a file's image and ours."""
_SAME_PIXEL = 1.01
"""How far corners may be from what we exported to be the same; formats round differently."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """A file or folder of annotations: its format's name for people, and what reads it."""

    format: str
    read: Callable[[], Iterator[Annotation]]


@dataclass
class ImportedAnnotations(FileAccount):
    """Account of a file: annotations = new + known + unchanged + without_meaning + refused.

    Attributes
    ----------
    annotations
        Boxes, outlines and what else it has.
    unchanged
        Those that are as we exported them, so that no person said so.
    without_meaning
        Those whose word means nothing, by `scores.names`.
    images
        Images with new ones.
    """

    format: str = ""
    annotations: int = 0
    new: int = 0
    known: int = 0
    unchanged: int = 0
    without_meaning: int = 0
    refused: int = 0
    images: int = 0
    people: Counter[str] = field(default_factory=Counter)
    programs: Counter[str] = field(default_factory=Counter)
    first_refused: list[Refused] = field(default_factory=list)
    unknown_words: Counter[str] = field(default_factory=Counter)


def import_annotations(
    config: Config,
    imager: ImagerDatabase,
    ledger: Ledger,
    file: Path,
    told: Told | None = None,
    *,
    confirmed: bool = False,
    dry_run: bool = False,
    refused_file: Path | None = None,
) -> ImportedAnnotations:
    """Import a file's or a folder's boxes and outlines.

    Parameters
    ----------
    told
        What the person says of the file; `sheet` has no meaning.
    confirmed
        Whether what is as we exported it is a person's too, who looked at it.
    dry_run
        Only make the account; record nothing.
    refused_file
        CSV file for all that was refused.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not recognised. Nothing is recorded then.
    """
    source = open_annotations(file)
    reading = _Import(config, imager, ledger, file, told or Told(), source.format, confirmed)
    annotations = source.read()
    try:
        with refused_to(refused_file, "annotation") as out:
            while batch := list(itertools.islice(annotations, _AT_ONCE)):
                marks = reading.marks(batch, out)
                if not dry_run:
                    ledger.marks.add(marks)
    except OSError as error:
        raise ConfigError(f"{error.filename or file}: {error.strerror}") from error
    reading.done.images = len(reading.images)
    return reading.done


def open_annotations(file: Path) -> Annotations:
    """Recognise a file or folder by its content.

    Raises
    ------
    ConfigError
        If there are no annotations in it.
    """
    if file.is_dir():
        return _folder(file)
    if (names := names_file(file.parent)) is not None and names.name == file.name:
        return _folder(file.parent)
    if file.exists() and not file.is_file():
        raise ConfigError(f"{file}: neither a file nor a folder; save the annotations as a file first")
    found = _recognised(file)
    if found is not None:
        return found
    with file.open("rb") as stream:
        is_zip = stream.read(2) == b"PK"
    hint = "unpack it and give the folder" if is_zip else "of YOLO, give the folder that has data.yaml or classes.txt"
    raise ConfigError(f"{file}: no annotations of COCO, YOLO, Label Studio or labelme; {hint}")


def _folder(folder: Path) -> Annotations:
    if (names := names_file(folder)) is not None:
        return Annotations("YOLO", lambda: yolo_annotations(folder, names))
    unread = list[Unread]()
    files = [path for path in files_below(folder, unread) if path.name.lower().endswith(".json")]
    formats = (annotation_format(path) for path in sorted(files))
    first = next((name for name in formats if name), "")
    if not first:
        raise ConfigError(
            f"{folder}: no annotations of COCO, YOLO, Label Studio or labelme; labels of YOLO need data.yaml or "
            "classes.txt in this folder"
        )

    def read() -> Iterator[Annotation]:
        for path in sorted(files):
            name = str(path.relative_to(folder))
            try:
                found = _recognised(path)
                if found is None:
                    raise ConfigError("no annotations of COCO, Label Studio or labelme")
                yield from (replace(annotation, file=name) for annotation in found.read())
            except ConfigError as error:  # the other files are read all the same
                yield Annotation(0, problem=str(error), file=name)
        for each in unread:
            yield Annotation(0, problem=each.reason, file=str(each.folder))

    return Annotations(first, read)


def annotation_format(file: Path) -> str:
    """Return the name of a JSON file's format; empty if it has none, or cannot be read."""
    try:
        found = _recognised(file)
    except ConfigError:
        return ""
    return found.format if found else ""


def _recognised(file: Path) -> Annotations | None:
    """Return what a JSON file is; None if it is nothing that we read. It is read to its end once."""
    document = open_json(file)
    if document is None:
        return None
    if document.kind == b"[":
        if not is_label_studio(document):
            return None
        _count(document, document.objects(document.whole()), "tasks")
        return Annotations("Label Studio", lambda: label_studio_annotations(document))
    members = document.members()
    if is_coco(members):
        _count(document, document.objects(members["annotations"]), "annotations")
        return Annotations("COCO", lambda: coco_annotations(document, members))
    return Annotations("labelme", lambda: labelme_annotations(document, members)) if is_labelme(members) else None


def _count(document: JsonFile, parts: Iterator[object], what: str) -> None:
    if sum(1 for _ in itertools.islice(parts, MOST + 1)) > MOST:
        raise ConfigError(f"{document.file}: more than {MOST} {what}; divide it into several files")


class _Import:
    """Makes marks of annotations, and the account."""

    def __init__(
        self,
        config: Config,
        imager: ImagerDatabase,
        ledger: Ledger,
        file: Path,
        told: Told,
        name: str,
        confirmed: bool,
    ) -> None:
        self._config, self._ledger, self._file, self._told, self._confirmed = config, ledger, file, told, confirmed
        saved = datetime.fromtimestamp(file_time(file.stat()) / 1e9, UTC)
        self._saved = min(saved.replace(tzinfo=None, microsecond=0), now())
        self._places, self._words = Places(config, imager, ledger), Words(config)
        self._answers: dict[int, list[wire.Scored]] = {}
        self._sizes: dict[int, tuple[int, int] | None] = {}
        self.images: set[int] = set()
        self.done = ImportedAnnotations(name)

    def marks(self, batch: Sequence[Annotation], out: IO[bytes] | None) -> list[Mark]:
        """Return the marks of a batch that are new; count all, and write the refused ones to `out`."""
        images = self._images([each.mark.place for each in batch if each.mark is not None])
        found = []
        for each in batch:
            self.done.annotations += 1
            try:
                if each.mark is None:
                    raise ValueError(each.problem)
                image = images[each.mark.place]
                if isinstance(image, ValueError):
                    raise image
                mark = self._mark(each, each.mark, image)
                if mark is not None:
                    found.append(mark)
            except ValueError as why:
                self.done.refuse(each.number, why, each.file, out)
        return self._new(found)

    def _new(self, marks: Iterable[Mark]) -> list[Mark]:
        by_key = [(content_key(mark), mark) for mark in marks]
        stored = self._ledger.marks.stored([key for key, _ in by_key])
        new = []
        for key, mark in by_key:
            if key in stored:
                self.done.known += 1
                continue
            stored.add(key)
            new.append(mark)
            self.done.count_new(mark.given_by, mark.who)
            self.images.add(mark.image_id)
        self.done.new += len(new)
        return new

    def _images(self, places: Sequence[Place]) -> dict[Place, DropImage | ValueError]:
        """Find the image of each place, and read what is known of these images."""
        distinct = {place: [*_candidates(self._of_told(place))] for place in places}
        self._places.prepare(itertools.chain(*distinct.values()))
        found = {place: self._image(candidates) for place, candidates in distinct.items()}
        images = {image.image_id for image in found.values() if isinstance(image, DropImage)}
        self._answers, self._sizes = {}, {}
        for score in self._ledger.scores.of_images(sorted(images)):
            if isinstance(answer := score.answer, wire.Scored):
                self._answers.setdefault(score.image_id, []).append(answer)
        return found

    def _of_told(self, place: Place) -> Place:
        inspection = place.inspection if self._told.inspection is None else self._told.inspection
        return replace(place, barcode=self._told.barcode or place.barcode, inspection=inspection)

    def _image(self, candidates: Sequence[Place]) -> DropImage | ValueError:
        problem, found = ValueError("no image"), dict[int, DropImage]()
        ours = {place.barcode: place.inspection for place in candidates if place.inspection is not None}
        for place in candidates:
            try:
                image = self._places.find(place)
            except ValueError as error:
                problem = error
                continue
            if (inspection := ours.get(image.barcode, image.inspection)) != image.inspection:
                problem = ValueError(
                    f"plate {image.barcode} has this image at inspection {image.inspection}, not {inspection}"
                )
                continue
            found[image.image_id] = image
            if not place.image.endswith(_ANY_ENDING):
                break
        if len(found) > 1:
            return ValueError(f"several images are named so: {', '.join(each.image_name for each in found.values())}")
        return next(iter(found.values()), problem)

    def _mark(self, each: Annotation, mark: ForeignMark, image: DropImage) -> Mark | None:
        """Return an annotation as a mark; None if it is left out, which is counted.

        Raises
        ------
        ValueError
            If it is refused.
        """
        if not mark.label:
            raise ValueError("it has no label")
        is_drop = mark.label.casefold() == DROP
        meaning = None
        if not is_drop:
            meaning = self._words.meaning(mark.label, as_outcome=True)
            if meaning is None:
                self.done.without_meaning += 1
                return None
        corners = self._in_image(mark, image)
        kind = self._told.kind or mark.kind
        is_signed = kind == "person" and (bool(mark.who) or self._confirmed)
        if not is_signed and any(_is_same(region, mark, corners) for region in self._ours(image)):
            self.done.unchanged += 1
            return None
        values = {
            "image_id": image.image_id,
            "word": DROP if is_drop else mark.label,
            "meaning": meaning,
            "who": composed(mark.who or self._told.by or self.done.format),
            "given_by": kind,
            "origin": readable("/".join(part for part in (self._file.name, each.file) if part)),
            "origin_id": mark.origin_id,
            "at": min(mark.at or self._saved, now()),
        }
        if mark.is_outline:
            made = outline_mark(corners, **values)
        else:
            (left, top), (right, bottom) = corners
            made = box_mark(left, top, round(right - left, 2), round(bottom - top, 2), **values)
        if made.problem:
            raise ValueError(made.problem)
        return made

    def _ours(self, image: DropImage) -> Iterator[Region]:
        return itertools.chain(*(all_regions(answer) for answer in self._answers.get(image.image_id, ())))

    def _in_image(self, mark: ForeignMark, image: DropImage) -> tuple[Corner, ...]:
        """Return a mark's corners in pixels of our image, clipped to it.

        Raises
        ------
        ValueError
            If the file's image has another shape, or nothing is inside.
        """
        size = self._size(image) or (mark.size if mark.in_pixels else None)
        if size is None:
            raise ValueError("the image's size is not known, as it has no score and cannot be read")
        of_file = mark.size or size
        if mark.in_pixels and abs(of_file[0] / of_file[1] * size[1] / size[0] - 1) > _SAME_SHAPE:
            raise ValueError(
                f"the file's image is {of_file[0]:g}×{of_file[1]:g}, ours {size[0]:g}×{size[1]:g}: the shapes differ"
            )
        x_factor, y_factor = size[0] / of_file[0], size[1] / of_file[1]
        corners = tuple(
            (round(min(max(x * x_factor, 0), size[0]), 2), round(min(max(y * y_factor, 0), size[1]), 2))
            for x, y in mark.corners
        )
        if any(len({corner[axis] for corner in corners}) < 2 for axis in (0, 1)):
            raise ValueError("it lies outside the image")
        return corners

    def _size(self, image: DropImage) -> tuple[int, int] | None:
        """Return the image's width and height, from its newest score or else its file."""
        if (answers := self._answers.get(image.image_id)) is not None:
            return answers[-1].width, answers[-1].height
        if image.image_id not in self._sizes:
            try:
                self._sizes[image.image_id] = image_size(read_original(self._config, image))
            except ImageError:
                self._sizes[image.image_id] = None
        return self._sizes[image.image_id]


def _candidates(place: Place) -> Iterator[Place]:
    """Return what a place may mean: our own path says barcode and inspection; a name without its ending is tried."""
    stem = place.image.removesuffix(_ANY_ENDING)
    endings = [ending for suffix in SUFFIXES for ending in (suffix, suffix.upper())]
    images = [stem + ending for ending in endings] if stem != place.image else [place.image]
    for image in images:
        of_image = replace(place, image=image)
        parts = image.split("/")
        if not place.barcode and len(parts) >= 3 and parts[-2].isascii() and parts[-2].isdecimal():
            yield replace(of_image, barcode=parts[-3], inspection=int(parts[-2][:9]))
    yield from (replace(place, image=image) for image in images)


def _is_same(region: Region, mark: ForeignMark, corners: Sequence[Corner]) -> bool:
    """Tell whether a mark is one of ours as it was exported; of an outline, also its box."""
    if region.label != mark.label:
        return False
    ours = region.corners if mark.is_outline else (region.corners_of_box[0], region.corners_of_box[2])
    return len(ours) == len(corners) and all(
        abs(x - our_x) < _SAME_PIXEL and abs(y - our_y) < _SAME_PIXEL
        for (x, y), (our_x, our_y) in zip(corners, ours, strict=True)
    )


_UNCHANGED = "what is as xtalgrid exported it is no person's; if they looked at all of it, use --confirmed"


def annotation_lines(done: ImportedAnnotations, dry_run: bool) -> Iterator[str]:
    """Format an account as text."""
    parts = f"{done.annotations} annotations = {done.new} new + {done.known} known + {done.unchanged} as exported"
    if done.without_meaning:
        parts += f" + {done.without_meaning} without a meaning"
    return file_lines(done, parts, f"marks in {done.images} images", [_UNCHANGED] if done.unchanged else [], dry_run)
