"""The drop while it is being filled: its light and tint, and a record of what was drawn where."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import PRIORITY, Group, Outcome

from .crystals import Patch
from .drops import Shape
from .field import Field, noise

UNSURE = 200
"""Marks pixels of a content map whose texture is too faint to be seen."""


@dataclass(frozen=True, slots=True)
class WellObject:
    """An object in the well: the outcome that it stands for, and its box in pixels."""

    outcome: Outcome
    box: Box


@dataclass(frozen=True, slots=True)
class PutCrystal:
    """A crystal as it was put into the drop, centred on (row, col); `item` is what was recorded of it."""

    patch: Patch
    row: int
    col: int
    item: WellObject


@dataclass(slots=True)
class Scene:
    """The rectangle of the picture that holds the drop.

    Attributes
    ----------
    rng
        All random choices are drawn from it.
    um
        Micrometres per pixel.
    shape
        The drop's outline.
    inside
        ``(H, W)``, 0..1: where the drop is visible.
    light
        ``(H, W)``: a factor on the light of the empty well.
    crystals
        ``(H, W)``: the crystals' factor on that light, apart from the rest until the drop is finished.
    amber
        ``(H, W)``, 0..1: how strongly a pixel is tinted brown.
    crystal_amber
        The same by the crystals.
    content
        ``(H, W)``: 1 + rank of the class that fills a pixel, 0 where nothing does, `UNSURE` where it is too faint.
    objects
        What can be told apart, with boxes in pixels of this rectangle.
    put_crystals
        The crystals among them, in the order in which they were drawn, seen or not.
    """

    rng: np.random.Generator
    um: float
    shape: Shape
    inside: Field
    light: Field
    crystals: Field
    amber: Field
    crystal_amber: Field
    content: npt.NDArray[np.uint8]
    objects: list[WellObject] = dataclasses.field(default_factory=list)
    put_crystals: list[PutCrystal] = dataclasses.field(default_factory=list)

    def px(self, micrometres: float) -> float:
        """Convert a length to pixels."""
        return micrometres / self.um

    def noise(self, cell: float, octaves: int = 1, fade: float = 0.55) -> Field:
        """Draw `field.noise` of the rectangle's size."""
        height, width = self.light.shape
        return noise(self.rng, height, width, cell, octaves, fade)

    def span(self) -> float:
        """Return the drop's approximate diameter in micrometres, at most what is in view."""
        height, width = self.light.shape
        return float(min(2 * self.shape.size, 1.2 * min(height, width)) * self.um)

    def sizes(self, low: float, high: float, count: int) -> list[float]:
        """Draw `count` sizes in pixels, log-normal around a size typical of this drop, `low` to `high` micrometres.

        How widely they spread is drawn as well: in some drops all sizes are nearly equal.
        """
        rng = self.rng
        typical = np.exp(rng.uniform(np.log(low), np.log(high)))
        spread = rng.choice([0.15, 0.35, 0.55, 0.75, 0.95])
        drawn = typical * np.exp(rng.normal(0, spread, count))
        return [self.px(float(size)) for size in np.clip(drawn, low * 0.6, high * 1.2)]

    def spot(self, margin: float = 0.0, radius: float = 0.0) -> tuple[int, int]:
        """Draw a (row, col) well inside the drop.

        It is at least `margin` (a fraction of the drop's radius) plus `radius` (pixels) from the edge. After 80 failed
        attempts it is the point deepest inside the drop.
        """
        height, width = self.light.shape
        within = 1 - margin - radius / self.shape.size
        reach = round(0.7 * radius)  # the well's wall may cut off the drop, which `rho` doesn't show
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
        """Draw a patch centred on (row, col), fainter if `strength` is below 1; record it if it has an outcome."""
        is_crystal = outcome is not None and outcome.group is Group.CRYSTAL
        on, amber = (self.crystals, self.crystal_amber) if is_crystal else (self.light, self.amber)
        lies = lay(patch, row, col, on, amber, strength, is_solid=is_crystal)
        if outcome is None or lies is None:
            return
        box, target, cover = lies
        filled = cover > 0.4
        if not filled.any():
            return
        self.content[target][filled] = 1 + PRIORITY[outcome]
        rows, cols = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        tight = Box(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)
        item = WellObject(outcome, tight.moved(box.row, box.col))
        self.objects.append(item)
        if is_crystal:
            self.put_crystals.append(PutCrystal(patch, row, col, item))

    def note(self, patch: Patch, row: int, col: int, outcome: Outcome) -> None:
        """Record a patch drawn by `put` at (row, col) as an object, without marking the content map."""
        height, width = patch.light.shape
        box = Box(row - height // 2, col - width // 2, height, width).clipped(*self.light.shape)
        if box.height > 0 and box.width > 0:
            self.objects.append(WellObject(outcome, box))

    def fill(self, where: npt.NDArray[np.bool_], outcome: Outcome) -> None:
        """Mark pixels as filled by a class, except where a class of higher priority lies already."""
        free = where & (self.inside > 0.5) & ((self.content == 0) | (self.content > 1 + PRIORITY[outcome]))
        self.content[free] = 1 + PRIORITY[outcome]

    def doubt(self, where: npt.NDArray[np.bool_]) -> None:
        """Mark pixels as `UNSURE` where nothing else lies."""
        self.content[where & (self.inside > 0.5) & (self.content == 0)] = UNSURE


def lay(
    patch: Patch, row: int, col: int, light: Field, amber: Field, strength: float = 1.0, *, is_solid: bool
) -> tuple[Box, tuple[slice, slice], Field] | None:
    """Lay a patch on fields of light and tint, centred on (row, col); what is behind a solid one hardly shows.

    Returns
    -------
    The rectangle that it covers, the same as an index, and its cover there; None if it lies outside.
    """
    height, width = patch.light.shape
    top, left = row - height // 2, col - width // 2
    box = Box(top, left, height, width).clipped(*light.shape)
    if box.height < 1 or box.width < 1:
        return None
    target = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
    visible = np.s_[box.row - top : box.row - top + box.height, box.col - left : box.col - left + box.width]
    factor, cover = patch.light[visible], patch.cover[visible]
    if is_solid:
        light[target] += np.float32(0.7) * cover * (1 - light[target])
    light[target] *= factor if strength == 1 else 1 + (factor - 1) * np.float32(strength)
    if patch.amber:
        np.maximum(amber[target], cover * np.float32(patch.amber), out=amber[target])
    return box, target, cover
