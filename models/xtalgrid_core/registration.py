"""Registration: by how much one picture of a drop must be moved to lie on another, of another light or another day.

What is compared is local contrast, the edges of crystals, drop and well, which pictures in visible and UV light share
while their brightness differs. The shifts are small: an imager returns to a well within some tens of micrometres.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .images import Pixels

Field = npt.NDArray[np.float32]

SIDE = 640
"""Longer side of the copies that are compared by `find_shift`, in pixels, and the most that it needs."""

_FAR = 0.08
"""Part of the longer side by which pictures may be shifted against each other."""

_DETAIL = 5
"""Pixels of the copies: larger features are no edges."""

_WHITE, _SOFT = 0.6, 2.5
"""See `correlate`: between plain correlation, which UV light's outlines need, and phase correlation, which finds the
slightest common texture."""

_PEAK, _CLEAR = 6.5, 1.4
"""How far the best shift must stand out: by so many standard deviations of the others, and so many times as good as any
that is further than `_NEAR` pixels from it. Pictures of one drop mostly reach more, also in visible and UV light; those
of different drops reach 6.9 and 1.3, or 6.0 and 1.4 (docs/decisions/0031-pictures-are-aligned.md)."""

_NEAR = 8

_SHAPES = 0.05
"""Pictures show the same field if their aspect ratios differ by less than this fraction."""


class Shift(NamedTuple):
    """By how much a picture must be moved to lie on another, as fractions of that one's width and height."""

    right: float
    down: float


class Unaligned(StrEnum):
    """Why a picture can't be laid on another."""

    SHAPE = "the pictures show different fields"
    NOTHING = "the pictures have too little in common"


def find_shift(picture: Pixels, other: Pixels) -> Shift | Unaligned:
    """Find by how much `other` must be moved to lie on `picture`.

    Parameters
    ----------
    picture, other
        ``(H, W, 3)`` and ``(h, w, 3)``, of any size; the same field at any scale.
    """
    if not is_same_field(picture, other):
        return Unaligned.SHAPE
    part = min(SIDE / max(picture.shape[:2]), 1.0)
    height, width = max(round(picture.shape[0] * part), 1), max(round(picture.shape[1] * part), 1)
    fields = [detail(grey(each, (height, width)), _DETAIL) for each in (picture, other)]
    fits = correlate(*fields, window=_window(height, width), white=_WHITE, soft=_SOFT)
    place = _best(fits)
    return Unaligned.NOTHING if place is None else Shift(place[1] / width, place[0] / height)


def _window(height: int, width: int) -> npt.NDArray[np.float64]:
    """Return weights that fall towards the edges: what a shift moves out of the picture must not count as an edge."""
    window: npt.NDArray[np.float64] = np.outer(*(np.sqrt(np.hanning(side + 2)[1:-1]) for side in (height, width)))
    return window


def _best(fits: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the (row, col) that fits best, to a fraction of a pixel; None if it doesn't stand out."""
    most = round(_FAR * max(fits.shape))
    near = np.roll(fits, (most, most), axis=(0, 1))[: 2 * most + 1, : 2 * most + 1]
    row, col = (int(at) for at in np.unravel_index(near.argmax(), near.shape))
    rows, cols = np.indices(near.shape)
    others = near[np.hypot(rows - row, cols - col) > _NEAR]
    if not others.size or not (0 < row < 2 * most and 0 < col < 2 * most):  # beyond the border it may rise further
        return None
    if near[row, col] <= max(others.mean() + _PEAK * others.std(), _CLEAR * others.max()):
        return None
    return row - most + _top(near[:, col], row), col - most + _top(near[row], col)


def is_same_field(picture: Pixels, other: Pixels) -> bool:
    """Tell whether two pictures, ``(H, W, 3)`` and ``(h, w, 3)``, have the same shape, whatever their size."""
    (height, width), (rows, cols) = picture.shape[:2], other.shape[:2]
    return bool(abs((width / height) / (cols / rows) - 1) <= _SHAPES)


def grey(image: Pixels, shape: tuple[int, int]) -> Field:
    """Return a grey copy of an image, ``(H, W, 3)``, in another shape (height, width)."""
    picture = Image.fromarray(image).convert("L").resize(shape[::-1], Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def blur(field: Field, radius: int) -> Field:
    """Average over squares of 2·radius + 1 pixels; the edge's pixels are repeated beyond it."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(field, pad, mode="edge"), axis=axis, dtype=np.float64)
        length = field.shape[axis]
        ends = np.arange(2 * radius + 1, 2 * radius + 1 + length)
        means = (sums.take(ends, axis) - sums.take(ends - 2 * radius - 1, axis)) / (2 * radius + 1)
        field = means.astype(np.float32)
    return field


def detail(picture: Field, radius: int) -> Field:
    """Return the local contrast of a grey picture's features that are smaller than `radius` pixels."""
    return np.asarray(np.sqrt(blur((picture - blur(picture, radius)) ** 2, 1)))


def correlate(
    field: Field, other: Field, *, window: npt.NDArray[np.float64] | None = None, white: float = 0.0, soft: float = 0.0
) -> npt.NDArray[np.float64]:
    """Return how well `other` lies on `field`, ``(H, W)`` both, when it is rolled by (row, col), at that place.

    Parameters
    ----------
    window
        Weights of the pixels, ``(H, W)``; None: all count alike.
    white
        From 0, plain correlation, to 1, phase correlation, in which all frequencies count alike.
    soft
        Standard deviation, in pixels, of a blur: noise of single pixels is no common feature.
    """
    spectra = []
    for each in (field, other):
        flat = np.minimum(each, np.percentile(each, 98))  # a few bright spots must not decide
        flat = flat - flat.mean()
        spectra.append(np.fft.rfft2(flat if window is None else flat * window))
    product = spectra[0] * spectra[1].conj()
    if white:
        product /= np.maximum(np.abs(product), 1e-9) ** white
    if soft:
        rows, cols = np.fft.fftfreq(field.shape[0])[:, None], np.fft.rfftfreq(field.shape[1])[None]
        product *= np.exp(-2 * (np.pi * soft) ** 2 * (rows**2 + cols**2))
    fits: npt.NDArray[np.float64] = np.fft.irfft2(product, s=field.shape)
    return fits


def alike(field: Field, other: Field) -> float:
    """Return the correlation of two fields of one shape, -1..1; about 0 if one is even."""
    field, other = field - field.mean(), other - other.mean()
    return float((field * other).sum() / max(math.sqrt(float((field**2).sum() * (other**2).sum())), 1e-9))


def _top(line: npt.NDArray[np.float64], at: int) -> float:
    """Return how far from `at`, where a line is highest, the top of a parabola through it lies, -0.5..0.5."""
    before, peak, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return (before - after) / (2 * bend) if bend < 0 else 0.0
