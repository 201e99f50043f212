"""Smooth random fields and the few image operations on float arrays that everything rendered is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[Any]
"""One channel, ``(H, W)`` float32 (not said to the type checker, which can't follow numpy's arithmetic on it)."""


def stretch(field: Field, height: int, width: int, smooth: bool = True) -> Field:
    """Resample to (height, width); bicubic, or bilinear when not `smooth`."""
    field = np.ascontiguousarray(field, np.float32)
    if field.shape == (height, width):
        return field
    k = height // max(field.shape[0], 1)
    if not smooth and k > 1 and (height, width) == (field.shape[0] * k, field.shape[1] * k):
        return _enlarge(field, k)
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(field, "F").resize((max(width, 1), max(height, 1)), how))


def _enlarge(field: Field, k: int) -> Field:
    """Bilinear enlargement by a whole number: what Pillow makes, in half its time (it computes in double precision, and copies)."""
    height, width = field.shape
    shares = [(int(np.floor(x)), np.float32(x % 1)) for x in ((j + 0.5) / k - 0.5 for j in range(k))]
    padded = np.pad(field, ((0, 0), (1, 1)), mode="edge")
    wide = np.empty((height, width, k), np.float32)
    for j, (at, share) in enumerate(shares):
        wide[:, :, j] = padded[:, 1 + at : 1 + at + width] * (1 - share) + padded[:, 2 + at : 2 + at + width] * share
    padded = np.pad(wide.reshape(height, width * k), ((1, 1), (0, 0)), mode="edge")
    tall = np.empty((height, k, width * k), np.float32)
    for j, (at, share) in enumerate(shares):
        np.multiply(padded[1 + at : 1 + at + height], 1 - share, out=tall[:, j])
        tall[:, j] += padded[2 + at : 2 + at + height] * share
    return tall.reshape(height * k, width * k)


def blur(field: Field, radius: float) -> Field:
    """Soften by about `radius` pixels, by way of fewer pixels: quick, and the eye can't tell it from a Gaussian."""
    if radius < 0.4:
        return field
    height, width = field.shape
    factor = 1 + 1.2 * radius
    small = stretch(field, max(2, round(height / factor)), max(2, round(width / factor)), smooth=False)
    return stretch(small, height, width)


def noise(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1, fade: float = 0.55
) -> Field:
    """A random field of mean 0 and deviation near 1, with features of `cell` pixels and finer ones in each further octave."""
    total = np.zeros((height, width), np.float32)
    weight, norm = 1.0, 0.0
    for _ in range(octaves):
        if cell > 1.5:
            grid_shape = (int(height / cell) + 4, int(width / cell) + 4)
            coarse = rng.standard_normal(grid_shape, dtype=np.float32)
            big = (round(grid_shape[0] * cell), round(grid_shape[1] * cell))
            top, left = int(rng.integers(big[0] - height + 1)), int(rng.integers(big[1] - width + 1))
            down, right = grid_shape[0] / big[0], grid_shape[1] / big[1]
            part = (left * right, top * down, (left + width) * right, (top + height) * down)
            how = Image.Resampling.BICUBIC if cell > 4 else Image.Resampling.BILINEAR
            # Only the part that is seen is made: a coarse field would be many times as large as the picture.
            layer = np.asarray(Image.fromarray(coarse, "F").resize((width, height), how, box=part)) * np.float32(1.35)
        else:
            layer = rng.standard_normal((height, width), dtype=np.float32)
        total += weight * layer
        norm += weight**2
        weight *= fade
        cell = max(cell / 2, 1.0)
    return total / np.float32(np.sqrt(norm))


def relief(height_field: Field, angle: float) -> Field:
    """The slope of a height field towards `angle`: how an oblique lamp shows folds and wrinkles. Deviation near 1."""
    down = np.zeros_like(height_field)
    right = np.zeros_like(height_field)
    down[1:-1] = height_field[2:] - height_field[:-2]
    right[:, 1:-1] = height_field[:, 2:] - height_field[:, :-2]
    slope = np.float32(np.sin(angle)) * down + np.float32(np.cos(angle)) * right
    normal: Field = slope / np.float32(slope.std() + 1e-6)
    return normal


def step(field: Field, low: float | Field, high: float | Field) -> Field:
    """0 below `low`, 1 above `high` (the other way round when low > high), smooth between; the limits may differ from pixel to pixel."""
    x = np.clip((field - np.asarray(low, np.float32)) / np.asarray(high - low, np.float32), 0, 1)
    smooth: Field = x * x * (3 - 2 * x)
    return smooth


def grid(height: int, width: int) -> tuple[Field, Field]:
    """Row and column of each pixel's centre as a column and a row vector that broadcast."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
