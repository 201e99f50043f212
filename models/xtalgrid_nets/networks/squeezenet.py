"""SqueezeNet 1.1: the classifier of chops, and the features that the segmenter is built on (`segmenter.py`).

It takes ``(N, 3, H, W)`` float32 as `xtalgrid_core.images.network_input` makes it, and gives logits ``(N, 13)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xtalgrid_core.outcomes import CLASSES


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


def features() -> nn.Sequential:
    """SqueezeNet 1.1 up to its last Fire block: total stride 16, 512 channels; a 256² chop gives 15×15."""
    pool: dict[str, Any] = {"kernel_size": 3, "stride": 2, "ceil_mode": True}
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(**pool),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(**pool),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(**pool),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 with 13 classes: a class map, averaged over the whole chop."""

    def __init__(self, classes: int = len(CLASSES), dropout: float = 0.3) -> None:
        super().__init__()
        self.features = features()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(512, classes, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → logits ``(N, classes)``."""
        return self.head(self.dropout(self.features(x))).mean(dim=(2, 3))


def load_imagenet(target: nn.Module, path: Path) -> None:
    """Start `target.features` from an ``.npz`` of SqueezeNet 1.1's ImageNet weights under torchvision's names.

    Raises
    ------
    ValueError
        When an array is missing or has another shape.
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
