"""One well image with a known outcome: the empty well, the drop, its contents, the camera."""

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
from .visibility import forget_unseen, shows

_AMBER = (0.06, 0.22, 0.5)
"""How much of red, green and blue a full tint absorbs."""

_ATTEMPTS = 12
"""How often a well is drawn at most until its crystals can be seen."""

_STRIP = 64
"""Rows of the picture that are exposed at once."""

_FILLED: dict[PlateType, float] = {"ring": 0.08, "disc": 0.14, "bevel": 0.05}
"""How often the drop fills the well up to its wall. Clear drops never do here: they would look like an empty well."""

_WEIGHTS: dict[PlateType, float] = {
    "ring": 0.27,
    "disc": 0.3,
    "bevel": 0.15,
    "micro": 0.16,
    "inside": 0.08,
    "frame": 0.04,
}
"""How often each plate type is drawn."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A drop with its contents, before it is laid over the empty well.

    Attributes
    ----------
    box
        The rectangle that holds it, in image pixels.
    scene
        What it holds, with its light finished.
    bare
        ``(H, W)``: the drop's light without its crystals, in focus.
    soft
        How far it is out of focus, in pixels.
    weight
        ``(H, W)``, 0..1: how much of the light the floor below passes on.
    """

    box: Box
    scene: Scene
    bare: Field
    soft: float
    weight: Field

    def light(self, crystals: Field | None = None, soft: float | None = None) -> Field:
        """Return what the drop does to the light with these crystals (None: none), at this blur (None: its own)."""
        full = self.bare if crystals is None else self.bare * crystals
        light: Field = 1 + (blur(full, self.soft if soft is None else soft) - 1) * self.weight
        return light


@dataclass(frozen=True, slots=True)
class Layers:
    """All that a picture is made of, but for the camera.

    Attributes
    ----------
    ground
        The empty well; one of its pixels covers `k` of the picture's.
    um
        Micrometres a pixel of the picture.
    marks
        ``(H, W)``: dust and scratches on the plastic, as factors on the light.
    drop
        None: the well is empty.
    """

    ground: Ground
    k: int
    um: float
    marks: Field
    drop: Drop | None

    @property
    def objects(self) -> tuple[WellObject, ...]:
        """What can be told apart in the drop, with boxes in image pixels."""
        if self.drop is None:
            return ()
        corner = self.drop.box
        return tuple(WellObject(o.outcome, o.box.moved(corner.row, corner.col)) for o in self.drop.scene.objects)


@dataclass(frozen=True, slots=True)
class RenderedWell:
    """A rendered picture and what it shows.

    Attributes
    ----------
    image
        ``(H, W, 3)`` uint8.
    outcome
        The class that was asked for.
    drop_mask
        ``(H, W)`` bool: where the drop is visible.
    content
        ``(H, W)`` uint8: 1 + rank of the class that fills a pixel, 0 where nothing does, `UNSURE` where it can't be
        seen.
    objects
        Crystals, droplets, fibres and the like, with boxes in image pixels.
    pixel_size_um
        Micrometres per pixel.
    plate_type
        The type that was given or drawn.
    redrawn
        How often the well was drawn anew because no crystal of it could be seen (`visibility`).
    """

    image: npt.NDArray[np.uint8]
    outcome: Outcome
    drop_mask: npt.NDArray[np.bool_]
    content: npt.NDArray[np.uint8]
    objects: tuple[WellObject, ...]
    pixel_size_um: float
    plate_type: PlateType
    redrawn: int = 0

    @property
    def crystal_boxes(self) -> tuple[Box, ...]:
        """Boxes of all crystals, in image pixels."""
        return tuple(item.box for item in self.objects if item.outcome.group is Group.CRYSTAL)


