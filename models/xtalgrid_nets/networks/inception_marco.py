"""MARCO's variant of Inception-v3 (Bruno et al. 2018, "Model architecture" and Table III).

It makes three changes to Inception-v3 (Szegedy et al. 2016): pictures of 599×599, reduced to 299×299 by a first
convolution of 16 filters; some layers with fewer filters (`CAPS`); no dropout. The auxiliary classifier, which only
helps training, is left out; the paper doesn't mention it. Layers are named as in the reference implementation,
TF-slim's ``inception_v3.py``.

Batch normalisation has a scale here (TF-slim's default has none): 0.1 % more parameters. Torchvision's class is not
used because the numbers of filters in its blocks are fixed; with ``caps={}`` and without the first convolution this
is the same network, as a test checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pictures import to_side

SIDE = 599
CAPS: Mapping[str, int] = {
    "Conv2d_4a_3x3": 144,
    "Mixed_6b": 128,
    "Mixed_6c": 144,
    "Mixed_6d": 144,
    "Mixed_6e": 96,
    "Mixed_7a": 96,
    "Mixed_7b": 192,
    "Mixed_7c": 192,
}
"""Table III: the largest number of filters of any convolution in a layer."""

# A branch is a chain of convolutions (filters, kernel[, padding]); "avg" and "max" are poolings, and a tuple of
# chains splits the branch. Padding is "same" unless the kernel is "3/2", that is 3×3 with stride 2, unpadded, which
# halves the map.
_B = tuple[Any, ...]


def _mixed_5(pooled: int) -> tuple[_B, ...]:
    return (((64, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)), ("avg", (pooled, 1)))


def _mixed_6(f: int) -> tuple[_B, ...]:
    return (
        ((192, 1),),
        ((f, 1), (f, (1, 7)), (192, (7, 1))),
        ((f, 1), (f, (7, 1)), (f, (1, 7)), (f, (7, 1)), (192, (1, 7))),
        ("avg", (192, 1)),
    )


_MIXED_7: tuple[_B, ...] = (
    ((320, 1),),
    ((384, 1), (((384, (1, 3)),), ((384, (3, 1)),))),
    ((448, 1), (384, 3), (((384, (1, 3)),), ((384, (3, 1)),))),
    ("avg", (192, 1)),
)

STEM: tuple[tuple[str, _B | str], ...] = (
    ("Conv2d_1a_3x3", (32, "3/2")),
    ("Conv2d_2a_3x3", (32, "3/1")),
    ("Conv2d_2b_3x3", (64, 3)),
    ("MaxPool_3a_3x3", "max"),
    ("Conv2d_3b_1x1", (80, 1)),
    ("Conv2d_4a_3x3", (192, "3/1")),
    ("MaxPool_5a_3x3", "max"),
)
MIXED: tuple[tuple[str, tuple[_B, ...]], ...] = (
    ("Mixed_5b", _mixed_5(32)),
    ("Mixed_5c", _mixed_5(64)),
    ("Mixed_5d", _mixed_5(64)),
    ("Mixed_6a", (((384, "3/2"),), ((64, 1), (96, 3), (96, "3/2")), ("max",))),
    ("Mixed_6b", _mixed_6(128)),
    ("Mixed_6c", _mixed_6(160)),
    ("Mixed_6d", _mixed_6(160)),
    ("Mixed_6e", _mixed_6(192)),
    ("Mixed_7a", (((192, 1), (320, "3/2")), ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, "3/2")), ("max",))),
    ("Mixed_7b", _MIXED_7),
    ("Mixed_7c", _MIXED_7),
)


class Convolved(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU.

    `kernel` is a side, (height, width), or "3/stride" for unpadded 3×3.
    """

    def __init__(self, inputs: int, filters: int, kernel: int | str | tuple[int, int]) -> None:
        stride, padding = 1, (0, 0)
        if isinstance(kernel, str):
            stride, kernel = int(kernel.split("/")[1]), 3
        else:
            kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
            padding = (kernel[0] // 2, kernel[1] // 2)
        convolution = nn.Conv2d(inputs, filters, kernel, stride=stride, padding=padding, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # TF-slim's variance scaling
        super().__init__(convolution, nn.BatchNorm2d(filters, eps=0.001), nn.ReLU())


class Mixed(nn.Module):
    """Parallel branches on the same map, with their outputs concatenated as channels; `filters` is the total."""

    def __init__(self, inputs: int, branches: tuple[_B, ...], cap: int | None) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        self.filters = 0
        for branch in branches:
            steps: list[nn.Module] = []
            channels = inputs
            for step in branch:
                layer, channels = _step(step, channels, cap)
                steps.append(layer)
            self.branches.append(nn.Sequential(*steps))
            self.filters += channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, filters, H', W')``."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _step(step: Any, inputs: int, cap: int | None) -> tuple[nn.Module, int]:
    """Build a step of a branch; return it with its number of output channels."""
    if step == "avg":
        return nn.AvgPool2d(3, stride=1, padding=1), inputs
    if step == "max":
        return nn.MaxPool2d(3, stride=2), inputs
    if isinstance(step[0], tuple):
        split = Mixed(inputs, step, cap)
        return split, split.filters
    filters = step[0] if cap is None else min(step[0], cap)
    return Convolved(inputs, filters, step[1]), filters


class InceptionMarco(nn.Module):
    """MARCO's Inception-v3: takes ``(N, 3, H, W)``, resized to 599×599; the paper's has four classes.

    Parameters
    ----------
    caps
        Largest number of filters in each layer; empty for the standard network.
    first
        Filters of the convolution from 599 to 299 pixels; 0 for the standard network, which then takes 299×299.
    """

    def __init__(self, classes: int = 4, caps: Mapping[str, int] = CAPS, first: int = 16) -> None:
        super().__init__()
        self.side = SIDE if first else 299
        layers: dict[str, nn.Module] = {}
        channels = 3
        if first:
            layers["Conv2d_0a_3x3"] = Convolved(channels, first, "3/2")
            channels = first
        for name, step in STEM:
            layers[name], channels = _step(step, channels, caps.get(name))
        for name, branches in MIXED:
            layers[name] = mixed = Mixed(channels, branches, caps.get(name))
            channels = mixed.filters
        self.features = nn.Sequential()
        for name, layer in layers.items():
            self.features.add_module(name, layer)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` RGB minus the mean to logits ``(N, classes)``."""
        x = self.features(to_side(x, self.side) / 127.5)  # TF-slim's range is -1..1
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
