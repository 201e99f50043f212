"""The well without its drop: bright floor, walls, lamp and the camera's tint, for each type of plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .field import Field, blur, grid, noise, step, stretch

PlateType = Literal["ring", "disc", "bevel", "micro", "inside", "frame"]
"""What the well looks like.

`ring`: round well cut off by the view, with a wide dark wall (Minstrel). `disc`: round well wholly in view, with a
black wall (Rock Imager). `bevel`: bevelled square well in mottled plastic. `micro`: well of a 1536-well plate under
oil. `inside`: no wall in view. `frame`: bright rectangle in the dark.
"""

PLATE_TYPES: tuple[PlateType, ...] = get_args(PlateType)

Colours = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ground:
    """An empty well.

    `rgb` ``(H, W, 3)`` is the picture, 0..255, or brighter where it is overexposed; `floor` ``(H, W)``, 0..1, is where
    the well's floor is seen; `centre` and `radius` of the well are (row, col) in pixels.
    """

    rgb: Colours
    floor: Field
    centre: tuple[float, float]
    radius: tuple[float, float]


_LAMPS: dict[str, tuple[float, float, float, float]] = {
    # grey level from, to; red and blue beside green
    "dim": (105, 165, 0.04, -0.17),
    "grey": (165, 230, 0.0, 0.0),
    "white": (205, 252, -0.01, -0.02),
    "bluish": (170, 225, -0.07, 0.08),
    "cream": (170, 245, -0.01, -0.13),
    "greenish": (150, 215, -0.09, -0.02),
    "rose": (155, 205, 0.14, 0.08),
    "warm": (165, 230, 0.03, -0.05),
    "over": (250, 290, 0.0, -0.02),
}

_LAMPS_OF: dict[PlateType, tuple[str, ...]] = {
    "ring": ("dim", "dim", "dim", "grey", "grey", "white", "cream", "warm"),
    "disc": ("white", "bluish", "bluish", "cream", "cream", "grey", "grey", "warm", "rose", "greenish", "over"),
    "bevel": ("white", "white", "white", "cream", "grey"),
    "micro": ("greenish", "white", "bluish", "grey", "grey"),
    "inside": ("rose", "grey", "white", "dim", "cream", "over"),
    "frame": ("white", "grey", "over"),
}

_CLOUDED = {"ring": 0.15, "disc": 0.5, "bevel": 0.1, "micro": 0.15, "inside": 0.35, "frame": 0.1}
"""How often the colour varies over the floor by more than the lamp explains."""


def draw_ground(rng: np.random.Generator, plate: PlateType, height: int, width: int, um: float) -> Ground:
    """Draw an empty well of this plate type, `um` micrometres per pixel."""
    low, high, red, blue = _LAMPS[str(rng.choice(_LAMPS_OF[plate]))]
    spread = 0.0 if red == blue == 0 else 0.02  # a monochrome camera has no colour cast
    cast = (1 + red + spread * rng.normal(), 1.0, 1 + blue + 1.5 * spread * rng.normal())
    light, floor, centre, radius = _WALLS[plate](rng, height, width, um)
    if rng.random() < {"disc": 0.5, "ring": 0.15}.get(plate, 0):
        light = light * np.where(floor > 0.01, 1, _embossed(rng, height, width, um))
    lamp, away, aside = _lamp(rng, height, width)
    light = light * lamp * np.float32(rng.uniform(low, high))
    if spread:  # the colour shifts outwards and to one side; dark plastic is bluish or brownish
        outwards, sideways, shade = rng.normal(0, 0.02), rng.normal(0, 0.015), rng.normal(0.03, 0.06)
        dark = np.float32(shade) * np.clip(1 - light / np.float32(0.7 * high), 0, 1)
        fall = np.float32(outwards) * away + np.float32(sideways) * aside + dark
        tints = [light * cast[0] * (1 - fall), light, light * cast[2] * (1 + fall)]
    else:
        tints = [light, light, light]
    rgb = np.stack(tints, axis=2).astype(np.float32)
    if spread and rng.random() < _CLOUDED[plate]:
        strength = np.float32(rng.choice([0.01, 0.03, 0.06]) * rng.uniform(0.5, 1.2))
        lean = rng.uniform(-0.3, 0.8)
        cloud = strength * noise(rng, height, width, width / rng.uniform(1.2, 2.8))
        rgb *= 1 + cloud[:, :, None] * np.array([1, lean, -1], np.float32)
    if rng.random() < (0.12 if plate == "disc" else 0.05):
        rgb *= _fold(rng, height, width)[:, :, None]
    if spread and rng.random() < {"disc": 0.2, "inside": 0.1}.get(plate, 0):
        rgb *= _polarised(rng, height, width)
    if spread and plate == "disc" and rng.random() < 0.3:
        rgb *= _veiled(rng, height, width)
    return Ground(rgb, floor, centre, radius)


def _lamp(rng: np.random.Generator, height: int, width: int) -> tuple[Field, Field, Field]:
    """Draw the lamp's light.

    Returns
    -------
    light
        ``(H, W)``, about 1 at the brightest point and falling off outwards.
    away
        ``(H, W)``: square of the distance from there, in halves of the picture's longer side, at most 2.5.
    aside
        ``(H, W)``: distance from there in one direction, in the same unit.
    """
    rows, cols = grid(height, width)
    half = max(height, width) / 2
    y = (rows - height / 2) / np.float32(half) - np.float32(rng.normal(0, 0.2))
    x = (cols - width / 2) / np.float32(half) - np.float32(rng.normal(0, 0.2))
    away: Field = np.minimum(y * y + x * x, np.float32(2.5))
    turn = rng.uniform(0, 2 * np.pi)
    aside = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
    fall = np.exp(rng.uniform(np.log(0.01), np.log(0.35)))
    light = 1 - np.float32(fall) * away / (1 + np.float32(0.5 * fall) * away)
    light = light * (1 + np.float32(rng.uniform(0, 0.07)) * aside)
    if rng.random() < 0.3:
        light *= 1 + np.float32(rng.uniform(0.003, 0.02)) * noise(rng, height, width, width / rng.uniform(1.2, 3))
    return light.astype(np.float32), away, aside


def _polarised(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Draw the interference colours of stressed plastic between polarisers: pink and green clouds or fringes."""
    cloud = noise(rng, height, width, width / rng.uniform(1.0, 2.5))
    strength, turns = (
        (rng.uniform(0.05, 0.16), 1.2) if rng.random() < 0.75 else (rng.uniform(0.25, 0.5), rng.uniform(1.5, 4))
    )
    phase = rng.uniform(0, 2 * np.pi)
    waves = [np.sin(turns * cloud * (1 + 0.18 * c) + phase + 2.2 * c) for c in range(3)]
    waves[2] = 0.6 * waves[0] + 0.4 * waves[2]  # pink against green
    return np.stack([1 + np.float32(strength) * wave for wave in waves], axis=2).astype(np.float32)


