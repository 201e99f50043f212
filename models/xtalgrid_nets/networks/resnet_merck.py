"""ResNet-32 and ResNet-56 on grey pictures of 128×128 (Ghafurian et al. 2018, sections 2.2 and 2.3, "Merck").

The paper gives depth, input and tools (TFLearn) but not the filters. A ResNet of 32 or 56 layers is the CIFAR form,
6n + 2 layers with 16, 32 and 64 filters (He et al. 2015, section 4.2): n = 5 and n = 9, as in TFLearn's own CIFAR
example. TFLearn's blocks normalise before they convolve; those of He et al., whom the paper cites, normalise after,
and so do these. Shortcuts have no parameters: where a map is halved, every other cell is taken and the missing
channels are zero (option A of He et al.).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .pictures import grey, to_side

SIDE = 128
_FILTERS = (16, 32, 64)
_GREY_STD = 57.0
"""Standard deviation of ImageNet's grey pictures; dividing by it gives the first layer values near 1."""


class Block(nn.Module):
    """Two 3×3 convolutions with batch normalisation, and a shortcut around them."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == filters else 2
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, filters, H/stride, W/stride)``."""
        shortcut = x
        if self.stride == 2:
            shortcut = x[:, :, ::2, ::2]
            shortcut = torch.cat([shortcut, torch.zeros_like(shortcut)], dim=1)
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)) + shortcut)


class MerckResNet(nn.Module):
    """A ResNet of ``6·blocks + 2`` layers: a convolution, three stages of `blocks`, the mean, a linear layer."""

    def __init__(self, classes: int = 10, blocks: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        inputs = 16
        for filters in _FILTERS:
            for _ in range(blocks):
                layers.append(Block(inputs, filters))
                inputs = filters
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` RGB minus the mean to logits ``(N, classes)``."""
        x = self.features(to_side(grey(x), SIDE) / _GREY_STD)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits
