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
