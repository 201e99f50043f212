"""SqueezeNet as MXNet runs it, for checkpoints imported from there (`xtalgrid_nets.mxnet.checkpoints`).

It differs from `squeezenet.SqueezeNet` in three ways, which change the probabilities but not the weights:

* the class map goes through the activation once more before it is averaged, as in the SqueezeNet paper;
* the average is MXNet's ``AvgPool2D(13)``, made for the 13×13 cells of a 227² chop. A 256² chop has 15×15, of which
  only the top-left 13×13 count, so the right and lower 32 pixels of a chop hardly do. ``pool="mean"`` averages all
  cells instead;
* "elu" is the network of Rosebrock (2017), *Deep Learning for Computer Vision with Python*, ImageNet Bundle, that
  Thielmann et al. 2023 trained (section 2.3): ELU with MXNet's slope of 0.25 in place of ReLU, max pooling that drops
  an incomplete last window, and 227² chops, here the middle of a 256² one.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.chops import CHOP
from xtalgrid_core.outcomes import CLASSES

from .squeezenet import FIRES, SqueezeNet, Version

Pool = Literal["13", "mean"]

ELU_SLOPE = 0.25
"""MXNet's default for ``LeakyReLU(act_type="elu")``; torch's is 1."""

WINDOW = 13
"""Number of cells averaged along each side."""

_CELLS = 15
"""Cells along a side of a 256² chop with the pooling of the ReLU networks; for ELU, a 227² chop has `WINDOW`."""

_MIDDLE = (CHOP - 227) // 2, CHOP - 227 - (CHOP - 227) // 2
"""Pixels cut off above and left, and below and right, for the network that takes 227²."""


class MxnetSqueezeNet(SqueezeNet):
    """SqueezeNet with MXNet's last layers, and with `elu` the activation and pooling of the paper's network.

    With ``pool="13"``, `class_map` has one cell for each 256² chop, at steps of 16 pixels, instead of 15×15 for the
    first.
    """

    def __init__(
        self, classes: int = len(CLASSES), *, version: Version = "1.0", elu: bool = False, pool: Pool = "13"
    ) -> None:
        super().__init__(classes, dropout=0.5, version=version)
        self.elu, self.pool = elu, pool
        self.activation = partial(F.elu, alpha=ELU_SLOPE) if elu else torch.relu
        if elu:
            for index, layer in enumerate(self.features):
                if isinstance(layer, nn.ReLU):
                    self.features[index] = nn.ELU(ELU_SLOPE)
                elif isinstance(layer, nn.MaxPool2d):
                    layer.ceil_mode = False
                elif index:
                    layer.activation = self.activation  # type: ignore[assignment]  # a Fire block

    def class_map(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, classes, h, w)``: 1×1 for a 256² chop; with ``pool="mean"`` 15×15."""
        if self.elu:
            before, after = _MIDDLE
            x = x[:, :, before : x.shape[2] - after, before : x.shape[3] - after]
        cells: Tensor = self.activation(super().class_map(x))
        if self.pool == "mean":
            return cells
        chops = F.avg_pool2d(cells, WINDOW, stride=1)
        spare = 0 if self.elu else _CELLS - WINDOW
        return chops[:, :, : chops.shape[2] - spare, : chops.shape[3] - spare]


def convolutions(net: SqueezeNet) -> list[nn.Conv2d]:
    """List all convolutions in the order they run: the first; squeeze, 1×1 and 3×3 of each block; the head."""
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 2 + 3 * len(FIRES)
    return layers
