"""labelme: a JSON document for each image, beside it, with its shapes.

github.com/wkentaro/labelme. It is under the GPL and never imported; its form is plain JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from xtalgrid_core.outcomes import SCORED_GROUPS

from . import foreign_marks as marks
from .foreign import Place
from .foreign_marks import Annotation, ForeignMark
from .json_parts import JsonFile, Span
from .many_files import Add
from .regions import Region, RegionsOfImage, image_file

VERSION = "5.5.0"
"""Of labelme, whose files these are like."""


def labelme_file(add: Add, of_image: RegionsOfImage) -> None:
    """Write an image's file; unpacked over a copy of the image root, it lies beside its image."""
    image = of_image.image
    path = PurePosixPath(image_file(image))
    document = {
        "version": VERSION,
        "flags": {str(group): group == of_image.group for group in SCORED_GROUPS},
        "shapes": [_shape(region, of_image.made_by) for region in of_image.regions],
        "imagePath": path.name,
        "imageData": None,
        "imageHeight": of_image.answer.height,
        "imageWidth": of_image.answer.width,
        "barcode": image.barcode,
        "inspection": image.inspection,
        "well": str(image.well),
    }
    add(str(path.with_suffix(".json")), msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def _shape(region: Region, made_by: str) -> dict[str, Any]:
    x, y, width, height = region.box
    return {
        "label": region.label,
        "points": region.outline or [[x, y], [x + width, y + height]],
        "shape_type": "polygon" if region.outline else "rectangle",
        "group_id": None,
        "description": f"{region.score} by {made_by}",
        "flags": {},
        "mask": None,
    }


# ---- reading -------------------------------------------------------------------------------------------------------

_LARGEST = 64 * 1024 * 1024
_FOLDERS = 4


class _Document(msgspec.Struct):
    """What is read besides the shapes; the picture that a file may hold is skipped."""

    imagePath: str
    imageHeight: Any = None
    imageWidth: Any = None


class _Shape(msgspec.Struct):
    label: str
    points: Any
    shape_type: str = "polygon"


def is_labelme(members: Mapping[str, Span]) -> bool:
    """Tell whether a document with these lists and objects is labelme's."""
    return "shapes" in members


def labelme_annotations(document: JsonFile, members: Mapping[str, Span]) -> Iterator[Annotation]:
    """Read the shapes of an image.

    The file says the image's name; where that lies, the folders say that the file is in.
    """
    try:
        if (size := document.whole().end) > _LARGEST:
            raise ValueError(f"{size // 1024**2} MB; save it without the image")
        read = msgspec.json.decode(document.read(document.whole()), type=_Document)
        size_of_image = marks.size_of(read.imageWidth, read.imageHeight)
    except (ValueError, RecursionError) as error:
        yield Annotation(0, problem=str(error))
        return
    place = marks.place_of(read.imagePath, _folders(document.file))
    for number, part in enumerate(document.objects(members["shapes"]), start=1):
        try:
            shape = msgspec.json.decode(document.read(part), type=_Shape)
            yield Annotation(number, _mark(shape, place, size_of_image))
        except (ValueError, RecursionError) as error:
            yield Annotation(number, problem=str(error))


def _folders(file: Path) -> tuple[str, ...]:
    return tuple(part for part in file.absolute().parent.parts[-_FOLDERS:] if part.strip("/\\"))


def _mark(shape: _Shape, place: Place, size: tuple[float, float] | None) -> ForeignMark:
    label = marks.text(shape.label)
    if shape.shape_type == "polygon":
        return ForeignMark(place, label, marks.corners_of(shape.points), size, is_outline=True)
    if shape.shape_type != "rectangle":
        raise ValueError(f"a {marks.text(shape.shape_type)} is neither a box nor an outline")
    points = shape.points
    if not isinstance(points, list) or len(points) != 2:
        raise ValueError("a rectangle has two corners")
    (x, y), (to_x, to_y) = (marks.numbers(point, 2) for point in points)
    left, top = min(x, to_x), min(y, to_y)
    return ForeignMark(place, label, marks.box_corners(left, top, max(x, to_x) - left, max(y, to_y) - top), size)
