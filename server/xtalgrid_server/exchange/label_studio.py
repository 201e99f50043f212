"""Label Studio: tasks with predictions, and the labelling interface that has their labels.

https://labelstud.io/guide/predictions: lengths are in percent of the image. Images are files below Label Studio's
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, which must be the image root.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import msgspec

from xtalgrid_core.outcomes import CLASSES

from ..domain.wells import parse_well
from . import foreign_marks as marks
from .foreign import Place
from .foreign_marks import Annotation, ForeignMark
from .json_parts import JsonFile
from .regions import DROP, Region, RegionsOfImage, image_file

LOCAL_FILES = "/data/local-files/?d="
_BOXES, _OUTLINES = "label", "outline"
_DROP_COLOUR = "#00897b"

INTERFACE = (
    '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
    f'  <RectangleLabels name="{_BOXES}" toName="image">\n'
    + "".join(f"    <Label value={quoteattr(each)} background={quoteattr(each.style.colour)}/>\n" for each in CLASSES)
    + f'  </RectangleLabels>\n  <PolygonLabels name="{_OUTLINES}" toName="image">\n'
    f'    <Label value="{DROP}" background="{_DROP_COLOUR}"/>\n  </PolygonLabels>\n</View>\n'
).encode()
"""The labelling interface, for the project's settings."""


