"""From a well to what is cut into chops: the drop, at the reference scale, and which part of it is drop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from xtalgrid_core.chops import Box
from xtalgrid_core.drops import INSIDE, crop_around, find_drop, largest_region
from xtalgrid_core.images import Levels, Pixels, classifier_view, network_input, segmenter_view
from xtalgrid_core.scale import PixelSize
from xtalgrid_core.weights import PACKAGED, default_models, find_model

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Crop:
    """A drop, ready to be cut.

    `view` ``(H, W, 3)`` is levelled and at the reference scale, `drop` ``(H, W)`` True inside the drop's outline; `box` is where it
    lies in the original image, in pixels.
    """

    view: Pixels
    drop: Bool
    box: Box


def crop_to_drop(image: Pixels, mask: Float, scale: PixelSize) -> Crop | None:
    """Crop an image to its drop as the worker does (paper, section 2.2); None where the mask shows no drop.

    Parameters
    ----------
    image
        ``(H, W, 3)``, the whole well.
    mask
        Probability of each pixel to lie in the drop, 0..1, of any size: it is stretched over the image.
    """
    height, width = image.shape[:2]
    found = find_drop(mask, height, width)
    if found.box is None:
        return None
    box = crop_around(found.box, height, width, scale.to_reference)
    region = largest_region(mask >= INSIDE).astype(np.float32)
    return _cut_out(image, region, box, scale)


def whole_well(image: Pixels, scale: PixelSize) -> Crop:
    """The whole image as a crop, with no drop in it: a null experiment."""
    height, width = image.shape[:2]
    return _cut_out(image, np.zeros((2, 2), np.float32), Box(0, 0, height, width), scale)


def _cut_out(image: Pixels, region: Float, box: Box, scale: PixelSize) -> Crop:
    part = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
    view = classifier_view(image[part], Levels.of(image), scale.to_reference)
    drop = cv2.resize(region, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[part]
    return Crop(view, cv2.resize(drop, view.shape[1::-1], interpolation=cv2.INTER_LINEAR) >= 0.5, box)


class Segmenter:
    """The segmenter's ONNX network: finds the drop of a well.

    Parameters
    ----------
    folder
        Of weights, with a manifest; its default segmenter is taken.
    """

    def __init__(self, folder: Path = PACKAGED) -> None:
        self.sha256 = default_models(folder)[0]
        _, weights = find_model(self.sha256, "segmenter", [folder])
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1  # the build runs one process a core
        settings.log_severity_level = 3
        self._session = ort.InferenceSession(weights, settings, providers=["CPUExecutionProvider"])

    def mask(self, image: Pixels) -> Float:
        """Probability of each pixel of the well, squeezed to 256×256, to lie in the drop: ``(256, 256)``, 0..1."""
        (mask,) = self._session.run(["mask"], {"image": network_input(segmenter_view(image, Levels.of(image))[None])})
        return np.clip(np.asarray(mask[0, 0], np.float32), 0, 1)


@cache
def segmenter_of(folder: Path) -> Segmenter:
    """The folder's segmenter, loaded once in each process."""
    return Segmenter(folder)
