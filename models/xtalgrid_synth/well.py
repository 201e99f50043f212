"""One well image with a known outcome: ground, drop, contents, camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import CLASSES, Group, Outcome

from .contents import fill_drop, satellites
from .drops import Shape, draw_shape, draw_surface
from .field import Field, blur, step, stretch
from .grounds import PLATE_TYPES, Ground, PlateType, draw_ground
from .scene import Scene, WellObject

_AMBER = (0.06, 0.22, 0.5)
"""How much of red, green and blue a full tint takes away."""

_STRIP = 64

_FILLED: dict[PlateType, float] = {"ring": 0.08, "disc": 0.14, "bevel": 0.05}
"""How often the drop fills the well to its wall, which is its edge then. A clear one of these can't be told from an empty well."""

_WEIGHTS = {"ring": 0.27, "disc": 0.3, "bevel": 0.15, "micro": 0.16, "inside": 0.08, "frame": 0.04}


@dataclass(frozen=True, slots=True)
class RenderedWell:
    """A rendered picture and the truth about it.

    `image` ``(H, W, 3)`` uint8; `drop_mask` ``(H, W)`` bool; `content` ``(H, W)`` uint8, 1 + rank of the class that fills a pixel,
    0 where nothing does, `UNSURE` where it is too faint to be seen; `objects` are crystals, droplets, fibres … with boxes in image pixels.
    """

    image: npt.NDArray[np.uint8]
    outcome: Outcome
    drop_mask: npt.NDArray[np.bool_]
    content: npt.NDArray[np.uint8]
    objects: tuple[WellObject, ...]
    pixel_size_um: float
    plate_type: PlateType

    @property
    def crystal_boxes(self) -> tuple[Box, ...]:
        """Boxes of the objects of the crystal classes."""
        return tuple(item.box for item in self.objects if item.outcome.group is Group.CRYSTAL)


