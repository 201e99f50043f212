"""The well without its drop: bright floor, walls, lamp and camera tint, for each kind of plate the real pictures show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .field import Field, blur, grid, noise, step, stretch

PlateType = Literal["ring", "disc", "bevel", "micro", "inside", "frame"]
"""`ring`: round well cut by the view, wide dark wall (Minstrel). `disc`: round well whole in view, black wall (Rock Imager).
`bevel`: square well, bevelled, granite around. `micro`: 1536-well plate under oil. `inside`: no wall in view. `frame`: bright
rectangle in the dark."""

PLATE_TYPES: tuple[PlateType, ...] = get_args(PlateType)

Colours = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ground:
    """`rgb` ``(H, W, 3)`` 0..255; `floor` ``(H, W)`` 0..1, where the well's floor is seen; its centre and radii in pixels."""

    rgb: Colours
    floor: Field
    centre: tuple[float, float]
    radius: tuple[float, float]


_TINTS = {
    "white": (238, 240, 242),
    "bluish": (216, 226, 240),
    "cream": (236, 236, 206),
    "dim": (140, 138, 116),
    "grey": (188, 188, 188),
    "greenish": (205, 212, 208),
    "rose": (226, 190, 220),
    "warm": (226, 218, 206),
}

_TINTS_OF: dict[PlateType, tuple[str, ...]] = {
    "ring": ("dim", "dim", "grey", "white", "cream", "warm"),
    "disc": ("white", "bluish", "bluish", "cream", "grey", "warm", "rose", "greenish"),
    "bevel": ("white", "white", "warm", "cream"),
    "micro": ("greenish", "white", "bluish", "grey"),
    "inside": ("rose", "grey", "white", "dim", "cream"),
    "frame": ("white", "grey"),
}


def draw_ground(rng: np.random.Generator, plate: PlateType, height: int, width: int, um: float) -> Ground:
    """Draw a well of this plate, `um` micrometres a pixel."""
    tint = np.array(_TINTS[str(rng.choice(_TINTS_OF[plate]))], np.float32) * np.float32(rng.uniform(0.82, 1.06))
    light, floor, centre, radius = _WALLS[plate](rng, height, width, um)
    if plate in ("disc", "ring") and rng.random() < 0.5:
        light = light * np.where(floor > 0.01, 1, _embossed(rng, height, width, um))
    cloud = noise(rng, height, width, max(height, width) / rng.uniform(1.2, 9), int(rng.integers(1, 3)))
    light = light * (1 + np.float32(rng.choice([0.02, 0.05, 0.1]) * rng.random()) * cloud)
    rgb = light[:, :, None] * tint
    if rng.random() < 0.6:  # a colour cast that changes over the picture: blue here, yellow there
        strength = rng.uniform(0.005, 0.05)
        cloud = noise(rng, height, width, width / rng.uniform(1.2, 5))
        for channel, lean in enumerate((1.0, rng.uniform(-0.3, 0.8), -1.0)):
            rgb[:, :, channel] *= 1 + np.float32(strength * lean) * cloud
            rgb[:, :, channel] *= 1 + np.float32(strength / 3) * noise(rng, height, width, width / rng.uniform(1.2, 3))
    if rng.random() < (0.35 if plate == "disc" else 0.1):
        rgb *= _fold(rng, height, width)[:, :, None]
    if plate in ("disc", "inside") and rng.random() < 0.3:
        rgb *= polarised(rng, height, width)
    if plate == "disc" and rng.random() < 0.4:
        rgb *= _veiled(rng, height, width)
    return Ground(rgb, floor, centre, radius)


