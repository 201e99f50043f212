"""From an image's bytes to its drop: found by the segmenter, cut out, levelled and brought to the reference scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xtalgrid_core.chops import Box, dense_window, sliding_window
from xtalgrid_core.dense import Float
from xtalgrid_core.drops import DropDetection, chops_over, crop_around, find_drop
from xtalgrid_core.images import Picture, Pixels
from xtalgrid_core.options import Mode
from xtalgrid_core.scale import PixelSize, pixel_size

Mask = Callable[[Pixels], Float]
"""Tells of each pixel of a `segmenter_view` how probably it lies in the drop, 0..1."""


def go_on() -> None:
    """Stop nothing: the safe point of those who need none."""


@dataclass(frozen=True, slots=True)
class WellDrop:
    """A well image's drop.

    Attributes
    ----------
    height, width
        Of the image, in pixels.
    scale
        The size of one.
    drop
        Where it lies, or that there is none.
    crop
        What was cut out, in pixels of the image.
    view
        What the classifier sees, ``(H, W, 3)``: the crop, levelled, at the reference scale.
    """

    height: int
    width: int
    scale: PixelSize
    drop: DropDetection
    crop: Box
    view: Pixels

    def chops(self, mode: Mode, step: int) -> list[Box]:
        """The chops of the view that hold a part of the drop; all, where no drop was made out."""
        grid = dense_window if mode == "dense" else sliding_window
        boxes = grid(self.view.shape[0], self.view.shape[1], step)
        return chops_over(self.drop, boxes, self.crop, self.height, self.width, self.scale.to_reference)

    def in_image(self, chop: Box) -> Box:
        """A chop of the view as a box of the original image, clipped to the crop."""
        inside = chop.scaled(1 / self.scale.to_reference).clipped(self.crop.height, self.crop.width)
        return inside.moved(self.crop.row, self.crop.col)


@dataclass(frozen=True, slots=True)
class NoDrop:
    """A well image that surely shows no drop: a null experiment. Attributes as of `WellDrop`."""

    height: int
    width: int
    scale: PixelSize
    drop: DropDetection


def cut_out(
    image: Picture,
    mask: Mask,
    pixel_size_um: float | None = None,
    pause: Callable[[], None] = go_on,
    check: Callable[[Box, PixelSize], None] = lambda crop, scale: None,
) -> WellDrop | NoDrop:
    """Cut the drop out of an image (paper, section 2.2).

    Parameters
    ----------
    image
        Let it go afterwards: it may be as large as all else together.
    mask
        The segmenter.
    pixel_size_um
        None: guessed from the image's size.
    pause
        A safe point; may wait, and may raise to stop.
    check
        Called with the crop before it is brought to the reference scale, which may take a lot of memory; may raise.

    Raises
    ------
    ImageError
        When the image cannot be decoded.
    """
    height, width = image.height, image.width
    scale = pixel_size(width, height, pixel_size_um)
    pause()
    drop = find_drop(mask(image.segmenter_view()), height, width)
    if drop.is_null_experiment:
        return NoDrop(height, width, scale, drop)
    crop = crop_around(drop.box, height, width, scale.to_reference)
    check(crop, scale)
    pause()
    return WellDrop(height, width, scale, drop, crop, image.classifier_view(crop, scale.to_reference))
