"""Growth: whether what shows a drop's crystals was there at an earlier inspection, or is new since then.

Dust, fibres, scratches, salt and old crystals stand where they stood; a crystal of this experiment appears, or grows.
Both pictures are laid on each other, and in each box what is seen now and was not seen there before is compared with
all that is seen. The weights were fitted to rendered time courses (``xtalgrid-train judge growth``).

It says nothing of whether there are crystals: dust that fell in between is new, and a crystal that was there at the
earlier inspection is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from .images import Pixels
from .registration import Field, Unaligned, blur, find_shift, grey

PixelBox = tuple[int, int, int, int]

_UM = 4.0
"""Micrometres a pixel at which the pictures are compared."""

_DETAIL = 40.0
"""Micrometres: larger features are shading."""

_NEAR = 6
"""Compared pixels by which a box's content may have moved besides, as the drop dries or its surface bends the light."""

_SLACK = 1
"""Compared pixels around an edge of the earlier picture in which it explains one of the later."""


class Signs(NamedTuple):
    """What a box shows that tells of growth, all near 0 to 5.

    Attributes
    ----------
    part
        Contrast that was not there before, as a part of all that is seen in the box, 0..1.
    strength
        The strongest of it, as the logarithm of a multiple of the picture's noise.
    more
        Logarithm of the contrast's ratio, later to earlier.
    alike
        Correlation of the contrast in both pictures, -1..1.
    """

    part: float
    strength: float
    more: float
    alike: float


class Grown(NamedTuple):
    """What an earlier picture says of a drop's boxes.

    Attributes
    ----------
    p_new
        Probability that what the likeliest of the boxes shows appeared or grew; None if it can't be said.
    why
        Why it can't be said; empty if it can.
    """

    p_new: float | None
    why: str = ""


class Unsaid(StrEnum):
    """Why it can't be said whether something is new."""

    NO_BOX = "no box is large enough to compare"


_WEIGHTS = (0.0, 1.0, 1.0, 1.0, 1.0)
"""Intercept, and one for each of `Signs`."""


def growth(now: Pixels, before: Pixels, boxes: Sequence[PixelBox], pixel_size_um: float) -> Grown:
    """Return the probability that what these boxes show appeared or grew since an earlier picture.

    Parameters
    ----------
    now, before
        ``(H, W, 3)`` and ``(h, w, 3)``: the same drop, of any size; the same field.
    boxes
        ``(row, col, height, width)`` of the chops with crystals, in pixels of `now`.
    pixel_size_um
        Micrometres a pixel of `now`.
    """
    found = signs(now, before, boxes, pixel_size_um)
    if isinstance(found, Unaligned):
        return Grown(None, str(found))
    if not found:
        return Grown(None, str(Unsaid.NO_BOX))
    return Grown(max(probability(one) for one in found))


def probability(one: Signs) -> float:
    """Return the probability that a box with these signs shows something new."""
    intercept, *weights = _WEIGHTS
    logit = intercept + sum(weight * value for weight, value in zip(weights, one, strict=True))
    return 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)))


def signs(now: Pixels, before: Pixels, boxes: Sequence[PixelBox], pixel_size_um: float) -> list[Signs] | Unaligned:
    """Return the signs of growth in each box that is large enough to compare."""
    shift = find_shift(now, before)
    if isinstance(shift, Unaligned):
        return shift
    scale = pixel_size_um / _UM
    shape = max(round(now.shape[0] * scale), 1), max(round(now.shape[1] * scale), 1)
    radius = round(_DETAIL / _UM)
    later, earlier = (_contrast(grey(picture, shape), radius) for picture in (now, before))
    earlier = np.roll(earlier, (round(shift.down * shape[0]), round(shift.right * shape[1])), axis=(0, 1))
    noise = max(float(np.percentile(later, 25)), float(np.percentile(earlier, 25)))
    focus = float(np.clip(np.percentile(later, 95) / max(np.percentile(earlier, 95), 1e-6), 0.67, 1.5))
    earlier = earlier * np.float32(focus)
    found = (_signs(later, earlier, [round(side * scale) for side in box], noise) for box in boxes)
    return [one for one in found if one is not None]


def _contrast(picture: Field, radius: int) -> Field:
    """Return local contrast relative to the light around, which lamps and exposures don't change."""
    around = blur(picture, radius)
    relative = (picture - around) / np.maximum(around, 16)
    return np.asarray(np.sqrt(blur(relative**2, 1)))


def _signs(later: Field, earlier: Field, box: Sequence[int], noise: float) -> Signs | None:
    height, width = later.shape
    edge = _NEAR + _SLACK
    top, left = max(box[0], edge), max(box[1], edge)
    bottom, right = min(box[0] + box[2], height - edge), min(box[1] + box[3], width - edge)
    if min(bottom - top, right - left) < 2 * _NEAR:
        return None
    seen = later[top:bottom, left:right]
    steps = range(-_NEAR, _NEAR + 1)
    places = [(top + row, left + col) for row in steps for col in steps]
    parts = [earlier[row : row + bottom - top, col : col + right - left] for row, col in places]
    fits = [_alike(seen, part) for part in parts]
    best = int(np.argmax(fits))
    row, col = places[best]
    there = _widened(earlier[row - _SLACK : row + bottom - top + _SLACK, col - _SLACK : col + right - left + _SLACK])
    new = np.maximum(seen - there - noise, 0)
    total, was = (float(np.maximum(field - noise, 0).sum()) for field in (seen, parts[best]))
    floor = noise * seen.size * 0.05
    return Signs(
        part=float(new.sum()) / (total + floor),
        strength=math.log1p(float(np.percentile(new, 98)) / max(noise, 1e-4)),
        more=float(np.clip(math.log((total + floor) / (was + floor)), -3, 3)),
        alike=fits[best],
    )


def _alike(one: Field, other: Field) -> float:
    """Return the correlation of two fields."""
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / max(math.sqrt(float((one**2).sum() * (other**2).sum())), 1e-9))


def _widened(field: Field) -> Field:
    """Return the largest value within `_SLACK` pixels of each, without the border of that width."""
    size = 2 * _SLACK + 1
    rows = np.lib.stride_tricks.sliding_window_view(field, size, axis=0).max(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, size, axis=1).max(axis=-1))
