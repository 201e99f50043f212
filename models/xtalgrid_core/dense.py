"""Dense scoring: compute the class map of a whole drop once; a chop's probabilities are means over its cells.

A fully convolutional classifier gives the same cell for the same pixels wherever they lie, so the chops of a drop,
which cover each point some twenty times, need not be run one by one. The results differ from those of single chops
only by the zero padding at a chop's edges: in the class map of a drop, cells at these edges see the real pixels
beyond.

A large map is computed in tiles, so that memory stays bounded for any image size. Each tile is computed with a halo as
wide as the reach of its padding, which is then discarded, so the map is the same as without tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .chops import CELLS, STRIDE, Box, cut, dense_length
from .images import Pixels
from .outcomes import CLASSES

Float = npt.NDArray[np.float32]
Real = TypeVar("Real", bound=np.floating)

HALO = 7
"""Width of a tile's halo in cells: the padding of SqueezeNet reaches six, and one is to spare."""

MEMORY = 230_000_000
"""Bytes for a view and the work on one of its tiles; the rest of a worker's 400 MB is for the program and the file."""

CELL_MEMORY = 36_000
"""Bytes per cell of a tile, measured with `xtalgrid_scoring.networks`; most of it is the first layer's output."""

ClassMap = Callable[[Pixels], Float]


class _Span(NamedTuple):
    """A tile along one side, in cells: `length` cells from `start` are computed, those from `begin` to `end` used."""

    start: int
    begin: int
    end: int
    length: int


def class_map(
    view: Pixels, network: ClassMap, pause: Callable[[], None], max_cells: int | None = None, held: int = 0
) -> Float:
    """Compute the class map of a view.

    Parameters
    ----------
    view
        ``(H, W, 3)`` at the reference scale; extended to whole cells by reflection, as in `chops.cut`.
    network
        Maps images ``(1, 16·(h+1), 16·(w+1), 3)`` to class maps ``(1, 13, h, w)``.
    pause
        Called before each tile, many times a second; may raise to stop.
    max_cells
        Maximum cells of a tile, halo included; by default as many as `MEMORY` allows beside the view. A usual drop
        takes a single tile.
    held
        Bytes of other views that stay in memory.

    Returns
    -------
    ``(13, rows, cols)`` logits; the cell ``(i, j)`` belongs to the pixels from ``(16·i, 16·j)``.

    Raises
    ------
    ArithmeticError
        If the network doesn't return the expected number of cells.
    """
    rows, cols = (dense_length(side) // STRIDE - 1 for side in view.shape[:2])
    if max_cells is None:
        max_cells = (MEMORY - view.nbytes - held) // CELL_MEMORY
    down, across = _tiles(rows, cols, max_cells)
    logits = np.empty((len(CLASSES), rows, cols), np.float32)
    for row, top, bottom, height in down:
        for col, left, right, width in across:
            pause()
            pixels = Box(row * STRIDE, col * STRIDE, (height + 1) * STRIDE, (width + 1) * STRIDE)
            cells = network(cut(view, [pixels]))
            if cells.shape[2:] != (height, width):
                raise ArithmeticError(
                    f"the classifier returned {cells.shape[2:]} cells, expected {(height, width)}: it is not dense"
                )
            logits[:, top:bottom, left:right] = cells[0, :, top - row : bottom - row, left - col : right - col]
    return logits


def chop_probabilities(cells: Float, chops: Sequence[Box]) -> Float:
    """Return the probabilities, ``(N, 13)``, of N chops that start on whole cells of a map, ``(13, rows, cols)``."""
    return softmax(chop_means(cells, chops))


def chop_means(cells: Float, chops: Sequence[Box]) -> Float:
    """Return the means, ``(N, C)``, over N chops that start on whole cells of a map ``(C, rows, cols)``."""
    sums = np.zeros((cells.shape[0], cells.shape[1] + 1, cells.shape[2] + 1))
    np.cumsum(np.cumsum(cells, axis=1, dtype=np.float64), axis=2, out=sums[:, 1:, 1:])
    top = np.array([chop.row // STRIDE for chop in chops])
    left = np.array([chop.col // STRIDE for chop in chops])
    bottom, right = top + CELLS, left + CELLS
    boxes = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
    means: Float = (boxes.T / CELLS**2).astype(np.float32)
    return means


def softmax(logits: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Convert logits, ``(N, K)``, to probabilities, ``(N, K)``."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[Real] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _tiles(rows: int, cols: int, max_cells: int) -> tuple[list[_Span], list[_Span]]:
    """Divide rows and columns into tiles of at most `max_cells` (if possible), at the least cost in halos."""
    parts = (1, 1)
    if rows * cols > max_cells:
        max_cells = max(max_cells, (2 * HALO + 1) ** 2)
        free = math.isqrt(max_cells) - 2 * HALO  # cells along a square tile without its halo
        counts = range(1, max(rows, cols) // free + 2)
        cuts = [
            (down, across)
            for down in counts
            for across in counts
            if _tile_length(rows, down) * _tile_length(cols, across) <= max_cells
        ]
        parts = min(cuts, key=lambda cut: cut[0] * _tile_length(rows, cut[0]) * cut[1] * _tile_length(cols, cut[1]))
    return _spans(rows, parts[0]), _spans(cols, parts[1])


def _tile_length(length: int, parts: int) -> int:
    """Return the cells along a tile, halo included, of a side that is divided into `parts`."""
    return length if parts == 1 else min(-(-length // parts) + 2 * HALO, length)


def _spans(length: int, parts: int) -> list[_Span]:
    """Divide a side into tiles of equal length, because ONNX Runtime keeps memory for each input size."""
    size = -(-length // parts)
    computed = _tile_length(length, parts)
    return [
        _Span(min(max(begin - HALO, 0), length - computed), begin, min(begin + size, length), computed)
        for begin in range(0, length, size)
    ]