def _veiled(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Draw soft parallel bands, bluish or yellowish, as foil and oil give."""
    turn, long = rng.uniform(0, np.pi), rng.uniform(1.5, 4)
    rows, cols = grid(height, width)
    u = (np.cos(turn) * cols + np.sin(turn) * rows) / width
    v = (np.cos(turn) * rows - np.sin(turn) * cols) / width / long
    side = 96
    field = noise(rng, side, side, rng.uniform(8, 24), 2, 0.4)
    row, col = (np.clip((w + 1) / 2.5 * side, 0, side - 1).astype(np.intp) for w in (u, v))
    band = blur(field[row, col], width / 40)
    strength = rng.uniform(0.01, 0.08)
    lean = rng.uniform(-0.6, 0.6)
    tints = [1 + np.float32(strength * (1 + lean * (c - 1))) * band for c in range(3)]
    return np.stack(tints, axis=2).astype(np.float32)


def _embossed(rng: np.random.Generator, height: int, width: int, um: float) -> Field:
    """Draw letters and marks moulded into the plate near its corners: soft rings and strokes with a lit side."""
    light = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        row = height * rng.choice([rng.uniform(0, 0.14), rng.uniform(0.3, 0.6), rng.uniform(0.86, 1)])
        col = width * rng.choice([rng.uniform(0, 0.1), rng.uniform(0.9, 1)])
        size, wide, turn = rng.uniform(30, 130) / um, rng.uniform(8, 25) / um, rng.uniform(0, 3.2)
        long = size * rng.uniform(0.3, 2)
        reach = int(size + long + 6 * wide) + 2
        top, left = max(int(row) - reach, 0), max(int(col) - reach, 0)
        part = light[top : int(row) + reach, left : int(col) + reach]
        rows, cols = grid(*part.shape)
        rows, cols = rows + np.float32(top - row), cols + np.float32(left - col)
        u = np.float32(np.cos(turn)) * cols + np.float32(np.sin(turn)) * rows
        v = np.float32(np.cos(turn)) * rows - np.float32(np.sin(turn)) * cols
        stroke = np.hypot(np.maximum(np.abs(u) - np.float32(long), 0), v)
        away = np.abs(np.hypot(u, v) - np.float32(size)) if rng.random() < 0.5 else stroke
        part *= 1 - np.float32(rng.uniform(0.2, 0.85)) * np.exp(-((away / np.float32(wide)) ** 2))
        part *= 1 + np.float32(rng.uniform(0.05, 0.5)) * np.exp(-((away / np.float32(wide) - 2) ** 2))
    return light


def _fold(rng: np.random.Generator, height: int, width: int) -> Field:
    """Draw a scratch or fold of the sealing foil: a line across the well, lighter on one side than on the other."""
    rows, cols = grid(height, width)
    angle = rng.normal(0, 0.35) + rng.choice([0.0, 0.0, np.pi / 2])
    away = (rows - height * rng.uniform(0.2, 0.8)) * np.cos(angle) + (cols - width / 2) * np.sin(angle)
    along = (cols - width / 2) * np.cos(angle) - (rows - height / 2) * np.sin(angle)
    away = away + np.float32(rng.normal(0, 0.12) / width) * along**2
    away = away + np.float32(rng.uniform(0, 4)) * noise(rng, height, width, width / 8)
    side = np.float32(rng.uniform(-0.14, 0.14)) * (away > 0)
    side = side * np.exp(-np.abs(away) / np.float32(height * rng.uniform(0.1, 1)))
    line = np.float32(0.08 - 0.48 * rng.random() ** 2) * np.exp(-((away / np.float32(rng.uniform(0.7, 2.0))) ** 2))
    light: Field = (1 + side + line).astype(np.float32)
    return light


_Walls = tuple[Field, Field, tuple[float, float], tuple[float, float]]
"""Light (1 on the floor), floor (0..1), and the well's centre and radius in pixels."""


def _round(rows: Field, cols: Field, centre: tuple[float, float], radius: tuple[float, float], power: float) -> Field:
    """Return each pixel's distance from the centre in radii; `power` 2 gives an ellipse, more a rounded rectangle."""
    y, x = np.abs(rows - centre[0]) / radius[0], np.abs(cols - centre[1]) / radius[1]
    if power == 2:
        return np.sqrt(y * y + x * x)
    return (y**power + x**power) ** np.float32(1 / power)


def _ring(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a round well with a wide dark wall (`PlateType` `ring`)."""
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    whole = rng.random() < 0.3  # wholly in view with a sharp edge; otherwise cut off and blurred
    r = half * (rng.uniform(0.7, 0.86) if whole else rng.uniform(0.92, 1.25))
    centre = (
        height / 2 + half * rng.normal(0, 0.06),
        width / 2 + half * (rng.normal(0, 0.06) if whole else rng.uniform(-0.4, 0.4)),
    )
    flat = rng.uniform(0.78, 0.97) if rng.random() < 0.45 else 1.0  # flattened left and right
    radius = (r, r * flat)
    rho = _round(rows, cols, centre, (r, r), 2)
    if flat < 1:
        x = np.abs(cols - np.float32(centre[1])) / np.float32(radius[1])
        rho = (rho**14 + x**14) ** np.float32(1 / 14)
    angle = np.arctan2(rows - np.float32(centre[0]), cols - np.float32(centre[1]))
    soft = rng.uniform(0.008, 0.025) if whole else rng.uniform(0.02, 0.1)
    softness = np.float32(soft) * (1 + np.float32(0.7) * np.cos(angle - np.float32(rng.uniform(0, 6.3))))
    dark = np.float32(rng.uniform(0.03, 0.13))
    wall = rng.uniform(0.22, 0.4)
    lean = rng.uniform(0, 0.1) * r
    outer = _round(
        rows,
        cols,
        (centre[0] + lean * rng.normal(), centre[1] + lean * rng.normal()),
        (r * (1 + wall), r * (1 + wall)),
        float(rng.choice([2, 2, 2.5, 4])),
    )
    # The wall is dark, with one or two paler contours in it.
    shades = dark * rng.choice([1, 1, rng.uniform(1, 2.5)], 6)
    light = np.interp(rho, np.linspace(1, 1 + wall, 6), shades).astype(np.float32)
    if rng.random() < 0.5:
        strength = dark * np.float32(rng.uniform(0.3, 2))
        away = (rho - np.float32(1 + wall * rng.uniform(0.1, 0.8))) / np.float32(rng.uniform(0.005, 0.02))
        light += strength * np.exp(-(away**2))
    blurred = rng.uniform(0.015, 0.1)
    plastic = rng.uniform(0.55, 0.95) * (1 + np.float32(0.02) * noise(rng, height, width, 150 / um, 2))
    light += (plastic - light) * step(outer, 1 - blurred, 1 + blurred)
    light += (1 - light) * step(rho, 1 + 0.25 * softness, 1 - softness)
    if rng.random() < (0.4 if whole else 0.5):
        light = _beside(rng, light, um)
    return light.astype(np.float32), step(rho, 1 - soft * 0.3, 1 - soft), centre, radius


def _beside(rng: np.random.Generator, light: Field, um: float) -> Field:
    """Draw a wall of the plate along one side of the picture: grained plastic with a dark groove and a bright line."""
    turned = rng.random() < 0.25
    light = light.T if turned else light
    height, width = light.shape
    side = grid(height, width)[1] if rng.random() < 0.7 else width - 1 - grid(height, width)[1]
    edge = width * rng.uniform(0.03, 0.18)
    long = max(round(height * um / rng.uniform(150, 1500)), 4)
    grain = noise(rng, long, width, max(rng.uniform(6, 16) / um, 1.5), 3)
    grain = stretch(grain, height, width)
    wavy = side + np.float32(edge * 0.06) * noise(rng, height, 1, max(height / 3, 2))
    plastic = np.float32(rng.uniform(0.2, 0.75)) * (1 + np.float32(rng.uniform(0.01, 0.13)) * grain)
    across = noise(rng, 1, width, max(edge / 2.5, 2))
    plastic = np.maximum(plastic * (1 + np.float32(0.12) * across), 0.02)
    band = step(wavy, edge, edge * 0.95)
    light = light * (1 - band) + plastic * band
    at, wide = np.float32(edge * rng.uniform(1, 1.15)), np.float32(edge * rng.uniform(0.04, 0.2))
    light = light * (1 - np.float32(rng.uniform(0.3, 0.9)) * np.exp(-(((side - at) / wide) ** 2)))
    light = light * (1 + np.float32(rng.uniform(0, 0.3)) * np.exp(-(((side - edge * 0.93) / (0.4 * wide)) ** 2)))
    return light.T if turned else light


def _disc(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a round well wholly in view, with a black wall (`PlateType` `disc`)."""
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
    if rng.random() < 0.5:  # the wall's shadow, a crescent on one side
        lean = rng.uniform(0.01, 0.05)
        angle = rng.uniform(0, 2 * np.pi)
        moved = (centre[0] + r * lean * np.sin(angle), centre[1] + r * lean * np.cos(angle))
        light *= 1 - np.float32(rng.uniform(0.4, 0.95)) * step(_round(rows, cols, moved, radius, 2), 1 - lean * 0.9, 1)
    wall = rng.uniform(0.12, 0.4)
    outer = _round(rows, cols, centre, radius, float(rng.choice([2, 2, 4])))
    plastic = np.float32(rng.uniform(0.2, 0.95)) * step(outer, 1 + wall, 1 + wall + rng.uniform(0.02, 0.25))
    light = np.maximum(light, plastic)
    light *= 1 - np.float32(rng.uniform(0, 0.3)) * np.minimum(rho, 1.2) ** np.float32(rng.choice([2, 6]))
    light *= 1 + np.float32(rng.uniform(0, 0.08)) * noise(rng, height, width, max(200 / um, 1.5), 3) * (rho > 1)
    return light.astype(np.float32), step(rho, 1, 1 - soft), centre, radius


def _bevel(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a bevelled square well in mottled plastic (`PlateType` `bevel`)."""
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.8, 1.02)
    centre = (height / 2 + half * rng.normal(0, 0.05), width / 2 + half * rng.normal(0, 0.12))
    wide = rng.uniform(0.94, 1.1)
    y, x = np.abs(rows - np.float32(centre[0])), np.abs(cols - np.float32(centre[1])) / np.float32(wide)
    if rng.random() < 0.75:
        rho = np.maximum(np.maximum(y, x), (y + x) * np.float32(rng.uniform(0.54, 0.63))) / np.float32(r)
    else:  # rounded corners
        power = np.float32(rng.uniform(5, 12))
        rho = ((y / np.float32(r)) ** power + (x / np.float32(r)) ** power) ** (1 / power)
    rho = rho + np.float32(0.001) * noise(rng, height, width, 80 / um, 2)
    away = (rho - 1) * np.float32(r * um)  # micrometres from the floor
    pale = rng.uniform(0.6, 0.9) if rng.random() < 0.85 else rng.uniform(0.08, 0.3)
    mottled: Field = noise(rng, height, width, rng.uniform(25, 70) / um, 2) * np.float32(rng.uniform(0.02, 0.07))
    mottled = mottled + np.float32(rng.uniform(0.01, 0.06)) * noise(rng, height, width, 400 / um, 2)
    light: Field = np.float32(pale) * (1 + mottled)
    # From the floor outwards: a brighter contour, a soft dark line at the floor's edge, a shadow stronger on one side.
    thick, soft = rng.uniform(25, 75), rng.uniform(12, 60)
    turn = rng.uniform(0, 2 * np.pi)
    towards = np.float32(np.cos(turn)) * (cols - centre[1]) + np.float32(np.sin(turn)) * (rows - centre[0])
    side = np.clip(0.5 + 0.6 * towards / np.float32(r), 0, 1)
    shadow = rng.uniform(0.1, 0.8) * np.exp(-((np.maximum(away, 0) / np.float32(rng.uniform(60, 350))) ** 2))
    light *= 1 - shadow * (np.float32(1 - rng.uniform(0, 1)) * (1 - side) + side)
    line = np.abs(away - np.float32(thick))
    light *= 1 - np.float32(rng.uniform(0.45, 0.97)) * step(line, thick * 0.6 + soft, thick * 0.5)
    light *= 1 - np.float32(rng.uniform(0, 0.6)) * step(rho, rng.uniform(1.15, 1.5), 1.7)
    edge = rng.uniform(4, 25)
    light += (1 - light) * step(away, edge * 0.5, -edge)
    if rng.random() < 0.6:  # the bevel's inner contour
        at, fine = np.float32(-rng.uniform(15, 60)), np.float32(rng.uniform(4, 9))
        light *= 1 - np.float32(rng.uniform(0.05, 0.35)) * np.exp(-(((away - at) / fine) ** 2))
    return blur(light, rng.uniform(3, 9) / um), step(rho, 1, 0.985), centre, (r, r)


def _micro(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a small round well of a 1536-well plate (`PlateType` `micro`)."""
    rows, cols = grid(height, width)
    half = min(height, width) / 2
    r = half * rng.uniform(0.55, 0.88)
    centre = (height / 2 + half * rng.normal(0, 0.06), width / 2 + half * rng.normal(0, 0.06))
    rho = _round(rows, cols, centre, (r, r), 2)
    ragged = rho + np.float32(rng.uniform(0.001, 0.009)) * noise(rng, height, width, r / 8, 3)
    angle = np.arctan2(rows - np.float32(centre[0]), cols - np.float32(centre[1]))
    turn = (np.abs(angle) * np.float32(1023 / np.pi)).astype(np.intp)  # mirrored, so that both ends meet
    ring = np.minimum(rho * 200, 599).astype(np.intp)
    # The plastic is turned: it has fine scratches that run around the well, and sometimes soft rays.
    brushed = stretch(noise(rng, 600, 48, 1.6, 3), 600, 1024)[ring, turn]
    around = np.float32(rng.uniform(0.2, 0.55)) * (1 + np.float32(rng.uniform(0.03, 0.12)) * brushed)
    if rng.random() < 0.35:
        rays = np.cos(4 * angle + np.float32(rng.uniform(0, 6.3)))
        rays = rays + noise(rng, 1, 1024, rng.uniform(40, 120), 3)[0][turn]
        around *= 1 + np.float32(rng.uniform(0.05, 0.2)) * rays * step(rho, 1, 1.6)
    around *= 1 + np.float32(rng.uniform(0, 0.2)) * noise(rng, height, width, width / 2)
    belt = rng.uniform(0.04, 0.2)  # width of the well's dark side wall, which has glints
    streaks = stretch(noise(rng, 600, 160, 2, 3), 600, 1024)[ring, turn]
    inner = 1 - step(rho, 1 + belt * 0.5, 1 + belt * 1.3)
    around *= 1 - np.float32(rng.uniform(0.2, 0.75)) * inner * np.clip(1 + 0.35 * streaks, 0.3, 1.2)
    if rng.random() < 0.6:
        around += np.float32(rng.uniform(0.2, 0.9)) * inner * step(streaks, rng.uniform(0.6, 1.3), 2.3)
    around = blur(around.astype(np.float32), rng.uniform(2, 8) / um)
    edge = rng.uniform(0.008, 0.04)
    light = around + (1 - around) * step(ragged, 1 + edge * 0.2, 1 - edge * 0.3)
    light *= 1 - np.float32(rng.uniform(0.2, 0.85)) * step(np.abs(ragged - 1), edge, 0)
    light *= 1 - np.float32(rng.uniform(0, 0.15)) * np.minimum(rho, 1) ** 3
    return np.maximum(light, 0.02).astype(np.float32), step(ragged, 1.0, 0.97), centre, (r, r)


def _inside(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a floor without a wall in view (`PlateType` `inside`)."""
    light = 1 + np.float32(rng.uniform(0.0, 0.06)) * noise(rng, height, width, max(height, width) / 1.2)
    half = min(height, width)
    return light, np.ones((height, width), np.float32), (height / 2, width / 2), (half * 0.75, half * 0.75)


def _frame(rng: np.random.Generator, height: int, width: int, um: float) -> _Walls:
    """Draw a bright rectangle in the dark (`PlateType` `frame`)."""
    rows, cols = grid(height, width)
    centre = (height / 2 + height * rng.normal(0, 0.08), width / 2 + width * rng.normal(0, 0.06))
    radius = (height * rng.uniform(0.4, 0.6), width * rng.uniform(0.36, 0.5))
    rho = _round(rows, cols, centre, radius, rng.choice([8.0, 16.0]))
    soft = rng.uniform(0.005, 0.05)
    floor = step(rho, 1, 1 - soft)
    light = np.float32(rng.uniform(0.01, 0.12)) + floor * (1 - np.float32(0.15) * np.minimum(rho, 1) ** 3)
    return light.astype(np.float32), floor, centre, radius


_WALLS = {"ring": _ring, "disc": _disc, "bevel": _bevel, "micro": _micro, "inside": _inside, "frame": _frame}
