"""SqueezeNet 1.0 and 1.1: the classifier of chops, and the features that the segmenter is built on (`segmenter.py`).

It takes ``(N, 3, H, W)`` float32 as `xtalgrid_core.images.network_input` makes it, and gives logits ``(N, 13)``. It is our own
and not torchvision's because dense scoring needs the map of classes before it is averaged: `SqueezeNet.class_map`.

Iandola et al. 2017, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv 1602.07360 (1.0), and the authors'
1.1 (the same accuracy at 2.4 times less computing).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.outcomes import CLASSES

Version = Literal["1.0", "1.1"]

_FIRST: dict[Version, tuple[int, int]] = {"1.0": (96, 7), "1.1": (64, 3)}
"""The first convolution: filters and kernel. No padding, so that weights for other pixel scales can be folded into it."""

_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeeze and expand filters of the eight Fire blocks."""

_POOLED_BEFORE: dict[Version, tuple[int, ...]] = {"1.0": (0, 3, 7), "1.1": (0, 2, 4)}
"""Before which Fire blocks the map is halved: 1.1 does it earlier, hence its speed."""


class Fire(nn.Module):
    """SqueezeNet's block: squeeze to few channels, expand by 1×1 and 3×3 side by side (parameter names as in torchvision)."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` → ``(N, 2·expand, H, W)``."""
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


def features(version: Version = "1.1") -> nn.Sequential:
    """SqueezeNet up to its last Fire block: total stride 16, 512 channels; a 256² chop gives 15×15."""
    filters, kernel = _FIRST[version]
    layers: list[nn.Module] = [nn.Conv2d(3, filters, kernel, stride=2), nn.ReLU()]
    for index, (squeeze, expand) in enumerate(_FIRES):
        if index in _POOLED_BEFORE[version]:
            layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        layers.append(Fire(filters, squeeze, expand))
        filters = 2 * expand
    return nn.Sequential(*layers)


class SqueezeNet(nn.Module):
    """SqueezeNet with 13 classes: a class map, averaged over the whole chop.

    Parameters
    ----------
    version
        "1.0" or "1.1".
    relu
        Whether the class map goes through a ReLU before it is averaged, as published. Without it, the default, a class can also
        speak against itself, and training starts faster.
    window
        Average only the top-left `window`×`window` of a chop's 15×15 cells, as MXNet's ``AvgPool2D(13)`` does. `class_map` then
        has one cell for each 256² chop (step 16) instead of 15×15 for the first one.
    """

    def __init__(
        self,
        classes: int = len(CLASSES),
        dropout: float = 0.3,
        version: Version = "1.1",
        *,
        relu: bool = False,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.features = features(version)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(512, classes, 1)
        self.relu, self.window = relu, window
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def class_map(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → logits of each cell, ``(N, classes, h, w)``: 15×15 for a chop of 256², a cell more for each 16 pixels."""
        cells = self.head(self.dropout(self.features(x)))
        if self.relu:
            cells = torch.relu(cells)
        if self.window is not None:
            spare = _CELLS - self.window  # cells of each chop that MXNet leaves out, right and below
            cells = F.avg_pool2d(cells, self.window, stride=1)
            cells = cells[:, :, : cells.shape[2] - spare, : cells.shape[3] - spare]
        return cells

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → logits ``(N, classes)``: the mean of the class map."""
        return self.class_map(x).mean(dim=(2, 3))


_CELLS = 15
"""Cells along a side of a 256² chop's class map."""


def load_imagenet(target: nn.Module, path: Path) -> None:
    """Start `target.features` from an ``.npz`` of SqueezeNet's ImageNet weights under torchvision's names.

    The file that is at hand holds version 1.1.

    Raises
    ------
    ValueError
        When an array is missing or has another shape.
    """
    with np.load(path) as arrays:
        values: dict[str, Any] = {
            name.removeprefix("features."): torch.from_numpy(arrays[name].copy())
            for name in arrays.files
            if name.startswith("features.")
        }
    try:
        target.features.load_state_dict(values)  # type: ignore[union-attr]
    except RuntimeError as error:
        raise ValueError(
            f"{path}: these are not the features of SqueezeNet 1.1 under torchvision's names ({error})"
        ) from error
