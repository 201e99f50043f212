"""The end of SqueezeNet, which is fitted to a lab's wells: its last layer, or also the last block before it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.chops import CELLS, STRIDE, Box, by_size

from ..networks.squeezenet import Fire
from .windows import Half, Windows

Float = npt.NDArray[np.float32]

EVERY = 3
"""While the block is fitted, the mean over a window's 15 × 15 cells is that over every third one of each side."""


class Tail(nn.Module):
    """The last layer, and the last block if that is fitted too; of the block, the squeeze layer stays as it is."""

    def __init__(self, head: nn.Conv2d, block: Fire | None = None) -> None:
        super().__init__()
        self.head, self.block = deepcopy(head), deepcopy(block)
        if self.block is not None:
            self.block.squeeze.requires_grad_(False)

    @property
    def fitted(self) -> list[nn.Parameter]:
        """Return the parameters that are fitted."""
        return [value for value in self.parameters() if value.requires_grad]

    def logits(self, wells: Sequence[Windows], rng: np.random.Generator | None = None) -> Tensor:
        """Return the logits of the 13 classes in all windows of some wells that have any, ``(N, 13)``.

        With `rng` those of a block are computed from a ninth of the cells, drawn at random.
        """
        if self.block is not None:
            return torch.cat([self._of_block(self.block, well, rng) for well in wells])
        means = torch.from_numpy(np.concatenate([well.means for well in wells])).float()
        return F.linear(means, self.head.weight[:, :, 0, 0], self.head.bias)

    def _of_block(self, block: Fire, well: Windows, rng: np.random.Generator | None) -> Tensor:
        parts = zip(well.squeezed, by_size(well.boxes), strict=True)
        return torch.cat([self._of_size(block, cells, boxes, rng) for cells, (_, boxes) in parts])

    def _of_size(self, block: Fire, cells: Half, boxes: Sequence[Box], rng: np.random.Generator | None) -> Tensor:
        every = 1 if rng is None else EVERY
        row, col = (0, 0) if rng is None else rng.integers(EVERY, size=2).tolist()
        squeezed = torch.from_numpy(cells).float()[None]
        one, three = block.expand1x1, block.expand3x3
        padded = F.pad(squeezed, (1, 1, 1, 1))[:, :, row:, col:]
        expanded = [
            F.conv2d(squeezed[:, :, row::every, col::every], one.weight, one.bias),
            F.conv2d(padded, three.weight, three.bias, stride=every),
        ]
        # The last layer is linear, so it may as well come before the mean, where there are fewer channels to add.
        logits = F.avg_pool2d(self.head(block.activation(torch.cat(expanded, 1))), CELLS // every, 1)[0]
        top = [-((row - box.row // STRIDE) // every) for box in boxes]
        left = [-((col - box.col // STRIDE) // every) for box in boxes]
        return logits[:, top, left].T

    def probabilities(self, windows: Windows) -> Float:
        """Return the probabilities of the 13 classes in N ≥ 1 windows, ``(N, 13)``."""
        with torch.inference_mode():
            return np.asarray(F.softmax(self.logits([windows]), dim=1))

    def put_into(self, net: nn.Module) -> None:
        """Make it the end of a network."""
        net.head.load_state_dict(self.head.state_dict())  # type: ignore[union-attr]
        if self.block is not None:
            net.features[-1].load_state_dict(self.block.state_dict())  # type: ignore[index,union-attr]
