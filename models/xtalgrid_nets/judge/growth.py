"""Judge by rendered time courses how well what grew is told from what stood, and fit the weights for it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from sklearn.linear_model import LogisticRegression

from xtalgrid_core import wire
from xtalgrid_core.chops import CHOP, Box
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.growth import growth, logarithm, new_parts, probability
from xtalgrid_core.images import read_image
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, Group, Outcome
from xtalgrid_core.registration import Unaligned
from xtalgrid_core.scale import REFERENCE_UM
from xtalgrid_scoring.score import score_image
from xtalgrid_synth.time_course import Growth, TimeCourse, render_course

from .metrics import auc, reliability
from .scoring import Settings
from .truth import Truth

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
    for number, grows in zip(range(courses), itertools.cycle(_COURSES), strict=False):
        outcome = next(others if grows is None else crystals)
        course = render_course(
            outcome,
            seed=seed + number,
            growth=grows or Growth.STAND,
            inspections=2,
            width=_SIZE[0],
            height=_SIZE[1],
            pixel_size_um=_UM,
        )
        before, now = _jpeg(course.images[0]), _jpeg(course.images[-1])
        entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=0, sha256="0" * 64, pixel_size_um=_UM)
        score = score_image(now, entry, options, networks)
        boxes = tuple(Box(*chop.box) for chop in score.boxes if chop.outcome.group is Group.CRYSTAL)
        if not boxes and grows is None:
            boxes = _around_dirt(course) or tuple(Box(*chop.box) for chop in score.boxes)
        if boxes:
            yield Example(
                _shown(course, grows, boxes), before, now, boxes, tuple(_is_new(course, box) for box in boxes)
            )


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


def _shown(course: TimeCourse, grows: Growth | None, boxes: tuple[Box, ...]) -> Shown:
    if any(_is_new(course, box) for box in boxes):
        return Shown.GREW if grows is Growth.GROW else Shown.APPEARED
    if grows in (Growth.STAND, Growth.MIXED):
        return Shown.STOOD
    return Shown.DIRT if course.dirt or grows else Shown.NOTHING


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


@dataclass(frozen=True, slots=True)
class Compared:
    """What was said of an example; `p_new` is None, and there are no parts, where it can't be said.

    `parts` has each box's part that is new by its contrast, and whether it shows a new crystal.
    """

    shown: Shown
    new: bool
    p_new: float | None
    parts: tuple[tuple[float, bool], ...] = ()


def compare(each: Example) -> Compared:
    """Compare an example's pictures."""
    found = new_parts(read_image(each.now), read_image(each.before), each.boxes, _UM)
    boxes = [] if isinstance(found, Unaligned) else zip(found, each.new, strict=True)
    parts = tuple((part, new) for part, new in boxes if part is not None)
    p_new = max((probability(part) for part, _ in parts), default=None)
    return Compared(each.shown, any(each.new), p_new, parts)


def fit(compared: Sequence[Compared]) -> tuple[float, float]:
    """Fit intercept and slope of `probability` to boxes; a course counts once, however many boxes it has.

    Raises
    ------
    ConfigError
        If no box is new, or all are.
    """
    rows = [(logarithm(part), new, 1 / len(each.parts)) for each in compared for part, new in each.parts]
    values, new, weights = map(np.array, zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    if not new.any() or new.all():
        raise ConfigError("a fit needs boxes with new crystals and others; render more courses")
    model = LogisticRegression(C=10.0, max_iter=1000).fit(values[:, None], new, weights)
    return round(float(model.intercept_[0]), 2), round(float(model.coef_[0, 0]), 2)


def markdown(compared: Sequence[Compared]) -> str:
    """Tabulate what was said, by what is shown, with the area under the curve and the calibration error."""
    rows = []
    for shown in Shown:
        mine = [each.p_new for each in compared if each.shown is shown]
        values = [p for p in mine if p is not None]
        counts = (sum(p >= 0.5 for p in values), sum(0.2 <= p < 0.5 for p in values), sum(p < 0.2 for p in values))
        rows.append((str(shown), *map(str, counts), str(len(mine) - len(values))))
    lines = table(("shown", "new (from 50 %)", "unsure", "there before (below 20 %)", "can't be said"), rows)
    said = [(each.p_new, each.new) for each in compared if each.p_new is not None]
    p, new = np.array([one for one, _ in said], np.float64), np.array([is_new for _, is_new in said], np.bool_)
    measured = reliability(p, new)
    if measured is not None and new.any() and not new.all():
        lines += ["", f"{len(said)} courses: AUC {auc(p, new):.3f}, ECE {measured.ece:.3f}"]
    return "\n".join(lines)


def standing(truths: Sequence[Truth], settings: Settings) -> Iterator[Compared]:
    """Compare real pictures of crystals with themselves, as an earlier inspection may have taken them.

    The earlier one is moved by up to 40 µm, darker or brighter, softer and noisier. Nothing in it is new.
    """
    options, networks = settings.options, settings.networks()
    for number, truth in enumerate(truth for truth in truths if truth.group is Group.CRYSTAL):
        data = truth.path.read_bytes()
        entry = wire.ImageEntry(number=0, file=truth.path.name, inspect_id=0, sha256="0" * 64)
        try:
            score = score_image(data, entry, options, networks)
        except ImageError:
            continue
        boxes = [chop.box for chop in score.boxes if chop.outcome.group is Group.CRYSTAL]
        if boxes and score.outcome.group is Group.CRYSTAL:
            now = read_image(data)
            before = read_image(_jpeg(_retaken(np.random.default_rng([7, number]), now, score.pixel_size_um)))
            grown = growth(now, before, boxes, score.pixel_size_um)
            yield Compared(Shown.STOOD, False, grown.p_new)


def _retaken(rng: np.random.Generator, image: npt.NDArray[np.uint8], um: float) -> npt.NDArray[np.uint8]:
    rows, cols = (int(v) for v in np.clip(rng.normal(0, 12, 2), -40, 40) / um)
    picture = Image.fromarray(np.roll(image, (rows, cols), axis=(0, 1)))
    soft = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5)) / um))
    noise = rng.normal(0, rng.uniform(0.3, 3), image.shape)
    return np.clip(np.asarray(soft) * rng.uniform(0.85, 1.12) + noise, 0, 255).astype(np.uint8)
