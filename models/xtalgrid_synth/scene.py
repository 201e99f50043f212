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

    def spot(self, margin: float = 0.0) -> tuple[int, int]:
        """A random (row, col) in the drop, where `rho` < 1 − margin."""
        height, width = self.light.shape
        for _ in range(60):
            row, col = int(self.rng.integers(height)), int(self.rng.integers(width))
            if self.inside[row, col] > 0.5 and self.shape.rho[row, col] < 1 - margin:
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

    def fill(self, where: npt.NDArray[np.bool_], outcome: Outcome) -> None:
        """Mark pixels as filled by a texture; what is a crystal there stays one."""
        free = where & (self.inside > 0.5) & ((self.content == 0) | (self.content > 1 + PRIORITY[outcome]))
        self.content[free] = 1 + PRIORITY[outcome]

    def doubt(self, where: npt.NDArray[np.bool_]) -> None:
        """Mark pixels whose texture can't be seen."""
        self.content[where & (self.inside > 0.5) & (self.content == 0)] = UNSURE
