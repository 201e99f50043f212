"""The classifiers' architectures, each in a file one can read in a sitting, and the list of them.

Every network takes ``(N, 3, H, W)`` float32, RGB minus the mean as `xtalgrid_core.images.network_input` makes it, and gives logits
``(N, classes)``. What a paper does to its pictures before the network (grey, another size) is done inside, so that all of them train on
the same chops and one worker runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xtalgrid_core.errors import ModelError
from xtalgrid_core.outcomes import CLASSES

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Network:
    """An architecture.

    Parameters
    ----------
    name
        As commands and trained states call it.
    build
        Makes it for a number of classes, with fresh weights.
    input_side
        Pixels along a side of the pictures it was published for; it takes others too, and brings them to its own size where it must.
    source
        The paper, and its section or table.
    dense
        Whether it has ``class_map(x)`` → ``(N, classes, h, w)``, whose mean is ``forward(x)`` and whose stride is 16 pixels with 15 cells
        for a 256² chop, so that a whole drop is scored in one go.
    """

    name: str
    build: Callable[[int], nn.Module]
    input_side: int
    source: str
    dense: bool = False


def _squeezenet(version: Any, **options: Any) -> Callable[[int], nn.Module]:
    def make(classes: int) -> nn.Module:
        from .squeezenet import SqueezeNet

        return SqueezeNet(classes, version=version, **options)

    return make


_IANDOLA = "Iandola et al. 2017, arXiv 1602.07360"

_ALL = (
    Network("squeezenet1.0", _squeezenet("1.0"), 256, _IANDOLA, dense=True),
    Network("squeezenet1.1", _squeezenet("1.1"), 256, f"{_IANDOLA}, the authors' 1.1", dense=True),
)

NETWORKS: dict[str, Network] = {network.name: network for network in _ALL}


def build(name: str, classes: int = len(CLASSES)) -> nn.Module:
    """The network of that name with fresh weights.

    Raises
    ------
    ModelError
        When there is no network of that name.
    """
    if name not in NETWORKS:
        raise ModelError(f"there is no network {name!r}; there are: {', '.join(NETWORKS)}")
    return NETWORKS[name].build(classes)
