"""Bubbles and liquids that don't mix: smooth round bodies with a dark rim and a bright middle."""

from __future__ import annotations

import numpy as np

from xtalgrid_core.outcomes import Outcome

from .crystals import Patch
from .field import Field, blur, grid, noise, relief, step, stretch
from .scene import Scene


def phase_separation(scene: Scene) -> None:
    """Draw oily droplets, all over the drop or in rows near its edge, or one liquid inside another."""
    rng = scene.rng
    kind = rng.random()
    if kind < 0.35:
        return two_liquids(scene, Outcome.PHASE_SEPARATION)
    if kind < 0.55:
        return beaded_edge(scene)
    count = int(np.exp(rng.uniform(np.log(12), np.log(260))))
    sizes = scene.sizes(10, 26 if count > 120 else 90, 14)
    dark, bright = rng.uniform(0.2, 0.8), rng.uniform(1.0, 1.25)
    kit = [lens(rng, max(s, 5), dark, bright, rng.uniform(0.08, 0.3)) for s in sizes]
    for _ in range(count):
        row, col = scene.spot(0.03)
        scene.put(kit[int(rng.integers(len(kit)))], row, col, Outcome.PHASE_SEPARATION)
    return None


def beaded_edge(scene: Scene) -> None:
    """Draw droplets in rows along a second contour inside the drop's edge, from where one liquid has drawn back."""
    rng = scene.rng
    rho = scene.shape.rho + np.float32(rng.uniform(0.005, 0.04)) * scene.noise(scene.shape.size * 0.4, 2)
    at, wide = rng.uniform(0.8, 0.95), scene.px(rng.uniform(2, 6)) / scene.shape.size
    gaps = scene.noise(scene.shape.size * rng.uniform(0.2, 0.8), 2)
    where = step(gaps, rng.uniform(-1.5, 0.0), 0.6)
    line = np.exp(-(((rho - np.float32(at)) / np.float32(max(wide, 1 / scene.shape.size))) ** 2))
    line *= np.float32(rng.uniform(0.05, 0.35)) * (np.float32(0.4) + where)
    margin = np.float32(rng.uniform(-0.1, 0.04)) * step(rho, at - wide, at + wide)
    scene.light *= 1 + (margin - line) * scene.inside

    kit = [_bead(scene) for _ in range(14)]
    step_px = max(round(scene.px(3)), 1)
    rows, cols = np.nonzero((np.abs(rho - np.float32(at)) < 0.012)[::step_px, ::step_px])
    count = int(np.exp(rng.uniform(np.log(60), np.log(600))))
    placed = 0
    for n in rng.integers(0, len(rows), count) if len(rows) else ():
        row, col = int(rows[n]) * step_px, int(cols[n]) * step_px
        if where[row, col] > rng.random() and scene.inside[row, col] > 0.5:
            scene.put(kit[int(rng.integers(len(kit)))], row, col, Outcome.PHASE_SEPARATION)
            placed += 1
    if placed < 8:  # the contour lies outside the picture
        return two_liquids(scene, Outcome.PHASE_SEPARATION)
    scene.fill((np.abs(rho - np.float32(at)) < 0.03) & (where > 0.4), Outcome.PHASE_SEPARATION)
    for _ in range(int(rng.choice([0, 0, 1, 3, 12]))):
        scene.put(kit[int(rng.integers(len(kit)))], *scene.spot(0.25), Outcome.PHASE_SEPARATION)
    return None


def _bead(scene: Scene) -> Patch:
    """Draw one droplet of 5 to 30 µm with a dark outline."""
    rng = scene.rng
    size = max(scene.px(float(np.exp(rng.uniform(np.log(5), np.log(30))))), 3)
    return lens(rng, size, rng.uniform(0.2, 0.65), rng.uniform(0.95, 1.12), rng.uniform(0.15, 0.5))


