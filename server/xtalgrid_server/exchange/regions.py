"""An image's boxes and outlines for annotation tools: its best chops with their outcomes, and the drop."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, PRIORITY

from ..ledger.shapes import DropImage
from ..reports.entries import DropInspection, Entry

DROP = "drop"
LABELS = (*map(str, CLASSES), DROP)
"""The labels of all formats, in the order of their numbers: the 13 outcomes, then the drop."""

Corner = tuple[float, float]
"""``(x, y)`` in pixels of the original, from its top left corner."""

_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Region:
    """A box or an outline.

    Attributes
    ----------
    box
        ``(x, y, width, height)`` in pixels, inside the image; of an outline, the box around it.
    score
        The probability of a chop, or the confidence of the drop.
    outline
        Corners of an outline; none of a box.
    """

    label: str
    box: tuple[int, int, int, int]
    score: float
    outline: tuple[Corner, ...] = ()

    @property
    def corners_of_box(self) -> tuple[Corner, Corner, Corner, Corner]:
        """The box's corners, clockwise from the top left."""
        x, y, width, height = self.box
        return (x, y), (x + width, y), (x + width, y + height), (x, y + height)

    @property
    def corners(self) -> tuple[Corner, ...]:
        """The outline's corners, or the box's."""
        return self.outline or self.corners_of_box


@dataclass(frozen=True, slots=True)
class RegionsOfImage:
    """An image with its regions, the chops first, and the drop's state at its inspection."""

    inspection: DropInspection
    entry: Entry
    answer: wire.Scored
    regions: tuple[Region, ...]

    @property
    def image(self) -> DropImage:
        """The image."""
        return self.entry.image

    @property
    def group(self) -> str:
        """The group that the drop is held to be of; empty if people disagree."""
        return str(self.inspection.state.group or "")

    @property
    def made_by(self) -> str:
        """The program and the model."""
        return f"{PROGRAM} classifier {self.image.classifier[:12]}"


PROGRAM = f"xtalgrid {version('xtalgrid')}"


def regions_of(inspection: DropInspection, entry: Entry, chops: Sequence[wire.BestChop]) -> RegionsOfImage | None:
    """Return an image's regions, of these chops; None without an ARTscore, which has the image's size."""
    answer = entry.answer
    if answer is None or not answer.width or not answer.height:
        return None
    return RegionsOfImage(inspection, entry, answer, (*_chops(answer, chops), *_drop(answer)))


def all_regions(answer: wire.Scored) -> tuple[Region, ...]:
    """Return all regions of an answer, as they may have been exported."""
    return (*_chops(answer, answer.boxes), *_drop(answer))


def clipped(box: wire.PixelBox, answer: wire.Scored) -> tuple[int, int, int, int] | None:
    """Convert our ``(row, col, height, width)`` to ``(x, y, width, height)``.

    Both are in pixels of the original. The result is clipped to the image; None if nothing remains.
    """
    row, col, height, width = box
    right, bottom = min(col + width, answer.width), min(row + height, answer.height)
    return (col, row, right - col, bottom - row) if right > col and bottom > row else None


def _chops(answer: wire.Scored, chops: Sequence[wire.BestChop]) -> Iterator[Region]:
    for chop in chops:
        box = clipped(chop.box, answer)
        if box is not None and chop.outcome in PRIORITY:
            yield Region(str(chop.outcome), box, round(chop.probability, 5))


def _drop(answer: wire.Scored) -> Iterator[Region]:
    box = answer.drop.box and clipped(answer.drop.box, answer)
    if box is not None:
        corners = tuple((min(col, answer.width), min(row, answer.height)) for row, col in answer.drop.outline)
        yield Region(DROP, box, round(answer.drop.confidence, 5), corners if len(corners) > 2 else ())


def image_file(image: DropImage) -> str:
    """Return an image's path below the image root, ``BARCODE/INSPECTION/NAME``, which never leads out of it."""
    return "/".join(map(_name, (image.barcode, str(image.inspection), image.image_name)))


def _name(text: str) -> str:
    name = _NOT_IN_NAMES.sub("_", text)
    return name if name.strip(". ") else "_"
