"""Crystals as patches that multiply the light: faceted bodies, needles, plates, fans, clusters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .field import Field, blur, noise

_OVER = 3
"""Patches are drawn this many times larger and then reduced, for smooth edges."""

_ONE = 120
"""The grey value of an 8-bit patch that leaves the light as it is."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Patch:
    """What one object does to the light.

    `light` ``(h, w)`` are factors; `cover` ``(h, w)``, 0..1, is where the object lies; `amber` is its tint, 0..1.
    """

    light: Field
    cover: Field
    amber: float = 0.0


@dataclass(frozen=True, slots=True)
class Habit:
    """What all crystals of one drop share: their form, and how they look."""

    sides: int
    """Of the cross-section."""
    rings: tuple[tuple[float, float], ...]
    """(radius, height) of the polygons between which the faces are stretched, from one end to the other."""
    stretch: tuple[float, float, float]
    """Factors along the three axes."""
    shear: float
    dark: float
    """How much light steep faces take away, 0..1."""
    edge: float
    """Brightness of the edges, 1 as the drop."""
    clear: float
    """Brightness of the whole crystal, 1 as the drop."""
    amber: float
    """Tint, 0 none, 1 full."""
    soft: float
    """Blur in pixels."""
    glint: float
    """How much the facets differ in brightness."""
    thick: float
    """Width of an edge's line, as a fraction of the crystal's size."""
    frame: float
    """How dark the crystal's margin is, 0..1: faces are steep there and deflect the light."""
    wide: float
    """Width of that margin, as a fraction of the crystal's size."""
    lamp: float
    """Direction of the light, radians: faces turned to it are brighter, and so is one side of each edge."""
    gleam: float
    """How much brighter, 0 not at all."""
    outline: float
    """How dark the crystal's outline is, 0..1, on the side away from the light."""


def draw_habit(rng: np.random.Generator, longest: float = 3.0) -> Habit:
    """Draw a habit whose rods are at most about `longest` times as long as wide."""
    sides = int(rng.choice([3, 4, 4, 4, 4, 6, 6, 8]))
    kind = rng.choice(["prism", "prism", "bipyramid", "capped", "frustum", "pyramid"])
    top = rng.uniform(0.3, 0.9)
    rings: tuple[tuple[float, float], ...] = {
        "prism": ((1.0, -1.0), (1.0, 1.0)),
        "bipyramid": ((0.0, -1.2), (1.0, 0.0), (0.0, 1.2)),
        "capped": ((0.0, -1.5), (1.0, -0.7), (1.0, 0.7), (0.0, 1.5)),
        "frustum": ((1.0, -0.6), (top, 0.6)),
        "pyramid": ((top * 0.6, -1.0), (1.0, 0.0), (top * 0.6, 1.0)),
    }[str(kind)]
    length = float(np.exp(rng.uniform(np.log(0.5), np.log(longest))))
    glassy = rng.random() < 0.25  # as bright as the drop: only the edges show
    return Habit(
        sides=sides,
        rings=rings,
        stretch=(rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.1), length),
        shear=rng.uniform(0, 0.35) if rng.random() < 0.5 else 0.0,
        dark=rng.uniform(0.02, 0.2) if glassy else rng.uniform(0.15, 0.85),
        edge=rng.uniform(0.55, 0.9) if glassy else rng.uniform(0.1, 0.9),
        clear=rng.uniform(0.95, 1.06) if glassy else rng.uniform(0.8, 1.1),
        amber=0.05 + 0.55 * rng.random() ** 2 if rng.random() < 0.3 else 0.0,
        soft=rng.choice([0.0, 0.0, 0.0, 0.7, 1.5]),
        glint=rng.choice([0.05, 0.1, 0.25, 0.45]),
        thick=rng.choice([0.012, 0.02, 0.035, 0.065]),
        frame=0.0 if glassy else rng.choice([0.0, 0.0, 0.4, 0.7, 0.9]),
        wide=rng.uniform(0.03, 0.16),
        lamp=rng.uniform(0, 6.3),
        gleam=rng.choice([0.0, 0.15, 0.3, 0.45, 0.6]),
        outline=rng.uniform(0.3, 0.9) if glassy else rng.uniform(0.5, 1.2),
    )


