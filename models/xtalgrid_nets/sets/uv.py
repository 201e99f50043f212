"""UV mates: under ultraviolet light protein glows (tryptophan) and salt stays dark (paper, sections 2.2 and 4).

The check is optional because crystals with chromophores, and proteins without tryptophan, stay dark too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.filters import gaussian, rank
from skimage.morphology import isotropic_dilation, opening
from skimage.transform import resize as stretch

from xtalgrid_core.chops import Box
from xtalgrid_core.images import Pixels, resize

Bool = npt.NDArray[np.bool_]

SEEN_AT = 512
"""Width in pixels at which glow is detected: enough for a crystal of 15 µm, and averages out noise."""

NOISE = 6.0
"""Glow is at least this many standard deviations of the noise above its surroundings."""

CONTRAST = 30.0
"""Glow is at least this many grey levels of 255 above its surroundings: protein in solution or precipitate is
dimmer."""

REACH = 3
"""Allowed offset between glow and crystal, in pixels at `SEEN_AT` (17 µm in a usual field of view): the stage and the
filters move between the two exposures."""


def glow_map(uv: Pixels, box: Box, size: tuple[int, int], image_size: tuple[int, int]) -> Bool:
    """Find where the UV mate glows, in a crop of the bright-field image.

    Parameters
    ----------
    uv
        The mate, ``(h, w, 3)``: the same field of view, at its own resolution.
    box
        Position of the crop, in pixels of the bright-field image.
    size, image_size
        (height, width) of the crop at the reference scale, and of the bright-field image.

    Returns
    -------
    An array of `size`, True where something glows brighter than its surroundings, widened by `REACH`. (A drop of
    protein solution glows as a whole, and lamps don't light evenly; neither counts.)
    """
    small = resize(uv, round(SEEN_AT * uv.shape[0] / uv.shape[1]), SEEN_AT)
    grey = gaussian(small.max(axis=2), 1.0, preserve_range=True)
    side = SEEN_AT // 8
    above = grey - rank.median(grey.round().astype(np.uint8), np.ones((side, side), bool))
    noise = 1.4826 * float(np.median(np.abs(above - np.median(above))))
    glowing = opening(above > max(NOISE * noise, CONTRAST), np.ones((2, 2), bool))  # removes hot pixels
    glowing = isotropic_dilation(glowing, REACH)
    rows, cols = glowing.shape[0] / image_size[0], glowing.shape[1] / image_size[1]
    part = glowing[
        int(box.row * rows) : max(round((box.row + box.height) * rows), int(box.row * rows) + 1),
        int(box.col * cols) : max(round((box.col + box.width) * cols), int(box.col * cols) + 1),
    ]
    glow: Bool = stretch(part, size, order=0)
    return glow
