"""Amorphous matter in the drop: grains, clumps, strands, haze, and the skins that form on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core.outcomes import Outcome

from .dirt import wander
from .field import Field, blur, grid, noise, relief, step, stretch
from .scene import Scene


def precipitate(scene: Scene, grade: Outcome) -> None:
    """Draw precipitate: one to three textures, mixed.

    `grade` is one of the precipitate outcomes; they differ in strength and in which textures occur.
    """
    rng = scene.rng
    height, width = scene.light.shape
    amount = {Outcome.PRECIPITATE_BAD: 1.4, Outcome.PRECIPITATE: 1.0}.get(grade, 0.75)
    where = _spread(scene)
    if grade is Outcome.PRECIPITATE_GOOD:
        textures = [_granules if rng.random() < 0.6 else _grains]
    else:
        common = [_granules, _granules, _granules, _aggregates, _folds, _wisps, _wisps]
        pool = [*common, _network, _network, _aggregates, _folds, _grains, _clumps, _strands, _haze, _curds]
        textures = [pool[i] for i in rng.choice(len(pool), int(rng.integers(1, 4)), replace=False)]
    dark: Field = np.zeros((height, width), np.float32)
    for texture in textures:
        dark += texture(scene)
    dark *= where * np.float32(amount * rng.choice([0.6, 0.8, 1.0, 1.15]))
    dark = np.float32(0.6) * np.tanh(dark / np.float32(0.6))  # single grains are never black
    if rng.random() < 0.5:  # in a deep drop most of it is out of focus
        dark = blur(dark, scene.px(rng.uniform(1, 5)))
    brown = rng.uniform(0.1, 0.8) if rng.random() < 0.75 else 0.0
    filled = (where > 0.35) & (scene.inside > 0.5)
    seen = filled & _visible(scene, dark, brown)
    matter = where * _speckle(scene)
    for _ in range(4):
        if seen.sum() >= 0.4 * filled.sum():
            break
        dark = dark + np.float32(0.06) * matter  # as faint as this, people would score the drop as clear
        seen = filled & _visible(scene, dark, brown)
    scene.light *= np.clip(1 - dark * scene.inside, 0.05, 1.6)
    thick = np.clip(1.6 * np.maximum(dark, 0.12 * where), 0, 1)
    scene.amber = np.maximum(scene.amber, thick * np.float32(brown) * scene.inside)
    scene.fill(seen, grade)
    scene.doubt((where > 0.05) & ~seen)
    if grade is not Outcome.PRECIPITATE_GOOD and rng.random() < 0.2:
        skin(scene, grade if rng.random() < 0.5 else None)


def _visible(scene: Scene, dark: Field, brown: float) -> npt.NDArray[np.bool_]:
    """Return where a texture has enough contrast, or is brown enough, to be seen: ``(H, W)`` bool."""
    height, width = dark.shape
    low = (max(round(height / scene.px(70)), 2), max(round(width / scene.px(70)), 2))
    mean, square = (stretch(stretch(x, *low, smooth=False), height, width, smooth=False) for x in (dark, dark * dark))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    visible: npt.NDArray[np.bool_] = (spread > 0.028) | (mean * brown > 0.07)
    return visible


def _spread(scene: Scene) -> Field:
    """Draw where in the drop the precipitate lies, ``(H, W)``, 0..1.

    It is everywhere, in patches, in the middle, on one side or at the edge, often with a clear margin.
    """
    rng = scene.rng
    height, width = scene.light.shape
    rho, size = scene.shape.rho, scene.shape.size
    kind = rng.random()
    if kind < 0.35:
        where = np.clip(0.8 + 0.3 * noise(rng, height, width, size), 0, 1)
    elif kind < 0.55:
        at = rng.uniform(-0.3, 0.6)
        where = step(noise(rng, height, width, size * rng.uniform(0.3, 0.9), 2), at, at + rng.uniform(0.8, 2.0))
    elif kind < 0.85:  # sunk to the middle, or to one side where the drop is deep
        rows, cols = grid(height, width)
        row, col = scene.spot(0.8 if kind < 0.7 else 0.3)
        away = np.sqrt((rows - np.float32(row)) ** 2 + (cols - np.float32(col)) ** 2) / np.float32(size)
        away = away + np.float32(0.15) * noise(rng, height, width, size * 0.4, 3)
        at, soft = rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.5)
        where = np.maximum(step(away, at + soft, at - soft), np.float32(rng.choice([0.0, 0.3, 0.5])))
    else:
        uneven = rho + np.float32(0.12) * noise(rng, height, width, size * 0.4, 2)
        at = rng.uniform(0.4, 0.8)
        soft = rng.uniform(0.1, 0.4)
        where = np.maximum(step(uneven, at - soft, at + soft), np.float32(rng.choice([0.0, 0.3, 0.5])))
    if kind < 0.85 and rng.random() < 0.5:
        uneven = rho + np.float32(0.03) * noise(rng, height, width, size * 0.2, 2)
        where = where * step(uneven, 0.98, rng.uniform(0.75, 0.92))
    if ((where > 0.35) & (scene.inside > 0.5)).sum() < 0.15 * (scene.inside > 0.5).sum():
        where = np.maximum(where, step(rho, 1.0, 0.6))  # otherwise too little to be scored as precipitate
    spread: Field = where.astype(np.float32)
    return spread


def _granules(scene: Scene) -> Field:
    """Draw soft granules of 5 to 20 µm, dense in places; some have a bright side, as facets have."""
    rng = scene.rng
    cell = max(scene.px(float(np.exp(rng.uniform(np.log(5), np.log(20))))), 1.3)
    grain = scene.noise(cell, int(rng.integers(2, 4)))
    density = step(scene.noise(scene.shape.size * rng.uniform(0.15, 0.5), 3), -1.2, 1.2)
    amp = np.float32(rng.uniform(0.07, 0.2))
    dark = amp * np.tanh(grain + np.float32(rng.uniform(0, 0.8))) * (np.float32(0.35) + density)
    if rng.random() < 0.5:
        if rng.random() < 0.4:
            grain = -np.abs(grain)
        slope = np.tanh(relief(grain, rng.uniform(0, 6.3)))
        dark = dark * np.float32(0.7) - np.float32(rng.uniform(0.02, 0.08)) * slope * (np.float32(0.3) + density)
    flat: Field = dark + np.float32(rng.uniform(0.02, 0.15)) * density
    return np.maximum(flat, -0.04)


def _aggregates(scene: Scene) -> Field:
    """Draw blotchy lumps stuck together in one or a few heaps, some in a halo of finer matter."""
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(2.5)))
    low = (-(-height // k), -(-width // k))
    picture = Image.new("L", (low[1], low[0]), 0)
    pen = ImageDraw.Draw(picture)
    typical = np.exp(rng.uniform(np.log(3), np.log(14)))
    for _ in range(int(rng.choice([1, 1, 2, 4, 8]))):
        row, col = (v / k for v in scene.spot(0.3))
        reach = scene.shape.size / k * rng.uniform(0.06, 0.35)
        stretched, turn = rng.uniform(1, 3), rng.uniform(0, 3.2)
        for _ in range(int(np.exp(rng.uniform(np.log(15), np.log(150))))):
            u, v = rng.normal(0, reach), rng.normal(0, reach / stretched)
            x, y = col + np.cos(turn) * u - np.sin(turn) * v, row + np.sin(turn) * u + np.cos(turn) * v
            a, b = (max(scene.px(typical * np.exp(rng.normal(0, 0.5))) / k, 0.6) for _ in range(2))
            pen.ellipse([x - a, y - b, x + a, y + b], fill=int(rng.integers(90, 255)))
    lumps = np.asarray(picture, np.float32) / 255
    lumps = np.clip(blur(lumps, max(scene.px(rng.uniform(1.5, 4)) / k, 0.5)), 0, 1)
    rough = noise(rng, *low, max(scene.px(8) / k, 1.3), 3, 0.7)
    dark = np.float32(rng.uniform(0.08, 0.4)) * lumps * (1 + np.float32(0.4) * rough)
    halo = blur(lumps, scene.px(rng.uniform(30, 120)) / k)
    dark += np.float32(rng.uniform(0.3, 1.0)) * np.minimum(halo, 0.4) * (1 + np.float32(0.5) * rough)
    dark += np.float32(rng.uniform(0.02, 0.1)) * (1 + rough)  # finer matter all around
    return stretch(dark.astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]


def _folds(scene: Scene) -> Field:
    """Draw a soft veil in broad smooth folds, some of which hold darker matter."""
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(6)))
    low = (-(-height // k), -(-width // k))
    size = scene.shape.size / k
    veil = noise(rng, *low, size * rng.uniform(0.25, 0.8), 4, rng.uniform(0.35, 0.55))
    dark = -np.float32(rng.uniform(0.03, 0.11)) * np.clip(relief(veil, rng.uniform(0, 6.3)), -2.5, 2.5)
    at = rng.uniform(0.0, 0.9)
    drawn = step(veil + np.float32(0.3) * noise(rng, *low, size * 0.12, 3), at, at + rng.uniform(0.4, 1.5))
    dark += np.float32(rng.uniform(0.05, 0.35)) * drawn
    crease = step(np.abs(veil - np.float32(at)), rng.uniform(0.03, 0.12), 0)
    dark += np.float32(rng.choice([0.0, 0.1, 0.25])) * crease * step(noise(rng, *low, size * 0.3), 0, 0.8)
    return stretch(dark.astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]


def _grains(scene: Scene) -> Field:
    """Draw fine grains of 3 to 14 µm, single or as an even texture."""
    rng = scene.rng
    cell = max(scene.px(np.exp(rng.uniform(np.log(3.5), np.log(14)))), 1.0)
    grain = scene.noise(cell, int(rng.integers(1, 3)))
    if rng.random() < 0.5:  # single
        at = rng.uniform(0.9, 1.9)
        return np.float32(rng.uniform(0.15, 0.55)) * step(grain, at, at + rng.uniform(0.6, 1.4))
    base = rng.uniform(0.0, 0.2)
    flat: Field = np.float32(base) + np.float32(rng.uniform(0.06, 0.2)) * grain
    return flat


def _clumps(scene: Scene) -> Field:
    """Draw ragged dark clumps of 40 to 220 µm."""
    rng = scene.rng
    cell = scene.px(np.exp(rng.uniform(np.log(40), np.log(220))))
    lump = scene.noise(cell, 5, rng.uniform(0.5, 0.75))
    at = rng.uniform(0.1, 1.2)
    return np.float32(rng.uniform(0.1, 0.4)) * step(lump, at, at + rng.uniform(0.5, 1.6))


def _strands(scene: Scene) -> Field:
    """Draw broad soft strands of grains in parts of the drop."""
    rng = scene.rng
    fold = np.abs(scene.noise(scene.px(rng.uniform(200, 600)), 1))
    strand = step(fold, rng.uniform(0.25, 0.6), 0)
    patch = step(scene.noise(scene.shape.size * 0.6), -0.6, 0.8)
    return np.float32(rng.uniform(0.1, 0.3)) * (strand * patch + np.float32(0.4)) * _speckle(scene)


def _network(scene: Scene) -> Field:
    """Draw grains around lighter cells of 25 to 90 µm, as in a curdled drop, thick in places."""
    rng = scene.rng
    cell = scene.px(float(np.exp(rng.uniform(np.log(25), np.log(90)))))
    mesh = step(np.abs(scene.noise(cell, 1)), rng.uniform(0.7, 1.3), 0)
    density = step(scene.noise(scene.shape.size * rng.uniform(0.15, 0.5), 3), -1.5, 1.2)
    strength = np.float32(rng.uniform(0.08, 0.25))
    return strength * (np.float32(0.4) + np.float32(0.6) * mesh) * density * _speckle(scene)


def _haze(scene: Scene) -> Field:
    """Draw a cloud without any structure of its own."""
    rng = scene.rng
    cloud = scene.noise(scene.shape.size * rng.uniform(0.2, 0.8), 3)
    dark: Field = np.clip(np.float32(rng.uniform(0.08, 0.3)) * (1 + np.float32(0.4) * cloud), 0, 0.7)
    return dark


def _curds(scene: Scene) -> Field:
    """Draw soft curds of 16 to 70 µm, hardly lit from one side, with grains between them."""
    rng = scene.rng
    curd = scene.noise(scene.px(np.exp(rng.uniform(np.log(16), np.log(70)))), 2, 0.4)
    slope = np.tanh(relief(curd, rng.uniform(0, 6.3)))
    lump = np.float32(rng.uniform(0.05, 0.15)) * step(curd, -0.8, 1.5) * _speckle(scene)
    return np.float32(rng.uniform(0.03, 0.12)) + lump - np.float32(rng.uniform(0.01, 0.06)) * slope


def _wisps(scene: Scene) -> Field:
    """Draw fine matter drawn out by the flow in the drop: broad soft bands of grains, with little contrast."""
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(6)))
    low = (-(-height // k), -(-width // k))
    fine = noise(rng, *low, scene.px(np.exp(rng.uniform(np.log(60), np.log(200)))) / k, 2, 0.4)
    pull = scene.px(rng.uniform(20, 120)) / k
    cell = scene.px(rng.uniform(120, 400)) / k
    rows = np.arange(low[0])[:, None] + (pull * noise(rng, *low, cell)).astype(np.intp)
    cols = np.arange(low[1])[None, :] + (pull * noise(rng, *low, cell)).astype(np.intp)
    rows, cols = (side - 1 - np.abs(side - 1 - np.abs(at)) for side, at in zip(low, (rows, cols), strict=True))
    drawn = blur(fine[rows, cols], scene.px(10) / k)
    band = np.float32(rng.uniform(0.05, 0.2)) * (1 + np.float32(rng.uniform(0.3, 0.8)) * drawn)
    big = stretch(band.astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]
    return np.maximum(big, -0.05) * _speckle(scene)


def _speckle(scene: Scene) -> Field:
    """Draw grains of 5 to 16 µm as factors around 1, which turn a smooth field into matter."""
    rng = scene.rng
    cell = max(scene.px(float(np.exp(rng.uniform(np.log(5), np.log(16))))), 1.3)
    grain: Field = np.maximum(1 + np.float32(rng.uniform(0.3, 0.9)) * scene.noise(cell, 2), 0)
    return grain


def skin(scene: Scene, outcome: Outcome | None) -> None:
    """Draw a wrinkled skin: folds with a light and a dark side, creases, wrinkles towards the edge.

    With an outcome the folds are marked as filled by it.
    """
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(5)))
    low = (-(-height // k), -(-width // k))
    surface = noise(rng, *low, scene.px(rng.uniform(80, 400)) / k, 2, 0.4)
    if rng.random() < 0.5:
        surface = -(np.abs(surface) ** np.float32(0.7))
    strength = rng.uniform(0.03, 0.16)
    if rng.random() < 0.3:  # crumpled like foil
        surface = -np.abs(noise(rng, *low, scene.px(rng.uniform(60, 200)) / k, 3, 0.5))
        strength = rng.uniform(0.06, 0.2)
    folds = np.float32(strength) * np.clip(relief(surface, rng.uniform(0, 6.3)), -2, 2)
    if rng.random() < 0.2:
        angle = stretch(scene.shape.angle, *low, smooth=False)
        rho = stretch(scene.shape.rho, *low, smooth=False)
        waves = np.sin(angle * np.float32(rng.integers(15, 70)) + 3 * noise(rng, *low, scene.px(200) / k))
        folds += np.float32(rng.uniform(0.02, 0.1)) * waves * step(rho, 0.5, 0.9)
    where = step(noise(rng, *low, scene.shape.size / k * 0.6), rng.uniform(-1.5, 0.3), rng.uniform(0.4, 1))
    big = stretch((folds * where).astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]
    scene.light *= np.maximum(1 + big * scene.inside, 0.2)
    if rng.random() < 0.6:
        _creases(scene)
    if outcome is not None:
        big = stretch(where, low[0] * k, low[1] * k, smooth=False)[:height, :width]
        scene.fill(big > 0.4, outcome)


def crumpled(scene: Scene) -> None:
    """Draw a thick skin crumpled like foil.

    Its folds have a bright and a dark side, as sharp as a crystal's edges but never straight for long.
    """
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(4)))
    low = (-(-height // k), -(-width // k))
    picture = Image.new("L", (low[1], low[0]), 0)
    pen = ImageDraw.Draw(picture)
    few = rng.random() < 0.4  # long creases, as in a folded skin
    long = (120.0, 600.0) if few else (40.0, 240.0)
    for _ in range(int(np.exp(rng.uniform(np.log(6), np.log(40)) if few else rng.uniform(np.log(60), np.log(400))))):
        row, col = scene.spot(0.02)
        length, wide = scene.px(rng.uniform(*long)) / k, scene.px(rng.uniform(6, 34)) / k
        points = wander(rng, row / k, col / k, rng.uniform(0, 6.3), length, rng.uniform(0.4, 2.2))
        pen.line(points, fill=int(rng.integers(60, 255)), width=max(1, round(wide)), joint="curve")
    ridge = blur(np.asarray(picture, np.float32) / 255, max(scene.px(rng.uniform(5, 14)) / k, 0.5))
    surface = ridge + np.float32(rng.uniform(0.1, 0.7)) * noise(rng, *low, scene.px(rng.uniform(50, 250)) / k, 4)
    slope = np.tanh(relief(surface, rng.uniform(0, 6.3)) / 1.5)
    folds = np.float32(rng.uniform(0.05, 0.3)) * slope - np.float32(rng.uniform(0.0, 0.45)) * slope**2
    folds += np.float32(rng.uniform(0.0, 0.2)) * ridge
    where = step(noise(rng, *low, scene.shape.size / k * 0.6), rng.uniform(-2.5, 0.0), rng.uniform(0.1, 0.8))
    factor = stretch((folds * where).astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]
    scene.light *= np.clip(1 + factor * scene.inside, 0.08, 1.5)
    scene.fill(stretch(where, low[0] * k, low[1] * k, smooth=False)[:height, :width] > 0.4, Outcome.OTHER)


def _creases(scene: Scene) -> None:
    """Draw bright or dark lines, nearly straight or bent, single or side by side."""
    rng = scene.rng
    height, width = scene.light.shape
    picture = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(picture)
    together = rng.random() < 0.4
    main, origin = rng.uniform(0, 3.2), scene.spot(0.1)
    for _ in range(int(rng.integers(2, 14))):
        row, col = scene.spot(0.05) if not together else (int(v + rng.normal(0, scene.px(90))) for v in origin)
        angle = main + rng.normal(0, 0.12 if together else 1.2)
        length = scene.px(rng.uniform(60, 0.5 * scene.span()))
        points = wander(rng, row, col, angle, length, rng.uniform(0, 0.5))
        pen.line(points, fill=int(rng.integers(90, 255)), width=max(1, round(scene.px(rng.uniform(1.5, 7)))))
    line = blur(np.asarray(picture, np.float32) / 255, rng.uniform(0.5, 2.5) * max(1.0, scene.px(1.2)))
    broken = np.clip(0.7 + 0.5 * noise(rng, height, width, scene.px(60)), 0, 1.3)
    tone = rng.uniform(0.08, 0.4) if rng.random() < 0.75 else -rng.uniform(0.1, 0.4)
    scene.light *= 1 + np.float32(tone) * line * broken * scene.inside
