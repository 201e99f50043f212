"""Train a network as it will run in int8 (`xtalgrid_nets.quantize`): weights and activations rounded in each step.

Jacob et al. 2018 (arXiv 1712.05877), section 3. Gradients pass the rounding as if it were not there. The step between
two levels of an activation is learned too (Esser et al. 2020, arXiv 1902.08153): a small one cuts off the largest
values, a large one loses the differences between small ones.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..networks.squeezenet import Fire
from ..quantize import LARGEST_WEIGHT

_FIRST_RANGE = 2.0
"""The range that learning begins with, in largest values of the first batch: cutting off costs most."""

RATE = 3e-3
"""Rate of the steps' logarithms."""


class Int8Conv(nn.Conv2d):
    """A convolution of activations of at least 0 in 8 bits, by weights in 7 bits for each output channel.

    `log_step`, ``()``, is the logarithm of the step between two levels of the activations; not finite until the first
    batch. It is no part of the state dict, which stays that of a plain convolution.
    """

    log_step: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        if not torch.isfinite(self.log_step):
            with torch.no_grad():
                self.log_step.copy_((_FIRST_RANGE * x.detach().amax().float().clamp(min=1e-6) / 255).log())
        made: Tensor = self._conv_forward(in_levels(x, self.log_step.exp()), rounded(self.weight), self.bias)
        return made


class Int8First(nn.Conv2d):
    """The first convolution: its pixels are 8-bit numbers already."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        made: Tensor = self._conv_forward(x, rounded(self.weight), self.bias)
        return made


def in_levels(x: Tensor, step: Tensor | float) -> Tensor:
    """Round activations to 256 levels, from 0, that are a step apart."""
    levels = (x.float() / step).clamp(0, 255)
    levels = levels + (levels.round() - levels).detach()
    return levels * step


def rounded(weight: Tensor) -> Tensor:
    """Round weights, ``(O, I, h, w)``, to 7 bits for each output channel."""
    scale = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) / LARGEST_WEIGHT
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT)


def as_int8(net: nn.Module) -> list[Int8Conv]:
    """Let the convolutions of a SqueezeNet compute as in int8, all but the first and last; return them in order.

    The two expanding convolutions of a Fire block have the same input, and so the same step.
    """
    convolutions = [layer for layer in net.modules() if type(layer) is nn.Conv2d]
    convolutions[0].__class__ = Int8First
    inner = cast(list[Int8Conv], convolutions[1:-1])
    for layer in inner:
        layer.__class__ = Int8Conv
        step = torch.full((), float("nan"), device=layer.weight.device, requires_grad=True)
        layer.register_buffer("log_step", step, persistent=False)
    for block in net.modules():
        if isinstance(block, Fire):
            step = cast(Int8Conv, block.expand1x1).log_step
            block.expand3x3.register_buffer("log_step", step, persistent=False)
    return inner


class _Rounded(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return rounded(weight)


def expand_in_int8(block: Fire, step: float) -> None:
    """Let a Fire block's expand layers compute as in int8; the levels of their output are `step` apart."""
    for layer in (block.expand1x1, block.expand3x3):
        parametrize.register_parametrization(layer, "weight", _Rounded())
    block.activation = partial(in_levels, step=step)


def steps_of(layers: list[Int8Conv]) -> list[Tensor]:
    """Return the logarithms of the steps to learn, each once, in order."""
    return list({id(layer.log_step): layer.log_step for layer in layers}.values())