def hills(scene: Scene) -> None:
    """Draw a thick liquid with a hilly surface: domes, dark hollows, and steep flanks that are black on one side."""
    rng = scene.rng
    size = scene.shape.size
    swell = scene.noise(size * rng.uniform(0.25, 0.6), 2, 0.4)
    lumps = scene.noise(size * rng.uniform(0.15, 0.35), 3, rng.uniform(0.3, 0.5))
    start = rng.uniform(-0.2, 0.9)
    crags = blur(step(lumps, start, start + rng.uniform(0.3, 1.2)), size * rng.uniform(0.015, 0.05))
    angle, middle = rng.uniform(0, 6.3), step(scene.shape.rho, 1.0, rng.uniform(0.6, 0.9))
    steep = np.clip(relief(crags, angle), -2.5, 2.5) * np.float32(rng.uniform(0.3, 1))
    slope = (relief(swell, angle) * np.float32(rng.uniform(0.4, 1.2)) + steep) * middle
    dark = np.float32(rng.uniform(0.12, 0.4)) * np.clip(-slope, 0, 4) ** np.float32(rng.uniform(0.8, 1.5))
    bright = np.float32(rng.uniform(0.03, 0.12)) * np.clip(slope, 0, 3)
    start = rng.uniform(0.9, 1.7)
    hollows = np.float32(rng.uniform(0.0, 0.9)) * step(-swell - np.float32(0.5) * lumps, start, start + 1) * middle
    grain = np.float32(rng.uniform(0, 0.05)) * relief(scene.noise(scene.px(rng.uniform(10, 50)), 3), angle)
    factor = np.clip(1 - dark + bright - hollows + grain, 0.05, 1.4)
    scene.light *= 1 + (factor - 1) * scene.inside
    shown = blur(((dark > 0.12) | (hollows > 0.12)).astype(np.float32), scene.px(30)) > 0.15
    scene.fill(shown & (scene.shape.rho < 1), Outcome.OTHER)


def bubbles(scene: Scene) -> None:
    """Draw air bubbles: thick black rings with a bright middle."""
    rng = scene.rng
    for size in scene.sizes(25, max(min(260.0, scene.span() * 0.3), 40), int(rng.integers(1, 12))):
        row, col = scene.spot(0.05)
        bubble = lens(rng, max(size, 9), rng.uniform(0.03, 0.25), rng.uniform(1.0, 1.3), rng.uniform(0.3, 0.65))
        scene.put(bubble, row, col, Outcome.OTHER)


def froth(scene: Scene) -> None:
    """Draw a band of vesicles and crumbs along the drop's edge, as in a drop that has partly dried."""
    rng = scene.rng
    at = rng.uniform(0.78, 0.94)
    start, wide = rng.uniform(-np.pi, np.pi), rng.uniform(1.5, 2 * np.pi)
    kit = [_vesicle(scene) for _ in range(10)]
    near = np.argwhere(np.abs(scene.shape.rho[::4, ::4] - at) < 0.03) * 4
    if not len(near):
        return bubbles(scene)
    for row, col in near[rng.integers(0, len(near), int(rng.integers(30, 160)))]:
        if (scene.shape.angle[row, col] - start) % (2 * np.pi) < wide:
            scene.put(kit[int(rng.integers(len(kit)))], int(row), int(col), Outcome.OTHER)
    crumbs = step(scene.noise(scene.px(12), 2), 0.3, 1.2) * step(np.abs(scene.shape.rho - np.float32(at)), 0.05, 0.01)
    scene.light *= 1 - np.float32(rng.uniform(0.2, 0.7)) * crumbs * scene.inside
    return None


def _vesicle(scene: Scene) -> Patch:
    rng, size = scene.rng, max(scene.px(scene.rng.uniform(10, 45)), 4)
    return lens(rng, size, rng.uniform(0.2, 0.6), rng.uniform(1, 1.15), rng.uniform(0.2, 0.5))


