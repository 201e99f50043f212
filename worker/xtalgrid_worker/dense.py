"""Dense scoring: the class map of a whole drop is computed once, and a chop's probabilities are a mean over its cells.

A fully convolutional classifier gives the same cell for a piece of a picture wherever the piece lies, so the chops of a drop, each point
of which lies in some twenty of them, need not be run one by one. What differs from running them one by one is the zero padding at
a chop's edges alone: here a cell sees what is really there.

A large map is computed by tiles, so that memory stays bounded whatever the picture's size. A tile is computed with a halo as wide as
its padding reaches, and the halo dropped: the map is the same as without tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xtalgrid_core.chops import CELLS, STRIDE, Box, cut, dense_length
from xtalgrid_core.images import Pixels
from xtalgrid_core.outcomes import CLASSES

from .inference import Float, softmax

HALO = 7
"""Cells from a tile's edge that its padding reaches, and one to spare: SqueezeNet's are six."""

MAX_CELLS = 72 * 72
"""Most cells of a tile, halo included: 1168×1168 pixels take 170 MB in the runtime."""

_MOST_TILES = 16
"""Along a side: 6,000 pixels need eight."""

Span = tuple[int, int]
ClassMap = Callable[[Pixels], Float]


def class_map(view: Pixels, network: ClassMap, pause: Callable[[], None], most: int = MAX_CELLS) -> Float:
    """The class map of a picture.

    Parameters
    ----------
    view
        ``(H, W, 3)`` at the reference scale; what is missing to whole cells is its reflection, as in `chops.cut`.
    network
        Gives the class maps ``(1, 13, h, w)`` of pictures ``(1, 16·(h+1), 16·(w+1), 3)``.
    pause
        Called before each tile, many times a second; may raise to stop.
    most
        Cells of a tile, at most.

    Returns
    -------
    ``(13, rows, cols)`` logits; the cell ``(i, j)`` belongs to the pixels from ``(16·i, 16·j)``.

    Raises
    ------
    ArithmeticError
        When the network's map has not as many cells as the picture should give.
    """
    rows, cols = (dense_length(side) // STRIDE - 1 for side in view.shape[:2])
    down, across = _tiles(rows, cols, most)
    found = np.empty((len(CLASSES), rows, cols), np.float32)
    for top, bottom in down:
        for left, right in across:
            pause()
            first_row, last_row = max(top - HALO, 0), min(bottom + HALO, rows)
            first_col, last_col = max(left - HALO, 0), min(right + HALO, cols)
            height, width = last_row - first_row, last_col - first_col
            pixels = Box(first_row * STRIDE, first_col * STRIDE, (height + 1) * STRIDE, (width + 1) * STRIDE)
            cells = network(cut(view, [pixels]))
            if cells.shape[2:] != (height, width):
                raise ArithmeticError(
                    f"the classifier gave {cells.shape[2:]} cells where {(height, width)} were due: it is not dense"
                )
            found[:, top:bottom, left:right] = cells[
                0, :, top - first_row : bottom - first_row, left - first_col : right - first_col
            ]
    return found


def chop_probabilities(cells: Float, chops: Sequence[Box]) -> Float:
    """Probabilities of the 13 classes, ``(N, 13)``, of N chops that start on whole cells, from a class map ``(13, rows, cols)``."""
    sums = np.zeros((cells.shape[0], cells.shape[1] + 1, cells.shape[2] + 1))
    np.cumsum(np.cumsum(cells, axis=1, dtype=np.float64), axis=2, out=sums[:, 1:, 1:])
    top = np.array([chop.row // STRIDE for chop in chops])
    left = np.array([chop.col // STRIDE for chop in chops])
    bottom, right = top + CELLS, left + CELLS
    boxes = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
    return softmax((boxes.T / CELLS**2).astype(np.float32))


def _tiles(rows: int, cols: int, most: int) -> tuple[list[Span], list[Span]]:
    """Spans of rows and of columns, in cells, whose tiles have at most so many cells, with the least work in their halos."""
    cuts = [(down, across) for down in range(1, _MOST_TILES + 1) for across in range(1, _MOST_TILES + 1)]

    def size(down: int, across: int) -> tuple[int, int]:
        return _longest(rows, down), _longest(cols, across)

    def work(cut: Span) -> int:
        height, width = size(*cut)
        return cut[0] * cut[1] * height * width

    small = [cut for cut in cuts if size(*cut)[0] * size(*cut)[1] <= most]
    down, across = min(small or cuts[-1:], key=work)
    return _spans(rows, down), _spans(cols, across)


def _longest(length: int, parts: int) -> int:
    """Cells of the longest of so many tiles along a side, halo included."""
    return max(min(stop + HALO, length) - max(start - HALO, 0) for start, stop in _spans(length, parts))


def _spans(length: int, parts: int) -> list[Span]:
    """A side cut into so many spans of equal length, or of one more; none is empty."""
    parts = min(parts, length)
    return [(length * i // parts, length * (i + 1) // parts) for i in range(parts)]
