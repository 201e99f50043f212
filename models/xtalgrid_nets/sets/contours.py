"""Contours: how much there is to see in a chop (paper, section 2.2).

The paper keeps a chop for a class, or not, by "contours above a threshold" and says no more. Here a contour surrounds what is brighter or
darker than its surroundings: fine precipitate and faint crystals have few sharp edges, and the lens that a drop is shades even a clear one
from white to black, but slowly. A chop's figure is the length of the contours in it, in sides of a chop. They are found once over
the whole drop: a chop's own border neither cuts one nor makes one.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.images import Pixels

Bool = npt.NDArray[np.bool_]

FINE, COARSE = 2.0, 12.0
"""What is larger than noise and JPEG blocks and smaller than a drop's shading: standard deviations of two blurs, in pixels at the
reference scale, whose difference is looked at."""

STEP = 4.0
"""Grey levels of 255 by which something must differ from its surroundings."""

SHORTEST = 30
"""Contours of fewer pixels (34 µm around, 11 µm across) are specks."""


def contour_map(image: Pixels) -> Bool:
    """The contours of a levelled image at the reference scale, ``(H, W, 3)``: ``(H, W)``, True on them."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)  # a wide blur, quicker
    ground = cv2.resize(cv2.GaussianBlur(small, (0, 0), COARSE / 4), image.shape[1::-1])
    band = cv2.GaussianBlur(grey, (0, 0), FINE) - ground
    drawn = np.zeros(grey.shape, np.uint8)
    for differs in (band > STEP, band < -STEP):
        found, _ = cv2.findContours(differs.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, [contour for contour in found if len(contour) >= SHORTEST], -1, 1)
    return drawn.astype(bool)


def lengths(contours: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Length of the contours in each box, in sides of the box (of its height): ``(len(boxes),)``. Boxes may reach over the edge."""
    seen = [box.clipped(*contours.shape) for box in boxes]
    return counts(contours, seen) / np.array([box.height for box in boxes], np.float64)


def counts(mask: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """How many pixels of a mask, ``(H, W)``, are True in each box inside it: ``(len(boxes),)``."""
    sums = cv2.integral(mask.astype(np.uint8))
    top, left, height, width = np.array(boxes, np.intp).reshape(-1, 4).T
    bottom, right = top + height, left + width
    found: npt.NDArray[np.float64] = (
        sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    ).astype(np.float64)
    return found