def render_well(
    outcome: Outcome,
    *,
    seed: int,
    width: int = 2452,
    height: int = 2056,
    pixel_size_um: float = 1.131,
    plate_type: PlateType | None = None,
    in_precipitate: bool = False,
) -> RenderedWell:
    """Render a well image.

    Parameters
    ----------
    outcome
        One of the 13 classes; `rim` is rendered as `clear`.
    seed
        The same seed and arguments give the same bytes.
    width, height
        Size of the picture in pixels, at least 64.
    pixel_size_um
        Micrometres per pixel, 0.05 to 50. It sets the field of view.
    plate_type
        See `grounds.PlateType` (default: drawn at random).
    in_precipitate
        Whether crystals always have precipitate around them.

    Raises
    ------
    ValueError
        If the outcome is `undecided` or `failed`, which no picture shows, or a size is out of range.
    """
    _check(outcome, width, height, pixel_size_um)
    layers, plate, rng, redrawn = draw_layers(
        outcome,
        seed=seed,
        width=width,
        height=height,
        pixel_size_um=pixel_size_um,
        plate_type=plate_type,
        in_precipitate=in_precipitate,
    )
    light = layers.marks
    amber: Field | None = None
    mask, content = np.zeros((height, width), np.bool_), np.zeros((height, width), np.uint8)
    if layers.drop is not None:
        box, scene = layers.drop.box, layers.drop.scene
        part = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
        light[part] *= scene.light
        mask[part] = scene.inside > 0.5
        content[part] = scene.content * mask[part]
        tint = np.maximum(scene.amber, scene.crystal_amber)
        if tint.any():
            amber = np.zeros((height, width), np.float32)
            amber[part] = tint
    image = expose(rng, layers.ground, light, amber, layers.k)
    return RenderedWell(image, outcome, mask, content, layers.objects, pixel_size_um, plate, redrawn)


def draw_layers(
    outcome: Outcome,
    *,
    seed: int,
    width: int,
    height: int,
    pixel_size_um: float,
    plate_type: PlateType | None = None,
    in_precipitate: bool = False,
) -> tuple[Layers, PlateType, np.random.Generator, int]:
    """Draw a well up to its exposure; for the parameters see `render_well`.

    Returns
    -------
    layers, plate_type
        The well, and its plate type.
    rng
        For the exposure.
    redrawn
        How often it was drawn anew because no crystal of it could be seen.
    """
    rng = np.random.default_rng(seed)
    plate = plate_type or _choose_plate(rng, outcome)
    for again in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, again]) if again else rng
        layers = _draw(rng, outcome, height, width, pixel_size_um, plate, in_precipitate)
        if outcome.group is not Group.CRYSTAL or shows(layers.objects, outcome, max(height, width)):
            break
    return layers, plate, rng, again


