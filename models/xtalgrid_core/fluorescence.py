"""Salt or protein: whether the crystals of a drop glow in its UV image.

Tryptophan glows in ultraviolet light, so protein crystals shine on a dark ground where salt stays dark. It says nothing
of whether there are crystals: protein without tryptophan, or with a chromophore that absorbs the light, is dark too.

Both images are brought to one scale and shifted onto each other. In each box the places of high local contrast in
visible light, edges and facets, are compared with the box's quiet places in UV light, which takes away the glow of the
plate, of dissolved protein and of precipitate. The limits were chosen on rendered pairs
(``xtalgrid-train judge fluorescence``).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from .images import Pixels
from .registration import Field, blur, correlate, detail, grey, is_same_field

PixelBox = tuple[int, int, int, int]

_UM = 4.0
"""Micrometres a pixel at which both images are compared."""

_FAR = 16.0
"""Micrometres by which the images may be shifted against each other: they are taken one after the other."""

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
    radius = round(_DETAIL / _UM)
    edges, glow = detail(grey(image, shape), radius), grey(uv, shape)
    glow = np.roll(glow, _shift(edges, detail(glow, radius)), axis=(0, 1))
    contrasts = tuple(_contrast(edges, glow, [round(side * scale) for side in box]) for box in boxes)
    return Fluorescence(_judge([one for one in contrasts if one is not None]), contrasts)


def _judge(contrasts: Sequence[Contrast]) -> Glow:
    if any(_reaches(one, _STRONG) for one in contrasts):
        return Glow.FLUORESCES
    if sum(_reaches(one, _GLOW) for one in contrasts) >= min(max(len(contrasts) - 1, 1), 2):
        return Glow.FLUORESCES
    if not contrasts or any(one.around >= _BRIGHT for one in contrasts):
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


def _contrast(edges: Field, glow: Field, box: Sequence[int]) -> Contrast | None:
    row, col, height, width = box
    part = np.s_[max(row, 0) : row + height + 1, max(col, 0) : col + width + 1]
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
