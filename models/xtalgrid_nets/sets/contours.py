"""Contours: how much there is to see in a chop (paper, section 2.2).

The paper keeps a chop for a class, or not, by "contours above a threshold" and says no more. Here a contour surrounds
what is brighter or darker than its surroundings: fine precipitate and faint crystals have few sharp edges, and the lens
that a drop is shades even a clear one from white to black, but slowly. A chop's figure is the length of the contours in
it, in sides of a chop. They are found once over the whole drop: a chop's own border neither cuts one nor makes one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from skimage.color import rgb2gray
from skimage.filters import difference_of_gaussians
from skimage.morphology import remove_small_objects
from skimage.segmentation import find_boundaries
from skimage.transform import integral_image

from xtalgrid_core.chops import Box
from xtalgrid_core.images import Pixels

Bool = npt.NDArray[np.bool_]

FINE, COARSE = 2.0, 12.0
"""Standard deviations, in pixels at the reference scale, of the two blurs whose difference is looked at.

That leaves what is larger than noise and JPEG blocks and smaller than a drop's shading.
"""

STEP = 4.0
"""Grey levels of 255 by which something must differ from its surroundings."""

SHORTEST = 30
"""Contours of fewer pixels (34 µm around, 11 µm across) are specks."""


def contour_map(image: Pixels) -> Bool:
    """Find the contours of a levelled image at the reference scale, ``(H, W, 3)``: ``(H, W)``, True on them."""
    band = difference_of_gaussians(rgb2gray(image.astype(np.float32)), FINE, COARSE)
    brighter, darker = (
        remove_small_objects(find_boundaries(differs, mode="inner"), max_size=SHORTEST - 1, connectivity=2)
        for differs in (band > STEP, band < -STEP)
    )
    contours: Bool = brighter | darker
    return contours


def lengths(contours: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Length of the contours in each box, in sides of the box (of its height): ``(len(boxes),)``.

    Boxes may reach over the edge.
    """
    seen = [box.clipped(*contours.shape) for box in boxes]
    return counts(contours, seen) / np.array([box.height for box in boxes], np.float64)


def counts(mask: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """How many pixels of a mask, ``(H, W)``, are True in each box inside it: ``(len(boxes),)``."""
    sums = np.pad(integral_image(mask), ((1, 0), (1, 0)))
    top, left, height, width = np.array(boxes, np.intp).reshape(-1, 4).T
    bottom, right = top + height, left + width
    found: npt.NDArray[np.float64] = (
        sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    ).astype(np.float64)
    return found
