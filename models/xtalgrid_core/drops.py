"""From the segmenter's mask to the drop: its box, its outline, and how sure the segmenter is.

Only numpy: the worker has to stay small, so the connected region and its outline are found here by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .chops import CHOP, Box, seen

INSIDE = 0.5
"""Probability from which a pixel lies in the drop."""

SURE = 0.4
"""Confidence from which "no drop" is believed; below it the whole well is scored."""

SOLID = 0.83
"""Mean probability inside a region from which it is a drop: docs/decisions/0008-a-drop-is-solid.md."""

CERTAIN = 0.98
"""Probability of a core that makes an unsolid region a drop, as a film that fills its well around what is in it."""

_FULL = 0.5
"""A region of so much of the image is a drop however unsure the segmenter is: no reflection is as large."""

MIN_AREA = 0.01
"""Smallest part of the image that is taken for a drop (0.3 mm across in a usual field of view): dust and reflections are none."""

OUTLINE_POINTS = 64

MARGIN = 0.02
"""Added around the drop's box on each side, as a part of the image's longer side: the mask is coarse."""

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """The drop in one image.

    `confidence` (0..1) is that of the answer, be it a drop or none. `box` and `outline` (points ``(row, col)``, clockwise)
    are in pixels of the original image; None and empty when no drop was found. `region`, ``(h, w)``, is the drop in the mask.
    """

    box: Box | None
    outline: tuple[tuple[int, int], ...]
    confidence: float
    region: Bool | None = field(default=None, compare=False)

    @property
    def is_null_experiment(self) -> bool:
        """True when there is surely no drop."""
        return self.box is None and self.confidence >= SURE


def find_drop(mask: npt.NDArray[np.float32], height: int, width: int) -> Found:
    """Find the drop in the segmenter's mask.

    Parameters
    ----------
    mask
        ``(h, w)``: probability of each pixel of the squeezed image to lie in the drop, 0..1.
    height, width
        Size of the original image.

    Returns
    -------
    The largest connected region; its confidence is the mean probability inside it. Without one of `MIN_AREA`, no drop,
    with confidence 1 − the largest probability that any region of that size reaches. One that is not `SOLID` is a reflection
    and no drop either, with a confidence from 1 down to 0.5 as its mean probability rises from `INSIDE` to `SOLID`; unless the
    segmenter is `CERTAIN` of a connected part of it of `MIN_AREA`.
    """
    region = largest_region(mask >= INSIDE)
    smallest = max(1, round(MIN_AREA * mask.size))
    if region.sum() < smallest:
        strongest = float(np.partition(mask.ravel(), -smallest)[-smallest])
        return Found(None, (), float(np.clip(1 - strongest, 0, 1)))
    inside = float(np.clip(mask[region].mean(), 0, 1))
    core = largest_region(region & (mask >= CERTAIN)).sum()
    if inside < SOLID and region.mean() < _FULL and core < smallest:
        return Found(None, (), 1 - 0.5 * (inside - INSIDE) / (SOLID - INSIDE))
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    down, right = height / mask.shape[0], width / mask.shape[1]
    top, left = int(rows[0] * down), int(cols[0] * right)
    box = Box(top, left, round((rows[-1] + 1) * down) - top, round((cols[-1] + 1) * right) - left).clipped(
        height, width
    )
    points = outline(region)
    keep = np.linspace(0, len(points), num=min(OUTLINE_POINTS, len(points)), endpoint=False).astype(int)
    return Found(
        box,
        tuple((round((points[i][0] + 0.5) * down), round((points[i][1] + 0.5) * right)) for i in keep),
        inside,
        region,
    )


def crop_around(box: Box | None, height: int, width: int, to_reference: float) -> Box:
    """What is cut out of an image to look at its drop: the drop's box with a margin, and at least as large as a chop where the image is.

    A chop of real pixels is better than one that is filled up.

    Parameters
    ----------
    box
        Of the drop, in pixels of the image, whose size is `height` × `width`; None where none was made out: the crop is the whole image.
    to_reference
        Pixels at the reference scale for each of the image's (`PixelSize.to_reference`).
    """
    if box is None:
        return Box(0, 0, height, width)
    margin, least = round(MARGIN * max(height, width)), round(CHOP / to_reference)
    row, rows = _widened(box.row, box.height, margin, least, height)
    col, cols = _widened(box.col, box.width, margin, least, width)
    return Box(row, col, rows, cols)


def chops_over(drop: Found, chops: Sequence[Box], crop: Box, height: int, width: int, to_reference: float) -> list[Box]:
    """The chops of a crop at the reference scale that hold a part of the drop; all, where no drop was made out.

    Those in the corners of the drop's box show nothing but the well's floor, and dirt there is none of the drop's business.
    """
    if drop.region is None:
        return list(chops)
    originals = [chop.scaled(1 / to_reference).moved(crop.row, crop.col) for chop in chops]
    held = seen(drop.region, originals, height, width)
    return [chop for chop, holds in zip(chops, held, strict=True) if holds] or list(chops)


def _widened(start: int, length: int, margin: int, least: int, whole: int) -> tuple[int, int]:
    """Start and length of a span widened by `margin` on both sides and to `least`, inside 0..whole."""
    grown = min(max(length + 2 * margin, least), whole)
    return min(max(start + (length - grown) // 2, 0), whole - grown), grown


def largest_region(inside: Bool) -> Bool:
    """The largest 4-connected region of a mask, ``(h, w)``; all False when the mask is.

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
    """The outer border pixels of one connected region, ``(row, col)``, clockwise (Moore-neighbour tracing)."""
    height, width = region.shape
    cols = np.flatnonzero(region.any(axis=0))
    if not len(cols):
        return []
    start = int(np.flatnonzero(region.any(axis=1))[0])
    first = (start, int(np.flatnonzero(region[start])[0]))
    border = [first]
    here, came_from = first, 4  # the first pixel of its row: nothing of the region lies to its west
    while True:
        for turn in range(1, 9):
            direction = (came_from + turn) % 8
            row, col = here[0] + _NEIGHBOURS[direction][0], here[1] + _NEIGHBOURS[direction][1]
            if 0 <= row < height and 0 <= col < width and region[row, col]:
                break
        else:
            return border  # a single pixel
        if (row, col) == border[min(1, len(border) - 1)] and here == first and len(border) > 1:
            return border[:-1]  # about to go the first way again: the border is closed
        here = (row, col)
        border.append(here)
        came_from = (direction + (5 if direction % 2 else 6)) % 8  # the last pixel found outside, seen from here
