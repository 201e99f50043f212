"""Find the drop in an image with the segmenter, cut it out, level it, and bring it to the reference scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from xtalgrid_core.chops import CHOP, Box, dense_window, sliding_window
from xtalgrid_core.dense import Float
from xtalgrid_core.drops import DropDetection, chops_over, crop_around, find_drop
from xtalgrid_core.images import Picture, Pixels, resize
from xtalgrid_core.options import Mode
from xtalgrid_core.scale import LEAST_UM, PixelSize, pixel_size

Mask = Callable[[Pixels], Float]
"""Maps a segmenter view to the probability that each pixel lies in the drop, 0..1."""


def never_stop() -> None:
    """Do nothing at a safe point."""


@dataclass(frozen=True, slots=True)
class WellDrop:
    """A well image's drop.

    Attributes
    ----------
    height, width
        Size of the image in pixels.
    scale
        Its pixel size.
    drop
        Result of the drop detection.
    crop
        The part that was cut out, in pixels of the image.
    view
        The classifier's view of the crop, ``(H, W, 3)``: levelled, at the reference scale.
    """

    height: int
    width: int
    scale: PixelSize
    drop: DropDetection
    crop: Box
    view: Pixels

    def chops(self, mode: Mode, step: int, size: int = CHOP) -> list[Box]:
        """Return the chops of the view that touch the drop; all of them if no drop was found.

        Those of twice the size lie on a grid of twice the step.
        """
        grid = dense_window if mode == "dense" else sliding_window
        boxes = [box.scaled(size // CHOP) for box in grid(*self._reduced(size // CHOP), step)]
        return chops_over(self.drop, boxes, self.crop, self.height, self.width, self.scale.to_reference)

    def view_for(self, size: int) -> Pixels:
        """Return the view in which a chop of this size has `CHOP` pixels along a side."""
        return self.view if size == CHOP else resize(self.view, *self._reduced(size // CHOP))

    def magnified(self, times: float) -> WellDrop:
        """Return the drop as if its image were magnified so many times: with smaller pixels and a smaller view."""
        scale = PixelSize(max(self.scale.um / times, LEAST_UM), self.scale.origin)
        return replace(self, scale=scale, view=resize(self.view, *self._reduced(times)))

    def in_image(self, chop: Box) -> Box:
        """Convert a chop of the view to a box of the original image, clipped to the crop."""
        inside = chop.scaled(1 / self.scale.to_reference).clipped(self.crop.height, self.crop.width)
        return inside.moved(self.crop.row, self.crop.col)

    def _reduced(self, times: float) -> tuple[int, int]:
        """Return height and width of a view that is so many times smaller."""
        height, width = (max(round(side / times), 1) for side in self.view.shape[:2])
        return height, width


@dataclass(frozen=True, slots=True)
class NoDrop:
    """A well image that surely shows no drop: a null experiment. For the attributes see `WellDrop`."""

    height: int
    width: int
    scale: PixelSize
    drop: DropDetection


def cut_out(
    image: Picture,
    mask: Mask,
    pixel_size_um: float | None = None,
    pause: Callable[[], None] = never_stop,
    check: Callable[[Box, PixelSize], None] = lambda crop, scale: None,
) -> WellDrop | NoDrop:
    """Cut the drop out of an image (paper, section 2.2).

    Parameters
    ----------
    image
        Callers should release it afterwards, since it may take as much memory as everything else.
    mask
        The segmenter.
    pixel_size_um
        If None, guessed from the image's size.
    pause
        Called at safe points; may block, and may raise to stop.
    check
        Called with the crop before it is brought to the reference scale, which may take much memory; may raise.

    Raises
    ------
    ImageError
        If the image cannot be decoded.
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
