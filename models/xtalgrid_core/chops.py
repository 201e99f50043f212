"""Grids of 256×256 chops over a drop: the paper's training grid and its scoring grid.

Boxes are ``(row, col, height, width)`` in pixels of the array that is cut. A side shorter than a chop gets one chop
that starts at 0 and extends past the edge; `cut` fills the part outside by reflection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

CHOP: Final = 256
"""Side of a chop in pixels at the reference scale."""

STEP = 50
"""Step of the scoring grid in pixels (paper, section 3.1)."""

STRIDE = 16
"""Distance between the cells of a dense classifier's class map, in pixels."""

CELLS = 15
"""Number of class map cells along a side of a chop."""


class Box(NamedTuple):
    """A rectangle in pixels: first row, first column, height, width."""

    row: int
    col: int
    height: int
    width: int

    def scaled(self, factor: float) -> Box:
        """Scale the rectangle to an image `factor` times as large, rounded to pixels."""
        return self if factor == 1 else Box(*(round(value * factor) for value in self))

    def moved(self, rows: int, cols: int) -> Box:
        """Move the rectangle down by `rows` and right by `cols`."""
        return Box(self.row + rows, self.col + cols, self.height, self.width)

    def clipped(self, height: int, width: int) -> Box:
        """Clip the rectangle to an image of this size; the result may have height or width 0."""
        row, col = min(max(self.row, 0), height), min(max(self.col, 0), width)
        bottom = min(max(self.row + self.height, 0), height)
        right = min(max(self.col + self.width, 0), width)
        return Box(row, col, max(bottom - row, 0), max(right - col, 0))

    def overlap(self, other: Box) -> float:
        """Return the intersection over union of two rectangles, 0..1."""
        rows = min(self.row + self.height, other.row + other.height) - max(self.row, other.row)
        cols = min(self.col + self.width, other.col + other.width) - max(self.col, other.col)
        if rows <= 0 or cols <= 0:
            return 0.0
        shared = rows * cols
        return shared / (self.height * self.width + other.height * other.width - shared)


def smallest_overlap_starts(length: int, chop: int = CHOP) -> list[int]:
    """Return the starts of the fewest chops that cover a side (paper, section 2.2).

    With ``n = length // chop`` there are n + 1 chops, each overlapping the one before by
    ``d = ((n+1)·chop − length)/n``; the i-th starts at ``i·chop − i·d``, rounded down. A side that is an exact multiple
    of the chop gets n + 1 chops as well, as published.
    """
    _check(length, chop)
    n = length // chop
    if length <= chop:
        return [0]
    return [i * (length - chop) // n for i in range(n + 1)]  # i·chop − i·d = i·(length − chop)/n


def sliding_starts(length: int, step: int = STEP, chop: int = CHOP) -> list[int]:
    """Return the starts of chops every `step` pixels along a side; the last one ends flush with the side."""
    _check(length, chop)
    if step < 1:
        raise ValueError(f"step is {step} pixels; it must be at least 1")
    last = max(length - chop, 0)
    starts = list(range(0, last + 1, step))
    if starts[-1] != last:
        starts.append(last)
    return starts


def dense_length(length: int) -> int:
    """Round a side up to a chop plus a multiple of `STRIDE`: the pixels that a class map of whole cells covers."""
    _check(length, CHOP)
    return CHOP + -(-max(length - CHOP, 0) // STRIDE) * STRIDE


def dense_starts(length: int, step: int) -> list[int]:
    """Return the starts of chops every `step` pixels along a side, all multiples of `STRIDE`.

    A chop is thus a square of whole cells of the class map. The last chop may extend past the edge by up to 15 pixels.

    Raises
    ------
    ValueError
        If the side is below 1, or the step is not a multiple of `STRIDE`.
    """
    if step % STRIDE:
        raise ValueError(dense_step_error(step))
    return sliding_starts(dense_length(length), step)


def dense_step_error(step: int) -> str:
    """Return the error message for a step that dense scoring cannot use."""
    return (
        f"step is {step} pixels; dense scoring takes multiples of {STRIDE} such as {3 * STRIDE}, exact scoring any step"
    )


def smallest_overlap(height: int, width: int, chop: int = CHOP) -> list[Box]:
    """Return the paper's training grid (section 2.2): the fewest chops that cover an image, row by row."""
    return _grid(smallest_overlap_starts(height, chop), smallest_overlap_starts(width, chop), chop)


def sliding_window(height: int, width: int, step: int = STEP, chop: int = CHOP) -> list[Box]:
    """Return the paper's scoring grid (section 3.1): a window shifted by `step`, row by row."""
    return _grid(sliding_starts(height, step, chop), sliding_starts(width, step, chop), chop)


def dense_window(height: int, width: int, step: int) -> list[Box]:
    """Return the grid of dense scoring: every chop lies on whole cells of the class map (see `dense_starts`)."""
    return _grid(dense_starts(height, step), dense_starts(width, step), CHOP)


def by_size(chops: Iterable[Box]) -> list[tuple[int, list[Box]]]:
    """Divide chops, those of one size together, into sizes, with the chops in a view where they have `CHOP` pixels."""
    return [(size, [chop.scaled(CHOP / size) for chop in group]) for size, group in groupby(chops, lambda c: c.height)]


def touches_mask(
    mask: npt.NDArray[np.bool_], boxes: Sequence[Box] | npt.NDArray[np.float64], height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Tell which boxes touch a mask.

    Parameters
    ----------
    mask
        ``(h, w)``: a mask of the whole image, at any resolution.
    boxes
        N rectangles, also as ``(N, 4)``, in an image of `height` × `width` pixels; they may extend past its edges.

    Returns
    -------
    ``(N,)``: True for each box that overlaps a pixel of the mask, if only in part.
    """
    sums = np.pad(mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    ends = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    ends[:, 2:] += ends[:, :2]
    ends *= np.array([mask.shape[0] / height, mask.shape[1] / width] * 2)
    top, left = (np.clip(np.floor(ends[:, i]).astype(int), 0, mask.shape[i]) for i in (0, 1))
    bottom, right = (np.clip(np.ceil(ends[:, i + 2]).astype(int), 0, mask.shape[i]) for i in (0, 1))
    touching: npt.NDArray[np.bool_] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0
    return touching


def cut(image: npt.NDArray[np.uint8], boxes: list[Box]) -> npt.NDArray[np.uint8]:
    """Cut chops out of an image.

    Parameters
    ----------
    image
        ``(H, W, 3)``.
    boxes
        N rectangles of one size; they may extend past the image's bottom and right edges.

    Returns
    -------
    ``(N, height, width, 3)``; pixels outside the image are filled by reflection, repeated as often as needed.
    """
    if not boxes:
        return np.empty((0, CHOP, CHOP, 3), np.uint8)
    return np.stack([_piece(image, box) for box in boxes])


def _piece(image: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    piece = image[box.row : box.row + box.height, box.col : box.col + box.width]
    down, right = box.height - piece.shape[0], box.width - piece.shape[1]
    return np.pad(piece, ((0, down), (0, right), (0, 0)), mode="symmetric") if down or right else piece


def _grid(rows: list[int], cols: list[int], chop: int) -> list[Box]:
    return [Box(row, col, chop, chop) for row in rows for col in cols]


def _check(length: int, chop: int) -> None:
    if length < 1 or chop < 1:
        raise ValueError(f"cannot cut a side of {length} pixels into chops of {chop} pixels; both must be at least 1")
