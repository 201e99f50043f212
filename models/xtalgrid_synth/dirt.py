"""Dirt in the drop or on the plastic, not to be mistaken for crystals: specks, motes, flakes, lint, fibres."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from xtalgrid_core.outcomes import Outcome

from .crystals import Patch
from .field import Field, blur, grid, noise, step
from .scene import Scene


def specks(scene: Scene, count: int) -> None:
    """Draw `count` specks of dust anywhere in the rectangle, 4 to 22 µm."""
    rng = scene.rng
    height, width = scene.light.shape
    for _ in range(count):
        size = max(scene.px(rng.uniform(4, 22)), 1.5)
        y, x = np.mgrid[: int(size * 3) + 3, : int(size * 3) + 3] - (int(size * 3) + 2) / 2
        u, v = _turn(rng, y, x, rng.uniform(1, 3))
        dot = np.exp(-(((u * u + v * v) / (size / 2) ** 2) ** rng.uniform(1, 3))).astype(np.float32)
        light = 1 - np.float32(0.08 + 0.77 * rng.random() ** 2) * dot
        scene.put(Patch(light, dot), int(rng.integers(height)), int(rng.integers(width)), None)


def motes(scene: Scene, count: int, noted: bool) -> None:
    """Draw `count` particles of 6 to 60 µm in or under the drop, sharp or not.

    They don't change the outcome: a clear drop with them is clear. Their outline is irregular, unlike a crystal's. If
    `noted`, they are recorded as objects of the class `clear`, so that training sets have chops of them.
    """
    rng = scene.rng
    kinds = [_grain, _grain, _grain, _flake, _fluff, _lint, _lint, _ring]
    alike = kinds[int(rng.integers(len(kinds)))] if rng.random() < 0.5 else None
    origin = scene.spot(0.2) if rng.random() < 0.3 else None
    for _ in range(count):
        draw = alike or kinds[int(rng.integers(len(kinds)))]
        patch = draw(rng, max(scene.px(float(np.exp(rng.uniform(np.log(6), np.log(60))))), 2.0))
        if rng.random() < 0.4:  # out of focus
            soft = scene.px(rng.uniform(1, 7))
            pad = int(2 * soft) + 1
            light = blur(np.pad(patch.light, pad, constant_values=1), soft)
            patch = Patch(light, blur(np.pad(patch.cover, pad), soft), patch.amber)
        row, col = scene.spot(0.08)
        if origin is not None and rng.random() < 0.7:
            row, col = ((4 * a + b) // 5 for a, b in zip(origin, (row, col), strict=True))
        scene.put(patch, row, col, None, 0.15 + 0.85 * rng.random() ** 2)
        if noted:
            scene.note(patch, row, col, Outcome.CLEAR)


def _grain(rng: np.random.Generator, size: float) -> Patch:
    """Draw a dark lump, black or brown, sometimes with a bright side."""
    lump, y, x = _lump(rng, size, rng.uniform(0.15, 0.4))
    tone = rng.uniform(0.1, 0.75) * (1 + 0.25 * noise(rng, len(lump), len(lump), max(size / 4, 1.6), 2))
    light = 1 + (np.clip(tone, 0.05, 1) - 1) * lump
    if rng.random() < 0.3:
        away = rng.uniform(0, 6.3)
        light = light + rng.uniform(0.1, 0.5) * lump * np.clip((np.cos(away) * x + np.sin(away) * y) / size, 0, 0.5)
    return Patch(light.astype(np.float32), lump, float(rng.choice([0.0, 0.0, 0.5, 1.0])))


def _flake(rng: np.random.Generator, size: float) -> Patch:
    """Draw a thin flake, brown and mottled, with holes and a ragged edge."""
    lump, _, _ = _lump(rng, size, rng.uniform(0.35, 0.6))
    mottle = noise(rng, len(lump), len(lump), max(size / 5, 1.6), 3, 0.7)
    dark = lump * np.clip(rng.uniform(0.2, 0.7) + 0.25 * mottle, 0, 0.9)
    return Patch((1 - dark).astype(np.float32), lump, rng.uniform(0.3, 1.0))


def _fluff(rng: np.random.Generator, size: float) -> Patch:
    """Draw a loose clump of tiny specks, hardly darker than the drop."""
    size = max(size, 5)
    lump, _, _ = _lump(rng, size * 1.3, 0.5)
    dots = step(noise(rng, len(lump), len(lump), max(size / 8, 1.3), 2), 0.0, 1.5)
    dark = lump * (rng.uniform(0.02, 0.12) + rng.uniform(0.15, 0.5) * dots)
    return Patch((1 - dark).astype(np.float32), lump, float(rng.choice([0.0, 0.3])))


def _ring(rng: np.random.Generator, size: float) -> Patch:
    """Draw a round speck out of focus: a dark ring around a light middle, or the reverse."""
    size = min(size, 24)
    side = int(size * 1.6) + 6
    y, x = (g - (side - 1) / 2 for g in grid(side, side))
    away = np.sqrt(y * y + x * x) / (size / 2)
    sign = rng.choice([1, 1, -1])
    ring = np.exp(-(((away - 0.8) / 0.3) ** 2)) - rng.uniform(0, 0.5) * np.exp(-((away / 0.5) ** 2))
    light = 1 - sign * rng.uniform(0.08, 0.5) * ring
    return Patch(light.astype(np.float32), step(away, 1.1, 0.9))


def _lint(rng: np.random.Generator, size: float) -> Patch:
    """Draw a short bent fibre or scratch of even width, without the two parallel edges of a crystal."""
    long = size * rng.uniform(1, 2.5)
    points = np.array(wander(rng, 0, 0, rng.uniform(0, 6.3), long, rng.choice([0.1, 0.4, 1.0, 2.0])))
    points -= points.min(axis=0) - 4
    width, height = (int(v) + 5 for v in points.max(axis=0))
    picture = Image.new("L", (2 * width, 2 * height), 0)
    thick = max(round(2 * size * rng.uniform(0.04, 0.12)), 2)
    line_points = [(float(x) * 2, float(y) * 2) for x, y in points]
    ImageDraw.Draw(picture).line(line_points, fill=255, width=thick, joint="curve")
    line = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    return Patch(1 - np.float32(rng.uniform(0.25, 0.9)) * line, line)


def _lump(rng: np.random.Generator, size: float, ragged: float) -> tuple[Field, Field, Field]:
    """Draw an irregular blob of about `size` pixels, 0..1; return it with its pixels' coordinates, 0 in the middle."""
    side = int(size * 1.7) + 6
    y, x = (g - (side - 1) / 2 for g in grid(side, side))
    u, v = _turn(rng, y, x, rng.uniform(1, 2.2))
    away = np.sqrt(u * u + v * v) / (size / 2) + ragged * noise(rng, side, side, max(size / 2.5, 1.6), 3)
    return step(away, 1.0 + min(1.2 / size, 0.3), 1.0 - min(1.2 / size, 0.3)), y, x


