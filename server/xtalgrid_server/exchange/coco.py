"""COCO: one JSON document of images, categories and annotations, which detectors and CVAT read.

Lin et al. 2014; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import msgspec

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import CLASSES

from ..ledger.database import now
from . import foreign_marks as marks
from .foreign_marks import Annotation, ForeignMark
from .json_parts import JsonFile, Span
from .regions import DROP, LABELS, PROGRAM, Corner, Region, RegionsOfImage, image_file

CATEGORIES = [
    *({"id": n, "name": str(outcome), "supercategory": str(outcome.group)} for n, outcome in enumerate(CLASSES, 1)),
    {"id": len(LABELS), "name": DROP, "supercategory": DROP},
]

_LARGEST_ANNOTATION = 1024 * 1024
_MOST_IMAGES, _MOST_CATEGORIES = 500_000, 10_000


@contextmanager
def coco_writer(stream: IO[bytes]) -> Iterator[CocoWriter]:
    """Write a data set image by image; annotations wait in a temporary file, because they come after all images."""
    with tempfile.TemporaryFile() as waiting:
        info = {
            "description": "Crystallization drops with their best chops",
            "contributor": PROGRAM,
            "version": "1.0",
            "year": now().year,
            "date_created": f"{now():%Y-%m-%d %H:%M:%S}",
        }
        head = {"info": info, "licenses": [], "categories": CATEGORIES}
        stream.write(msgspec.json.encode(head)[:-1] + b',"images":[')
        yield CocoWriter(stream, waiting)
        stream.write(b'],"annotations":[')
        waiting.seek(0)
        while block := waiting.read(1 << 20):
            stream.write(block)
        stream.write(b"]}\n")


class CocoWriter:
    """Adds images to a data set; see `coco_writer`."""

    def __init__(self, images: IO[bytes], annotations: IO[bytes]) -> None:
        self._images, self._annotations = images, annotations
        self._written = {images: 0, annotations: 0}

    def add(self, of_image: RegionsOfImage) -> None:
        """Add an image.

        Besides COCO's own fields, it describes the drop; ``person_outcome`` is the outcome a person gave it, or that
        people disagree.
        """
        image, entry, state = of_image.image, of_image.entry, of_image.inspection.state
        self._write(
            self._images,
            {
                "id": image.image_id,
                "width": of_image.answer.width,
                "height": of_image.answer.height,
                "file_name": image_file(image),
                "date_captured": f"{image.inspected:%Y-%m-%d %H:%M:%S}",
                "barcode": image.barcode,
                "well": str(image.well),
                "inspection": image.inspection,
                "outcome": state.name,
                "group": of_image.group,
                "person_outcome": state.name if state.said else None,
                "p_crystal": round(image.p_crystal, 5),
                "classifier": image.classifier,
                "sample": entry.contents.sample or None,
                "condition": entry.contents.condition or None,
            },
        )
        for region in of_image.regions:
            self._write(self._annotations, _annotation(self._written[self._annotations] + 1, image.image_id, region))

    def _write(self, stream: IO[bytes], value: Any) -> None:
        stream.write((b",\n" if self._written[stream] else b"\n") + msgspec.json.encode(value))
        self._written[stream] += 1


def _annotation(number: int, image_id: int, region: Region) -> dict[str, Any]:
    """Return an annotation; with a segmentation, CVAT would make a polygon of a box."""
    return {
        "id": number,
        "image_id": image_id,
        "category_id": LABELS.index(region.label) + 1,
        "bbox": region.box,
        "area": round(area(region.corners), 1),
        "segmentation": [[number for corner in region.outline for number in corner]] if region.outline else [],
        "iscrowd": 0,
        "score": region.score,
    }


def area(corners: tuple[tuple[float, float], ...]) -> float:
    """Return the area inside corners."""
    pairs = zip(corners, (*corners[1:], corners[0]), strict=True)
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairs)) / 2


# ---- reading -------------------------------------------------------------------------------------------------------


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: Any = None
    height: Any = None


class _Category(msgspec.Struct):
    id: int | str
    name: str


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int | str
    bbox: Any = None
    segmentation: Any = None
    score: Any = None
    id: Any = None
    attributes: Any = None


def is_coco(members: Mapping[str, Span]) -> bool:
    """Tell whether a document with these lists and objects is COCO."""
    return {"images", "annotations", "categories"} <= members.keys()


def coco_annotations(document: JsonFile, members: Mapping[str, Span]) -> Iterator[Annotation]:
    """Read a data set; an annotation with a score is a program's.

    Raises
    ------
    ConfigError
        If the document is broken, or has too many images.
    """
    images = _by_id(document, members["images"], _Image, _MOST_IMAGES)
    names = _by_id(document, members["categories"], _Category, _MOST_CATEGORIES)
    seen: set[int] = set()
    for number, part in enumerate(document.objects(members["annotations"]), start=1):
        try:
            if part.end - part.start > _LARGEST_ANNOTATION:
                raise ValueError(f"it has more than {_LARGEST_ANNOTATION // 1024} kB; simplify its outline")
            read = msgspec.json.decode(document.read(part), type=_Annotation)
            if read.id is not None:
                if (identity := hash(str(read.id))) in seen:
                    raise ValueError(f"its id {str(read.id)[:40]} is that of an earlier one")
                seen.add(identity)
            yield Annotation(number, _mark(read, images, names))
        except (ValueError, RecursionError) as error:  # msgspec's errors too
            yield Annotation(number, problem=str(error))


def _by_id(document: JsonFile, array: Span, kind: type[Any], most: int) -> dict[int | str, Any]:
    """Return images or categories by id; None for an id that several have."""
    found: dict[int | str, Any] = {}
    for number, part in enumerate(document.objects(array), start=1):
        if number > most:
            raise ConfigError(
                f"{document.file}: more than {most} {kind.__name__.strip('_').lower()} entries; divide it"
            )
        try:
            read = msgspec.json.decode(document.read(part), type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        found[read.id] = None if read.id in found else read
    return found


def _mark(read: _Annotation, images: Mapping[Any, Any], names: Mapping[Any, Any]) -> ForeignMark:
    for what, identity, known in (("image", read.image_id, images), ("category", read.category_id, names)):
        if known.get(identity) is None:
            problem = "several have this id" if identity in known else "there is none"
            raise ValueError(f"{what} {str(identity)[:40]}: {problem}")
    image = images[read.image_id]
    outline = _outline(read.segmentation)
    if read.bbox is None and not outline:
        raise ValueError("it has no box")
    box = _box(read) if read.bbox is not None else ()
    is_outline = bool(outline) and not _is_box(outline)
    return ForeignMark(
        place=marks.place_of(image.file_name),
        label=marks.text(names[read.category_id].name),
        corners=outline if is_outline or not box else box,
        size=marks.size_of(image.width, image.height),
        is_outline=is_outline or not box,
        kind="person" if read.score is None else "program",
        origin_id=marks.text(read.id),
    )


def _box(read: _Annotation) -> tuple[Corner, Corner]:
    """Return a box's corners; of one that CVAT turned about its centre, those of the upright box around it."""
    x, y, width, height = marks.numbers(read.bbox, 4)
    drawn = marks.box_corners(x, y, width, height)
    turned = read.attributes.get("rotation") if isinstance(read.attributes, dict) else None
    if not turned:
        return drawn
    angle = math.radians(marks.number(turned))
    across, down = abs(math.cos(angle)), abs(math.sin(angle))
    wide, high = width * across + height * down, width * down + height * across
    return marks.box_corners(x + (width - wide) / 2, y + (height - high) / 2, wide, high)


def _outline(segmentation: Any) -> tuple[Corner, ...]:
    """Return the only polygon of a segmentation; none of several, or of a mask."""
    if not isinstance(segmentation, list) or len(segmentation) != 1 or not isinstance(segmentation[0], list):
        return ()
    flat = segmentation[0]
    if len(flat) % 2 or not flat:
        raise ValueError("its outline has an odd number of numbers")
    return marks.corners_of(list(zip(flat[::2], flat[1::2], strict=True)))


def _is_box(corners: tuple[Corner, ...]) -> bool:
    """Whether an outline is an upright rectangle, as tools write for a box."""
    across, down = {x for x, _ in corners}, {y for _, y in corners}
    return len(across) == len(down) == 2 and len(set(corners)) == 4 and len(corners) <= 5