def _draw(
    rng: np.random.Generator,
    outcome: Outcome,
    height: int,
    width: int,
    um: float,
    plate: PlateType,
    in_precipitate: bool,
) -> Layers:
    k = 4 if width > 1600 else 2 if width > 700 else 1  # the ground is smooth: 1 / k of the resolution will do
    ground = draw_ground(rng, plate, -(-height // k), -(-width // k), um * k)
    marks = _marks(rng, height, width, um, busy=rng.random() < 0.25)
    if outcome is Outcome.NULL_EXPERIMENT:
        return Layers(ground, k, um, marks, None)
    box, shape, fills_well = _place_drop(rng, plate, ground, k, height, width, um, outcome)
    drop = _draw_drop(rng, box, shape, ground, k, um, outcome, fills_well, in_precipitate)
    return Layers(ground, k, um, marks, drop)


def _check(outcome: Outcome, width: int, height: int, um: float) -> None:
    if outcome not in CLASSES:
        raise ValueError(f"a well cannot be rendered as {outcome.value!r}; choose one of the 13 classes")
    if min(width, height) < 64:
        raise ValueError(f"{width}×{height} pixels; a well image has at least 64 on each side")
    if not 0.05 <= um <= 50:
        raise ValueError(f"pixel_size_um is {um}; a well image has between 0.05 and 50 µm per pixel")


def _choose_plate(rng: np.random.Generator, outcome: Outcome) -> PlateType:
    weights = dict(_WEIGHTS)
    if outcome is Outcome.NULL_EXPERIMENT:  # in these two an empty well looks like a clear drop
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
    """Choose where the drop lies, and draw its outline.

    Returns
    -------
    box
        The rectangle that holds the drop, in image pixels.
    shape
        The outline in that rectangle.
    fills_well
        Whether the drop reaches the wall all around, so that it has no visible edge of its own.
    """
    well = min(ground.radius) * k
    row, col = (c * k for c in ground.centre)
    if plate == "micro":
        size, fills_well, rounded = well * 1.05, True, True
    elif plate == "inside":
        size = max(height, width) * rng.uniform(0.5, 1.6)
        row, col = height / 2 + rng.normal(0, size * 0.4), width / 2 + rng.normal(0, size * 0.4)
        fills_well, rounded = False, False
    elif plate in _FILLED and outcome is not Outcome.CLEAR and rng.random() < _FILLED[plate]:
        size, fills_well, rounded = well * 1.05, True, True
    else:
        size = float(np.clip(np.exp(rng.normal(np.log(0.48), 0.28)), 0.2, 0.9)) * well
        leaning = rng.random() < 0.12  # against the wall, or cut off by the picture's border
        reach = max(well - size * (rng.uniform(0.1, 0.5) if leaning else rng.uniform(0.55, 1.05)), 0.05 * well)
        angle, away = rng.uniform(0, 6.3), reach * (1.0 if leaning else np.sqrt(rng.random()))
        row, col = row + away * np.sin(angle), col + away * np.cos(angle)
        fills_well, rounded = False, rng.random() < 0.3
    row, col = float(np.clip(row, 0.06 * height, 0.94 * height)), float(np.clip(col, 0.06 * width, 0.94 * width))
    margin = size * 1.75
    top, left = int(max(row - margin, 0)), int(max(col - margin, 0))
    bottom, right = int(min(row + margin, height)), int(min(col + margin, width))
    box = Box(top, left, max(bottom - top, 32), max(right - left, 32)).clipped(height, width)
    shape = draw_shape(rng, box.height, box.width, (row - box.row, col - box.col), size, rounded)
    return *_cropped(box, shape, int(30 / um)), fills_well


def _cropped(box: Box, shape: Shape, margin: int) -> tuple[Box, Shape]:
    """Cut the rectangle to the drop and `margin` pixels around it, so that no more is drawn than is needed."""
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
    rng: np.random.Generator,
    box: Box,
    shape: Shape,
    ground: Ground,
    k: int,
    um: float,
    outcome: Outcome,
    fills_well: bool,
    in_precipitate: bool,
) -> Drop:
    """Draw the drop and its contents; `k` is how many image pixels a pixel of `ground` covers."""
    floor = _enlarged(ground.floor, box, k)
    surface = _surface_to_wall(rng, shape) if fills_well else draw_surface(rng, shape, um)
    scene = Scene(
        rng=rng,
        um=um,
        shape=shape,
        inside=shape.cover * floor,
        light=np.ones_like(surface),
        crystals=np.ones_like(surface),
        amber=np.zeros_like(surface),
        crystal_amber=np.zeros_like(surface),
        content=np.zeros(surface.shape, np.uint8),
    )
    fill_drop(scene, outcome, in_precipitate)
    scene.light *= surface
    if rng.random() < 0.15:
        satellites(scene)
    # Most pictures are a little out of focus.
    soft = float(rng.choice([0.8, 1.4, 2.0, 2.6, 3.5, 5.0])) / um if rng.random() < 0.75 else 0.0
    drop = Drop(box, scene, scene.light, soft, np.clip(floor * 1.5, 0, 1))
    scene.light = drop.light(scene.crystals)
    if outcome.group is Group.CRYSTAL:
        grey = _enlarged(ground.rgb.mean(axis=2), box, k)
        forget_unseen(scene, grey, drop.light(), max(ground.floor.shape) * k)
    return drop


def _enlarged(field: Field, box: Box, k: int) -> Field:
    """Return the part of the ground's field, a `k`-th of the picture's size, that lies under a box of the picture."""
    small = field[box.row // k : -(-(box.row + box.height) // k), box.col // k : -(-(box.col + box.width) // k)]
    big = stretch(small, small.shape[0] * k, small.shape[1] * k, smooth=False)
    return big[box.row % k :, box.col % k :][: box.height, : box.width]


def _surface_to_wall(rng: np.random.Generator, shape: Shape) -> Field:
    """Draw the surface of a drop that fills its well, as factors: flat, or darker where it climbs the wall."""
    light: Field = np.ones_like(shape.rho)
    if rng.random() < 0.5:
        light -= np.float32(rng.uniform(0.05, 0.7)) * step(shape.rho, rng.uniform(0.4, 0.85), 1.0)
    light *= np.float32(rng.uniform(0.85, 1.03))
    return light


def _marks(rng: np.random.Generator, height: int, width: int, um: float, busy: bool) -> Field:
    """Draw dust, scratches and smudges on the plastic, factors ``(H, W)``; `busy` for a dirty plate."""
    light = np.ones((height, width), np.float32)
    if not busy and rng.random() < 0.4:
        return light
    k = 2 if width > 1600 else 1
    picture = Image.new("L", (-(-width // k), -(-height // k)), 128)
    pen = ImageDraw.Draw(picture)
    h, w, um = picture.height, picture.width, um * k
    for _ in range(int(rng.integers(2, 60 if busy else 12))):
        _draw_dust(rng, pen, h, w, um)
    for _ in range(int(rng.choice([0, 0, 1, 2])) if busy else 0):
        _draw_scratch(rng, pen, h, w, um)
    for _ in range(int(rng.integers(0, 8))):  # spots out of focus
        x, y, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(20, 70) / um
        pen.ellipse([x - r, y - r, x + r, y + r], outline=int(rng.integers(118, 136)), fill=int(rng.integers(122, 130)))
    soft = rng.uniform(0.3, 1.2) if rng.random() < 0.4 else rng.uniform(2, 8) / um  # most plastic is out of focus
    small = blur(np.asarray(picture, np.float32) / np.float32(128), soft)
    return np.array(stretch(small, h * k, w * k, smooth=False)[:height, :width])


def _draw_dust(rng: np.random.Generator, pen: ImageDraw.ImageDraw, height: int, width: int, um: float) -> None:
    """Draw a round speck or an angular crumb, at most 72 µm across."""
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    reach = rng.choice([6, 6, 6, 14, 14, 30])
    a, b = (max(reach * rng.uniform(0.15, 1) / um, 0.8) * rng.uniform(0.5, 1.2) for _ in range(2))
    tone = int(124 - 104 * rng.random() ** 2)  # most is faint
    if rng.random() < 0.7:
        pen.ellipse([x - a, y - b, x + a, y + b], fill=tone)
        return
    turns = np.sort(rng.uniform(0, 6.3, 7))
    corners = rng.uniform(0.3, 1.4, 7)
    xs, ys = x + a * corners * np.cos(turns), y + b * corners * np.sin(turns)
    pen.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=tone)


def _draw_scratch(rng: np.random.Generator, pen: ImageDraw.ImageDraw, height: int, width: int, um: float) -> None:
    """Draw a long fine line across the well, 2 to 6 µm wide."""
    x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.normal(0, 0.3) + rng.choice([0, 0, np.pi / 2])
    long = max(height, width)
    t = np.linspace(-1, 1, 40) * long
    bend = np.cumsum(rng.normal(0, 1, 40)) * rng.uniform(0, 3) + rng.uniform(-0.1, 0.1) * t * t / long
    xs = x + np.cos(angle) * t - np.sin(angle) * bend
    ys = y + np.sin(angle) * t + np.cos(angle) * bend
    tone = int(rng.choice([rng.integers(80, 122), rng.integers(132, 160)]))
    pen.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=tone, width=max(1, round(rng.uniform(2, 6) / um)))


def expose(
    rng: np.random.Generator, ground: Ground, light: Field, amber: Field | None, k: int
) -> npt.NDArray[np.uint8]:
    """Multiply the ground by the light and the tint, and add the camera's noise; `ground` is enlarged `k` times."""
    height, width = light.shape
    side = 640
    grain = rng.standard_normal((side, side), dtype=np.float32)
    if rng.random() < 0.5:  # a colour sensor interpolates, so neighbouring pixels share noise
        grain = np.float32(0.5) * (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1) + np.roll(grain, (1, 1), (0, 1)))
    grain *= np.float32(np.exp(rng.uniform(np.log(0.3), np.log(3.2))))
    grain += np.float32(rng.uniform(0, 6) + 0.5)  # stray light
    tiled = np.tile(grain, (1, width // side + 1))[:, :width]
    image = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        plane = np.pad(ground.rgb[:, :, channel], 1, mode="edge")
        for top in range(0, height, _STRIP):  # strips fit in the processor's cache
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
