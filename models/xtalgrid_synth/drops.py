"""The drop: its outline, and how its curved surface changes the light (1: as bright as the floor)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .field import Field, blur, grid, noise, relief, step, stretch


@dataclass(frozen=True, slots=True)
class Shape:
    """A drop's outline.

    `rho` ``(H, W)`` is 0 in the drop's middle and 1 on its outline; `angle` ``(H, W)`` is the direction from the
    middle, in radians; `size` is the mean radius in pixels.
    """

    rho: Field
    angle: Field
    size: float

    @property
    def cover(self) -> Field:
        """1 inside the drop, 0 outside, with an edge about a pixel wide."""
        cover: Field = np.clip((1 - self.rho) * np.float32(self.size) + np.float32(0.5), 0, 1)
        return cover


def draw_shape(
    rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], size: float, round_off: bool = False
) -> Shape:
    """Draw an outline of mean radius `size` pixels around `centre` (row, col): oval or lobed, some with tails.

    `round_off` keeps it close to a circle.
    """
    k = max(1, round(size / 90))  # the outline is smooth: compute it on fewer pixels
    rows, cols = grid(-(-height // k), -(-width // k))
    y: Field = rows * k - np.float32(centre[0])
    x: Field = cols * k - np.float32(centre[1])
    wild = 0.0 if round_off else float(rng.choice([0.25, 0.6, 1.0, 1.6]))
    if wild:
        shift = 0.06 * wild * size
        y = y + np.float32(shift) * noise(rng, y.shape[0], x.shape[1], size / k)
        x = x + np.float32(shift) * noise(rng, y.shape[0], x.shape[1], size / k)
    turn = rng.uniform(0, 2 * np.pi)
    oval = 1 + rng.uniform(0, 0.06 if round_off else 0.3)
    u = (np.cos(turn) * x + np.sin(turn) * y) / np.float32(oval)
    v = (np.cos(turn) * y - np.sin(turn) * x) * np.float32(oval)
    angle = np.arctan2(v, u)
    around = np.linspace(-np.pi, np.pi, 720, dtype=np.float32)
    reach = np.ones(720)
    for wave in range(2, 9):
        strength = (0.012 if round_off else 0.05 * wild) / wave
        reach += strength * rng.normal() * np.cos(wave * around + rng.uniform(0, 6.3)) * 2
    if not round_off:
        _roughen(rng, around, reach)
    edge = reach.astype(np.float32)[((angle + np.pi) * (719 / (2 * np.pi))).astype(np.intp)]
    rho = np.sqrt(u * u + v * v) / (np.float32(size) * np.maximum(edge, 0.3))
    around_middle = np.arctan2(y, x).repeat(k, axis=0).repeat(k, axis=1)[:height, :width]  # not blended across ±π
    return Shape(_grow(rho, k, height, width), around_middle, size)


def _roughen(rng: np.random.Generator, around: Field, reach: Field) -> None:
    """Add tails, small teeth and perhaps a ragged side to `reach`, the outline's radius at the angles `around`."""
    for _ in range(int(rng.choice([0, 0, 1, 1, 2, 4]))):
        wide = rng.uniform(0.03, 0.25)
        away = np.angle(np.exp(1j * (around - rng.uniform(-np.pi, np.pi))))
        reach += rng.uniform(-0.5, 1.0) * wide * np.exp(-(np.abs(away / wide) ** rng.uniform(1, 2)))
    if rng.random() < 0.25:
        away = np.angle(np.exp(1j * (around - rng.uniform(-np.pi, np.pi))))
        teeth = noise(rng, 1, 720, rng.uniform(6, 25), 2)[0]
        reach += 0.03 * teeth * np.exp(-((away / 0.7) ** 2))


def _grow(field: Field, k: int, height: int, width: int) -> Field:
    """Enlarge a field `k` times and cut it to ``(height, width)``."""
    if k == 1:
        return field.astype(np.float32)
    big = stretch(field.astype(np.float32), field.shape[0] * k, field.shape[1] * k, smooth=False)
    return big[:height, :width]


_STYLES = ["liquid"] * 12 + ["dome"] * 4 + ["lens"] * 3 + ["flat"] * 2 + ["step"]
"""Kinds of surface, each as often as it is drawn.

`liquid` is the surface that surface tension gives the outline, lit from one side. A `dome` has a dark rim that shades
smoothly to a bright middle, a `lens` soft light and dark folds, `flat` little more than an outline. `step` has a second
contour inside the first, as in a drop that has shrunk.
"""