def draw_body(rng: np.random.Generator, size: float, habit: Habit) -> Patch:
    """Draw a faceted body whose longest side is `size` pixels."""
    rings = [_ring(habit, radius, z) for radius, z in habit.rings]
    shear = np.array([[1, 0, habit.shear], [0, 1, 0], [0, 0, 1]])
    placed = _rotation(rng) @ shear
    solid = [ring @ placed.T for ring in rings]
    points = np.concatenate(solid)
    middle = (points[:, :2].max(axis=0) + points[:, :2].min(axis=0)) / 2
    extent = float(np.ptp(points[:, :2], axis=0).max())
    scale = size / extent
    pad = 3 + size * 0.06
    side = int(np.ceil(size + 2 * pad))
    flat = [np.column_stack([(r[:, :2] - middle) * scale + side / 2, r[:, 2]]) for r in solid]
    front, back = _faces(flat, habit.sides)
    over = _OVER if size < 160 else 2
    outer = _layer(rng, side, over, front, habit, size, strong=True)
    inner = _layer(rng, side, over, back, habit, size, strong=False)
    shape = Image.new("L", (side * over, side * over), 0)
    pen = ImageDraw.Draw(shape)
    for face in front + back:
        pen.polygon(_flatten(face, over), fill=255)
    cover = np.asarray(shape.resize((side, side), Image.Resampling.BOX), np.float32) / 255
    light = outer * inner
    if habit.frame and size > 8:
        core = np.clip(2 * blur(cover, max(size * habit.wide, 0.8)) - 1, 0, 1) ** np.float32(0.7)
        lit = 1 + 0.5 * np.cos(rng.uniform(0, 6.3) + np.linspace(0, rng.choice([0.0, 2.0]), side, dtype=np.float32))
        light = light * (1 - np.float32(habit.frame) * np.minimum(lit, 1.05) * (1 - core) * cover)
    rim = cover * (1 - np.clip(2 * blur(cover, max(size * habit.thick, 1.3)) - 1, 0, 1))
    y, x = np.mgrid[:side, :side] / np.float32(side / 2) - 1
    turned = np.clip((np.cos(habit.lamp) * x + np.sin(habit.lamp) * y).astype(np.float32), -1, 1)
    light = light * (1 - np.float32(habit.outline) * rim * (np.float32(0.7) - np.float32(0.4) * turned))
    if size > 24:
        light = light * (1 + np.float32(rng.uniform(0.02, 0.12)) * cover * noise(rng, side, side, max(size / 3, 2), 2))
    light = 1 + (light * np.float32(habit.clear) - 1) * np.clip(blur(cover, 0.6) * 1.2, 0, 1)
    if rng.random() < 0.5:  # a bright fringe of refracted light
        ring = np.clip(blur(cover, 1.5 + size * 0.012) - cover, 0, 1)
        light = light + np.float32(rng.uniform(0.1, 0.7)) * ring
    return Patch(blur(light, habit.soft + rng.uniform(0, 0.6)), cover, habit.amber)


def draw_needle(
    rng: np.random.Generator, length: float, thick: float, angle: float, dark: float, bright: float
) -> Patch:
    """Draw a needle or rod with dark sides and a bright core.

    `length` and `thick` are in pixels, `angle` in radians; `dark` and `bright` are the factors on the light.
    """
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * thick / 2
    pad = thick + 3
    box = np.abs(half) + np.abs(across) + pad
    width, height = int(np.ceil(2 * box[0])), int(np.ceil(2 * box[1]))
    centre = np.array([width, height]) / 2
    over = 3 if max(width, height) < 400 else 2
    taper = rng.uniform(0.2, 1.0)
    ends = [
        centre - half - across,
        centre - half + across,
        centre + half + across * taper,
        centre + half - across * taper,
    ]
    quad = np.array(ends) * over
    picture, shape = (Image.new("L", (width * over, height * over), v) for v in (_ONE, 0))
    pen = ImageDraw.Draw(picture)
    pen.polygon([tuple(p) for p in quad], fill=int(_ONE * bright))
    line = max(1, round(min(max(thick * 0.28, 0.7), 5) * over))
    pen.line([tuple(p) for p in (*quad, quad[0])], fill=int(_ONE * dark), width=line)
    ImageDraw.Draw(shape).polygon([tuple(p) for p in quad], fill=255)
    light = _reduce(picture, width, height) / _ONE
    return Patch(blur(light, rng.uniform(0, 0.8)), _reduce(shape, width, height) / 255)


