"""What a drop can hold: a function for each thing, and `fill_drop`, which chooses among them for an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xtalgrid_core.outcomes import Group, Outcome

from .crystals import Patch, draw_body, draw_cluster, draw_fan, draw_habit, draw_needle, draw_plate
from .dirt import fibre, motes, specks
from .field import noise, relief, step
from .liquids import bubbles, froth, hills, lens, phase_separation, two_liquids
from .precipitates import crumpled, precipitate, skin
from .scene import Scene


def fill_drop(scene: Scene, outcome: Outcome, in_precipitate: bool = False) -> None:
    """Draw what makes the drop this outcome, and sometimes what often occurs beside it, such as dust.

    With `in_precipitate`, crystals always have precipitate around them.
    """
    rng = scene.rng
    if rng.random() < 0.35:
        specks(scene, int(rng.integers(1, 14)))
    match outcome.group:
        case Group.CRYSTAL:
            if in_precipitate:
                precipitate(scene, Outcome.PRECIPITATE if rng.random() < 0.5 else Outcome.PRECIPITATE_GOOD)
            elif outcome is not Outcome.OVERNUCLEATED or rng.random() < 0.4:  # many crystals leave little else behind
                _beside_crystals(scene)
            crystals(scene, outcome)
        case Group.PRECIPITATE:
            precipitate(scene, outcome)
        case Group.OTHER:
            _other(scene, outcome)
        case _ if outcome is Outcome.CLEAR_WITH_FEATURES:
            features(scene)
    crystal = outcome.group is Group.CRYSTAL
    if rng.random() < (0.35 if crystal else 0.6):
        motes(scene, int(rng.choice([1, 1, 1, 2, 2, 3, 4, 6, 9, 14])), noted=not crystal)
    if outcome is not Outcome.CLEAR and rng.random() < 0.08:
        fibre(scene, None)


def _beside_crystals(scene: Scene) -> None:
    """Draw precipitate or a skin in a fifth of the drops that have crystals."""
    chance = scene.rng.random()
    if chance < 0.05:
        precipitate(scene, Outcome.PRECIPITATE)
    elif chance < 0.15:
        precipitate(scene, Outcome.PRECIPITATE_GOOD)
    elif chance < 0.19:
        skin(scene, None)
    elif chance < 0.22:
        crumpled(scene)


def _other(scene: Scene, outcome: Outcome) -> None:
    """Draw what an outcome of the group `other` shows."""
    if outcome is Outcome.SPHERULITES:
        spherulites(scene)
    elif outcome is Outcome.PHASE_SEPARATION:
        phase_separation(scene)
    elif outcome is Outcome.OTHER:
        liquids = [two_liquids, two_liquids, two_liquids]
        thick = [hills, hills, hills]
        kinds: list[Callable[[Scene], None]] = [bubbles, froth, debris, dried, *liquids, *thick, ridges, crumpled]
        kinds[int(scene.rng.integers(len(kinds)))](scene)


# --- crystals -------------------------------------------------------------------------------------------------------


def crystals(scene: Scene, outcome: Outcome) -> None:
    """Draw single crystals, badly formed ones, or a shower, according to the outcome."""
    rng = scene.rng
    if outcome is Outcome.HARVESTABLE:
        _singles(scene)
    elif outcome is Outcome.OVERNUCLEATED:
        _shower(scene)
    else:
        habits: list[Callable[[Scene], None]] = [_needles, _needles, _plates, _clusters, _clusters, _fans]
        habits[int(rng.integers(len(habits)))](scene)


def _singles(scene: Scene) -> None:
    """Draw 1 to 30 well-formed crystals of one habit."""
    rng, span = scene.rng, scene.span()
    habit = draw_habit(rng)
    if rng.random() < 0.1:  # a few small and sharp ones
        sizes = scene.sizes(24, 130, int(rng.choice([1, 1, 2, 3, 5])))
        habit = replace(habit, soft=0.0, edge=min(habit.edge, 0.6), dark=max(habit.dark, 0.2))
    else:
        count = int(rng.choice([1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 20, 30]))
        high = min(900.0, span * (0.6 if count < 4 else 0.4))
        sizes = scene.sizes(85, max(high, 150), count)
    room = 0.6 * float((scene.inside > 0.5).sum())
    for size in sorted(sizes):
        room -= size * size
        if room > 0 or size == min(sizes):
            _place(scene, draw_body(rng, max(size, 9), habit), Outcome.HARVESTABLE)


def _place(scene: Scene, patch: Patch, outcome: Outcome) -> None:
    """Put a crystal where it lies wholly in the drop; one in six may touch the drop's edge.

    Of four places it gets the one where the fewest other crystals lie.
    """
    reach = max(patch.light.shape) / 2
    margin = reach * (0.6 if scene.rng.random() < 0.17 else 1.0)
    half = int(reach * 0.7)

    def taken(spot: tuple[int, int]) -> float:
        row, col = spot
        return float((scene.crystals[max(row - half, 0) : row + half, max(col - half, 0) : col + half] != 1).sum())

    row, col = min((scene.spot(0.03, margin) for _ in range(4)), key=taken)
    scene.put(patch, row, col, outcome)


def _shower(scene: Scene) -> None:
    """Draw 40 to 350 small crystals, evenly spread or gathered around one place."""
    rng = scene.rng
    count = int(np.exp(rng.uniform(np.log(40), np.log(350))))
    habit = draw_habit(rng)
    if rng.random() < 0.7:  # rods
        habit = replace(habit, stretch=(*habit.stretch[:2], rng.uniform(2.5, 6)))
    habit = replace(habit, soft=0.0, outline=max(habit.outline, 0.5), thick=max(habit.thick, 0.035))
    sizes = scene.sizes(14, 60 if count > 150 else 120, 14)
    if rng.random() < 0.4:
        dark, bright = rng.uniform(0.2, 0.6), rng.uniform(0.95, 1.5)
        kit = [draw_needle(rng, s * 2, max(s * 0.2, 1.5), rng.uniform(0, 3.2), dark, bright) for s in sizes]
    else:
        kit = [draw_body(rng, max(s, 5), habit) for s in sizes]
    focus = scene.spot(0.2) if rng.random() < 0.4 else None
    for _ in range(count):
        row, col = scene.spot(0.02)
        if focus is not None and rng.random() < 0.7:
            row, col = ((3 * f + o) // 4 for f, o in zip(focus, (row, col), strict=True))
        scene.put(_turned(rng, kit[int(rng.integers(len(kit)))]), row, col, Outcome.OVERNUCLEATED)


def _needles(scene: Scene) -> None:
    """Draw 3 to 90 needles, in all directions or nearly parallel."""
    rng, span = scene.rng, scene.span()
    count = int(np.exp(rng.uniform(np.log(3), np.log(90))))
    thick = scene.px(np.exp(rng.uniform(np.log(4), np.log(40))))
    dark, bright = rng.uniform(0.15, 0.7), rng.uniform(0.85, 1.45)
    ordered = rng.random() < 0.3
    main = rng.uniform(0, 3.2)
    for size in scene.sizes(80, max(span * 0.5, 160), count):
        angle = main + rng.normal(0, 0.2) if ordered else rng.uniform(0, 3.2)
        wide = min(max(thick * rng.uniform(0.6, 1.4), 1.6), size / 2.5)
        _place(scene, draw_needle(rng, size, wide, angle, dark, bright), Outcome.BAD_FORM)


def _plates(scene: Scene) -> None:
    """Draw 2 to 29 thin plates."""
    rng = scene.rng
    dark = rng.uniform(0.25, 0.85)
    for size in scene.sizes(60, max(scene.span() * 0.35, 130), int(rng.integers(2, 30))):
        _place(scene, draw_plate(rng, max(size, 9), dark), Outcome.BAD_FORM)


def _clusters(scene: Scene) -> None:
    """Draw 1 to 9 clusters of crystals grown into each other."""
    rng = scene.rng
    habit = draw_habit(rng, longest=5)
    for size in scene.sizes(110, max(scene.span() * 0.5, 200), int(rng.choice([1, 1, 2, 3, 5, 9]))):
        _place(scene, draw_cluster(rng, max(size, 16), habit, int(rng.integers(2, 9))), Outcome.BAD_FORM)


def _fans(scene: Scene) -> None:
    """Draw 1 to 10 stars, sheaves or urchins of needles."""
    rng = scene.rng
    for size in scene.sizes(110, max(scene.span() * 0.5, 200), int(rng.choice([1, 2, 3, 6, 10]))):
        _place(scene, draw_fan(rng, max(size, 16)), Outcome.BAD_FORM)


def _turned(rng: np.random.Generator, patch: Patch) -> Patch:
    """Turn a patch by a multiple of 90° and perhaps mirror it."""
    turns, mirror = int(rng.integers(4)), rng.random() < 0.5
    light, cover = np.rot90(patch.light, turns), np.rot90(patch.cover, turns)
    return Patch(light[::-1], cover[::-1], patch.amber) if mirror else Patch(light, cover, patch.amber)


# --- other and clear ------------------------------------------------------------------------------------------------


def spherulites(scene: Scene) -> None:
    """Draw 1 to 30 spherulites: balls with a radial texture and a rough dark outline."""
    rng = scene.rng
    for size in scene.sizes(50, 240, int(rng.choice([1, 2, 4, 8, 16, 30]))):
        _place(scene, _ball(rng, max(size, 12)), Outcome.SPHERULITES)


def _ball(rng: np.random.Generator, size: float) -> Patch:
    """Draw one spherulite of `size` pixels."""
    side = int(size * 1.2 + 6)
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2).astype(np.float32)
    angle, distance = np.arctan2(y, x), np.sqrt(y * y + x * x) / np.float32(size / 2)
    rays = noise(rng, 1, 361, rng.uniform(2, 8), 2)[0][((angle + np.pi) * (360 / (2 * np.pi))).astype(np.intp)]
    even = rng.random() < 0.4  # some are smooth dark balls
    rays = rays * np.float32(0.15 if even else 1)
    rough = distance + np.float32(0.03) * rays
    rough = rough + np.float32(0.012 if even else 0.05) * noise(rng, side, side, max(size / 6, 2), 2)
    cover = step(rough, 1.04, 0.96)
    body = np.float32(rng.uniform(0.1, 0.5) if even else rng.uniform(0.35, 0.85))
    body = body + np.float32(rng.uniform(0.03, 0.14)) * rays
    body = body - np.float32(rng.uniform(0.1, 0.5)) * np.clip(distance, 0, 1) ** 3
    body = body + np.float32(0.2) * np.exp(-((distance * 4) ** 2))
    return Patch((1 + (np.maximum(body, 0.05) - 1) * cover).astype(np.float32), cover, rng.uniform(0.1, 0.6))


def satellites(scene: Scene) -> None:
    """Draw up to four droplets beside the drop: small domes and rings that belong to no class."""
    rng = scene.rng
    near = np.argwhere(np.abs(scene.shape.rho[::4, ::4] - 1.12) < 0.12) * 4
    if not len(near):
        return
    for row, col in near[rng.integers(0, len(near), int(rng.integers(1, 5)))]:
        size = max(scene.px(np.exp(rng.uniform(np.log(12), np.log(200)))), 5)
        ring = lens(rng, size, rng.uniform(0.1, 0.7), rng.uniform(0.95, 1.1), rng.uniform(0.15, 0.8))
        scene.put(ring, int(row), int(col), None)


def debris(scene: Scene) -> None:
    """Draw thick dark threads that have fallen in."""
    rng = scene.rng
    for _ in range(int(rng.integers(2, 7))):
        fibre(scene, Outcome.OTHER, thick=(8, 22), dark=(0.05, 0.4))


def dried(scene: Scene) -> None:
    """Draw a drop that has shrunk to a dark dome inside a flat crumpled remainder."""
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


def ridges(scene: Scene) -> None:
    """Draw smooth thick folds with a few sharp creases, as in a gel or a skin under tension."""
    rng = scene.rng
    height, width = scene.light.shape
    surface = noise(rng, height, width, scene.shape.size * rng.uniform(0.25, 0.6), 2, 0.35)
    slope = np.clip(relief(surface, rng.uniform(0, 6.3)), -3, 3)
    fold = step(np.abs(surface - np.float32(rng.uniform(-0.5, 0.5))), 0.12, 0.0)
    strength = rng.uniform(0.1, 0.3)
    scene.light *= np.clip(1 + (np.float32(strength) * (slope - fold)) * scene.inside, 0.08, 1.5)
    scene.fill((np.abs(slope) > 0.6) | (fold > 0.3), Outcome.OTHER)


def features(scene: Scene) -> None:
    """Draw what a clear drop may hold besides protein: one or two fibres, and dust."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 3))):
        fibre(scene, Outcome.CLEAR_WITH_FEATURES)
    if rng.random() < 0.5:
        specks(scene, int(rng.integers(4, 25)))
