"""What a drop can hold, one function for each look; `fill_drop` chooses among them for an outcome."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core.outcomes import Outcome

from .crystals import Patch, draw_body, draw_cluster, draw_fan, draw_habit, draw_needle, draw_plate
from .field import Field, blur, noise, relief, step, stretch
from .scene import Scene


def fill_drop(scene: Scene, outcome: Outcome) -> None:
    """Put into the drop what makes it this outcome, and now and then what people meet beside it."""
    rng = scene.rng
    if rng.random() < 0.35:
        specks(scene, int(rng.integers(1, 14)))
    match outcome:
        case Outcome.HARVESTABLE | Outcome.BAD_FORM | Outcome.OVERNUCLEATED:
            beside = rng.random()
            if beside < 0.10:
                precipitate(scene, Outcome.PRECIPITATE)
            elif beside < 0.18:
                precipitate(scene, Outcome.PRECIPITATE_GOOD)
            elif beside < 0.28:
                skin(scene, None)
            elif beside < 0.38:
                crumpled(scene)
            crystals(scene, outcome)
        case Outcome.PRECIPITATE | Outcome.PRECIPITATE_GOOD | Outcome.PRECIPITATE_BAD:
            precipitate(scene, outcome)
        case Outcome.SPHERULITES:
            spherulites(scene)
        case Outcome.PHASE_SEPARATION:
            phase_separation(scene)
        case Outcome.OTHER:
            looks: list[Callable[[Scene], None]] = [
                bubbles,
                froth,
                debris,
                dried,
                retracted,
                retracted,
                ridges,
                crumpled,
            ]
            looks[int(rng.integers(len(looks)))](scene)
        case Outcome.CLEAR_WITH_FEATURES:
            features(scene)
        case _:
            pass
    if rng.random() < 0.12:
        crumbs(scene)
    if outcome is not Outcome.CLEAR and rng.random() < 0.08:
        fibre(scene, None)


# --- crystals -------------------------------------------------------------------------------------------------------


def crystals(scene: Scene, outcome: Outcome) -> None:
    """Well-formed single crystals, badly formed ones, or a shower, as the outcome says."""
    rng = scene.rng
    if outcome is Outcome.HARVESTABLE:
        _singles(scene)
    elif outcome is Outcome.OVERNUCLEATED:
        _shower(scene)
    else:
        looks: list[Callable[[Scene], None]] = [_needles, _needles, _plates, _clusters, _clusters, _fans]
        looks[int(rng.integers(len(looks)))](scene)


def _sizes(scene: Scene, low: float, high: float, count: int) -> list[float]:
    """Sizes in pixels, log-normal around one typical size of the drop, `low`..`high` micrometres."""
    rng = scene.rng
    typical = np.exp(rng.uniform(np.log(low), np.log(high)))
    return [
        float(scene.px(np.clip(typical * np.exp(rng.normal(0, 0.35)), low * 0.7, high * 1.2))) for _ in range(count)
    ]


def _singles(scene: Scene) -> None:
    rng, span = scene.rng, scene.span()
    count = int(rng.choice([1, 1, 2, 3, 4, 6, 9, 14, 22, 34]))
    high = min(620.0, span * (0.5 if count < 4 else 0.28))
    habit = draw_habit(rng)
    for size in _sizes(scene, 45, max(high, 60), count):
        row, col = scene.spot(0.04)
        scene.put(draw_body(rng, max(size, 9), habit), row, col, Outcome.HARVESTABLE)


def _shower(scene: Scene) -> None:
    rng = scene.rng
    count = int(np.exp(rng.uniform(np.log(40), np.log(350))))
    habit = draw_habit(rng)
    sizes = _sizes(scene, 14, 42, 14)
    if rng.random() < 0.25:
        kit = [draw_needle(rng, s * 2, max(s * 0.2, 1.5), rng.uniform(0, 3.2), 0.4, 1.1) for s in sizes]
    else:
        kit = [draw_body(rng, max(s, 5), habit) for s in sizes]
    focus = scene.spot(0.2) if rng.random() < 0.4 else None
    for _ in range(count):
        row, col = scene.spot(0.02)
        if focus is not None and rng.random() < 0.7:
            row, col = ((3 * f + o) // 4 for f, o in zip(focus, (row, col), strict=True))
        scene.put(_turned(rng, kit[int(rng.integers(len(kit)))]), row, col, Outcome.OVERNUCLEATED)


def _needles(scene: Scene) -> None:
    rng, span = scene.rng, scene.span()
    count = int(np.exp(rng.uniform(np.log(3), np.log(90))))
    thick = scene.px(np.exp(rng.uniform(np.log(4), np.log(40))))
    dark, bright = rng.uniform(0.15, 0.7), rng.uniform(0.85, 1.45)
    ordered = rng.random() < 0.3
    main = rng.uniform(0, 3.2)
    for size in _sizes(scene, 60, max(span * 0.4, 90), count):
        angle = main + rng.normal(0, 0.2) if ordered else rng.uniform(0, 3.2)
        wide = min(max(thick * rng.uniform(0.6, 1.4), 1.6), size / 2.5)
        row, col = scene.spot(0.06)
        scene.put(draw_needle(rng, size, wide, angle, dark, bright), row, col, Outcome.BAD_FORM)


def _plates(scene: Scene) -> None:
    rng = scene.rng
    dark = rng.uniform(0.25, 0.85)
    for size in _sizes(scene, 50, max(scene.span() * 0.25, 80), int(rng.integers(2, 30))):
        row, col = scene.spot(0.06)
        scene.put(draw_plate(rng, max(size, 9), dark), row, col, Outcome.BAD_FORM)


def _clusters(scene: Scene) -> None:
    rng = scene.rng
    habit = draw_habit(rng, longest=5)
    for size in _sizes(scene, 60, max(scene.span() * 0.35, 90), int(rng.choice([1, 1, 2, 3, 5, 9]))):
        row, col = scene.spot(0.08)
        scene.put(draw_cluster(rng, max(size, 16), habit, int(rng.integers(3, 11))), row, col, Outcome.BAD_FORM)


def _fans(scene: Scene) -> None:
    rng = scene.rng
    for size in _sizes(scene, 90, max(scene.span() * 0.45, 120), int(rng.choice([1, 2, 3, 6, 10]))):
        row, col = scene.spot(0.08)
        scene.put(draw_fan(rng, max(size, 16)), row, col, Outcome.BAD_FORM)


def _turned(rng: np.random.Generator, patch: Patch) -> Patch:
    turns, mirror = int(rng.integers(4)), rng.random() < 0.5
    light, cover = np.rot90(patch.light, turns), np.rot90(patch.cover, turns)
    return Patch(light[::-1], cover[::-1], patch.amber) if mirror else Patch(light, cover, patch.amber)


# --- precipitate ----------------------------------------------------------------------------------------------------


def precipitate(scene: Scene, grade: Outcome) -> None:
    """Amorphous matter: grains, clumps, veins, haze and skin, mixed; the grades differ in how dark and coarse it is."""
    rng = scene.rng
    height, width = scene.light.shape
    amount = {Outcome.PRECIPITATE_BAD: 1.5, Outcome.PRECIPITATE: 1.0}.get(grade, 0.7)
    where = _spread(scene)
    if grade is Outcome.PRECIPITATE_GOOD:
        looks = [_grains]
    else:
        pool = [_grains, _grains, _clumps, _veins, _haze, _curds, _wisps, _wisps]
        looks = [pool[i] for i in rng.choice(len(pool), int(rng.integers(1, 4)), replace=False)]
    dark = np.zeros((height, width), np.float32)
    for look in looks:
        dark += look(scene) * np.float32(amount)
    dark *= where
    scene.light *= np.clip(1 - dark * scene.inside, 0.05, 1.6)
    brown = rng.uniform(0.0, 0.4) if grade is Outcome.PRECIPITATE_GOOD else rng.uniform(0.0, 0.7)
    scene.amber = np.maximum(
        scene.amber, np.clip(np.maximum(dark, 0.12 * where), 0, 1) * np.float32(brown) * scene.inside
    )
    seen = (where > 0.35) & _visible(scene, dark, brown)
    scene.fill(seen, grade)
    scene.doubt((where > 0.05) & ~seen)
    if grade is not Outcome.PRECIPITATE_GOOD and rng.random() < 0.4:
        skin(scene, grade if rng.random() < 0.5 else None)


def _visible(scene: Scene, dark: Field, brown: float) -> npt.NDArray[np.bool_]:
    """Where a texture differs enough from place to place, or is brown enough, to be seen."""
    height, width = dark.shape
    low = (max(round(height / scene.px(70)), 2), max(round(width / scene.px(70)), 2))
    mean, square = (stretch(stretch(x, *low, smooth=False), height, width, smooth=False) for x in (dark, dark * dark))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    visible: npt.NDArray[np.bool_] = (spread > 0.028) | (mean * brown > 0.07)
    return visible


def _spread(scene: Scene) -> Field:
    """Where in the drop the precipitate lies, 0..1: everywhere, in patches, in the middle, or at the edge."""
    rng = scene.rng
    height, width = scene.light.shape
    kind = rng.random()
    if kind < 0.45:
        return np.clip(0.8 + 0.3 * noise(rng, height, width, scene.shape.size), 0, 1)
    if kind < 0.75:
        at = rng.uniform(-0.3, 0.6)
        return step(
            noise(rng, height, width, scene.shape.size * rng.uniform(0.3, 0.9), 2), at, at + rng.uniform(0.4, 1.2)
        )
    uneven = scene.shape.rho + np.float32(0.12) * noise(rng, height, width, scene.shape.size * 0.4, 2)
    at = rng.uniform(0.4, 0.8)
    return step(uneven, at + 0.15, at - 0.15) if kind < 0.9 else step(uneven, at - 0.1, at + 0.1)


def _grains(scene: Scene) -> Field:
    rng = scene.rng
    cell = max(scene.px(np.exp(rng.uniform(np.log(3.5), np.log(14)))), 1.0)
    grain = scene.noise(cell, int(rng.integers(1, 3)))
    if rng.random() < 0.5:  # single grains apart
        at = rng.uniform(0.9, 1.9)
        return np.float32(rng.uniform(0.25, 0.7)) * step(grain, at, at + 0.6)
    base = rng.uniform(0.0, 0.2)
    flat: Field = np.float32(base) + np.float32(rng.uniform(0.06, 0.2)) * grain
    return flat


def _clumps(scene: Scene) -> Field:
    rng = scene.rng
    cell = scene.px(np.exp(rng.uniform(np.log(40), np.log(220))))
    lump = scene.noise(cell, 5, rng.uniform(0.5, 0.75))
    at = rng.uniform(0.1, 1.2)
    return np.float32(rng.uniform(0.15, 0.55)) * step(lump, at, at + rng.uniform(0.2, 1.0))


def _veins(scene: Scene) -> Field:
    rng = scene.rng
    fold = np.abs(scene.noise(scene.px(rng.uniform(50, 260)), 4, 0.5))
    thin = rng.uniform(0.05, 0.2)
    patch = step(scene.noise(scene.shape.size * 0.6), -0.2, 0.8)
    return np.float32(rng.uniform(0.15, 0.5)) * step(fold, thin, 0) * patch


def _haze(scene: Scene) -> Field:
    rng = scene.rng
    cloud = scene.noise(scene.shape.size * rng.uniform(0.2, 0.8), 3)
    dark: Field = np.clip(np.float32(rng.uniform(0.08, 0.3)) * (1 + np.float32(0.4) * cloud), 0, 0.7)
    return dark


def _curds(scene: Scene) -> Field:
    rng = scene.rng
    curd = scene.noise(scene.px(np.exp(rng.uniform(np.log(16), np.log(70)))), 3)
    return np.float32(rng.uniform(0.02, 0.1)) - np.float32(rng.uniform(0.06, 0.18)) * relief(curd, rng.uniform(0, 6.3))


def _wisps(scene: Scene) -> Field:
    """Fine matter drawn out by the flow in the drop: soft, of little contrast."""
    rng = scene.rng
    height, width = scene.light.shape
    fine = noise(rng, height, width, scene.px(np.exp(rng.uniform(np.log(10), np.log(45)))), 3, 0.6)
    pull = scene.px(rng.uniform(20, 120))
    cell = scene.px(rng.uniform(60, 250))
    rows = np.arange(height)[:, None] + (pull * noise(rng, height, width, cell)).astype(np.intp)
    cols = np.arange(width)[None, :] + (pull * noise(rng, height, width, cell)).astype(np.intp)
    drawn = fine[np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)]
    base = rng.uniform(0.02, 0.15)
    dark: Field = np.maximum(np.float32(base) + np.float32(rng.uniform(0.04, 0.15)) * drawn, -0.15)
    return dark


def skin(scene: Scene, outcome: Outcome | None) -> None:
    """A wrinkled skin: folds with light and dark flanks, bright creases, wrinkles that run to the edge."""
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(5)))
    low = (-(-height // k), -(-width // k))
    surface = noise(rng, *low, scene.px(rng.uniform(60, 300)) / k, 3, 0.45)
    if rng.random() < 0.5:
        surface = -(np.abs(surface) ** np.float32(0.7))
    strength = rng.uniform(0.03, 0.16)
    if rng.random() < 0.3:  # crumpled like foil
        surface = -np.abs(noise(rng, *low, scene.px(rng.uniform(40, 140)) / k, 4, 0.6))
        strength = rng.uniform(0.1, 0.3)
    folds = np.float32(strength) * np.clip(relief(surface, rng.uniform(0, 6.3)), -3, 3)
    if rng.random() < 0.4:
        angle = stretch(scene.shape.angle, *low, smooth=False)
        rho = stretch(scene.shape.rho, *low, smooth=False)
        waves = np.sin(angle * np.float32(rng.integers(15, 70)) + 3 * noise(rng, *low, scene.px(200) / k))
        folds += np.float32(rng.uniform(0.02, 0.1)) * waves * step(rho, 0.5, 0.9)
    where = step(noise(rng, *low, scene.shape.size / k * 0.6), rng.uniform(-1.5, 0.3), rng.uniform(0.4, 1))
    factor = (
        1
        + stretch((folds * where).astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]
        * scene.inside
    )
    scene.light *= np.maximum(factor, 0.2)
    if rng.random() < 0.6:
        _creases(scene)
    if outcome is not None:
        big = stretch(where, low[0] * k, low[1] * k, smooth=False)[:height, :width]
        scene.fill(big > 0.4, outcome)


def crumpled(scene: Scene) -> None:
    """A thick skin crumpled like foil: short folds with a bright and a dark flank, hard as a crystal's edges but never straight for long."""
    rng = scene.rng
    height, width = scene.light.shape
    k = max(1, round(scene.px(4)))
    low = (-(-height // k), -(-width // k))
    picture = Image.new("L", (low[1], low[0]), 0)
    pen = ImageDraw.Draw(picture)
    for _ in range(int(np.exp(rng.uniform(np.log(30), np.log(350))))):
        row, col = scene.spot(0.02)
        points = _wander(
            rng, row / k, col / k, rng.uniform(0, 6.3), scene.px(rng.uniform(40, 240)) / k, rng.uniform(0.6, 2.2)
        )
        pen.line(
            points,
            fill=int(rng.integers(60, 255)),
            width=max(1, round(scene.px(rng.uniform(6, 34)) / k)),
            joint="curve",
        )
    ridge = blur(np.asarray(picture, np.float32) / 255, max(scene.px(rng.uniform(4, 10)) / k, 0.5))
    surface = ridge + np.float32(rng.uniform(0.05, 0.35)) * noise(rng, *low, scene.px(rng.uniform(50, 200)) / k, 4)
    slope = np.clip(relief(surface, rng.uniform(0, 6.3)), -3, 3)
    folds = np.float32(rng.uniform(0.0, 0.2)) * slope - np.float32(rng.uniform(0.08, 0.28)) * np.abs(slope)
    folds += np.float32(rng.uniform(0.0, 0.2)) * ridge
    where = step(noise(rng, *low, scene.shape.size / k * 0.6), rng.uniform(-2.5, 0.0), rng.uniform(0.1, 0.8))
    factor = stretch((folds * where).astype(np.float32), low[0] * k, low[1] * k, smooth=False)[:height, :width]
    scene.light *= np.clip(1 + factor * scene.inside, 0.08, 1.5)
    scene.fill(stretch(where, low[0] * k, low[1] * k, smooth=False)[:height, :width] > 0.4, Outcome.OTHER)


def _creases(scene: Scene) -> None:
    """Bright or dark lines, nearly straight or bent, single or side by side."""
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
        points = _wander(rng, row, col, angle, length, rng.uniform(0, 0.5))
        pen.line(points, fill=int(rng.integers(90, 255)), width=max(1, round(scene.px(rng.uniform(1.5, 7)))))
    line = blur(np.asarray(picture, np.float32) / 255, rng.uniform(0.5, 2.5) * max(1.0, scene.px(1.2)))
    broken = np.clip(0.7 + 0.5 * noise(rng, height, width, scene.px(60)), 0, 1.3)
    tone = rng.uniform(0.08, 0.4) if rng.random() < 0.75 else -rng.uniform(0.1, 0.4)
    scene.light *= 1 + np.float32(tone) * line * broken * scene.inside


# --- other and clear ------------------------------------------------------------------------------------------------


def spherulites(scene: Scene) -> None:
    """Round balls with radial texture and a rough, dark outline."""
    rng = scene.rng
    for size in _sizes(scene, 35, 230, int(rng.choice([1, 2, 4, 8, 16, 30]))):
        row, col = scene.spot(0.08)
        scene.put(_ball(rng, max(size, 12)), row, col, Outcome.SPHERULITES)


def _ball(rng: np.random.Generator, size: float) -> Patch:
    side = int(size * 1.2 + 6)
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
    angle, distance = np.arctan2(y, x), np.sqrt(y * y + x * x) / np.float32(size / 2)
    rays = noise(rng, 1, 361, rng.uniform(2, 8), 2)[0][((angle + np.pi) * (360 / (2 * np.pi))).astype(np.intp)]
    even = rng.random() < 0.4  # some are smooth dark balls
    rays = rays * np.float32(0.15 if even else 1)
    rough = distance + np.float32(0.03) * rays
    rough = rough + np.float32(0.012 if even else 0.05) * noise(rng, side, side, max(size / 6, 2), 2)
    cover = step(rough, 1.04, 0.96)
    body = (
        np.float32(rng.uniform(0.1, 0.5) if even else rng.uniform(0.35, 0.85))
        + np.float32(rng.uniform(0.03, 0.14)) * rays
    )
    body = (
        body
        - np.float32(rng.uniform(0.1, 0.5)) * np.clip(distance, 0, 1) ** 3
        + np.float32(0.2) * np.exp(-((distance * 4) ** 2))
    )
    return Patch((1 + (np.maximum(body, 0.05) - 1) * cover).astype(np.float32), cover, rng.uniform(0.1, 0.6))


def phase_separation(scene: Scene) -> None:
    """Oily droplets: smooth discs with a fine contour, many of them or a few large ones."""
    rng = scene.rng
    count = int(np.exp(rng.uniform(np.log(12), np.log(260))))
    sizes = _sizes(scene, 10, 26 if count > 120 else 90, 14)
    dark, bright = rng.uniform(0.2, 0.8), rng.uniform(1.0, 1.25)
    kit = [_lens(rng, max(s, 5), dark, bright, rng.uniform(0.08, 0.3)) for s in sizes]
    for _ in range(count):
        row, col = scene.spot(0.03)
        scene.put(kit[int(rng.integers(len(kit)))], row, col, Outcome.PHASE_SEPARATION)


def bubbles(scene: Scene) -> None:
    """Air bubbles: thick black rings with a bright middle."""
    rng = scene.rng
    for size in _sizes(scene, 25, max(min(260.0, scene.span() * 0.3), 40), int(rng.integers(1, 12))):
        row, col = scene.spot(0.05)
        scene.put(
            _lens(rng, max(size, 9), rng.uniform(0.03, 0.25), rng.uniform(1.0, 1.3), rng.uniform(0.3, 0.65)),
            row,
            col,
            Outcome.OTHER,
        )


def _lens(rng: np.random.Generator, size: float, dark: float, bright: float, thick: float) -> Patch:
    """A disc with a dark ring of relative thickness `thick` and a bright middle."""
    side = int(size + 8)
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
    y *= np.float32(rng.uniform(0.93, 1.07))
    distance = np.sqrt(y * y + x * x) / np.float32(size / 2)
    cover = np.clip((1 - distance) * np.float32(size / 2) + 0.5, 0, 1)
    ring = step(distance, 1 - thick * 1.3, 1 - thick * 0.5)
    body = np.float32(bright) + (np.float32(dark) - np.float32(bright)) * ring
    halo = np.float32(rng.uniform(0, 0.15)) * np.exp(-(((distance - 1.06) * np.float32(size / 6)) ** 2))
    return Patch((1 + (body - 1) * cover + halo * (1 - cover)).astype(np.float32), cover)


def satellites(scene: Scene) -> None:
    """Droplets beside the drop, small domes and rings that belong to nothing."""
    rng = scene.rng
    near = np.argwhere(np.abs(scene.shape.rho[::4, ::4] - 1.12) < 0.12) * 4
    if not len(near):
        return
    for row, col in near[rng.integers(0, len(near), int(rng.integers(1, 5)))]:
        size = max(scene.px(np.exp(rng.uniform(np.log(12), np.log(200)))), 5)
        ring = _lens(rng, size, rng.uniform(0.1, 0.7), rng.uniform(0.95, 1.1), rng.uniform(0.15, 0.8))
        scene.put(ring, int(row), int(col), None)


def froth(scene: Scene) -> None:
    """A band of vesicles and crumbs along the drop's edge, as of a drop that has dried back."""
    rng = scene.rng
    at = rng.uniform(0.78, 0.94)
    start, wide = rng.uniform(-np.pi, np.pi), rng.uniform(1.5, 2 * np.pi)
    kit = [
        _lens(
            rng,
            max(scene.px(rng.uniform(10, 45)), 4),
            rng.uniform(0.2, 0.6),
            rng.uniform(1, 1.15),
            rng.uniform(0.2, 0.5),
        )
        for _ in range(10)
    ]
    near = np.argwhere(np.abs(scene.shape.rho[::4, ::4] - at) < 0.03) * 4
    if not len(near):
        return bubbles(scene)
    for row, col in near[rng.integers(0, len(near), int(rng.integers(30, 160)))]:
        if (scene.shape.angle[row, col] - start) % (2 * np.pi) < wide:
            scene.put(kit[int(rng.integers(len(kit)))], int(row), int(col), Outcome.OTHER)
    crumbs = step(scene.noise(scene.px(12), 2), 0.3, 1.2) * step(np.abs(scene.shape.rho - np.float32(at)), 0.05, 0.01)
    scene.light *= 1 - np.float32(rng.uniform(0.2, 0.7)) * crumbs * scene.inside
    return None


def debris(scene: Scene) -> None:
    """Dark crumpled threads and flakes that fell in."""
    rng = scene.rng
    for _ in range(int(rng.integers(2, 7))):
        fibre(scene, Outcome.OTHER, thick=(8, 22), dark=(0.05, 0.4))


def dried(scene: Scene) -> None:
    """The drop has drawn back to a dark dome inside a flat crumpled remainder."""
    rng = scene.rng
    height, width = scene.light.shape
    at = rng.uniform(0.45, 0.8)
    rho = scene.shape.rho + np.float32(0.07) * noise(rng, height, width, scene.shape.size * 0.35, 3, 0.4)
    core = np.clip(rho / np.float32(at), 0, 1)
    deep = np.float32(rng.uniform(0.5, 0.95))
    dome = 1 - deep * core ** np.float32(rng.uniform(2, 5))
    crumple = noise(rng, height, width, scene.px(rng.uniform(25, 110)), 3)
    rest = 1 + np.float32(rng.uniform(0.04, 0.15)) * np.clip(relief(crumple, rng.uniform(0, 6.3)), -3, 3)
    edge = step(rho, at, at + 4 / scene.shape.size)
    scene.light *= 1 + ((dome * (1 - edge) + rest * edge) - 1) * scene.inside
    scene.fill((rho > at * 0.85) & (rho < 1), Outcome.OTHER)


def retracted(scene: Scene) -> None:
    """Two liquids: a smooth dome, often dark at its edge, that has drawn together inside a flat film, anywhere in it."""
    rng = scene.rng
    height, width = scene.light.shape
    row, col = scene.spot(0.35)
    size = scene.shape.size * rng.uniform(0.35, 0.75)
    y, x = np.arange(height, dtype=np.float32)[:, None] - row, np.arange(width, dtype=np.float32)[None, :] - col
    oval, turn = rng.uniform(1, 1.5), rng.uniform(0, 3.2)
    u, v = (np.cos(turn) * x + np.sin(turn) * y) / oval, (np.cos(turn) * y - np.sin(turn) * x) * oval
    rho = np.sqrt(u * u + v * v) / np.float32(size)
    rho = rho * (1 + np.float32(rng.uniform(0.02, 0.12)) * noise(rng, height, width, size * rng.uniform(0.3, 1), 2))
    rho = np.maximum(rho, (scene.shape.rho - 0.9) * 8).astype(np.float32)  # it stays inside the film
    lit = np.clip(1 + rng.uniform(0, 0.7) * np.cos(np.arctan2(y, x) - rng.uniform(0, 6.3)), 0, 1.6)
    deep = rng.uniform(0.5, 0.95) if rng.random() < 0.65 else rng.uniform(0.15, 0.5)
    dome = 1 - np.float32(deep) * lit * np.clip(rho, 0, 1) ** np.float32(rng.uniform(1.5, 6))
    film = 1 + np.float32(rng.uniform(0, 0.1)) * np.clip(
        relief(scene.noise(scene.px(rng.uniform(30, 150)), 3), rng.uniform(0, 6.3)), -3, 3
    )
    soft = max(scene.px(rng.uniform(2, 8)), 0.8) / size
    outside = step(rho, 1 - soft, 1 + soft)
    scene.light *= 1 + (np.maximum(dome, 0.04) * (1 - outside) + film * outside - 1) * scene.inside
    scene.fill((rho > 0.8) & (rho < 1.15), Outcome.OTHER)
    if rng.random() < 0.5:
        scene.fill((rho >= 1) & (scene.shape.rho < 1) & (np.abs(film - 1) > 0.03), Outcome.OTHER)


def ridges(scene: Scene) -> None:
    """Smooth thick folds, as of a gel or a skin under tension: broad shades with a few hard creases."""
    rng = scene.rng
    height, width = scene.light.shape
    surface = noise(rng, height, width, scene.shape.size * rng.uniform(0.25, 0.6), 2, 0.35)
    slope = np.clip(relief(surface, rng.uniform(0, 6.3)), -3, 3)
    fold = step(np.abs(surface - np.float32(rng.uniform(-0.5, 0.5))), 0.12, 0.0)
    strength = rng.uniform(0.1, 0.3)
    scene.light *= np.clip(1 + (np.float32(strength) * (slope - fold)) * scene.inside, 0.08, 1.5)
    scene.fill((np.abs(slope) > 0.6) | (fold > 0.3), Outcome.OTHER)


def features(scene: Scene) -> None:
    """A clear drop with something in it that isn't of the protein: a fibre, a scratch, some dust, one small bubble."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 3))):
        fibre(scene, Outcome.CLEAR_WITH_FEATURES)
    if rng.random() < 0.5:
        specks(scene, int(rng.integers(4, 25)))


def fibre(
    scene: Scene, outcome: Outcome | None, thick: tuple[float, float] = (2, 9), dark: tuple[float, float] = (0.2, 0.75)
) -> None:
    """One curved thread."""
    rng = scene.rng
    height, width = scene.light.shape
    row, col = scene.spot()
    points = _wander(rng, row, col, rng.uniform(0, 6.3), scene.px(rng.uniform(60, 600)), rng.uniform(0.1, 1.2))
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).line(points, fill=255, width=max(1, round(scene.px(rng.uniform(*thick)))), joint="curve")
    box = picture.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    line = blur(np.pad(np.asarray(picture.crop(box), np.float32) / 255, 4), rng.uniform(0.3, 1.5))
    light = 1 - np.float32(1 - rng.uniform(*dark)) * line
    scene.put(Patch(light, line), (top + bottom) // 2, (left + right) // 2, outcome)


def specks(scene: Scene, count: int) -> None:
    """Dust, anywhere in the rectangle; too small to be anything."""
    rng = scene.rng
    height, width = scene.light.shape
    for _ in range(count):
        size = max(scene.px(rng.uniform(4, 22)), 1.5)
        y, x = np.mgrid[: int(size * 3) + 3, : int(size * 3) + 3] - (int(size * 3) + 2) / 2
        spin = rng.uniform(0, 3.2)
        u, v = np.cos(spin) * x + np.sin(spin) * y, (np.cos(spin) * y - np.sin(spin) * x) * rng.uniform(1, 3)
        dot = np.exp(-(((u * u + v * v) / (size / 2) ** 2) ** rng.uniform(1, 3))).astype(np.float32)
        scene.put(
            Patch(1 - np.float32(rng.uniform(0.15, 0.85)) * dot, dot),
            int(rng.integers(height)),
            int(rng.integers(width)),
            None,
        )


def crumbs(scene: Scene) -> None:
    """A few dark or brown irregular particles: dirt, not crystals."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 5))):
        size = max(scene.px(np.exp(rng.uniform(np.log(12), np.log(70)))), 3)
        side = int(size * 1.6) + 6
        y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
        spin = rng.uniform(0, 3.2)
        u, v = np.cos(spin) * x + np.sin(spin) * y, (np.cos(spin) * y - np.sin(spin) * x) * rng.uniform(1, 2.5)
        ragged = np.sqrt(u * u + v * v) / (size / 2) + 0.25 * noise(rng, side, side, max(size / 3, 1.6), 3)
        lump = step(ragged, 1.05, 0.8)
        tone = rng.uniform(0.08, 0.6) * (1 + 0.3 * noise(rng, side, side, max(size / 4, 1.6), 2))
        row, col = scene.spot()
        light = 1 + (np.clip(tone, 0.03, 1) - 1) * lump
        scene.put(Patch(light.astype(np.float32), lump, float(rng.choice([0.0, 0.5, 1.0]))), row, col, None)


def _wander(
    rng: np.random.Generator, row: float, col: float, angle: float, length: float, bend: float
) -> list[tuple[float, float]]:
    """Points (x, y) of a line that starts at (row, col) and bends as it goes."""
    steps = 24
    turns = (
        angle + np.cumsum(rng.normal(0, bend / np.sqrt(steps) * 2, steps)) + np.linspace(0, rng.normal(0, bend), steps)
    )
    x = col + np.cumsum(np.cos(turns)) * length / steps
    y = row + np.cumsum(np.sin(turns)) * length / steps
    return list(zip(x.tolist(), y.tolist(), strict=True))