def two_liquids(scene: Scene, outcome: Outcome = Outcome.OTHER) -> None:
    """Draw a smooth inner drop, dark or pale, inside a flat outer one or beside it.

    Where the inner drop's outline is pinned it has bright caps.
    """
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(4)))  # it is smooth: compute it on fewer pixels
    low = (-(-height // k), -(-width // k))
    around = stretch(scene.shape.rho, *low, smooth=False)
    beside, dark = rng.random() < 0.25, rng.random() < 0.6
    row, col = scene.spot(0.15 if beside else 0.5)
    lens_like = dark and rng.random() < 0.35
    small = beside or lens_like
    size = scene.shape.size / k * (rng.uniform(0.3, 0.6) if small else rng.uniform(0.4, 0.85))
    y, x = grid(*low)
    y, x = y - np.float32(row / k), x - np.float32(col / k)
    angle = np.arctan2(y, x)
    reach, caps = _lobes(rng)
    at = ((angle + np.pi) * (719 / (2 * np.pi))).astype(np.intp)
    oval, turn = rng.uniform(1, 1.35), rng.uniform(0, 3.2)
    u, v = (np.cos(turn) * x + np.sin(turn) * y) / oval, (np.cos(turn) * y - np.sin(turn) * x) * oval
    rho = np.sqrt(u * u + v * v) / (np.float32(size) * reach[at])
    rho = rho + np.float32(rng.uniform(0, 0.04)) * noise(rng, *low, size * rng.uniform(0.2, 0.6), 2)
    edge = rng.uniform(0.98, 1.08) if lens_like and rng.random() < 0.5 else rng.uniform(0.8, 0.97)
    rho = np.maximum(rho, (around - np.float32(edge)) * 8)  # it stays inside the film
    lit = np.clip(1 + np.float32(rng.uniform(0, 0.6)) * np.cos(angle - np.float32(rng.uniform(0, 6.3))), 0, 1.6)
    core = np.clip(rho, 0, 1)
    deep = rng.uniform(0.55, 1.0) if dark else rng.uniform(0.03, 0.3)
    if lens_like:  # it darkens steadily from its middle to a wide black rim
        shade = np.float32(rng.uniform(0.88, 1.0)) * step(core, rng.uniform(0.0, 0.45), rng.uniform(0.72, 0.98))
    else:
        shade = np.float32(deep) * lit * core ** np.float32(rng.uniform(1.8, 6))
    dome = rng.uniform(0.95, 1.08) - shade
    dome = np.maximum(dome, 0.04) + np.float32(rng.uniform(0.2, 0.8)) * caps[at] * np.exp(-(((rho - 0.88) / 0.09) ** 2))
    soft = max(scene.px(rng.uniform(2, 8)) / k, 0.8) / size
    outside = step(rho, 1 - soft, 1 + soft)
    film = _film(scene, rng, low, k, around)
    light = dome * (1 - outside) + film * outside
    wide = max(scene.px(rng.uniform(3, 9)) / k, 1) / size
    line = rng.uniform(0.1, 0.5) * np.exp(-(((rho - 1) / wide) ** 2)) * lit * (around < edge)
    light = np.clip(light * (1 - line), 0.03, 1.5).astype(np.float32)
    full = stretch(light, low[0] * k, low[1] * k, smooth=False)[:height, :width]
    scene.light *= 1 + (full - 1) * scene.inside
    near = (rho > 0.45) & (rho < 1.25) if dark else (rho > 0.75) & (rho < 1.2)
    shown = near | ((rho > 1) & (np.abs(film - 1) > 0.04))
    scene.fill(stretch(shown.astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width] > 0.5, outcome)
    if rng.random() < 0.25:
        _beads(scene, outcome)


def _lobes(rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw an outline's radius (mean 1, with lobes and bites) and its bright caps (0..1) at 720 angles each."""
    around = np.linspace(-np.pi, np.pi, 720)
    reach, caps = np.ones(720), np.zeros(720)
    for wave in range(2, 6):
        reach += rng.normal(0, 0.1) / wave * np.cos(wave * around + rng.uniform(0, 6.3))
    for _ in range(int(rng.choice([0, 1, 2, 4, 7]))):
        wide = rng.uniform(0.06, 0.3)
        bump = np.exp(-((np.angle(np.exp(1j * (around - rng.uniform(-np.pi, np.pi)))) / wide) ** 2))
        reach += rng.uniform(-0.2, 0.08) * bump
        caps = np.maximum(caps, bump * rng.uniform(0, 1))
    return np.maximum(reach, 0.4).astype(np.float32), caps.astype(np.float32)


def _film(scene: Scene, rng: np.random.Generator, low: tuple[int, int], k: int, around: Field) -> Field:
    """Draw the outer liquid as factors: nearly flat, with a second contour inside its edge.

    Sometimes it has lumps with dark hollows and bright caps. `around` is the drop's `rho`, reduced `k` times to `low`.
    """
    size = scene.shape.size / k
    slope = relief(noise(rng, *low, size * rng.uniform(0.15, 0.6), 2, 0.4), rng.uniform(0, 6.3))
    film: Field = 1 + np.float32(rng.uniform(0, 0.05)) * np.clip(slope, -2.5, 2.5)
    if rng.random() < 0.5:
        lump = noise(rng, *low, size * rng.uniform(0.12, 0.35), 3, 0.5)
        film = film + np.float32(rng.uniform(0.04, 0.15)) * np.clip(relief(lump, rng.uniform(0, 6.3)), -2.5, 2.5)
        start = rng.uniform(0.9, 1.6)
        film = film - np.float32(rng.uniform(0.2, 0.8)) * step(lump, start, start + 0.8)
    at, wide = rng.uniform(0.88, 0.97), max(scene.px(rng.uniform(3, 8)) / k, 1) / size
    film = film - np.float32(rng.uniform(0.03, 0.25)) * np.exp(-(((around - at) / wide) ** 2))
    film = film + np.float32(rng.uniform(0.02, 0.15)) * np.exp(-(((around - at - 1.5 * wide) / wide) ** 2))
    return np.clip(film, 0.1, 1.4)


def _beads(scene: Scene, outcome: Outcome) -> None:
    """Draw one to three small smooth domes on the drop's outline."""
    rng = scene.rng
    near = np.argwhere((np.abs(scene.shape.rho[::4, ::4] - 1.0) < 0.06) & (scene.inside[::4, ::4] > 0.3)) * 4
    if not len(near):
        return
    for row, col in near[rng.integers(0, len(near), int(rng.integers(1, 4)))]:
        size = max(scene.px(float(np.exp(rng.uniform(np.log(60), np.log(260))))), 6)
        bead = lens(rng, size, rng.uniform(0.05, 0.6), rng.uniform(0.95, 1.1), rng.uniform(0.5, 0.8))
        scene.put(bead, int(row), int(col), outcome)


def lens(rng: np.random.Generator, size: float, dark: float, bright: float, thick: float) -> Patch:
    """Draw a disc of `size` pixels with a dark ring and a bright middle.

    `dark` and `bright` are factors on the light; `thick` is the ring's thickness as a fraction of the radius.
    """
    side = int(size + 8)
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
    y *= np.float32(rng.uniform(0.93, 1.07))
    distance = np.sqrt(y * y + x * x) / np.float32(size / 2)
    cover = np.clip((1 - distance) * np.float32(size / 2) + 0.5, 0, 1)
    ring = step(distance, 1 - thick * 1.3, 1 - thick * 0.5)
    body = np.float32(bright) + (np.float32(dark) - np.float32(bright)) * ring
    halo = np.float32(rng.uniform(0, 0.15)) * np.exp(-(((distance - 1.06) * np.float32(size / 6)) ** 2))
    return Patch((1 + (body - 1) * cover + halo * (1 - cover)).astype(np.float32), cover)
