"""SqueezeNet 1.0 and 1.1: the classifier of chops, and the features that the segmenter is built on (`segmenter.py`).

It takes ``(N, 3, H, W)`` float32 as `xtalgrid_core.images.network_input` makes it, and gives logits ``(N, 13)``.
Torchvision's class is not used because dense scoring needs the class map before it is averaged:
`SqueezeNet.class_map`.

Iandola et al. 2017, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv 1602.07360 (1.0), and the
authors' 1.1 (the same accuracy at 2.4 times less computing).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from xtalgrid_core.outcomes import CLASSES

Version = Literal["1.0", "1.1"]
Activation = Callable[[Tensor], Tensor]

FIRST: dict[Version, tuple[int, int]] = {"1.0": (96, 7), "1.1": (64, 3)}
"""Filters and kernel of the first convolution, which is not padded."""

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeeze and expand filters of the eight Fire blocks."""

FEATURES = 2 * FIRES[-1][1]
"""Channels of the last block."""

POOLED_BEFORE: dict[Version, tuple[int, ...]] = {"1.0": (0, 3, 7), "1.1": (0, 2, 4)}
"""The Fire blocks before which the map is halved: 1.1 does it earlier and is faster for it."""


class Fire(nn.Module):
    """SqueezeNet's block: squeeze to few channels, then expand by 1×1 and 3×3 in parallel.

    Parameters are named as in torchvision.
    """

    def __init__(self, inputs: int, squeeze: int, expand: int, activation: Activation = torch.relu) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, 2·expand, H, W)``."""
        return self.expanded(self.squeezed(x))

    def squeezed(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, squeeze, H, W)``."""
        return self.activation(self.squeeze(x))

    def expanded(self, x: Tensor) -> Tensor:
        """Map ``(N, squeeze, H, W)`` to ``(N, 2·expand, H, W)``."""
        return torch.cat([self.activation(self.expand1x1(x)), self.activation(self.expand3x3(x))], 1)


def features(version: Version = "1.1") -> nn.Sequential:
    """Build SqueezeNet up to its last Fire block: total stride 16, 512 channels.

    A 256² chop gives 15×15 cells, and every 16 further pixels one cell more.
    """
    filters, kernel = FIRST[version]
    layers: list[nn.Module] = [nn.Conv2d(3, filters, kernel, stride=2), nn.ReLU()]
    for index, (squeeze, expand) in enumerate(FIRES):
        if index in POOLED_BEFORE[version]:
            layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        layers.append(Fire(filters, squeeze, expand))
        filters = 2 * expand
    return nn.Sequential(*layers)


class SqueezeNet(nn.Module):
    """SqueezeNet with 13 classes: a class map, averaged over the whole chop.

    The published network has a ReLU between the class map and its mean; without it, a cell can also count against a
    class.
    """

    def __init__(self, classes: int = len(CLASSES), dropout: float = 0.3, version: Version = "1.1") -> None:
        super().__init__()
        self.features = features(version)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(FEATURES, classes, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def class_map(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits of each cell, ``(N, classes, h, w)``.

        A 256² chop gives 15×15 cells, and every 16 further pixels one cell more.
        """
        return self.features_and_map(x)[1]

    def features_and_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features, ``(N, 512, h, w)``, too, for a loss on them."""
        features = self.features(x)
        return features, self.head(self.dropout(features))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, classes)``, the mean of the class map."""
        return self.class_map(x).mean(dim=(2, 3))


def load_imagenet(target: nn.Module, path: Path) -> None:
    """Load SqueezeNet 1.1's ImageNet weights, an ``.npz`` with torchvision's names, into `target.features`.

    Raises
    ------
    ValueError
        If an array is missing or has another shape.
    """
    with np.load(path) as arrays:
        values = {
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
