"""How large a network is, and how much computing a chop costs, without any of its weights in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xtalgrid_core.chops import CHOP

from . import Network

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Size:
    """A network's size.

    Attributes
    ----------
    parameters
        Numbers that training changes.
    mebibytes
        Of the weights file: parameters and the statistics of batch normalisation, 4 bytes each, in MiB.
    """

    parameters: int
    mebibytes: float


def size_of(network: Network, classes: int) -> Size:
    """Measure the size of a network with so many classes."""
    net = _without_content(network, classes)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    floats = parameters + sum(buffer.numel() for buffer in net.buffers() if buffer.is_floating_point())
    return Size(parameters, 4 * floats / _MIB)


def multiply_adds(network: Network, classes: int) -> int:
    """Multiplications (each with its addition) of the convolutions and fully connected layers for one 256² chop."""
    from torch.utils.flop_counter import FlopCounterMode  # takes seconds to import

    with torch.device("meta"):
        chop = torch.zeros(1, 3, CHOP, CHOP)
    with FlopCounterMode(display=False) as counter:
        _without_content(network, classes)(chop)
    return int(counter.get_total_flops()) // 2


def _without_content(network: Network, classes: int) -> nn.Module:
    with torch.device("meta"):  # tensors with a shape and no content
        return network.build(classes).eval()