def draw_plate(rng: np.random.Generator, size: float, dark: float) -> Patch:
    """Draw a thin plate of `size` pixels: a polygon with fine edges and hardly any contrast inside."""
    corners = int(rng.choice([3, 4, 4, 5, 6]))
    turn = rng.uniform(0, 6.3)
    angles = turn + (np.arange(corners) + rng.uniform(-0.18, 0.18, corners)) * (2 * np.pi / corners)
    long = rng.uniform(0.25, 1)
    side = int(size + 8)
    tilt = rng.uniform(0, 6.3)
    raw = np.column_stack([np.cos(angles), np.sin(angles) * long])
    spin = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    quad = ((raw @ spin.T) * (size / 2) + side / 2) * _OVER
    picture, shape = (Image.new("L", (side * _OVER, side * _OVER), v) for v in (_ONE, 0))
    pen = ImageDraw.Draw(picture)
    pen.polygon([tuple(p) for p in quad], fill=int(_ONE * rng.uniform(0.88, 1.08)))
    for i in range(corners):
        pen.line(
            [tuple(quad[i]), tuple(quad[(i + 1) % corners])],
            fill=int(_ONE * min(dark * rng.uniform(0.7, 1.6), 1.25)),
            width=max(1, round(rng.uniform(0.8, 2.5) * _OVER)),
        )
    ImageDraw.Draw(shape).polygon([tuple(p) for p in quad], fill=255)
    return Patch(_reduce(picture, side, side) / _ONE, _reduce(shape, side, side) / 255)


def draw_fan(rng: np.random.Generator, size: float) -> Patch:
    """Draw needles that start from one point: a star, a sheaf or an urchin, `size` pixels across."""
    side = int(size + 8)
    over = 2
    picture, shape = (Image.new("L", (side * over, side * over), v) for v in (_ONE, 0))
    pen, mask = ImageDraw.Draw(picture), ImageDraw.Draw(shape)
    spread = rng.choice([np.pi, np.pi, 0.5, 0.9])
    main = rng.uniform(0, 6.3)
    dark, bright = rng.uniform(0.15, 0.7), rng.uniform(0.85, 1.5)
    thick = rng.uniform(1.2, 4)
    for _ in range(int(rng.integers(8, 60))):
        angle = main + rng.uniform(-spread, spread) + (np.pi if rng.random() < 0.5 else 0)
        length = size / 2 * rng.uniform(0.35, 1)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]]) * thick * over / 2
        start, stop = np.full(2, side * over / 2.0), side * over / 2 + along * length * over
        for offset, value in ((-1, dark), (1, dark), (0, bright)):
            line = [tuple(start + offset * across * 0.5), tuple(stop + offset * across)]
            pen.line(line, fill=int(_ONE * value), width=max(1, round(thick * 0.45 * over)))
        mask.line([tuple(start), tuple(stop)], fill=255, width=max(2, round(thick * 2 * over)))
    light = _reduce(picture, side, side) / _ONE
    if rng.random() < 0.5:
        y, x = np.mgrid[:side, :side] - side / 2
        core = np.exp(-(y * y + x * x) / (2 * (size * 0.1) ** 2)).astype(np.float32)
        light *= 1 - np.float32(rng.uniform(0.2, 0.8)) * core
    return Patch(light, np.minimum(blur(_reduce(shape, side, side) / 255, 2) * 1.5, 1))


def draw_cluster(rng: np.random.Generator, size: float, habit: Habit, count: int) -> Patch:
    """Draw `count` bodies grown into each other, together `size` pixels across."""
    side = int(size * 1.25 + 12)
    light, cover = np.ones((side, side), np.float32), np.zeros((side, side), np.float32)
    for turn in rng.uniform(0, 6.3) + np.arange(count) * (2 * np.pi / count):
        part = draw_body(rng, size * rng.uniform(0.3, 0.75), habit)
        h, w = part.light.shape
        away, angle = size * rng.uniform(0.05, 0.32), turn + rng.normal(0, 0.4)
        row = int(np.clip(side / 2 + away * np.sin(angle) - h / 2, 0, max(side - h, 0)))
        col = int(np.clip(side / 2 + away * np.cos(angle) - w / 2, 0, max(side - w, 0)))
        h, w = min(h, side - row), min(w, side - col)
        under, covered = light[row : row + h, col : col + w], part.cover[:h, :w]
        under *= 1 - np.float32(0.7) * covered  # what lies behind hardly shows
        under += np.float32(0.7) * covered
        under *= part.light[:h, :w]
        np.maximum(cover[row : row + h, col : col + w], covered, out=cover[row : row + h, col : col + w])
    return Patch(np.maximum(light, 0.06), cover, habit.amber)


