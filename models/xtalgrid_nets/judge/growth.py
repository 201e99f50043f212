"""Judge by rendered time courses how well what grew is told from what stood, and fit the weights for it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.chops import CHOP, Box
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, Group, Outcome
from xtalgrid_core.scale import REFERENCE_UM
from xtalgrid_scoring.score import score_image
from xtalgrid_synth.time_course import Growth, TimeCourse, render_course

from .scoring import Settings

_SIZE, _UM = (960, 720), 3.0


class Shown(StrEnum):
    """What the boxes of a time course show."""

    APPEARED = "crystals that appeared"
    GREW = "crystals that grew"
    STOOD = "crystals that stood"
    DIRT = "dirt that stood"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Example:
    """The first and the last picture of a time course, and the boxes that its score, or dirt, has in the last."""

    shown: Shown
    before: bytes
    now: bytes
    boxes: tuple[Box, ...]
    new: tuple[bool, ...]


_DIRTY = (Outcome.CLEAR, Outcome.CLEAR_WITH_FEATURES, Outcome.OTHER, Outcome.PRECIPITATE)
_COURSES = (Growth.APPEAR, Growth.GROW, Growth.STAND, Growth.MIXED, None)


def examples(courses: int, seed: int, settings: Settings) -> Iterator[Example]:
    """Render time courses and score their last pictures.

    Of five courses one each has crystals that appear, that grow, that stand, some of which appear, and none. The boxes
    are those of the score's crystals. In drops without crystals that are not called so they lie around dirt.
    """
    options, networks = settings.options, settings.networks()
    crystals = itertools.cycle([CLASSES[index] for index in GROUP_CLASSES[Group.CRYSTAL]])
    others = itertools.cycle(_DIRTY)
    for number, growth in zip(range(courses), itertools.cycle(_COURSES)):
        outcome = next(others if growth is None else crystals)
        course = render_course(
            outcome,
            seed=seed + number,
            growth=growth or Growth.STAND,
            width=_SIZE[0],
            height=_SIZE[1],
            pixel_size_um=_UM,
        )
        before, now = _jpeg(course.images[0]), _jpeg(course.images[-1])
        entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=0, sha256="0" * 64, pixel_size_um=_UM)
        score = score_image(now, entry, options, networks)
        boxes = tuple(Box(*chop.box) for chop in score.boxes if chop.outcome.group is Group.CRYSTAL)
        if not boxes and growth is None:
            boxes = _around_dirt(course) or tuple(Box(*chop.box) for chop in score.boxes)
        if boxes:
            yield Example(_shown(course, growth, boxes), before, now, boxes, tuple(_is_new(course, box) for box in boxes))


def _jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _around_dirt(course: TimeCourse) -> tuple[Box, ...]:
    side = round(CHOP * REFERENCE_UM / course.pixel_size_um)
    largest = sorted(course.dirt, key=lambda box: -box.height * box.width)[:3]
    return tuple(
        Box(box.row + box.height // 2 - side // 2, box.col + box.width // 2 - side // 2, side, side) for box in largest
    )


def _shown(course: TimeCourse, growth: Growth | None, boxes: tuple[Box, ...]) -> Shown:
    new = any(_is_new(course, box) for box in boxes)
    if growth is None:
        return Shown.DIRT if course.dirt else Shown.NOTHING
    if not new:
        return Shown.STOOD
    return Shown.GREW if growth is Growth.GROW else Shown.APPEARED


def _is_new(course: TimeCourse, box: Box) -> bool:
    """Whether a box shows a crystal that was shorter by a fifth, or absent, at the first inspection."""
    for crystal in course.crystals:
        of = crystal.box
        rows = min(box.row + box.height, of.row + of.height) - max(box.row, of.row)
        cols = min(box.col + box.width, of.col + of.width) - max(box.col, of.col)
        area = max(rows, 0) * max(cols, 0)
        if crystal.sizes[0] < 0.8 and area >= min(0.3 * of.height * of.width, 0.05 * box.height * box.width):
            return True
    return False
