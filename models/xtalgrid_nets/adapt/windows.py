"""Represent wells as the end of SqueezeNet takes them in, which alone is fitted: what comes before is computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xtalgrid_core.chops import CELLS, CHOP, STRIDE, Box, by_size, cut, dense_length, dense_window
from xtalgrid_core.decision import chops_needed
from xtalgrid_core.files import replacing
from xtalgrid_core.images import Pixels, WellImage
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.pooling import ChopSize
from xtalgrid_scoring.drop import WellDrop, cut_out
from xtalgrid_scoring.networks import load_network

from ..fit.losses import WINDOW_STEP
from ..judge.scoring import library
from ..networks.squeezenet import Fire
from ..sets.crops import Segmenter

Half = npt.NDArray[np.float16]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one well's drop, or of a patch.

    Attributes
    ----------
    means
        ``(N, C)``: the mean features of N windows, which the last layer takes in; N is 0 if there is no drop.
    boxes
        The N windows, those of one size together.
    squeezed
        For each size ``(S, h, w)``: what the last block's expand layers take in, a cell every 16 pixels of the view;
        empty where only the last layer is fitted.
    """

    means: Half
    boxes: tuple[Box, ...]
    squeezed: tuple[Half, ...] = ()

    @property
    def needed(self) -> tuple[int, ...]:
        """Return the number of windows that must agree on each group, by the worker's rule."""
        return chops_needed(self.boxes, DEFAULTS.support)

    @property
    def usual(self) -> Windows:
        """The windows of `CHOP` pixels, which the network is fitted to, as those of patches are."""
        own = [row for row, box in enumerate(self.boxes) if box.height == CHOP]
        return replace(self[own], squeezed=self.squeezed[:1])

    def __getitem__(self, rows: Sequence[int]) -> Windows:
        """Return some of the windows."""
        return Windows(self.means[rows], tuple(self.boxes[row] for row in rows), self.squeezed)


class FeatureExtractor:
    """What is fixed while the end of the network is fitted: the segmenter, and the layers before.

    Parameters
    ----------
    before
        The layers before, see `start.Divided`.
    block
        The block that its output goes on through to the last layer.
    segmenter
        Finds the drop.
    keep
        Folder in which what the squeeze layer gives is stored, so that a run that was killed continues.
    sizes
        Sizes of a well's windows; see `Pooling.chop_sizes`.
    """

    def __init__(
        self, before: bytes, block: Fire, segmenter: Segmenter, keep: Path, sizes: tuple[ChopSize, ...] = (CHOP,)
    ) -> None:
        self._block, self._segmenter, self._keep, self._sizes = block, segmenter, keep, sizes
        self._network = load_network(before, "features", "the network's features", torch.get_num_threads())
        self._name = hashlib.sha256(f"{library()}{segmenter.sha256}{sizes}".encode() + before).hexdigest()[:16]
        keep.mkdir(parents=True, exist_ok=True)

    def well(self, path: Path, pixel_size_um: float | None = None, with_cells: bool = False) -> Windows:
        """Compute the windows of an image, those that the worker would score with the same segmenter.

        Only `with_cells` they have `Windows.squeezed`, which takes the most memory.

        Raises
        ------
        ImageError
            If the file is not a usable image.
        OSError
            If it can't be read.
        """
        data = path.read_bytes()
        key = hashlib.sha256(data + f"{self._name} {pixel_size_um}".encode()).hexdigest()[:32]
        kept = self._keep / f"{key}.npz"
        if not kept.is_file():
            drop = cut_out(WellImage(data), self._segmenter.mask_of_view, pixel_size_um)
            squeezed, boxes = [], list[Box]()
            if isinstance(drop, WellDrop):
                for size in self._sizes:
                    view = drop.view_for(size)
                    whole = Box(0, 0, *(dense_length(side) for side in view.shape[:2]))
                    squeezed.append(self._network(cut(view, [whole]))[0].astype(np.float16))
                    boxes += drop.chops("dense", DEFAULTS.step, size)
            with replacing(kept) as stream:  # most of it is 0
                np.savez_compressed(stream, *squeezed, boxes=np.array(boxes, np.int64).reshape(-1, 4))
        with np.load(kept) as arrays:
            squeezed = [arrays[name] for name in arrays.files if name != "boxes"]
            windows = self._windows(squeezed, [Box(*map(int, box)) for box in arrays["boxes"]])
        return windows if with_cells else replace(windows, squeezed=())

    def patch(self, pixels: Pixels) -> Windows:
        """Compute the windows of a patch ``(448, 448, 3)``, those of `sets.format` that have labels."""
        squeezed = self._network(pixels[None])[0].astype(np.float16)
        height, width = pixels.shape[:2]
        return self._windows([squeezed], dense_window(height, width, WINDOW_STEP * STRIDE))

    def _windows(self, squeezed: Sequence[Half], boxes: Sequence[Box]) -> Windows:
        if not boxes:
            return Windows(np.zeros((0, 0), np.float16), ())
        means = []
        for cells, (_, in_view) in zip(squeezed, by_size(boxes), strict=True):
            with torch.inference_mode():
                features = self._block.expanded(torch.from_numpy(cells).float()[None])[0]
            means.append(_means(features, in_view).numpy().astype(np.float16))
        return Windows(np.concatenate(means), tuple(boxes), tuple(squeezed))


def _means(cells: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Return the means, ``(N, C)``, of a map ``(C, h, w)`` over N windows; with many channels faster than sums are."""
    row, down = _averages([box.row for box in boxes], cells.shape[1])
    col, across = _averages([box.col for box in boxes], cells.shape[2])
    return (down @ cells @ across.T)[:, row, col].T


def _averages(starts: Sequence[int], length: int) -> tuple[Labels, Tensor]:
    """Return for each window its row in a matrix ``(M, length)`` that averages over the cells of a side."""
    first, place = np.unique(np.array(starts) // STRIDE, return_inverse=True)
    inside = (np.arange(length) >= first[:, None]) & (np.arange(length) < first[:, None] + CELLS)
    return place, torch.from_numpy(inside / np.float32(CELLS))