def polarised(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Interference colours of stressed plastic between polarisers: pink and green clouds, sometimes strong fringes."""
    cloud = noise(rng, height, width, width / rng.uniform(1.0, 2.5))
    strength, turns = (
        (rng.uniform(0.05, 0.16), 1.2) if rng.random() < 0.75 else (rng.uniform(0.25, 0.5), rng.uniform(1.5, 4))
    )
    phase = rng.uniform(0, 2 * np.pi)
    waves = [np.sin(turns * cloud * (1 + 0.18 * c) + phase + 2.2 * c) for c in range(3)]
    waves[2] = 0.6 * waves[0] + 0.4 * waves[2]  # pink against green
    return np.stack([1 + np.float32(strength) * wave for wave in waves], axis=2).astype(np.float32)


def _veiled(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Soft bright and dark bands that lean one way, bluish or yellowish: foil and oil under the lamp, in wells without a drop too."""
    turn, long = rng.uniform(0, np.pi), rng.uniform(1.5, 4)
    rows, cols = grid(height, width)
    u = (np.cos(turn) * cols + np.sin(turn) * rows) / width
    v = (np.cos(turn) * rows - np.sin(turn) * cols) / width / long
    side = 96
    field = noise(rng, side, side, rng.uniform(8, 24), 2, 0.4)
    at = (
        np.clip(((u + 1) / 2.5) * side, 0, side - 1).astype(np.intp),
        np.clip((v + 1) / 2.5 * side, 0, side - 1).astype(np.intp),
    )
    band = blur(field[at], width / 40)
    strength = rng.uniform(0.02, 0.12)
    lean = rng.uniform(-0.6, 0.6)
    return np.stack([1 + np.float32(strength * (1 + lean * (c - 1))) * band for c in range(3)], axis=2).astype(
        np.float32
    )


def _embossed(rng: np.random.Generator, height: int, width: int, um: float) -> Field:
    """Letters and marks moulded into the plate, near the corners: rings and strokes with light and dark flanks."""
    light = np.ones((height, width), np.float32)
    rows, cols = grid(height, width)
    for _ in range(int(rng.integers(1, 5))):
        row = height * rng.choice([rng.uniform(0, 0.14), rng.uniform(0.3, 0.6), rng.uniform(0.86, 1)])
        col = width * rng.choice([rng.uniform(0, 0.1), rng.uniform(0.9, 1)])
        size, wide, turn = rng.uniform(30, 130) / um, rng.uniform(6, 20) / um, rng.uniform(0, 3.2)
        u = np.cos(turn) * (cols - col) + np.sin(turn) * (rows - row)
        v = np.cos(turn) * (rows - row) - np.sin(turn) * (cols - col)
        stroke = np.hypot(np.maximum(np.abs(u) - size * rng.uniform(0.3, 2), 0), v)
        away = np.abs(np.hypot(u, v) - size) if rng.random() < 0.5 else stroke
        light *= 1 - np.float32(rng.uniform(0.2, 0.9)) * np.exp(-((away / wide) ** 2))
        light *= 1 + np.float32(rng.uniform(0.1, 1.2)) * np.exp(-(((away - 2 * wide) / wide) ** 2))
    return light


def _fold(rng: np.random.Generator, height: int, width: int) -> Field:
    """A line across the well that parts a lighter from a darker side: a scratch or fold of the sealing foil."""
    rows, cols = grid(height, width)
    angle = rng.normal(0, 0.35) + rng.choice([0.0, 0.0, np.pi / 2])
    away = (rows - height * rng.uniform(0.2, 0.8)) * np.cos(angle) + (cols - width / 2) * np.sin(angle)
    along = (cols - width / 2) * np.cos(angle) - (rows - height / 2) * np.sin(angle)
    away = (
        away
        + np.float32(rng.normal(0, 0.12) / width) * along**2
        + np.float32(rng.uniform(0, 4)) * noise(rng, height, width, width / 8)
    )
    side = (
        np.float32(rng.uniform(-0.14, 0.14))
        * (away > 0)
        * np.exp(-np.abs(away) / np.float32(height * rng.uniform(0.1, 1)))
    )
    line = np.float32(rng.uniform(-0.4, 0.1)) * np.exp(-((away / np.float32(rng.uniform(0.7, 2.0))) ** 2))
    light: Field = (1 + side + line).astype(np.float32)
    return light


_Walls = tuple[Field, Field, tuple[float, float], tuple[float, float]]


def _round(rows: Field, cols: Field, centre: tuple[float, float], radius: tuple[float, float], power: float) -> Field:
    """Distance from the centre in radii; `power` 2 is an ellipse, more is squarer."""
    y, x = np.abs(rows - centre[0]) / radius[0], np.abs(cols - centre[1]) / radius[1]
    if power == 2:
        return np.sqrt(y * y + x * x)
    return (y**power + x**power) ** np.float32(1 / power)


def _ring(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.88, 1.2)
    centre = (height / 2 + half * rng.normal(0, 0.08), width / 2 + half * rng.uniform(-0.35, 0.35))
    radius = (r * rng.uniform(0.97, 1.06), r)
    power = rng.choice([2, 2, 2.4, 3.2])
    rho = _round(rows, cols, centre, radius, float(power))
    soft = rng.uniform(0.02, 0.16)
    dark = rng.uniform(0.04, 0.2)
    wall = rng.uniform(0.15, 0.3)
    light = 1 - (1 - dark) * step(rho, 1 - soft, 1 + soft * 0.5)
    outside = rng.uniform(0.25, 0.95)
    light = np.maximum(light, outside * step(rho, 1 + wall, 1 + wall + rng.uniform(0.02, 0.08)))
    if rng.random() < 0.5:  # the plate's own wall, striped
        side = cols if rng.random() < 0.7 else width - 1 - cols
        edge = width * rng.uniform(0.03, 0.18)
        stripes = rng.uniform(0.3, 0.7) * (1 + 0.12 * noise(rng, 1, width, max(10 / um, 1.5), 3)) + 0 * rows
        band = step(side, edge, edge * 0.93)
        light = light * (1 - band) + stripes.astype(np.float32) * band
        light *= 1 - 0.7 * step(np.abs(side - edge * 1.06), edge * 0.12, 0)
    light *= 1 - np.float32(rng.uniform(0, 0.15)) * np.minimum(rho, 1.2) ** 4
    return light.astype(np.float32), step(rho, 1 - soft * 0.4, 1 - soft), centre, radius


def _disc(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.72, 0.98)
    centre = (height / 2 + half * rng.normal(0, 0.05), width / 2 + half * rng.normal(0, 0.12))
    radius = (r, r * rng.uniform(0.96, 1.04))
    rho = _round(rows, cols, centre, radius, 2)
    soft = rng.choice([rng.uniform(0.006, 0.02), rng.uniform(0.03, 0.12)])
    dark = rng.uniform(0.01, 0.1)
    light = 1 - (1 - dark) * step(rho, 1 - soft, 1)
    if rng.random() < 0.6:  # a thin second contour just outside the floor
        at = rng.uniform(1.01, 1.05)
        light += np.float32(rng.uniform(0.05, 0.4)) * step(np.abs(rho - at), 0.008, 0.002)
    if rng.random() < 0.5:  # shadow of the wall on one side, a crescent
        lean = rng.uniform(0.01, 0.05)
        angle = rng.uniform(0, 2 * np.pi)
        moved = (centre[0] + r * lean * np.sin(angle), centre[1] + r * lean * np.cos(angle))
        light *= 1 - np.float32(rng.uniform(0.4, 0.95)) * step(_round(rows, cols, moved, radius, 2), 1 - lean * 0.9, 1)
    wall = rng.uniform(0.12, 0.4)
    outer = _round(rows, cols, centre, radius, float(rng.choice([2, 2, 4])))
    light = np.maximum(
        light, np.float32(rng.uniform(0.2, 0.95)) * step(outer, 1 + wall, 1 + wall + rng.uniform(0.02, 0.25))
    )
    light *= 1 - np.float32(rng.uniform(0, 0.3)) * np.minimum(rho, 1.2) ** np.float32(rng.choice([2, 6]))
    light = light + np.float32(0.015) * noise(rng, height, width, max(20 / um, 1.5), 2) * (rho > 1)
    return light.astype(np.float32), step(rho, 1, 1 - soft), centre, radius


def _bevel(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.78, 1.02)
    centre = (height / 2 + half * rng.normal(0, 0.06), width / 2 + half * rng.normal(0, 0.1))
    y, x = np.abs(rows - centre[0]), np.abs(cols - centre[1])
    rho = np.maximum(np.maximum(y, x), (y + x) * np.float32(rng.uniform(0.56, 0.66))) / np.float32(r)
    rho = rho + np.float32(0.002) * noise(rng, height, width, 60 / um, 2)
    granite = rng.uniform(0.55, 0.85) * (1 + np.float32(rng.uniform(0.08, 0.2)) * noise(rng, height, width, 30 / um, 3))
    line, thick = rng.uniform(0.0, 0.45), rng.uniform(0.015, 0.05)
    light = np.where(rho < 1, 1.0, granite).astype(np.float32)
    light *= 1 - (1 - np.float32(line)) * step(np.abs(rho - 1 - thick / 2), thick, thick * 0.3)
    light *= 1 - np.float32(rng.uniform(0, 0.4)) * step(rho, 1.2, 1.6)
    return blur(light, 8 / um), step(rho, 1, 0.985), centre, (r, r)


def _micro(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.55, 0.85)
    centre = (height / 2 + half * rng.normal(0, 0.06), width / 2 + half * rng.normal(0, 0.06))
    rho = _round(rows, cols, centre, (r, r), 2)
    ragged = rho + np.float32(rng.uniform(0.001, 0.009)) * noise(rng, height, width, r / 8, 3)
    angle = np.arctan2(rows - centre[0], cols - centre[1])
    turn = ((angle + np.pi) * (511 / (2 * np.pi))).astype(np.intp)
    streaks = np.float32(rng.uniform(0.1, 1)) * noise(rng, 1, 512, rng.uniform(4, 12), 3)[0][turn]
    brushed = noise(rng, 600, 512, 1.6, 3)  # scratches that run around: long in angle, short in radius
    brushed = blur(stretch(brushed, 600, 40), 0) if rng.random() < 0.7 else brushed
    brushed = stretch(brushed, 600, 512)
    streaks = streaks + brushed[np.minimum(rho * 200, 599).astype(np.intp), turn]
    around = np.float32(rng.uniform(0.16, 0.55)) * (1 + np.float32(rng.uniform(0.04, 0.14)) * streaks)
    edge = rng.uniform(0.01, 0.06)
    light = np.where(ragged < 1, 1.0, around).astype(np.float32)
    light *= 1 - np.float32(rng.uniform(0.3, 0.9)) * step(np.abs(ragged - 1), edge, 0)
    belt = rng.uniform(0.03, 0.14)  # the dark side wall of the well, with glints
    light *= 1 - np.float32(rng.uniform(0.1, 0.7)) * step(np.abs(rho - 1 - belt), belt * 1.1, belt * 0.7)
    patchy = noise(rng, height, width, max(rng.uniform(12, 60) / um, 1.5), 3)
    glints = step(patchy, 1.0, 1.9) * step(np.abs(rho - 1 - belt), belt * 1.1, belt * 0.5)
    light += np.float32(rng.uniform(0.1, 0.6)) * glints
    light *= 1 - np.float32(rng.uniform(0, 0.15)) * np.minimum(rho, 1) ** 3
    return np.maximum(light, 0.02).astype(np.float32), step(ragged, 1.0, 0.97), centre, (r, r)


def _inside(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    light = 1 + np.float32(rng.uniform(0.02, 0.12)) * noise(rng, height, width, max(height, width) / 1.2)
    half = min(height, width)
    return light, np.ones((height, width), np.float32), (height / 2, width / 2), (half * 0.75, half * 0.75)


def _frame(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    rows, cols = grid(height, width)
    centre = (height / 2 + height * rng.normal(0, 0.08), width / 2 + width * rng.normal(0, 0.06))
    radius = (height * rng.uniform(0.4, 0.6), width * rng.uniform(0.36, 0.5))
    rho = _round(rows, cols, centre, radius, rng.choice([8.0, 16.0]))
    soft = rng.uniform(0.005, 0.05)
    light = np.float32(rng.uniform(0.01, 0.12)) + step(rho, 1, 1 - soft) * (
        1 - np.float32(0.15) * np.minimum(rho, 1) ** 3
    )
    return light.astype(np.float32), step(rho, 1, 1 - soft), centre, radius


_WALLS = {"ring": _ring, "disc": _disc, "bevel": _bevel, "micro": _micro, "inside": _inside, "frame": _frame}
