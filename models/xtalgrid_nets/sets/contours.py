"""Contours: how much there is to see in a chop (paper, section 2.2).

The paper keeps a chop for a class if it has "contours above a threshold" and says no more. Here a contour surrounds a
region that is brighter or darker than its surroundings. Sharp edges alone would not do: fine precipitate and faint
crystals have few, and a drop acts as a lens that shades even a clear one from white to black, though gradually. The
measure of a chop is the total length of its contours, in units of the chop's side. Contours are found once over the
whole drop, so that the border of a chop neither cuts nor creates one.
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
"""Standard deviations of two Gaussian blurs, in pixels at the reference scale. Their difference keeps what is larger
than noise and JPEG blocks and smaller than the shading of a drop."""

STEP = 4.0
"""Smallest difference from the surroundings, in grey levels of 255."""

SHORTEST = 30
"""Contours of fewer pixels (34 µm around, 11 µm across) are taken for specks."""


def contour_map(image: Pixels) -> Bool:
    """Find the contours of a levelled image at the reference scale, ``(H, W, 3)``.

    Returns
    -------
    ``(H, W)`` bool, True on a contour.
    """
    band = difference_of_gaussians(rgb2gray(image.astype(np.float32)), FINE, COARSE)
    brighter, darker = (
        remove_small_objects(find_boundaries(differs, mode="inner"), max_size=SHORTEST - 1, connectivity=2)
        for differs in (band > STEP, band < -STEP)
    )
    contours: Bool = brighter | darker
    return contours


def lengths(contours: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Measure the length of contours in each box, in units of the box's height.

    Boxes may reach over the edge of the image. Returns ``(len(boxes),)``.
    """
    seen = [box.clipped(*contours.shape) for box in boxes]
    return counts(contours, seen) / np.array([box.height for box in boxes], np.float64)


def counts(mask: Bool, boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Count the True pixels of a mask, ``(H, W)``, in each box inside it: ``(len(boxes),)``."""
    sums = np.pad(integral_image(mask), ((1, 0), (1, 0)))
    top, left, height, width = np.array(boxes, np.intp).reshape(-1, 4).T
    bottom, right = top + height, left + width
    result: npt.NDArray[np.float64] = (
        sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    ).astype(np.float64)
    return result
