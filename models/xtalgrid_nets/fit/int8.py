"""Train a network as it will run in int8 (`xtalgrid_nets.quantize`): weights and activations rounded in each step.

Jacob et al. 2018 (arXiv 1712.05877), section 3. Gradients pass the rounding as if it were not there.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

_LARGEST_WEIGHT = 64
_MOMENTUM = 0.05


class Int8Conv(nn.Conv2d):
    """A convolution of activations of at least 0 in 8 bits, by weights in 7 bits for each output channel.

    The range of the activations is a running mean of their largest value in each batch, as in `quantize`. It is no
    part of the state dict, which stays that of a plain convolution.
    """

    largest: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        if self.training:
            with torch.no_grad():
                now = x.detach().amax().float()
                self.largest.copy_(torch.where(self.largest > 0, self.largest.lerp(now, _MOMENTUM), now))
        scale = self.largest.clamp(min=1e-6) / 255
        x = torch.fake_quantize_per_tensor_affine(x.float(), scale, torch.zeros_like(scale, dtype=torch.int32), 0, 255)
        made: Tensor = self._conv_forward(x, rounded(self.weight), self.bias)
        return made


class Int8First(nn.Conv2d):
    """The first convolution: its pixels are 8-bit numbers already."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        made: Tensor = self._conv_forward(x, rounded(self.weight), self.bias)
        return made


def rounded(weight: Tensor) -> Tensor:
    """Round weights, ``(O, I, h, w)``, to 7 bits for each output channel."""
    scale = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) / _LARGEST_WEIGHT
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)


def as_int8(net: nn.Module) -> list[Int8Conv]:
    """Let the convolutions of `net` compute as in int8, all but the last; return those with a range."""
    convolutions = [layer for layer in net.modules() if type(layer) is nn.Conv2d]
    convolutions[0].__class__ = Int8First
    for layer in convolutions[1:-1]:
        layer.__class__ = Int8Conv
        layer.register_buffer("largest", torch.zeros((), device=layer.weight.device), persistent=False)
    return [cast(Int8Conv, layer) for layer in convolutions[1:-1]]