def draw_surface(rng: np.random.Generator, shape: Shape, um: float) -> Field:
    """Draw the drop's effect on the light, factors ``(H, W)``, 1 outside the drop."""
    style = str(rng.choice(_STYLES))
    rho, height, width = shape.rho, *shape.rho.shape
    k = max(1, round(shape.size / 80))
    low = (-(-height // k), -(-width // k))
    small = stretch(rho, *low, smooth=False)
    angle = shape.angle[::k, ::k]
    sides = sum(rng.normal() / wave * np.cos(wave * angle + np.float32(rng.uniform(0, 6.3))) for wave in (1, 2, 3))
    lit = np.clip(0.5 + 0.5 * sides, 0, 1.4).astype(np.float32)
    inside = np.clip(small, 0, 1)
    light = np.ones(low, np.float32)
    if style == "liquid":
        light = _lit(rng, _cap(small))
    elif style == "dome":
        even = rng.uniform(0, 0.35)
        depth = np.float32(rng.uniform(0.5, 0.97)) * (1 - np.float32(even) + np.float32(even) * lit)
        light -= depth * inside ** np.float32(rng.uniform(1.6, 7))
        light *= 1 + np.float32(rng.uniform(-0.03, 0.12)) * (1 - inside**2)
    elif style == "lens":
        surface = noise(rng, *low, shape.size / k * rng.uniform(0.6, 1.8), int(rng.integers(1, 3)), 0.25)
        folds = relief(surface, rng.uniform(0, 6.3))
        light += np.float32(rng.uniform(0.0, 0.09)) * folds * (0.4 + inside)
        light -= np.float32(rng.uniform(0.1, 0.75)) * lit * inside ** np.float32(rng.uniform(3, 10))
        light *= np.float32(rng.uniform(0.85, 1.03))
    elif style == "step":
        at = rng.uniform(0.6, 0.93)
        deep = rng.uniform(0.05, 0.3)  # a deeper step would look like two liquids (liquids.two_liquids)
        warped = small + np.float32(0.02) * noise(rng, *low, shape.size / k / 2, 2)
        core = np.clip(warped / np.float32(at), 0, 1)
        light -= np.float32(deep) * lit * core ** np.float32(rng.uniform(3, 9)) * (warped < at)
        light -= np.float32(rng.uniform(0.05, 0.4)) * step(np.abs(warped - at), 0.02, 0)
        light += np.float32(rng.uniform(0, 0.02)) * relief(
            noise(rng, *low, shape.size / k * 0.3, 2), rng.uniform(0, 6.3)
        )
    else:
        light *= np.float32(rng.uniform(0.93, 1.02))
        light -= np.float32(rng.uniform(0, 0.12)) * lit * inside ** np.float32(rng.uniform(2, 8))
    lean = rng.uniform(0, 0.1)
    light *= 1 + np.float32(lean) * small * np.cos(angle - np.float32(rng.uniform(0, 6.3)))
    full = _grow(light.astype(np.float32), k, height, width)
    if rng.random() < 0.3:
        full = full * _pinches(rng, shape, um)
    return _outlined(rng, shape, np.maximum(full, 0.03), um, 0.25 if style == "flat" else 0.6)


def _cap(rho: Field) -> Field:
    """Return the height of a liquid film inside an outline, ``(H, W)``, 0 outside and about 1 in the middle.

    The capillary surface of a shallow drop solves Poisson's equation, here from coarse to fine. Where the outline is
    pinned to a tooth, the surface bends as it does in a real drop; beyond the picture the film goes on as at the
    picture's edge.
    """
    height, width = rho.shape
    sides = [(height, width)]
    while min(sides[-1]) > 24:
        sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
    film = np.zeros(sides[-1], np.float32)
    for rows, cols in reversed(sides):
        within = np.clip(1.5 - stretch(rho, rows, cols, smooth=False), 0, 1) >= 0.5
        film = stretch(film, rows, cols, smooth=False) * within
        load = np.float32(4 / max(within.sum() / np.pi, 1))
        for _ in range(200 if (rows, cols) == sides[-1] else 24):
            around = np.pad(film, 1, mode="edge")
            film = within * (
                0.25 * (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] + load)
            )
    return film


def _lit(rng: np.random.Generator, film: Field) -> Field:
    """Return the light that a film sends to the camera, as factors.

    Steep places are darker, since they deflect the light out of the lamp's cone; the side facing the lamp is brighter.
    """
    around = np.pad(blur(film, 0.8), 1, mode="edge")
    size = np.sqrt(max(float((film > 0).sum()), 1) / np.pi)
    down = (around[2:, 1:-1] - around[:-2, 1:-1]) * np.float32(size / 4)  # 1 at the edge of a round drop
    right = (around[1:-1, 2:] - around[1:-1, :-2]) * np.float32(size / 4)
    steep = np.hypot(down, right)
    bulge = rng.uniform(0, 0.92)  # a high drop is steep only at its edge
    stretched = 1 / np.sqrt(np.maximum(1 - np.float32(bulge) * np.minimum(steep, 1) ** 2, 0.03))
    down, right = down * stretched, right * stretched
    towards = rng.uniform(0, 2 * np.pi)
    aside = rng.choice([0.0, 0.15, 0.3, 0.6]) * rng.uniform(0.5, 1.5)
    cone = np.exp(rng.uniform(np.log(0.7), np.log(4)))
    slope = np.hypot(down - np.float32(aside * np.sin(towards)), right - np.float32(aside * np.cos(towards)))
    lost = step(slope, cone * rng.uniform(0.1, 0.8), cone * rng.uniform(1.1, 3))
    gain = rng.uniform(0, 0.25)
    side = np.tanh(down * np.float32(np.sin(towards)) + right * np.float32(np.cos(towards)))
    light: Field = (1 - np.float32(rng.uniform(0.3, 0.97)) * lost) * (1 + np.float32(gain) * side)
    return light * np.float32(rng.uniform(0.92, 1.03))


def _pinches(rng: np.random.Generator, shape: Shape, um: float) -> Field:
    """Draw, as factors, the places where the outline is pinned and the surface bends the light.

    They show as small dark and bright flecks side by side.
    """
    light = np.ones_like(shape.rho)
    near = np.argwhere(np.abs(shape.rho[::3, ::3] - np.float32(rng.uniform(0.88, 1.0))) < 0.04) * 3
    if not len(near):
        return light
    height, width = light.shape
    origin = near[int(rng.integers(len(near)))]
    together = rng.random() < 0.6
    for row, col in near[rng.integers(0, len(near), int(rng.choice([1, 2, 3, 6, 12])))]:
        if together and np.hypot(row - origin[0], col - origin[1]) > shape.size * 0.8:
            continue
        radius = max(float(np.exp(rng.uniform(np.log(10), np.log(80)))) / um, 1.5)
        reach = int(2.2 * radius) + 1
        top, left = max(row - reach, 0), max(col - reach, 0)
        part = light[top : min(row + reach, height), left : min(col + reach, width)]
        y, x = grid(*part.shape)
        y, x = (y + top - row) / np.float32(radius), (x + left - col) / np.float32(radius)
        turn = rng.uniform(0, 6.3)
        u = np.cos(turn) * x + np.sin(turn) * y
        v = (np.cos(turn) * y - np.sin(turn) * x) * np.float32(rng.uniform(0.6, 2))
        bend = np.cos(
            u * np.float32(rng.uniform(1, 4))
            + v * v * np.float32(rng.uniform(-0.8, 0.8))
            + np.float32(rng.uniform(0, 6.3))
        )
        part *= 1 + np.float32(0.05 + 0.6 * rng.random() ** 2) * bend * np.exp(-(u * u + v * v))
    return np.maximum(light, 0.05)


def _outlined(rng: np.random.Generator, shape: Shape, light: Field, um: float, strongest: float) -> Field:
    """Limit the light to the drop, and add a dark contour (at most `strongest`) and a bright one beside it."""
    away = (shape.rho - 1) * np.float32(shape.size)  # pixels outside the outline
    soft = np.exp(rng.uniform(np.log(0.8), np.log(14))) / um
    wide = max(rng.uniform(2, 9) / um, 0.8)
    inside = step(away, soft, -soft)
    light = 1 + (light - 1) * inside
    dark = np.float32(0.02 + strongest * rng.random() ** 2)
    light -= dark * light * np.exp(-(((away + np.float32(wide * 0.5)) / np.float32(wide)) ** 2))
    if rng.random() < 0.4:
        bright = np.float32(0.02 + 0.2 * rng.random() ** 2)
        light += bright * np.exp(-(((away - np.float32(wide)) / np.float32(wide)) ** 2))
    return light
