"""The classifiers' architectures, each in a short file, and the registry of them.

Every network takes ``(N, 3, H, W)`` float32, RGB minus the mean as `xtalgrid_core.images.network_input` makes it, and
gives logits ``(N, classes)``. What a paper does to its pictures before the network (grey, another size) is part of
the network here, so that all of them train on the same 256² chops and one worker can run them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xtalgrid_core.errors import ModelError
from xtalgrid_core.outcomes import CLASSES

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Network:
    """An architecture.

    Parameters
    ----------
    name
        Name in commands and trained states.
    build
        Builds the network for a number of classes, with new weights.
    input_side
        Side in pixels of the picture inside the network; 256² chops are resized or cropped to it.
    source
        Paper, with section or table.
    dense
        Whether it has ``class_map(x)`` → ``(N, classes, h, w)``, whose mean is ``forward(x)``. Its stride is 16
        pixels, with 15×15 cells for a 256² chop, so a whole drop can be scored in one pass.
    """

    name: str
    build: Callable[[int], nn.Module]
    input_side: int
    source: str
    dense: bool = False


def _late(module: str, maker: str, **options: Any) -> Callable[[int], nn.Module]:
    """Call a function of this package, importing its module, and torch, only then."""

    def make(classes: int) -> nn.Module:
        network: nn.Module = getattr(import_module(f".{module}", __name__), maker)(classes, **options)
        return network

    return make


def _mxnet(**options: Any) -> Callable[[int], nn.Module]:
    return _late("squeezenet_mxnet", "MxnetSqueezeNet", **options)


_IANDOLA = "Iandola et al. 2017 (arXiv 1602.07360)"
_GLUON = "Iandola et al. 2017, as in MXNet's model zoo"
_COMPARED = "compared in Thielmann et al. 2023, Table 2"
_MERCK = "Ghafurian et al. 2018, section 2.3"

_ALL = (
    Network("squeezenet1.0", _late("squeezenet", "SqueezeNet", version="1.0"), 256, f"{_IANDOLA}; {_COMPARED}", True),
    Network("squeezenet1.1", _late("squeezenet", "SqueezeNet", version="1.1"), 256, f"{_IANDOLA}, authors' 1.1", True),
    Network("alexnet", _late("compared", "alexnet"), 256, f"Krizhevsky 2014 (arXiv 1404.5997); {_COMPARED}"),
    Network("vgg16", _late("compared", "vgg16"), 256, f"Simonyan & Zisserman 2015 (arXiv 1409.1556); {_COMPARED}"),
    Network("resnet50", _late("compared", "resnet50"), 256, f"He et al. 2015 (arXiv 1512.03385); {_COMPARED}"),
    Network("inception-marco", _late("inception_marco", "InceptionMarco"), 599, "Bruno et al. 2018, Table III"),
    Network("crystalnet", _late("crystalnet", "CrystalNet"), 128, "Yann & Tang 2016, Table 1"),
    Network("lean-crystalnet", _late("crystalnet", "LeanCrystalNet"), 128, f"{_MERCK}; widths chosen here"),
    Network("resnet32-merck", _late("resnet_merck", "MerckResNet", blocks=5), 128, _MERCK),
    Network("resnet56-merck", _late("resnet_merck", "MerckResNet", blocks=9), 128, _MERCK),
    # For checkpoints imported from MXNet (`squeezenet_mxnet.py`); "-mean" averages all cells instead of 13×13.
    Network("squeezenet1.0-mxnet", _mxnet(version="1.0"), 256, _GLUON),
    Network("squeezenet1.1-mxnet", _mxnet(version="1.1"), 256, _GLUON),
    Network("squeezenet1.0-elu-mxnet", _mxnet(version="1.0", elu=True), 227, f"Rosebrock 2017; {_COMPARED}"),
    Network("squeezenet1.0-mxnet-mean", _mxnet(version="1.0", pool="mean"), 256, _GLUON, True),
    Network("squeezenet1.1-mxnet-mean", _mxnet(version="1.1", pool="mean"), 256, _GLUON, True),
)

NETWORKS: dict[str, Network] = {network.name: network for network in _ALL}


def class_map_of(net: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return a network's ``class_map`` (see `Network`), or None if it has none."""
    class_map: Callable[[Tensor], Tensor] | None = getattr(net, "class_map", None)
    return class_map


def build(name: str, classes: int = len(CLASSES)) -> nn.Module:
    """Build the network of that name, with new weights.

    Raises
    ------
    ModelError
        If there is no network of that name.
    """
    if name not in NETWORKS:
        raise ModelError(f"there is no network {name!r}; choose from: {', '.join(NETWORKS)}")
    return NETWORKS[name].build(classes)
