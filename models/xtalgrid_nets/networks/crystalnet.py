"""CrystalNet (Yann & Tang 2016, AAAI-16) and Lean CrystalNet (Ghafurian et al. 2018).

Both take the middle 112×112 pixels of grey pictures of 128×128.

The papers train with random mirroring, shifts of ±8 pixels, rotations of ±60° and scales of 0.8..1.2 (CrystalNet's
layers 2 and 3); that is left to training and is not part of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pictures import grey, to_side

SIDE = 128
_BORDER = 8
_PATCH = 7
_FLOOR = 1.0
"""Smallest deviation to divide by, in grey levels of 255; without it, even areas would show the camera's noise."""


def contrast_normalised(x: Tensor) -> Tensor:
    """Normalise the local contrast of ``(N, 1, H, W)``: CrystalNet's layer 1.

    From each pixel the mean of its 7×7 patch is subtracted, and the result is divided by the patch's standard
    deviation.

    The paper says "divided by its variance", but only the standard deviation makes illumination cancel out, and local
    contrast normalisation uses it elsewhere.
    """
    mean, squares = (
        F.avg_pool2d(values, _PATCH, stride=1, padding=_PATCH // 2, count_include_pad=False) for values in (x, x * x)
    )
    return (x - mean) / torch.sqrt(torch.clamp(squares - mean * mean, min=_FLOOR**2))


class CrystalNet(nn.Module):
    """Four convolutions, three poolings, three fully connected layers (the paper's Table 1, layers 4 to 13).

    Table 1 gives layer 10 as 6×6 after 14×14 with 3×3 filters, which means a stride of 2 without padding. The paper
    does not mention dropout.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolved(1, 64, 5),
            *_convolved(64, 64, 5),
            *_convolved(64, 128, 5),
            nn.Conv2d(128, 128, 3, stride=2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), *_connected(128 * 6 * 6, 2048), *_connected(2048, 2048), nn.Linear(2048, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` RGB minus the mean to logits ``(N, classes)``."""
        x = contrast_normalised(to_side(grey(x), SIDE))[:, :, _BORDER:-_BORDER, _BORDER:-_BORDER]
        logits: Tensor = self.classifier(self.features(x))
        return logits


class LeanCrystalNet(CrystalNet):
    """CrystalNet with a convolution, two poolings and a fully connected layer more, and about half the parameters.

    The paper describes five convolutions, a pooling after each (according to their number), four fully connected
    layers, and the parameters "roughly in half" (Ghafurian et al. 2018, sections 1 and 2.3). It does **not** describe
    filters, kernels, the place of the new layers, or the widths of the fully connected layers (its reference 6 is not
    available to us). Chosen here: CrystalNet's filters, a fifth convolution like its fourth, padded, and 1536 units
    in each layer, which halves the parameters. Its results are those of a network of this kind, not of the published
    one.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__(classes)
        self.features = nn.Sequential(
            *_convolved(1, 64, 5),
            *_convolved(64, 64, 5),
            *_convolved(64, 128, 5),
            *_convolved(128, 128, 3),
            *_convolved(128, 128, 3),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            *_connected(128 * 3 * 3, 1536),
            *_connected(1536, 1536),
            *_connected(1536, 1536),
            nn.Linear(1536, classes),
        )


def _convolved(inputs: int, filters: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, filters, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(2)


def _connected(inputs: int, units: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, units), nn.ReLU()
