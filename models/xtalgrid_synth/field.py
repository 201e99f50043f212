"""Random fields and image operations on float arrays: what every rendered picture is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[Any]
"""One channel, ``(H, W)`` float32. The type leaves the dtype open, since mypy can't follow numpy's arithmetic on it."""


def stretch(field: Field, height: int, width: int, smooth: bool = True) -> Field:
    """Resample to ``(height, width)``: bicubic, or bilinear if `smooth` is false."""
    field = np.ascontiguousarray(field, np.float32)
    if field.shape == (height, width):
        return field
    k = height // max(field.shape[0], 1)
    if not smooth and k > 1 and (height, width) == (field.shape[0] * k, field.shape[1] * k):
        return _enlarge(field, k)
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(field, "F").resize((max(width, 1), max(height, 1)), method))


def _enlarge(field: Field, k: int) -> Field:
    """Enlarge `k` times by bilinear interpolation, as Pillow does.

    It takes half of Pillow's time, since Pillow computes in double precision and copies the array.
    """
    height, width = field.shape
    positions = [(j + 0.5) / k - 0.5 for j in range(k)]  # of the new pixels' centres, in old pixels
    weights = [(int(np.floor(x)), np.float32(x % 1)) for x in positions]
    padded = np.pad(field, ((0, 0), (1, 1)), mode="edge")
    wide = np.empty((height, width, k), np.float32)
    for j, (at, weight) in enumerate(weights):
        wide[:, :, j] = padded[:, 1 + at : 1 + at + width] * (1 - weight) + padded[:, 2 + at : 2 + at + width] * weight
    padded = np.pad(wide.reshape(height, width * k), ((1, 1), (0, 0)), mode="edge")
    tall = np.empty((height, k, width * k), np.float32)
    for j, (at, weight) in enumerate(weights):
        np.multiply(padded[1 + at : 1 + at + height], 1 - weight, out=tall[:, j])
        tall[:, j] += padded[2 + at : 2 + at + height] * weight
    return tall.reshape(height * k, width * k)


def blur(field: Field, radius: float) -> Field:
    """Blur by about `radius` pixels (below 0.4: not at all).

    The field is reduced and enlarged again, which is quicker than a Gaussian and looks the same.
    """
    if radius < 0.4:
        return field
    height, width = field.shape
    factor = 1 + 1.2 * radius
    small = stretch(field, max(2, round(height / factor)), max(2, round(width / factor)), smooth=False)
    return stretch(small, height, width)


def noise(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1, fade: float = 0.55
) -> Field:
    """Draw a random field ``(height, width)`` of mean 0 and standard deviation near 1.

    Features are `cell` pixels wide; each further octave adds features of half the width and `fade` times the strength.
    """
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
            method = Image.Resampling.BICUBIC if cell > 4 else Image.Resampling.BILINEAR
            # Only the visible part is computed: with large cells the whole would be many times the picture's size.
            layer = np.asarray(Image.fromarray(coarse, "F").resize((width, height), method, box=part))
            layer = layer * np.float32(1.35)
        else:
            layer = rng.standard_normal((height, width), dtype=np.float32)
        total += weight * layer
        norm += weight**2
        weight *= fade
        cell = max(cell / 2, 1.0)
    return total / np.float32(np.sqrt(norm))


def relief(height_field: Field, angle: float) -> Field:
    """Return the slope of a surface in the direction `angle` (radians), scaled to a standard deviation near 1.

    Light that falls at an angle shows folds and wrinkles in this way.
    """
    down = np.zeros_like(height_field)
    right = np.zeros_like(height_field)
    down[1:-1] = height_field[2:] - height_field[:-2]
    right[:, 1:-1] = height_field[:, 2:] - height_field[:, :-2]
    slope = np.float32(np.sin(angle)) * down + np.float32(np.cos(angle)) * right
    normal: Field = slope / np.float32(slope.std() + 1e-6)
    return normal


def step(field: Field, low: float | Field, high: float | Field) -> Field:
    """Rise smoothly from 0 at `low` to 1 at `high`; fall from 1 to 0 if `low` is above `high`.

    The limits may be fields, with a value for each pixel.
    """
    x = np.clip((field - np.asarray(low, np.float32)) / np.asarray(high - low, np.float32), 0, 1)
    smooth: Field = x * x * (3 - 2 * x)
    return smooth


def grid(height: int, width: int) -> tuple[Field, Field]:
    """Return the pixels' row and column numbers, ``(height, 1)`` and ``(1, width)``."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
