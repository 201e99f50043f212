"""Salt or protein: whether the crystals of a drop glow in its UV image.

Tryptophan glows in ultraviolet light, so protein crystals shine on a dark ground where salt stays dark. It says nothing
of whether there are crystals: protein without tryptophan, or with a chromophore that absorbs the light, is dark too.

Both images are brought to one scale and shifted onto each other: by what `registration` finds, if it finds anything
(dark crystals share little with their visible image), and then by what fits best within `_FAR`. In each box the places
of high local contrast in visible light, edges and facets, are compared with the box's quiet places in UV light, which
takes away the glow of the plate, of dissolved protein and of precipitate. The limits were chosen on rendered pairs
(``xtalgrid-train judge fluorescence``).

A black image, as without a lamp, and a copy of the visible image say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from .images import Pixels
from .registration import Field, Shift, alike, blur, correlate, detail, find_shift, grey, is_same_field

PixelBox = tuple[int, int, int, int]

_UM = 4.0
"""Micrometres a pixel at which both images are compared."""

_FAR = 16.0
"""Micrometres by which the images may be shifted against each other beyond what `find_shift` finds."""

_DETAIL = 40.0
"""Micrometres: larger features of the visible image are no crystals' edges."""

_GLOW = 1.0, 3.0
"""Least contrast, relative and as a multiple of the noise, of a crystal that fluoresces."""

_STRONG = 3.0, 10.0
"""The same of one that needs no second: a fibre or a speck may glow too."""

_NO_GLOW, _LEAST_GLOW = (0.5, 1.5), (0.8, 2.5)
"""Largest contrasts of dark crystals: of all but one, and of that one."""

_BRIGHT = 60.0
"""Grey value of the quiet places from which on dark crystals can't be told: the drop itself glows."""

_BLACK = 4.0
"""Difference of dark and bright grey values up to which an image is black: even plate and drop glow a little."""

_COPY = 0.9
"""Correlation of local contrast from which on an image is the visible one once more; of rendered pairs it is 0.8 at
most."""


class Glow(StrEnum):
    """What a UV image says of a drop's crystals."""

    FLUORESCES = "fluoresces"
    DARK = "dark"
    UNSAID = "can't be said"


class Contrast(NamedTuple):
    """How bright a box's crystal is in UV light.

    Attributes
    ----------
    relative
        Grey values that its brightest tenth has more than the quiet places around it, as a multiple of theirs.
    noise
        The same as a multiple of the spread of these places.
    around
        Grey value of these places, 0..255.
    """

    relative: float
    noise: float
    around: float


class Fluorescence(NamedTuple):
    """What a UV image says, and the contrast of each box, in their order; None for a box that is too small."""

    glow: Glow
    contrasts: tuple[Contrast | None, ...] = ()


def fluorescence(image: Pixels, uv: Pixels, boxes: Sequence[PixelBox], pixel_size_um: float) -> Fluorescence:
    """Tell whether the crystals in these boxes fluoresce.

    The drop fluoresces if two of them do, or one strongly, or the only one. It is dark if none does in the least, but
    perhaps one, and the drop is dark around them.

    Parameters
    ----------
    image, uv
        ``(H, W, 3)`` and ``(h, w, 3)``: the same field in visible and in UV light; the sizes may differ.
    boxes
        ``(row, col, height, width)`` of chops with crystals, in pixels of `image`.
    pixel_size_um
        Micrometres a pixel of `image`.
    """
    height, width = image.shape[:2]
    scale = pixel_size_um / _UM
    shape = max(round(height * scale), 1), max(round(width * scale), 1)
    if not is_same_field(image, uv) or min(shape) < 2 * _FAR or not boxes:
        return Fluorescence(Glow.UNSAID)
    uv = np.repeat(uv.max(axis=2, keepdims=True), 3, axis=2)  # in colour the glow is blue, which grey hardly counts
    radius = round(_DETAIL / _UM)
    edges, glow = detail(grey(image, shape), radius), grey(uv, shape)
    down, right = _found(image, uv, shape)
    glow = np.roll(glow, (down, right), axis=(0, 1))
    contrast = detail(glow, radius)
    rows, cols = _shift(edges, contrast)
    if alike(edges, np.roll(contrast, (rows, cols), axis=(0, 1))) >= _COPY:
        return Fluorescence(Glow.UNSAID)
    glow = np.roll(glow, (rows, cols), axis=(0, 1))
    seen = _seen(shape[0], down + rows), _seen(shape[1], right + cols)
    contrasts = tuple(_contrast(edges, glow, [round(side * scale) for side in box], seen) for box in boxes)
    low, high = np.percentile(glow, (1, 99.9))
    return Fluorescence(_judge([one for one in contrasts if one is not None], high - low > _BLACK), contrasts)


def _found(image: Pixels, uv: Pixels, shape: tuple[int, int]) -> tuple[int, int]:
    """Return by how many rows and columns of `shape` the UV image must be moved by `find_shift`; 0 if it can't say."""
    found = find_shift(image, uv)
    return (round(found.down * shape[0]), round(found.right * shape[1])) if isinstance(found, Shift) else (0, 0)


def _seen(side: int, moved: int) -> slice:
    """Return the rows, or columns, of the visible image that the UV image shows too when it is moved by so many."""
    return slice(max(moved, 0), side + min(moved, 0))


def _judge(contrasts: Sequence[Contrast], is_lit: bool) -> Glow:
    if any(_reaches(one, _STRONG) for one in contrasts):
        return Glow.FLUORESCES
    if sum(_reaches(one, _GLOW) for one in contrasts) >= min(max(len(contrasts) - 1, 1), 2):
        return Glow.FLUORESCES
    if not contrasts or not is_lit or any(one.around >= _BRIGHT for one in contrasts):
        return Glow.UNSAID
    above = [
        sum(one.relative > limit or one.noise > noise for one in contrasts) for limit, noise in (_NO_GLOW, _LEAST_GLOW)
    ]
    return Glow.DARK if above[0] <= 1 and above[1] == 0 else Glow.UNSAID


def _reaches(contrast: Contrast, least: tuple[float, float]) -> bool:
    return contrast.relative >= least[0] and contrast.noise >= least[1]


def _shift(edges: Field, other: Field) -> tuple[int, int]:
    """Return by how many rows and columns `other` must be rolled to lie best on `edges`, at most `_FAR`."""
    fit = correlate(edges, other)
    most = round(_FAR / _UM)
    steps = range(-most, most + 1)
    return max(((row, col) for row in steps for col in steps), key=lambda step: float(fit[step]))


def _contrast(edges: Field, glow: Field, box: Sequence[int], seen: tuple[slice, slice]) -> Contrast | None:
    """Compare a box's crystal with its quiet places, in the rows and columns that both images show."""
    ends = zip(box[:2], box[2:], seen, strict=True)
    part = tuple(slice(max(at, both.start), max(min(at + length + 1, both.stop), 0)) for at, length, both in ends)
    edges, light = edges[part], glow[part]
    if min(edges.shape) < 5:
        return None
    strong = (edges >= np.percentile(edges, 80)).astype(np.float32)
    crystal, quiet = blur(strong, 2) > 0.4, blur(strong, 3) < 0.1
    if crystal.sum() < 8 or quiet.sum() < 8:
        crystal, quiet = strong > 0, edges < np.percentile(edges, 50)
    around = float(np.median(light[quiet]))
    spread = 1.48 * float(np.median(np.abs(light[quiet] - around)))
    more = float(np.percentile(light[crystal], 90)) - around
    return Contrast(more / (around + 8), more / (spread + 2), around)
