"""One drop at several inspections: crystals appear and grow, dirt stands where it stood, the camera comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import Group, Outcome

from .crystals import Patch
from .field import Field, stretch
from .grounds import PlateType
from .scene import PutCrystal, WellObject, lay
from .well import Layers, draw_layers, expose

_OFF, _MOST_OFF = 12.0, 40.0
"""Micrometres by which the camera misses the drop's place, along each axis: in general, and at most."""

_LEAST = 3.0
"""Pixels below which a growing crystal is not drawn."""


class Growth(StrEnum):
    """What a drop's crystals do after the first inspection."""

    APPEAR = "appear"
    GROW = "grow"
    """They are there at the first one, 0.3 to 0.7 of their last size."""
    MIXED = "some appear"
    STAND = "stand"


@dataclass(frozen=True, slots=True)
class CourseCrystal:
    """A crystal that can be seen at the last inspection.

    Attributes
    ----------
    box
        In pixels of the last picture.
    sizes
        Its length at each inspection, as a part of the last; 0: it is not there.
    """

    box: Box
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TimeCourse:
    """Pictures of one drop, oldest first.

    Attributes
    ----------
    images
        ``(H, W, 3)`` uint8 each.
    moved
        Where what lies at the last picture's (row, col) lies in each: add this (rows, cols). A drop that dries moves a
        little more towards its edge.
    crystals
        Those that can be seen at last.
    dirt
        Boxes of noted dirt and other things that are no crystals, in pixels of the last picture.
    """

    images: tuple[npt.NDArray[np.uint8], ...]
    moved: tuple[tuple[int, int], ...]
    outcome: Outcome
    crystals: tuple[CourseCrystal, ...]
    dirt: tuple[Box, ...]
    pixel_size_um: float


def render_course(
    outcome: Outcome,
    *,
    seed: int,
    growth: Growth = Growth.APPEAR,
    inspections: int = 3,
    width: int = 1280,
    height: int = 960,
    pixel_size_um: float = 2.262,
    plate_type: PlateType | None = None,
) -> TimeCourse:
    """Render a drop at its inspections; at the last it shows the outcome.

    Dust, scratches, fibres, skins and precipitate are there from the first inspection on. The drop dries by up to 2 %
    of its size. Light, focus, the camera's place and its noise are drawn for each picture.

    Parameters
    ----------
    growth
        What the crystals do, if the outcome is one of crystals.
    inspections
        How many, at least 2.
    """
    if inspections < 2:
        raise ValueError(f"{inspections} inspections; a time course has at least 2")
    rng = np.random.default_rng([seed, 3])
    margin = int(np.ceil(_MOST_OFF / pixel_size_um))
    layers, _, _, _ = draw_layers(
        outcome,
        seed=seed,
        width=width + 2 * margin,
        height=height + 2 * margin,
        pixel_size_um=pixel_size_um,
        plate_type=plate_type,
    )
    off = np.clip(rng.normal(0, _OFF, (inspections, 2)), -_MOST_OFF, _MOST_OFF) / pixel_size_um
    corners = [(margin + int(row), margin + int(col)) for row, col in np.trunc(off)]
    put = layers.drop.scene.put_crystals if layers.drop is not None else []
    sizes = _sizes(rng, growth, len(put), inspections)
    dries = rng.uniform(0, 0.02)
    images = []
    for number, (row, col) in enumerate(corners):
        larger = 1 + dries * (1 - number / (inspections - 1))
        image = _picture(rng, layers, [(one, sizes[at][number]) for at, one in enumerate(put)], larger)
        images.append(np.ascontiguousarray(image[row : row + height, col : col + width]))
    last = corners[-1]
    seen = {id(item) for item in layers.drop.scene.objects} if layers.drop is not None else set()
    crystals = [
        CourseCrystal(box, sizes[at])
        for at, one in enumerate(put)
        if id(one.item) in seen and (box := _in_picture(layers, one.item.box, last, height, width))
    ]
    others = [item.box.moved(-last[0], -last[1]).clipped(height, width) for item in layers.objects if _is_dirt(item)]
    return TimeCourse(
        images=tuple(images),
        moved=tuple((last[0] - row, last[1] - col) for row, col in corners),
        outcome=outcome,
        crystals=tuple(crystals),
        dirt=tuple(box for box in others if box.height and box.width),
        pixel_size_um=pixel_size_um,
    )