@contextmanager
def zip_with_interface(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Write the tasks and the labelling interface as a zip file; gives the stream of the tasks."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("interface.xml", INTERFACE)
        with archive.open("tasks.json", "w", force_zip64=True) as tasks:
            yield tasks


class LabelStudioWriter:
    """Adds images as tasks to a list; `finish` it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._tasks = stream, 0

    def add(self, of_image: RegionsOfImage) -> None:
        """Add an image; its regions are a prediction, which people correct."""
        image, answer = of_image.image, of_image.answer
        task = {
            "data": {
                "image": LOCAL_FILES + quote(image_file(image)),
                "barcode": image.barcode,
                "inspection": image.inspection,
                "well": str(image.well),
                "outcome": of_image.inspection.state.name,
                "group": of_image.group,
                "p_crystal": round(image.p_crystal, 5),
            },
            "predictions": [
                {
                    "model_version": of_image.made_by,
                    "score": round(answer.probability, 5),
                    "result": [
                        _result(number, region, answer.width, answer.height)
                        for number, region in enumerate(of_image.regions, start=1)
                    ],
                }
            ],
        }
        self._stream.write((b",\n" if self._tasks else b"[\n") + msgspec.json.encode(task))
        self._tasks += 1

    def finish(self) -> None:
        """End the list."""
        self._stream.write(b"\n]\n" if self._tasks else b"[]\n")


def _result(number: int, region: Region, width: int, height: int) -> dict[str, Any]:
    def across(pixels: float) -> float:
        return round(100 * pixels / width, 6)

    def down(pixels: float) -> float:
        return round(100 * pixels / height, 6)

    if region.label == DROP:
        kind, name = "polygonlabels", _OUTLINES
        value: dict[str, Any] = {"points": [[across(x), down(y)] for x, y in region.corners], "closed": True}
    else:
        kind, name = "rectanglelabels", _BOXES
        x, y, box_width, box_height = region.box
        value = {"x": across(x), "y": down(y), "width": across(box_width), "height": down(box_height), "rotation": 0}
    return {
        "id": f"r{number}",
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": region.score,
        "value": {**value, kind: [region.label]},
    }


# ---- reading -------------------------------------------------------------------------------------------------------

_LARGEST_TASK = 16 * 1024 * 1024
_PERCENT = (100.0, 100.0)
_UPLOADED = re.compile(r"((?:^|/)upload/(?:\d+/)?)[0-9a-f]{8}-(?=[^/]+$)")
"""What Label Studio puts before the name of an uploaded image; others may begin so too, as by a date."""


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[Any] | None = None
    predictions: list[Any] | None = None


def is_label_studio(document: JsonFile) -> bool:
    """Tell whether the first object of a list is a task."""
    if document.kind != b"[":
        return False
    first = next(document.objects(document.whole()), None)
    if first is None or first.end - first.start > _LARGEST_TASK:
        return False
    try:
        task = msgspec.json.decode(document.read(first), type=_Task)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return bool(task.data) and not (task.annotations is None and task.predictions is None)


def label_studio_annotations(document: JsonFile) -> Iterator[Annotation]:
    """Read tasks: annotations are a person's, predictions a program's; those that a person skipped are left out."""
    number = 0
    for part in document.objects(document.whole()):
        try:
            if part.end - part.start > _LARGEST_TASK:
                raise ValueError(f"a task of more than {_LARGEST_TASK // 1024**2} MB; export it without brush labels")
            task = msgspec.json.decode(document.read(part), type=_Task)
            place = _place(task.data)
        except (ValueError, RecursionError) as error:
            number += 1
            yield Annotation(number, problem=str(error))
            continue
        for found in _results(task):
            number += 1
            try:
                yield Annotation(number, _mark(place, *found))
            except ValueError as error:
                yield Annotation(number, problem=str(error))


def _results(task: _Task) -> Iterator[tuple[bool, dict[str, Any], Any]]:
    """Return each result: whether a person gave it, what it is in, and itself."""
    for person, given in ((True, task.annotations), (False, task.predictions)):
        for one in given or ():
            results = one.get("result") if isinstance(one, dict) and not one.get("was_cancelled") else None
            for result in results if isinstance(results, list) else ():
                yield person, one, result


def _place(data: dict[str, Any]) -> Place:
    image = data.get("image")
    if not isinstance(image, str):
        image = next((value for value in data.values() if isinstance(value, str) and "/" in value), "")
    if "://" in image or image.startswith("/data/"):
        address = urlsplit(image)
        image = unquote(address.query.partition("d=")[2] or address.path)
    found = marks.place_of(_UPLOADED.sub(r"\1", image, count=1))
    barcode, inspection, well = (data.get(name) for name in ("barcode", "inspection", "well"))
    if not (isinstance(barcode, str) and type(inspection) is int and isinstance(well, str)):
        return found
    try:
        return Place(found.image, marks.text(barcode), inspection, well=parse_well(well))
    except ValueError:  # a lab's own column of this name
        return found


def _mark(place: Place, person: bool, given: dict[str, Any], result: Any) -> ForeignMark:
    kind = result.get("type") if isinstance(result, dict) else None
    value = result.get("value") if isinstance(result, dict) else None
    if kind not in ("rectanglelabels", "polygonlabels") or not isinstance(value, dict):
        raise ValueError(f"{marks.text(kind) or 'it'} is neither a box nor an outline with a label")
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1:
        raise ValueError("it has not exactly one label")
    is_outline = kind == "polygonlabels"
    return ForeignMark(
        place=place,
        label=marks.text(labels[0]),
        corners=marks.corners_of(value.get("points")) if is_outline else _box(value, result),
        size=_PERCENT,
        in_pixels=False,
        is_outline=is_outline,
        kind="person" if person else "program",
        who=_who(given.get("completed_by")) if person else marks.text(given.get("model_version")),
        at=_moment(given.get("updated_at") or given.get("created_at")),
        origin_id=marks.text(result.get("id")),
    )


def _box(value: dict[str, Any], result: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return a box; around a rotated one, which turns about its top left corner, the upright box."""
    x, y, width, height = (marks.number(value.get(name)) for name in ("x", "y", "width", "height"))
    corners = marks.box_corners(x, y, width, height)
    angle = math.radians(marks.number(value.get("rotation") or 0))
    if not angle:
        return corners
    size = marks.size_of(result.get("original_width"), result.get("original_height"))
    if size is None:
        raise ValueError("it is rotated, and the image's size is not there")
    ratio = size[0] / size[1]  # turning is in pixels, lengths are in percent
    turned = [
        (
            x + dx * math.cos(angle) - dy / ratio * math.sin(angle),
            y + dx * ratio * math.sin(angle) + dy * math.cos(angle),
        )
        for dx, dy in ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    ]
    return (min(c for c, _ in turned), min(c for _, c in turned)), (
        max(c for c, _ in turned),
        max(c for _, c in turned),
    )


def _who(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        return marks.text(completed_by.get("email")) or _who(completed_by.get("id"))
    return f"Label Studio user {name}" if (name := marks.text(completed_by)) else ""


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value).replace(microsecond=0)
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None
