"""Dense scoring: the class map of a whole drop is computed once, and a chop's probabilities are a mean over its cells.

A fully convolutional classifier gives the same cell for a piece of a picture wherever the piece lies, so the chops of a drop, each point
of which lies in some twenty of them, need not be run one by one. What differs from running them one by one is the zero padding at
a chop's edges alone: here a cell sees what is really there.

A large map is computed by tiles, so that memory stays bounded whatever the picture's size. A tile is computed with a halo as wide as
its padding reaches, and the halo dropped: the map is the same as without tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .chops import CELLS, STRIDE, Box, cut, dense_length
from .images import Pixels
from .outcomes import CLASSES

Float = npt.NDArray[np.float32]

HALO = 7
"""Cells from a tile's edge that its padding reaches, and one to spare: SqueezeNet's are six."""

MEMORY = 230_000_000
"""Bytes that a picture and the work on a tile of it may take together: a process has 400 MB, of which the rest is the program and the file."""

CELL_MEMORY = 36_000
"""Bytes taken for each cell of a tile, as measured with `xtalgrid_scoring.networks`; most are what the first layer gives."""

ClassMap = Callable[[Pixels], Float]


class _Span(NamedTuple):
    """A tile along one side, in cells: computed from `start` on over `length`, of which `begin` to `end` is kept."""

    start: int
    begin: int
    end: int
    length: int


def class_map(view: Pixels, network: ClassMap, pause: Callable[[], None], most: int | None = None) -> Float:
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
        Cells of a tile, halo included, at most; by default as many as `MEMORY` allows beside the view: a usual drop is one tile.

    Returns
    -------
    ``(13, rows, cols)`` logits; the cell ``(i, j)`` belongs to the pixels from ``(16·i, 16·j)``.

    Raises
    ------
    ArithmeticError
        When the network's map has not as many cells as the picture should give.
    """
    rows, cols = (dense_length(side) // STRIDE - 1 for side in view.shape[:2])
    down, across = _tiles(rows, cols, (MEMORY - view.nbytes) // CELL_MEMORY if most is None else most)
    found = np.empty((len(CLASSES), rows, cols), np.float32)
    for row, top, bottom, height in down:
        for col, left, right, width in across:
            pause()
            pixels = Box(row * STRIDE, col * STRIDE, (height + 1) * STRIDE, (width + 1) * STRIDE)
            cells = network(cut(view, [pixels]))
            if cells.shape[2:] != (height, width):
                raise ArithmeticError(
                    f"the classifier gave {cells.shape[2:]} cells where {(height, width)} were due: it is not dense"
                )
            found[:, top:bottom, left:right] = cells[0, :, top - row : bottom - row, left - col : right - col]
    return found


def chop_probabilities(cells: Float, chops: Sequence[Box]) -> Float:
    """Probabilities of the 13 classes, ``(N, 13)``, of N chops that start on whole cells, from a class map ``(13, rows, cols)``."""
    return softmax(chop_means(cells, chops))


def chop_means(cells: Float, chops: Sequence[Box]) -> Float:
    """Means over the cells of N chops that start on whole cells, ``(N, C)``, of a map ``(C, rows, cols)``."""
    sums = np.zeros((cells.shape[0], cells.shape[1] + 1, cells.shape[2] + 1))
    np.cumsum(np.cumsum(cells, axis=1, dtype=np.float64), axis=2, out=sums[:, 1:, 1:])
    top = np.array([chop.row // STRIDE for chop in chops])
    left = np.array([chop.col // STRIDE for chop in chops])
    bottom, right = top + CELLS, left + CELLS
    boxes = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
    means: Float = (boxes.T / CELLS**2).astype(np.float32)
    return means


def softmax(logits: Float) -> Float:
    """Probabilities, ``(N, 13)``, of logits, ``(N, 13)``."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Float = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _tiles(rows: int, cols: int, most: int) -> tuple[list[_Span], list[_Span]]:
    """How rows and columns are cut, so that a tile has at most so many cells (if that can be) and the halos cost least."""
    parts = (1, 1)
    if rows * cols > most:
        most = max(most, (2 * HALO + 1) ** 2)
        free = math.isqrt(most) - 2 * HALO  # cells along a square tile that are no halo
        counts = range(1, max(rows, cols) // free + 2)
        cuts = [
            (down, across) for down in counts for across in counts if _tile(rows, down) * _tile(cols, across) <= most
        ]
        parts = min(cuts, key=lambda cut: cut[0] * _tile(rows, cut[0]) * cut[1] * _tile(cols, cut[1]))
    return _spans(rows, parts[0]), _spans(cols, parts[1])


def _tile(length: int, parts: int) -> int:
    """Cells along a tile, halo included, of a side that is cut into so many parts."""
    return length if parts == 1 else min(-(-length // parts) + 2 * HALO, length)


def _spans(length: int, parts: int) -> list[_Span]:
    """A side cut into so many tiles of one length: the runtime keeps memory for each size of picture."""
    kept = -(-length // parts)
    computed = _tile(length, parts)
    return [
        _Span(min(max(begin - HALO, 0), length - computed), begin, min(begin + kept, length), computed)
        for begin in range(0, length, kept)
    ]