def _is_dirt(item: WellObject) -> bool:
    return item.outcome.group is not Group.CRYSTAL


def _in_picture(layers: Layers, box: Box, corner: tuple[int, int], height: int, width: int) -> Box | None:
    """Return a box of the drop's rectangle in pixels of a picture; None outside."""
    assert layers.drop is not None
    place = layers.drop.box
    box = box.moved(place.row - corner[0], place.col - corner[1]).clipped(height, width)
    return box if box.height and box.width else None


def _sizes(rng: np.random.Generator, growth: Growth, crystals: int, inspections: int) -> list[tuple[float, ...]]:
    """Draw each crystal's sizes at the inspections, as parts of the last; 0: not there yet."""
    last = inspections - 1
    times = np.arange(inspections)
    drawn = []
    for number in range(crystals):
        stands = growth is Growth.STAND or (growth is Growth.MIXED and number and rng.random() < 0.5)
        if stands:
            drawn.append((1.0,) * inspections)
        elif growth is Growth.GROW:
            first = rng.uniform(0.3, 0.7)
            drawn.append(tuple(float(first + (1 - first) * time / last) for time in times))
        else:
            begins = rng.uniform(0, last - 0.5)
            drawn.append(tuple(float(max(time - begins, 0) / (last - begins)) ** 0.6 for time in times))
    return drawn


def _picture(
    rng: np.random.Generator, layers: Layers, crystals: list[tuple[PutCrystal, float]], larger: float
) -> npt.NDArray[np.uint8]:
    """Expose a picture of the whole field, with crystals of these sizes in a drop that is `larger` times as large."""
    light, amber = layers.marks.copy(), None
    if (drop := layers.drop) is not None:
        part = np.s_[drop.box.row : drop.box.row + drop.box.height, drop.box.col : drop.box.col + drop.box.width]
        body, tint = np.ones_like(drop.bare), drop.scene.amber.copy()
        for one, size in crystals:
            if (patch := _scaled(one.patch, size)) is not None:
                lay(patch, one.row, one.col, body, tint, is_solid=True)
        soft = max(drop.soft + rng.normal(0, 0.8) / layers.um, 0)
        light[part] *= _enlarged(drop.light(body, soft), larger)
        if tint.any():
            amber = np.zeros_like(light)
            amber[part] = _enlarged(tint, larger)
    high, wide = layers.ground.rgb.shape[:2]
    lean = rng.normal(0, 0.03, 2)
    rows, cols = np.linspace(-1, 1, high)[:, None, None], np.linspace(-1, 1, wide)[None, :, None]
    shade = rng.uniform(0.85, 1.12) * (1 + lean[0] * rows + lean[1] * cols)
    ground = replace(layers.ground, rgb=(layers.ground.rgb * shade).astype(np.float32))
    return expose(rng, ground, light, amber, layers.k)


def _scaled(patch: Patch, size: float) -> Patch | None:
    """Return a patch at a part of its size; None if too little is left of it."""
    if size == 1:
        return patch
    height, width = (round(side * size) for side in patch.light.shape)
    if min(height, width) < _LEAST:
        return None
    return Patch(
        stretch(patch.light, height, width, smooth=False),
        stretch(patch.cover, height, width, smooth=False),
        patch.amber,
    )


def _enlarged(field: Field, factor: float) -> Field:
    """Enlarge a field around its middle, which keeps its shape."""
    if factor == 1:
        return field
    height, width = field.shape
    high, wide = height / factor, width / factor
    part = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    picture = Image.fromarray(np.ascontiguousarray(field, np.float32), "F")
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=part))
