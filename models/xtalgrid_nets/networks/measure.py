"""Measure the size of a network and the cost of computing a chop, without its weights in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xtalgrid_core.chops import CHOP

from . import NETWORKS, Network

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Size:
    """A network's size.

    Attributes
    ----------
    parameters
        Number of trained parameters.
    mebibytes
        Size of the weights file in MiB: parameters and the statistics of batch normalisation, 4 bytes each.
    """

    parameters: int
    mebibytes: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A network, its size as in `Size`, and its cost as by `multiply_adds`."""

    name: str
    parameters: int
    mebibytes: float
    multiply_adds: int
    input_side: int
    dense: bool
    source: str


def measured(classes: int) -> list[Measured]:
    """Measure every network with this number of classes."""
    return [
        Measured(
            name=network.name,
            parameters=(size := size_of(network, classes)).parameters,
            mebibytes=size.mebibytes,
            multiply_adds=multiply_adds(network, classes),
            input_side=network.input_side,
            dense=network.dense,
            source=network.source,
        )
        for network in NETWORKS.values()
    ]


def size_of(network: Network, classes: int) -> Size:
    """Return the size of a network with this number of classes."""
    net = _without_content(network, classes)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    floats = parameters + sum(buffer.numel() for buffer in net.buffers() if buffer.is_floating_point())
    return Size(parameters, 4 * floats / _MIB)


def multiply_adds(network: Network, classes: int) -> int:
    """Count the multiply-adds of the convolutions and fully connected layers for one 256² chop."""
    from torch.utils.flop_counter import FlopCounterMode  # takes seconds to import

    with torch.device("meta"):
        chop = torch.zeros(1, 3, CHOP, CHOP)
    with FlopCounterMode(display=False) as counter:
        _without_content(network, classes)(chop)
    return int(counter.get_total_flops()) // 2


def _without_content(network: Network, classes: int) -> nn.Module:
    with torch.device("meta"):  # tensors with a shape but no content
        return network.build(classes).eval()
