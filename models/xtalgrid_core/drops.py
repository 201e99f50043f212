"""Find the drop in the segmenter's mask: its box, its outline, and the segmenter's confidence.

Connected regions and outlines are implemented in numpy, because the worker must stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .chops import CHOP, Box, touches_mask

INSIDE = 0.5
"""Minimum probability of a pixel inside the drop."""

SURE = 0.4
"""Minimum confidence for "no drop"; below it the whole well is scored."""

SOLID = 0.83
"""Minimum mean probability inside a region for it to be a drop: docs/decisions/0008-a-drop-is-solid.md."""

CERTAIN = 0.98
"""Minimum probability of a core that makes a region a drop even if not `SOLID`, such as a film around crystals."""

_FULL = 0.5
"""A region of at least this fraction of the image is a drop whatever its probability: no reflection is as large."""

MIN_AREA = 0.01
"""Smallest drop, as a fraction of the image (0.3 mm across in a usual field of view); dust is smaller."""

OUTLINE_POINTS = 64

MARGIN = 0.02
"""Margin around the drop's box, as a fraction of the image's longer side, because the mask is coarse."""

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DropDetection:
    """Result of looking for the drop in one image.

    Attributes
    ----------
    box
        Of the drop, in pixels of the original image; None if no drop was found.
    outline
        Points ``(row, col)``, clockwise, in pixels of the original image; empty if no drop was found.
    confidence
        Of the result, drop or no drop, 0..1.
    region
        The drop in the mask, ``(h, w)``; None if no drop was found.
    """

    box: Box | None
    outline: tuple[tuple[int, int], ...]
    confidence: float
    region: Bool | None = field(default=None, compare=False)

    @property
    def is_null_experiment(self) -> bool:
        """True if there is surely no drop."""
        return self.box is None and self.confidence >= SURE


def find_drop(mask: npt.NDArray[np.float32], height: int, width: int) -> DropDetection:
    """Find the drop in the segmenter's mask.

    Parameters
    ----------
    mask
        ``(h, w)``: probability that each pixel of the segmenter's view lies in the drop, 0..1.
    height, width
        Size of the original image.

    Returns
    -------
    The largest connected region, with its mean probability as the confidence. If the region is smaller than
    `MIN_AREA` there is no drop, with the confidence 1 − p, where as many pixels as `MIN_AREA` have a probability of
    at least p. A region that is not `SOLID` is a reflection, not a drop, unless it has a connected core of `MIN_AREA`
    that is `CERTAIN`; the confidence falls from 1 to 0.5 as its mean probability rises from `INSIDE` to `SOLID`.
    """
    region = largest_region(mask >= INSIDE)
    smallest = max(1, round(MIN_AREA * mask.size))
    if region.sum() < smallest:
        strongest = float(np.partition(mask.ravel(), -smallest)[-smallest])
        return DropDetection(None, (), float(np.clip(1 - strongest, 0, 1)))
    inside = float(np.clip(mask[region].mean(), 0, 1))
    core = largest_region(region & (mask >= CERTAIN)).sum()
    if inside < SOLID and region.mean() < _FULL and core < smallest:
        return DropDetection(None, (), 1 - 0.5 * (inside - INSIDE) / (SOLID - INSIDE))
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    down, right = height / mask.shape[0], width / mask.shape[1]
    top, left = int(rows[0] * down), int(cols[0] * right)
    box = Box(top, left, round((rows[-1] + 1) * down) - top, round((cols[-1] + 1) * right) - left).clipped(
        height, width
    )
    points = outline(region)
    keep = np.linspace(0, len(points), num=min(OUTLINE_POINTS, len(points)), endpoint=False).astype(int)
    return DropDetection(
        box,
        tuple((round((points[i][0] + 0.5) * down), round((points[i][1] + 0.5) * right)) for i in keep),
        inside,
        region,
    )


def crop_around(box: Box | None, height: int, width: int, to_reference: float) -> Box:
    """Return the crop around a drop: its box with a margin, and at least as large as a chop if the image is.

    A chop of real pixels is better than one filled up by reflection.

    Parameters
    ----------
    box
        Of the drop, in pixels of the image; None for the whole image.
    height, width
        Size of the image.
    to_reference
        Pixels at the reference scale per pixel of the image (`PixelSize.to_reference`).
    """
    if box is None:
        return Box(0, 0, height, width)
    margin, minimum = round(MARGIN * max(height, width)), round(CHOP / to_reference)
    row, rows = _widened(box.row, box.height, margin, minimum, height)
    col, cols = _widened(box.col, box.width, margin, minimum, width)
    return Box(row, col, rows, cols)


def chops_over(
    drop: DropDetection, chops: Sequence[Box], crop: Box, height: int, width: int, to_reference: float
) -> list[Box]:
    """Return the chops of a crop, at the reference scale, that touch the drop; all of them if no drop was found.

    Chops in the corners of the drop's box may show only the floor of the well, and dirt there must not count.
    """
    if drop.region is None:
        return list(chops)
    originals = np.rint(np.array(chops, np.float64).reshape(-1, 4) * (1 / to_reference))  # as `Box.scaled`
    originals[:, :2] += crop.row, crop.col
    touching = touches_mask(drop.region, originals, height, width)
    return [chop for chop, touches in zip(chops, touching, strict=True) if touches] or list(chops)


def _widened(start: int, length: int, margin: int, minimum: int, limit: int) -> tuple[int, int]:
    """Widen a span by `margin` on both sides and to at least `minimum`, within 0..limit: (start, length)."""
    widened = min(max(length + 2 * margin, minimum), limit)
    return min(max(start + (length - widened) // 2, 0), limit - widened), widened


def largest_region(inside: Bool) -> Bool:
    """Return the largest 4-connected region of a mask, ``(h, w)``; all False if the mask is.

    Each row's runs of True are joined with those of the row above by union-find: a few hundred runs, not 65,536 pixels.
    """
    height, width = inside.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = inside
    steps = np.diff(padded, axis=1)
    rows, starts = (ends.tolist() for ends in np.nonzero(steps == 1))
    stops = np.nonzero(steps == -1)[1].tolist()  # in the order of the starts
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    above = 0  # the first run of the row above
    for index, row in enumerate(rows):
        while rows[above] < row - 1:
            above += 1
        other = above
        while rows[other] < row:
            if starts[other] < stops[index] and starts[index] < stops[other]:
                parent[root(other)] = root(index)
            other += 1
    region = np.zeros_like(inside)
    sizes: dict[int, int] = {}
    for index in range(len(rows)):
        sizes[root(index)] = sizes.get(root(index), 0) + stops[index] - starts[index]
    best = max(sizes, key=lambda key: sizes[key], default=None)
    for index, row in enumerate(rows):
        if root(index) == best:
            region[row, starts[index] : stops[index]] = True
    return region


_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))  # clockwise from the east


def outline(region: Bool) -> list[tuple[int, int]]:
    """Trace the outer border pixels of one connected region, ``(row, col)``, clockwise (Moore-neighbour tracing)."""
    height, width = region.shape
    cols = np.flatnonzero(region.any(axis=0))
    if not len(cols):
        return []
    start = int(np.flatnonzero(region.any(axis=1))[0])
    first = (start, int(np.flatnonzero(region[start])[0]))
    border = [first]
    pixel, came_from = first, 4  # the first pixel of its row: the region doesn't extend to its west
    while True:
        for turn in range(1, 9):
            direction = (came_from + turn) % 8
            row, col = pixel[0] + _NEIGHBOURS[direction][0], pixel[1] + _NEIGHBOURS[direction][1]
            if 0 <= row < height and 0 <= col < width and region[row, col]:
                break
        else:
            return border  # a single pixel
        if (row, col) == border[min(1, len(border) - 1)] and pixel == first and len(border) > 1:
            return border[:-1]  # about to repeat the first move: the border is closed
        pixel = (row, col)
        border.append(pixel)
        came_from = (direction + (5 if direction % 2 else 6)) % 8  # direction of the last pixel tested outside
