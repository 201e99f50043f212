"""Build a training set from what people drew: chops of boxes for the classifier, outlines of drops for the segmenter.

The table is that of ``xtalgrid export annotations``. A box becomes the chops that cover it, a small one a chop around
its centre; nothing is taken from where nobody drew anything.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core.chops import CHOP, Box, cut, smallest_overlap
from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import SEGMENTER_SIDE, Levels, Pixels, WellPixels, read_image, segmenter_view
from xtalgrid_core.outcomes import PRIORITY
from xtalgrid_core.scale import pixel_size

from .arrays import sha256_of
from .build import Summary
from .format import SetError
from .labels import Label, Labels
from .sources import read_file
from .tables import read_lines
from .writing import ChopSetWriter

DROP = "drop"
COLUMNS = ("image", "plate", "kind", "label", "row", "col", "height", "width", "outline", "given_by", "pixel_size_um")

Line = Mapping[str, str]


def build_from_marks(
    table: Path, out: Path, labels: Labels, *, images: Path | None = None, pixel_size_um: float | None = None
) -> Summary:
    """Write the set of a table of marks; after an interruption the same arguments continue it.

    Parameters
    ----------
    images
        Base of the table's paths, such as the imager's image root; by default the table's folder.
    pixel_size_um
        Of images whose lines have none; None to guess it from their size.

    Raises
    ------
    SetError
        If the table can't be read or lacks a column.
    """
    root = images or table.parent
    lines_of = _read(table)
    arguments = {
        "table": str(table),
        "table_sha256": sha256_of(table),
        "map": labels.given,
        "images": str(root),
        "pixel_size_um": pixel_size_um,
    }
    with ChopSetWriter(out, "boxes", arguments) as writer:
        for name in sorted(set(lines_of) - writer.done):
            try:
                _add(writer, name, root / name, lines_of[name], labels, pixel_size_um)
            except (SetError, ImageError) as error:
                writer.fail(name, str(error))
    return Summary.of(writer)


def _read(table: Path) -> dict[str, list[Line]]:
    """Return the lines of each image."""
    found: dict[str, list[Line]] = defaultdict(list)
    for _, line in read_lines(table, COLUMNS):
        found[line["image"]].append(line)
    return found


def _add(
    writer: ChopSetWriter, name: str, file: Path, lines: list[Line], labels: Labels, pixel_size_um: float | None
) -> None:
    boxes, outlines, left_out = _drawn(lines, labels)
    if not boxes and not outlines:
        writer.leave_out(name, "images without a person's box or outline")
        return
    data = read_file(file)
    digest = hashlib.sha256(data).hexdigest()
    if writer.twin_of(digest) is not None:
        writer.leave_out(name, "second copies of an image")
        return
    image = read_image(data)
    known = lines[0]["pixel_size_um"].strip()
    try:
        scale = pixel_size(image.shape[1], image.shape[0], float(known) if known else pixel_size_um).to_reference
    except ValueError as error:
        raise SetError(f"pixel_size_um is {known or pixel_size_um}: {error}") from error
    views = _view(image, outlines) if outlines else None
    drawn: list[Label | None] = list(boxes)
    for number, label in enumerate(drawn or [None], start=1):
        is_last = number >= len(drawn)
        entry = name if is_last else f"{name} {label}"  # the last has the image's name: it is done then
        if entry in writer.done:
            continue
        writer.add(
            plate=lines[0]["plate"] or name,
            source="people's marks",
            image=entry,
            outcome=str(label or ""),
            sha256=digest if is_last else "",
            left_out=left_out if is_last else None,
            chops=_labelled(image, boxes[label], label, scale) if label else None,
            views=views if is_last else None,
        )


def _drawn(
    lines: list[Line], labels: Labels
) -> tuple[dict[Label, list[Box]], list[list[tuple[float, float]]], Counter[str]]:
    """Return an image's boxes by label, the outlines of its drop, and how many marks are left out for each reason."""
    boxes: dict[Label, list[Box]] = defaultdict(list)
    outlines, left_out = [], Counter[str]()
    for line in lines:
        if line["given_by"] != "person":
            left_out["marks of programs"] += 1
        elif line["kind"] == "point":
            left_out["points"] += 1
        elif line["label"] == DROP:
            outlines.append(_outline(line))
        elif not labels.knows(line["label"]):
            left_out[f"unknown label {line['label']!r}; give its meaning with --map"] += 1
        elif (label := labels.read(line["label"])) is None:
            left_out["left out by --map"] += 1
        else:
            boxes[label].append(_box(line))
    return boxes, outlines, left_out


def _labelled(
    image: Pixels, boxes: list[Box], label: Label, scale: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    chops = np.concatenate([_chops(image, box, scale) for box in boxes])
    return chops, np.full(len(chops), PRIORITY[label.outcome], np.uint8)


def _box(line: Line) -> Box:
    try:
        values = [float(line[name]) for name in ("row", "col", "height", "width")]
        if not all(math.isfinite(value) and 0 <= value < 1e6 for value in values):
            raise ValueError("not in an image")
    except ValueError as error:
        raise SetError(f"the box {[line[name] for name in ('row', 'col', 'height', 'width')]}: {error}") from error
    return Box(*(round(value) for value in values))


def _outline(line: Line) -> list[tuple[float, float]]:
    """Return a drop's corners (row, col); of a box, its own."""
    if not line["outline"]:
        row, col, height, width = _box(line)
        return [(row, col), (row, col + width), (row + height, col + width), (row + height, col)]
    try:
        corners = [(float(row), float(col)) for row, col in json.loads(line["outline"])]
        if len(corners) < 3 or not all(math.isfinite(value) for corner in corners for value in corner):
            raise ValueError("not an area")
    except (ValueError, TypeError) as error:
        raise SetError(
            f"the outline {line['outline'][:60]!r} is not [[row, col], …] of three points or more"
        ) from error
    return corners


def _chops(image: Pixels, box: Box, to_reference: float) -> npt.NDArray[np.uint8]:
    """Return the chops that cover a box, ``(n, 256, 256, 3)``, levelled like the well."""
    side = math.ceil(CHOP / to_reference)
    height, width = max(box.height, side), max(box.width, side)
    row = _inside(box.row + (box.height - height) // 2, height, image.shape[0])
    col = _inside(box.col + (box.width - width) // 2, width, image.shape[1])
    part = Box(row, col, height, width).clipped(*image.shape[:2])
    if not (part.height and part.width):
        raise SetError(f"the box {tuple(box)} lies outside the image")
    view = WellPixels(image).classifier_view(part, to_reference)
    if view.shape[0] - CHOP in (1, 2):  # of rounding
        view = view[:CHOP]
    if view.shape[1] - CHOP in (1, 2):
        view = view[:, :CHOP]
    return cut(view, smallest_overlap(*view.shape[:2]))


def _inside(start: int, length: int, most: int) -> int:
    return max(min(start, most - length), 0)


def _view(
    image: Pixels, outlines: list[list[tuple[float, float]]]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the segmenter's view and the mask of all outlines together, ``(1, 256, 256[, 3])``."""
    mask = Image.new("L", (SEGMENTER_SIDE, SEGMENTER_SIDE))
    down, across = SEGMENTER_SIDE / image.shape[0], SEGMENTER_SIDE / image.shape[1]
    for outline in outlines:
        ImageDraw.Draw(mask).polygon([(col * across, row * down) for row, col in outline], fill=255)
    return segmenter_view(image, Levels.of(image))[None], np.asarray(mask)[None]
