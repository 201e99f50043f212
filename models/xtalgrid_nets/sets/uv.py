"""UV mates: under ultraviolet light protein glows (tryptophan), salt stays dark (paper, sections 2.2 and 4).

Crystals with chromophores, and proteins without tryptophan, stay dark too: the check is optional for that reason.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.images import Pixels, resize

Bool = npt.NDArray[np.bool_]

SEEN_AT = 512
"""Width in pixels at which glow is looked for: enough for a crystal of 15 µm, and noise is averaged out."""

NOISE = 6.0
"""Glow is so many standard deviations of the noise above its surroundings,"""

CONTRAST = 30.0
"""and at least so many grey levels of 255: dissolved and precipitated protein glows as well, but not as bright."""

REACH = 3
"""Pixels at `SEEN_AT` (17 µm in a usual field of view) by which glow and crystal may miss each other: the stage and the filters
move between the two pictures."""


def glow_map(uv: Pixels, box: Box, size: tuple[int, int], image_size: tuple[int, int]) -> Bool:
    """Where the UV mate glows, seen in a crop of the bright-field image.

    Parameters
    ----------
    uv
        ``(h, w, 3)``: the mate, of the same field of view, in pixels of its own.
    box
        The crop, in pixels of the bright-field image.
    size, image_size
        (height, width) of the crop at the reference scale, and of the bright-field image.

    Returns
    -------
    Of `size`, True where something glows brighter than its surroundings (a drop of protein solution glows as a whole, and
    lamps don't light evenly: neither counts), widened by `REACH`.
    """
    small = resize(uv, round(SEEN_AT * uv.shape[0] / uv.shape[1]), SEEN_AT)
    grey = cv2.GaussianBlur(small.max(axis=2), (0, 0), 1.0).astype(np.float32)
    ground = cv2.medianBlur(grey.astype(np.uint8), _odd(SEEN_AT // 8)).astype(np.float32)
    above = grey - ground
    noise = 1.4826 * float(np.median(np.abs(above - np.median(above))))
    glowing = (above > max(NOISE * noise, CONTRAST)).astype(np.uint8)
    glowing = cv2.morphologyEx(glowing, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))  # hot pixels
    side = 2 * REACH + 1
    glowing = cv2.dilate(glowing, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    rows, cols = glowing.shape[0] / image_size[0], glowing.shape[1] / image_size[1]
    part = glowing[
        int(box.row * rows) : max(round((box.row + box.height) * rows), int(box.row * rows) + 1),
        int(box.col * cols) : max(round((box.col + box.width) * cols), int(box.col * cols) + 1),
    ]
    return cv2.resize(part, size[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


def _odd(value: int) -> int:
    return value | 1
