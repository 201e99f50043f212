"""Crop a well to its drop: the part that is cut into chops, at the reference scale, and the drop's outline in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import Box
from xtalgrid_core.images import Pixels, WellPixels
from xtalgrid_core.scale import PixelSize
from xtalgrid_core.weights import PACKAGED, default_models, find_model
from xtalgrid_scoring.drop import NoDrop, WellDrop, cut_out
from xtalgrid_scoring.networks import find_mask, load_network

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Crop:
    """A drop, ready to be cut.

    `view` ``(H, W, 3)`` is levelled and at the reference scale; `drop` ``(H, W)`` is True inside the drop's outline;
    `box` is the position of the crop in the original image, in pixels.
    """

    view: Pixels
    drop: Bool
    box: Box


def crop_to_drop(image: Pixels, mask: Float, scale: PixelSize) -> Crop | None:
    """Crop an image to its drop as scoring does (paper, section 2.2); None where the mask shows no drop.

    Parameters
    ----------
    image
        ``(H, W, 3)``, the whole well.
    mask
        Probability that each pixel lies in the drop, 0..1, of any size; it is stretched to the image.
    """
    well = cut_out(WellPixels(image), lambda view: mask, scale.um)
    if isinstance(well, NoDrop) or well.drop.region is None:
        return None
    return Crop(well.view, drop_in_view(well), well.crop)


def whole_well(image: Pixels, scale: PixelSize) -> Crop:
    """Return the whole image as a crop without a drop, for a null experiment."""
    whole = Box(0, 0, *image.shape[:2])
    view = WellPixels(image).classifier_view(whole, scale.to_reference)
    return Crop(view, np.zeros(view.shape[:2], bool), whole)


def drop_in_view(well: WellDrop) -> Bool:
    """Return which pixels of a drop's view lie inside its outline, ``(H, W)``; none if no drop was found."""
    height, width = well.view.shape[:2]
    if well.drop.region is None:
        return np.zeros((height, width), bool)
    region = well.drop.region.astype(np.float32)
    whole = cv2.resize(region, (well.width, well.height), interpolation=cv2.INTER_LINEAR)
    box = well.crop
    part = whole[box.row : box.row + box.height, box.col : box.col + box.width]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5)


class Segmenter:
    """The default segmenter of a folder of weights, on one core: sets are built with one process per core."""

    def __init__(self, folder: Path = PACKAGED) -> None:
        self.sha256 = default_models(folder)[0]
        _, weights = find_model(self.sha256, "segmenter", [folder])
        self._network = load_network(weights, "mask", f"segmenter {self.sha256[:12]}…")

    def mask(self, image: Pixels) -> Float:
        """Return the probability that each pixel lies in the drop: ``(256, 256)``, 0..1, of the squeezed well."""
        return self.mask_of_view(WellPixels(image).segmenter_view())

    def mask_of_view(self, view: Pixels) -> Float:
        """Do as `mask` does, for a view prepared by `xtalgrid_scoring.drop.cut_out`."""
        return find_mask(self._network, view)


@cache
def segmenter_of(folder: Path) -> Segmenter:
    """Load the folder's segmenter, once in each process."""
    return Segmenter(folder)