def render_well(
    outcome: Outcome,
    *,
    seed: int,
    width: int = 2452,
    height: int = 2056,
    pixel_size_um: float = 1.131,
    plate_type: PlateType | None = None,
) -> RenderedWell:
    """Render a well.

    Parameters
    ----------
    outcome
        One of the 13 classes (`rim` is rendered as `clear`).
    seed
        The same seed and arguments give the same bytes.
    width, height
        Size of the picture in pixels, at least 64.
    pixel_size_um
        Micrometres a pixel; the field of view follows from it.
    plate_type
        See `grounds.PlateType`; drawn at random when None.

    Raises
    ------
    ValueError
        For `undecided` and `failed`, which no picture can show, and for pictures that are too small.
    """
    _check(outcome, width, height, pixel_size_um)
    rng = np.random.default_rng(seed)
    plate = plate_type or _choose_plate(rng, outcome)
    k = 4 if width > 1600 else 2 if width > 700 else 1
    ground = draw_ground(rng, plate, -(-height // k), -(-width // k), pixel_size_um * k)
    light = _marks(rng, height, width, pixel_size_um, busy=rng.random() < 0.5)
    amber: Field | None = None
    mask, content = np.zeros((height, width), np.bool_), np.zeros((height, width), np.uint8)
    objects: tuple[WellObject, ...] = ()
    if outcome is not Outcome.NULL_EXPERIMENT:
        box, shape, bare = _place_drop(rng, plate, ground, k, height, width, pixel_size_um, outcome)
        scene = _draw_drop(rng, box, shape, ground, k, pixel_size_um, outcome, bare)
        here = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
        light[here] *= scene.light
        mask[here] = scene.inside > 0.5
        content[here] = scene.content * mask[here]
        objects = tuple(WellObject(o.outcome, o.box.moved(box.row, box.col)) for o in scene.objects)
        if scene.amber.any():
            amber = np.zeros((height, width), np.float32)
            amber[here] = scene.amber
    image = _expose(rng, ground, light, amber, k)
    return RenderedWell(image, outcome, mask, content, objects, pixel_size_um, plate)


def _check(outcome: Outcome, width: int, height: int, um: float) -> None:
    if outcome not in CLASSES:
        raise ValueError(f"a well cannot be rendered as {outcome.value!r}; choose one of the 13 classes")
    if min(width, height) < 64:
        raise ValueError(f"{width}×{height} pixels; a well image has at least 64 a side")
    if not 0.05 <= um <= 50:
        raise ValueError(f"pixel_size_um is {um}; a well image has between 0.05 and 50 µm a pixel")


def _choose_plate(rng: np.random.Generator, outcome: Outcome) -> PlateType:
    weights = dict(_WEIGHTS)
    if outcome is Outcome.NULL_EXPERIMENT:  # an empty 1536-well and a full clear one look alike
        weights["micro"] = weights["inside"] = 0.0
        weights["disc"] += 0.1
    p = np.array([weights[name] for name in PLATE_TYPES])
    return PLATE_TYPES[int(rng.choice(len(p), p=p / p.sum()))]


def _place_drop(
    rng: np.random.Generator,
    plate: PlateType,
    ground: Ground,
    k: int,
    height: int,
    width: int,
    um: float,
    outcome: Outcome,
) -> tuple[Box, Shape, bool]:
    """The drop's outline, in the rectangle that holds it; the last value: whether the drop fills the well, without an edge of its own."""
    well = min(ground.radius) * k
    row, col = (c * k for c in ground.centre)
    if plate == "micro":
        size, bare, rounded = well * 1.05, True, True
    elif plate == "inside":
        size = max(height, width) * rng.uniform(0.5, 1.6)
        row, col = height / 2 + rng.normal(0, size * 0.4), width / 2 + rng.normal(0, size * 0.4)
        bare, rounded = False, False
    elif plate in _FILLED and outcome is not Outcome.CLEAR and rng.random() < _FILLED[plate]:
        size, bare, rounded = well * 1.05, True, True
    else:
        size = float(np.clip(np.exp(rng.normal(np.log(0.48), 0.28)), 0.2, 0.9)) * well
        leaning = rng.random() < 0.12  # against the wall, or cut by the picture's border
        reach = max(well - size * (rng.uniform(0.1, 0.5) if leaning else rng.uniform(0.55, 1.05)), 0.05 * well)
        angle, away = rng.uniform(0, 6.3), reach * (1.0 if leaning else np.sqrt(rng.random()))
        row, col = row + away * np.sin(angle), col + away * np.cos(angle)
        bare, rounded = False, rng.random() < 0.3
    row, col = float(np.clip(row, 0.06 * height, 0.94 * height)), float(np.clip(col, 0.06 * width, 0.94 * width))
    margin = size * 1.75
    top, left = int(max(row - margin, 0)), int(max(col - margin, 0))
    bottom, right = int(min(row + margin, height)), int(min(col + margin, width))
    box = Box(top, left, max(bottom - top, 32), max(right - left, 32)).clipped(height, width)
    shape = draw_shape(rng, box.height, box.width, (row - box.row, col - box.col), size, rounded)
    return *_cropped(box, shape, int(30 / um)), bare


def _cropped(box: Box, shape: Shape, margin: int) -> tuple[Box, Shape]:
    """The part of the rectangle that holds the drop and what lies close beside it: the less is drawn, the quicker."""
    near = shape.rho[::8, ::8] < 1.3
    rows, cols = np.flatnonzero(near.any(axis=1)) * 8, np.flatnonzero(near.any(axis=0)) * 8
    if not len(rows):
        return box, shape
    top, left = max(int(rows[0]) - margin, 0), max(int(cols[0]) - margin, 0)
    bottom, right = min(int(rows[-1]) + 8 + margin, box.height), min(int(cols[-1]) + 8 + margin, box.width)
    part = np.s_[top:bottom, left:right]
    small = replace(shape, rho=np.ascontiguousarray(shape.rho[part]), angle=np.ascontiguousarray(shape.angle[part]))
    return Box(box.row + top, box.col + left, bottom - top, right - left), small


def _draw_drop(
    rng: np.random.Generator, box: Box, shape: Shape, ground: Ground, k: int, um: float, outcome: Outcome, bare: bool
) -> Scene:
    small = ground.floor[box.row // k : -(-(box.row + box.height) // k), box.col // k : -(-(box.col + box.width) // k)]
    floor = stretch(small, small.shape[0] * k, small.shape[1] * k, smooth=False)
    floor = floor[box.row % k :, box.col % k :][: box.height, : box.width]
    surface = _brimming(rng, shape) if bare else draw_surface(rng, shape, um)
    scene = Scene(
        rng=rng,
        um=um,
        shape=shape,
        inside=shape.cover * floor,
        light=np.ones_like(surface),
        amber=np.zeros_like(surface),
        content=np.zeros(surface.shape, np.uint8),
    )
    fill_drop(scene, outcome)
    scene.light *= surface
    if rng.random() < 0.15:
        satellites(scene)
    if rng.random() < 0.75:  # most pictures are a little out of focus, on top of what the lens can't resolve
        scene.light = np.float32(1) * blur(scene.light, float(rng.choice([0.8, 1.4, 2.0, 2.6, 3.5, 5.0])) / um)
    weight = np.clip(floor * 1.5, 0, 1)
    scene.light = 1 + (scene.light - 1) * weight
    return scene


def _brimming(rng: np.random.Generator, shape: Shape) -> Field:
    """The light through a drop that fills its well: level, or darker at the wall where it climbs, and a little uneven."""
    light: Field = np.ones_like(shape.rho)
    if rng.random() < 0.5:
        light -= np.float32(rng.uniform(0.05, 0.7)) * step(shape.rho, rng.uniform(0.4, 0.85), 1.0)
    light *= np.float32(rng.uniform(0.85, 1.03))
    return light


def _marks(rng: np.random.Generator, height: int, width: int, um: float, busy: bool) -> Field:
    """Dust, scratches, hairs and smudges on the plastic, over the whole picture."""
    light = np.ones((height, width), np.float32)
    if not busy and rng.random() < 0.4:
        return light
    k = 2 if width > 1600 else 1
    picture = Image.new("L", (-(-width // k), -(-height // k)), 128)
    pen = ImageDraw.Draw(picture)
    h, w, px = picture.height, picture.width, um * k
    for _ in range(int(rng.integers(2, 60 if busy else 12))):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        a, b = (max(rng.choice([6, 14, 30]) * rng.uniform(0.15, 1) / px, 0.8) * rng.uniform(0.5, 1.2) for _ in range(2))
        if rng.random() < 0.5:
            pen.ellipse([x - a, y - b, x + a, y + b], fill=int(rng.integers(20, 115)))
        else:  # a crumb
            turns = np.sort(rng.uniform(0, 6.3, 7))
            reach = rng.uniform(0.3, 1.4, 7)
            corners = zip(
                (x + a * reach * np.cos(turns)).tolist(), (y + b * reach * np.sin(turns)).tolist(), strict=True
            )
            pen.polygon(list(corners), fill=int(rng.integers(20, 115)))
    for _ in range(int(rng.choice([0, 0, 1, 2])) if busy else 0):  # long fine lines across the well
        x, y, angle = rng.uniform(0, w), rng.uniform(0, h), rng.normal(0, 0.3) + rng.choice([0, 0, np.pi / 2])
        t = np.linspace(-1, 1, 40) * max(h, w)
        bend = np.cumsum(rng.normal(0, 1, 40)) * rng.uniform(0, 3) + rng.uniform(-0.1, 0.1) * t * t / max(h, w)
        line = [
            (float(x + np.cos(angle) * s - np.sin(angle) * c), float(y + np.sin(angle) * s + np.cos(angle) * c))
            for s, c in zip(t, bend, strict=True)
        ]
        pen.line(
            line,
            fill=int(rng.choice([rng.integers(60, 115), rng.integers(140, 170)])),
            width=max(1, round(rng.uniform(2, 6) / px)),
        )
    for _ in range(int(rng.integers(0, 8))):  # spots out of focus
        x, y, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(20, 70) / px
        pen.ellipse([x - r, y - r, x + r, y + r], outline=int(rng.integers(118, 136)), fill=int(rng.integers(122, 130)))
    small = blur(np.asarray(picture, np.float32) / np.float32(128), rng.uniform(0.3, 1.2))
    return np.array(stretch(small, h * k, w * k, smooth=False)[:height, :width])


def _expose(
    rng: np.random.Generator, ground: Ground, light: Field, amber: Field | None, k: int
) -> npt.NDArray[np.uint8]:
    height, width = light.shape
    side = 640
    grain = rng.standard_normal((side, side), dtype=np.float32)
    if rng.random() < 0.5:  # neighbours share their noise where the camera fills in colours
        grain = np.float32(0.5) * (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1) + np.roll(grain, (1, 1), (0, 1)))
    grain *= np.float32(np.exp(rng.uniform(np.log(0.3), np.log(3.2))))
    grain += np.float32(rng.uniform(0, 6) + 0.5)  # stray light
    tiled = np.tile(grain, (1, width // side + 1))[:, :width]
    image = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        plane = np.pad(ground.rgb[:, :, channel], 1, mode="edge")
        for top in range(0, height, _STRIP):  # a strip stays in the processor's cache
            rows = slice(top, min(top + _STRIP, height))
            part = plane[top // k : -(-rows.stop // k) + 2]
            value = stretch(part, part.shape[0] * k, part.shape[1] * k, smooth=False)
            value = value[k : k + rows.stop - top, k : k + width] * light[rows]
            if amber is not None:
                value *= 1 - amber[rows] * np.float32(_AMBER[channel])
            value += tiled[top % side : top % side + value.shape[0]]
            np.clip(value, 0, 255, out=value)
            image[rows, :, channel] = value
    return image
