"""The part of a picture that holds the drop, while things are put into it: light, tint, and what was put where."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import PRIORITY, Outcome

from .crystals import Patch
from .drops import Shape
from .field import Field, noise

UNSURE = 200
"""In a content map: something lies here that is too faint to be seen."""


@dataclass(frozen=True, slots=True)
class WellObject:
    """One thing in the well: the outcome it stands for, its box in image pixels, and whether its edges are drawn sharp."""

    outcome: Outcome
    box: Box


@dataclass(slots=True)
class Scene:
    """The drop's rectangle of the picture, ``(H, W)`` throughout, `um` micrometres a pixel.

    `light` multiplies the ground; `amber` (0..1) tints it; `content` is 1 + rank of the class that fills a pixel, 0 where nothing
    does; `inside` 0..1 is the part of the drop that is seen.
    """

    rng: np.random.Generator
    um: float
    shape: Shape
    inside: Field
    light: Field
    amber: Field
    content: npt.NDArray[np.uint8]
    objects: list[WellObject] = dataclasses.field(default_factory=list)

    def px(self, micrometres: float) -> float:
        """A length in pixels."""
        return micrometres / self.um

    def noise(self, cell: float, octaves: int = 1, fade: float = 0.55) -> Field:
        """`field.noise` over the whole rectangle."""
        height, width = self.light.shape
        return noise(self.rng, height, width, cell, octaves, fade)

    def span(self) -> float:
        """The drop's diameter in micrometres, about: never more than what is in view."""
        height, width = self.light.shape
        return float(min(2 * self.shape.size, 1.2 * min(height, width)) * self.um)

    def sizes(self, low: float, high: float, count: int) -> list[float]:
        """Sizes in pixels, log-normal around one typical size of the drop, `low`..`high` micrometres; in some drops much alike."""
        rng = self.rng
        typical = np.exp(rng.uniform(np.log(low), np.log(high)))
        spread = rng.choice([0.15, 0.35, 0.55, 0.75])
        drawn = typical * np.exp(rng.normal(0, spread, count))
        return [self.px(float(size)) for size in np.clip(drawn, low * 0.6, high * 1.2)]

    def spot(self, margin: float = 0.0, radius: float = 0.0) -> tuple[int, int]:
        """A random (row, col) in the drop where `rho` < 1 − margin, `radius` pixels away from where the drop ends."""
        height, width = self.light.shape
        within = 1 - margin - radius / self.shape.size
        reach = round(0.7 * radius)  # the drop may be cut off by the well's wall, which `rho` doesn't know
        around = [(0, 0), *((a * reach, b * reach) for a, b in ((-1, -1), (-1, 1), (1, -1), (1, 1)) if reach)]
        for _ in range(80):
            row, col = int(self.rng.integers(height)), int(self.rng.integers(width))
            if self.shape.rho[row, col] < within and all(
                not (0 <= row + a < height and 0 <= col + b < width) or self.inside[row + a, col + b] > 0.5
                for a, b in around
            ):
                return row, col
        best = np.unravel_index(int(np.argmin(self.shape.rho + 10 * (self.inside < 0.5))), self.light.shape)
        return int(best[0]), int(best[1])

    def put(self, patch: Patch, row: int, col: int, outcome: Outcome | None, strength: float = 1.0) -> None:
        """Multiply a patch into the light around (row, col); with an outcome it becomes an object of the truth."""
        height, width = patch.light.shape
        top, left = row - height // 2, col - width // 2
        box = Box(top, left, height, width).clipped(*self.light.shape)
        if box.height < 1 or box.width < 1:
            return
        here = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
        there = np.s_[box.row - top : box.row - top + box.height, box.col - left : box.col - left + box.width]
        factor = patch.light[there] if strength == 1 else 1 + (patch.light[there] - 1) * np.float32(strength)
        self.light[here] *= factor
        if patch.amber:
            np.maximum(self.amber[here], patch.cover[there] * np.float32(patch.amber), out=self.amber[here])
        if outcome is None:
            return
        filled = patch.cover[there] > 0.4
        if not filled.any():
            return
        self.content[here][filled] = 1 + PRIORITY[outcome]
        rows, cols = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        tight = Box(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)
        self.objects.append(WellObject(outcome, tight.moved(box.row, box.col)))

    def note(self, patch: Patch, row: int, col: int, outcome: Outcome) -> None:
        """List what `put` drew around (row, col) as an object, without filling the content map."""
        height, width = patch.light.shape
        box = Box(row - height // 2, col - width // 2, height, width).clipped(*self.light.shape)
        if box.height > 0 and box.width > 0:
            self.objects.append(WellObject(outcome, box))

    def fill(self, where: npt.NDArray[np.bool_], outcome: Outcome) -> None:
        """Mark pixels as filled by a texture; what is a crystal there stays one."""
        free = where & (self.inside > 0.5) & ((self.content == 0) | (self.content > 1 + PRIORITY[outcome]))
        self.content[free] = 1 + PRIORITY[outcome]

    def doubt(self, where: npt.NDArray[np.bool_]) -> None:
        """Mark pixels whose texture can't be seen."""
        self.content[where & (self.inside > 0.5) & (self.content == 0)] = UNSURE
