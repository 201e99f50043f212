"""Growth: whether what shows a drop's crystals was there at an earlier inspection, or is new since then.

Dust, fibres, scratches, salt and old crystals stand where they stood; a crystal of this experiment appears, or grows.
Both pictures are laid on each other, and in each box the contrast that was not there before is compared with all that
is seen. What that means was fitted to rendered time courses (``xtalgrid-train judge growth``).

It says nothing of whether there are crystals: dust that fell in between is new, and a crystal that was there at the
earlier inspection is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .images import Pixels
from .registration import Field, Unaligned, alike, blur, find_shift, grey

PixelBox = tuple[int, int, int, int]

_UM = 4.0
"""Micrometres a pixel at which the pictures are compared."""

_MOST = 2000
"""Pixels of the longer side at most, whatever the scale is said to be."""

_DETAIL = 40.0
"""Micrometres: larger features are shading."""

_NEAR = 6
"""Compared pixels by which a box's content may have moved besides, as the drop dries or its surface bends the light."""

_SLACK = 1
"""Compared pixels around an edge of the earlier picture in which it explains one of the later."""


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


_DARK = 16.0
"""Grey value below which the light around counts as this: noise in the dark is no contrast."""

_FOCUS = 1.5
"""How many times as sharp one picture may be as the other; the earlier one is brought to the later one's contrast, as a
whole and in each box."""

_FAINT = 0.05
"""Multiple of the noise that each pixel of a box counts as seen at least: next to nothing is hardly ever new."""

_NO_BOX = "no box is large enough to compare"

_INTERCEPT, _SLOPE = 6.73, 2.48
"""Of the log-odds that a box shows something new, over the logarithm of `_LITTLE` and the part that is new."""

_LITTLE = 0.01


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
    parts = new_parts(now, before, boxes, pixel_size_um)
    if isinstance(parts, Unaligned):
        return Grown(None, str(parts))
    p_new = max((probability(part) for part in parts if part is not None), default=None)
    return Grown(p_new, _NO_BOX if p_new is None else "")


def probability(part: float) -> float:
    """Return the probability that a box, of whose contrast this part (0..1) is new, shows something new."""
    return 1 / (1 + math.exp(-_INTERCEPT - _SLOPE * logarithm(part)))


def logarithm(part: float) -> float:
    """Return the number to which the log-odds are fitted."""
    return math.log(part + _LITTLE)


def new_parts(
    now: Pixels, before: Pixels, boxes: Sequence[PixelBox], pixel_size_um: float
) -> list[float | None] | Unaligned:
    """Return which part, 0..1, of each box's contrast was not there before; None for a box too small to compare.

    Parameters
    ----------
    As of `growth`.
    """
    shift = find_shift(now, before)
    if isinstance(shift, Unaligned):
        return shift
    scale = min(pixel_size_um / _UM, _MOST / max(now.shape[:2]))
    shape = max(round(now.shape[0] * scale), 1), max(round(now.shape[1] * scale), 1)
    later, earlier = (_contrast(grey(picture, shape)) for picture in (now, before))
    down, right = round(shift.down * shape[0]), round(shift.right * shape[1])
    top, left = max(down, 0), max(right, 0)  # of what both pictures show
    high, wide = shape[0] - abs(down), shape[1] - abs(right)
    later = later[top:, left:][:high, :wide]
    earlier = earlier[top - down :, left - right :][:high, :wide]
    places = [
        (row * scale - top, col * scale - left, height * scale, width * scale) for row, col, height, width in boxes
    ]
    noise = max(float(np.percentile(field, 25)) for field in (later, earlier))
    focus = float(np.percentile(later, 95)) / max(float(np.percentile(earlier, 95)), 1e-6)
    earlier = earlier * np.float32(min(max(focus, 1 / _FOCUS), _FOCUS))
    return [_new_part(later, earlier, [round(value) for value in place], noise) for place in places]


def _contrast(picture: Field) -> Field:
    """Return local contrast relative to the light around, which lamps and exposures don't change."""
    around = blur(picture, round(_DETAIL / _UM))
    relative = ((picture - around) / np.maximum(around, _DARK)).astype(np.float32)
    return np.asarray(np.sqrt(blur(relative**2, 1)))


def _new_part(later: Field, earlier: Field, box: Sequence[int], noise: float) -> float | None:
    """Compare a box with the place near it in the earlier picture that is most alike."""
    edge = _NEAR + _SLACK
    top, left = max(box[0], edge), max(box[1], edge)
    high = min(box[0] + box[2], later.shape[0] - edge) - top
    wide = min(box[1] + box[3], later.shape[1] - edge) - left
    if min(high, wide) < 2 * _NEAR:
        return None
    seen = later[top : top + high, left : left + wide]
    steps = range(-_NEAR, _NEAR + 1)
    places = [(top + row, left + col) for row in steps for col in steps]
    row, col = max(places, key=lambda place: alike(seen, earlier[place[0] :, place[1] :][:high, :wide]))
    there = _widened(earlier[row - _SLACK : row + high + _SLACK, col - _SLACK : col + wide + _SLACK])
    sharper = float((seen * there).sum()) / max(float((there**2).sum()), 1e-9)
    new = float(np.maximum(seen - min(max(sharper, 1.0), _FOCUS) * there - noise, 0).sum())
    return new / float(np.maximum(seen - noise, _FAINT * noise).sum() + 1e-9)


def _widened(field: Field) -> Field:
    """Return the largest value within `_SLACK` pixels of each, without the border of that width."""
    size = 2 * _SLACK + 1
    rows = np.lib.stride_tricks.sliding_window_view(field, size, axis=0).max(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, size, axis=1).max(axis=-1))