def _turn(rng: np.random.Generator, y: Field, x: Field, oval: float) -> tuple[Field, Field]:
    """Rotate coordinates by a random angle and stretch one axis by `oval`."""
    spin = rng.uniform(0, 3.2)
    return np.cos(spin) * x + np.sin(spin) * y, (np.cos(spin) * y - np.sin(spin) * x) * oval


def fibre(
    scene: Scene, outcome: Outcome | None, thick: tuple[float, float] = (2, 9), dark: tuple[float, float] = (0.2, 0.75)
) -> None:
    """Draw a curved thread, `thick` µm wide; `dark` is the range of its factor on the light."""
    rng = scene.rng
    height, width = scene.light.shape
    row, col = scene.spot()
    points = wander(rng, row, col, rng.uniform(0, 6.3), scene.px(rng.uniform(60, 600)), rng.uniform(0.1, 1.2))
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).line(points, fill=255, width=max(1, round(scene.px(rng.uniform(*thick)))), joint="curve")
    box = picture.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    line = blur(np.pad(np.asarray(picture.crop(box), np.float32) / 255, 4), rng.uniform(0.3, 1.5))
    light = 1 - np.float32(1 - rng.uniform(*dark)) * line
    scene.put(Patch(light, line), (top + bottom) // 2, (left + right) // 2, outcome)


def wander(
    rng: np.random.Generator, row: float, col: float, angle: float, length: float, bend: float
) -> list[tuple[float, float]]:
    """Draw the points (x, y) of a line that starts at (row, col) in direction `angle` (radians) and bends."""
    steps = 24
    turns = (
        angle + np.cumsum(rng.normal(0, bend / np.sqrt(steps) * 2, steps)) + np.linspace(0, rng.normal(0, bend), steps)
    )
    x = col + np.cumsum(np.cos(turns)) * length / steps
    y = row + np.cumsum(np.sin(turns)) * length / steps
    return list(zip(x.tolist(), y.tolist(), strict=True))