def _ring(habit: Habit, radius: float, z: float) -> Points:
    """Return the corners of the habit's polygon at height `z`, ``(sides, 3)``."""
    angles = (np.arange(habit.sides) + 0.5) * (2 * np.pi / habit.sides)
    flat = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(habit.sides)]) * radius
    flat[:, 2] = z
    ring: Points = flat * np.array(habit.stretch)
    return ring


def _rotation(rng: np.random.Generator) -> Points:
    """Draw a rotation ``(3, 3)``, all orientations equally likely."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    turn: Points = q if np.linalg.det(q) > 0 else -q
    return turn


def _faces(rings: list[Points], sides: int) -> tuple[list[Points], list[Points]]:
    """Return the faces towards the camera and those away from it, each ``(N, 3)``."""
    faces = [rings[0][::-1], rings[-1]]
    for low, high in pairwise(rings):
        for i in range(sides):
            j = (i + 1) % sides
            faces.append(np.array([low[i], low[j], high[j], high[i]]))
    middle = np.concatenate(rings).mean(axis=0)
    front: list[Points] = []
    back: list[Points] = []
    for face in faces:
        normal = _normal(face)
        if not np.any(normal):
            continue
        if normal @ (face.mean(axis=0) - middle) < 0:
            normal = -normal
        (front if normal[2] > 0 else back).append(face)
    return front, back


def _normal(face: Points) -> Points:
    """Return a face's unit normal (Newell's method), or zeros if the face has no area."""
    (ax, ay, az), (bx, by, bz) = face.T, face[[*range(1, len(face)), 0]].T
    total = np.array([ay @ bz - az @ by, az @ bx - ax @ bz, ax @ by - ay @ bx])
    length = float(np.linalg.norm(total))
    return total / length if length > 1e-6 else np.zeros(3)


def _layer(
    rng: np.random.Generator, side: int, over: int, faces: list[Points], habit: Habit, size: float, strong: bool
) -> Field:
    """Draw faces and their edges as factors on the light ``(side, side)``; `strong` for the side towards the camera."""
    picture = Image.new("L", (side * over, side * over), _ONE)
    pen = ImageDraw.Draw(picture)
    lit = np.array([np.cos(habit.lamp), np.sin(habit.lamp)])
    for face in faces:
        normal = _normal(face)
        normal = normal if normal[2] > 0 else -normal
        steep = 1 - float(normal[2])
        value = (
            1
            + habit.gleam * float(normal[:2] @ lit) * (1.0 if strong else 0.3)
            - habit.dark * steep ** rng.uniform(0.8, 2.5) * (1.0 if strong else 0.3)
            + rng.normal(0, habit.glint * (1.0 if strong else 0.3))
        )
        pen.polygon(_flatten(face, over), fill=int(np.clip(value, 0.08, 1.6) * _ONE))
    line = np.clip(size * habit.thick * rng.uniform(0.7, 1.3), 0.7, 16) * (1 if strong else 0.5)
    if habit.gleam and strong:  # the bright sides first, so that no dark side is hidden
        shift = np.tile(lit * line * 0.8 * over, 1)
        for face in faces:
            bright = [(x + float(shift[0]), y + float(shift[1])) for x, y in _flatten(face, over)]
            tone = 1 + habit.gleam * rng.uniform(0.5, 1.2)
            pen.line([*bright, bright[0]], fill=int(min(tone, 1.6) * _ONE), width=max(1, round(line * over)))
    for face in faces:
        flat = _flatten(face, over)
        tone = 1 - (1 - habit.edge) * (0.6 if strong else 0.2)
        pen.line(
            [*flat, flat[0]],
            fill=int(np.clip(tone * rng.uniform(0.7, 1.5), 0.06, 1.7) * _ONE),
            width=max(1, round(line * over)),
        )
    return _reduce(picture, side, side) / _ONE


def _flatten(face: Points, over: int) -> list[tuple[float, float]]:
    """Project a face's corners into a picture drawn `over` times larger."""
    return [(float(x) * over, float(y) * over) for x, y in face[:, :2]]


def _reduce(picture: Image.Image, width: int, height: int) -> Field:
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
