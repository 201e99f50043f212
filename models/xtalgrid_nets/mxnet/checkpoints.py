"""Import SqueezeNet checkpoints from MXNet.

``PREFIX-symbol.json`` tells which network it is, ``PREFIX-0000.params`` holds its weights.

Supported are MXNet's own two (gluon's ``squeezenet1_0`` and ``squeezenet1_1``, exported) and the paper's
(`networks.squeezenet_mxnet`), written by gluon's ``export`` or by ``save_checkpoint`` of a Module. The layers are
compared one by one; any other network is refused, and the message names the first layer that differs.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xtalgrid_core.errors import BrokenModel, ModelError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import MEAN_RGB

from ..networks.squeezenet import FIRES, FIRST, POOLED_BEFORE, Version
from ..networks.squeezenet_mxnet import ELU_SLOPE, WINDOW, MxnetSqueezeNet, Pool, convolutions
from .params import read_params

_IGNORED = {"Dropout", "Flatten", "SoftmaxOutput", "softmax", "SoftmaxActivation", "_copy", "identity"}
"""Operations that don't change the class probabilities at inference, or that our own code does."""

Layer = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Content of a symbol file.

    Attributes
    ----------
    version, elu, classes
        The kind of SqueezeNet, and its number of classes.
    pool
        How the last map is averaged.
    weights
        Names of the weight and the bias (None if there is none) of each convolution, in the order they run.
    """

    version: Version
    elu: bool
    classes: int
    pool: Pool
    weights: tuple[tuple[str, str | None], ...]

    def name(self, pool: Pool) -> str:
        """Return the network's name in the registry."""
        ending = "-mean" if pool == "mean" else ""
        return f"squeezenet{self.version}{'-elu' if self.elu else ''}-mxnet{ending}"


def read_symbol(path: Path) -> Checkpoint:
    """Recognise the SqueezeNet that a symbol file describes.

    Raises
    ------
    BrokenModel
        If the file is not a symbol file, or describes another network.
    OSError
        If it can't be read.
    """
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
        layers, weights = _layers(nodes)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, SyntaxError) as error:
        raise BrokenModel(f"{path}: not a symbol file of MXNet ({error!r:.80}); give PREFIX-symbol.json") from error
    heads = [layer[1] for layer in layers if layer[0] == "convolution"]
    classes = int(heads[-1]) if heads else 0
    pool: Pool = "13"
    if layers and layers[-1][:3] == ("pooling", "avg", "all"):
        layers[-1], pool = ("pooling", "avg", (WINDOW, WINDOW), (0, 0), layers[-1][-1]), "mean"
    nearest, most = "", -1
    for version in FIRST:
        for elu in (False, True):
            expected = _expected(version, elu, classes)
            if layers == expected:
                # the ELU network has exactly 13×13 cells
                return Checkpoint(version, elu, classes, "13" if elu else pool, tuple(weights))
            alike = [has == wants for has, wants in zip(layers, expected, strict=False)]
            if sum(alike) > most:
                most, first = sum(alike), (*alike, False).index(False)
                has, wants = (_words(side[first]) if first < len(side) else "the end" for side in (layers, expected))
                nearest = f"layer {first + 1} is {has}, where SqueezeNet {version} has {wants}"
    raise BrokenModel(f"{path}: not a SqueezeNet that can be imported; {nearest}")


def _layers(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[Layer], list[tuple[str, str | None]]]:
    """List the operations in the order they run, each with the indices of its inputs; and the convolutions' weights.

    The weights are given by name.
    """
    layers: list[Layer] = []
    weights: list[tuple[str, str | None]] = []
    place: dict[int, int] = {}  # node → index of the layer with its output; -1 for the picture
    for number, node in enumerate(nodes):
        kind, inputs = node["op"], [entry[0] for entry in node["inputs"]]
        options = node.get("attrs") or node.get("attr") or node.get("param") or {}
        if kind == "null":
            place[number] = -1
        elif kind in _IGNORED:
            place[number] = place[inputs[0]]
        else:
            place[number] = len(layers)
            sources = inputs if kind == "Concat" else inputs[:1]
            layers.append((*_layer(kind, options), tuple(place[source] for source in sources)))
            if kind == "Convolution":
                bias = nodes[inputs[2]]["name"] if len(inputs) > 2 else None
                weights.append((nodes[inputs[1]]["name"], bias))
    return layers, weights


def _layer(kind: str, options: Mapping[str, str]) -> Layer:
    def value(name: str, default: Any) -> Any:
        return ast.literal_eval(options[name]) if name in options else default

    if kind == "Convolution":
        if value("num_group", 1) != 1 or value("dilate", (1, 1)) not in ((1, 1), ()):
            return ("grouped or dilated convolution",)
        shape = (value("kernel", ()), value("stride", (1, 1)) or (1, 1), value("pad", (0, 0)) or (0, 0))
        return ("convolution", value("num_filter", 0), *shape)
    if kind == "Activation":
        return ("activation", options["act_type"])
    if kind == "LeakyReLU":
        return ("activation", options.get("act_type", "leaky"), value("slope", 0.25))
    if kind == "Pooling":
        pool, padded = options.get("pool_type", "max"), value("pad", (0, 0)) or (0, 0)
        if value("global_pool", False):
            return ("pooling", pool, "all")
        stride = value("stride", (1, 1)) or (1, 1)
        # the last pooling usually has a single window, so its stride has no effect
        steps = (stride, options.get("pooling_convention", "valid")) if pool == "max" else ()
        return ("pooling", pool, value("kernel", ()), padded, *steps)
    if kind == "Concat":
        return ("concatenation", value("dim", 1))
    return (kind,)


def _expected(version: Version, elu: bool, classes: int) -> list[Layer]:
    """List the layers of a SqueezeNet in MXNet, each with the indices of its inputs, as `_layers` does."""
    activation: Layer = ("activation", "elu", ELU_SLOPE) if elu else ("activation", "relu")
    layers: list[Layer] = []

    def add(*layer: Any, after: int | tuple[int, ...] | None = None) -> int:
        sources = (len(layers) - 1,) if after is None else after if isinstance(after, tuple) else (after,)
        layers.append((*layer, sources))
        return len(layers) - 1

    def convolved(filters: int, kernel: int, *, stride: int = 1, after: int | None = None) -> int:
        pad = (1, 1) if kernel == 3 and stride == 1 else (0, 0)
        add("convolution", filters, (kernel, kernel), (stride, stride), pad, after=after)
        return add(*activation)

    filters, kernel = FIRST[version]
    convolved(filters, kernel, stride=2)
    for index, (squeeze, expand) in enumerate(FIRES):
        if index in POOLED_BEFORE[version]:
            add("pooling", "max", (3, 3), (0, 0), (2, 2), "valid" if elu else "full")
        squeezed = convolved(squeeze, 1)
        add("concatenation", 1, after=(convolved(expand, 1, after=squeezed), convolved(expand, 3, after=squeezed)))
    convolved(classes, 1)
    add("pooling", "avg", (WINDOW, WINDOW), (0, 0))
    return layers


def _words(layer: Layer) -> str:
    return " ".join(str(part) for part in layer[:-1])


def import_checkpoint(
    symbol: Path,
    params: Path,
    *,
    pool: Pool | None = None,
    order: Sequence[int] | None = None,
    mean: Sequence[float] = MEAN_RGB,
    std: Sequence[float] = (1.0, 1.0, 1.0),
    bgr: bool = False,
) -> tuple[MxnetSqueezeNet, str]:
    """Build our network with a checkpoint's weights; return it with its name in the registry.

    Parameters
    ----------
    pool
        As in the file if None. "13" is that of MXNet's own networks; "mean" averages all 15×15 cells of a chop, which
        changes the probabilities but allows dense scoring (not for the ELU network).
    order
        ``order[i]`` is the checkpoint's output that becomes output i here; if None, all outputs keep their order.
    mean, std
        Normalisation in training, ``(RGB - mean) / std`` of 0..255. The difference from ours is folded into the first
        convolution; because that isn't padded, nothing else changes.
    bgr
        Whether blue came first in training, as OpenCV reads pictures.

    Raises
    ------
    BrokenModel
        If the files are damaged, don't belong together, or hold another network.
    ModelError
        If `pool` doesn't fit the network.
    """
    checkpoint = read_symbol(symbol)
    pool = pool or checkpoint.pool
    if checkpoint.elu and pool == "mean":
        raise ModelError(
            f"{symbol}: this network has one cell per chop, so there is nothing to average; leave --pool at 13"
        )
    values = {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in read_params(params).items()}
    net = MxnetSqueezeNet(checkpoint.classes, version=checkpoint.version, elu=checkpoint.elu, pool=pool).eval()
    for layer, (weight, bias) in zip(convolutions(net), checkpoint.weights, strict=True):
        shape = tuple(layer.weight.shape)
        w = _value(values, weight, shape, params)
        b = np.zeros(shape[:1], np.float32) if bias is None else _value(values, bias, shape[:1], params)
        if layer is net.features[0]:
            w, b = _with_our_pixels(w, b, mean, std, bgr)
        elif layer is net.head and order is not None:
            w, b = w[list(order)], b[list(order)]
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(w.copy()))
            layer.bias.copy_(torch.from_numpy(b.copy()))  # type: ignore[union-attr]
    return net, checkpoint.name(pool)


def save_features(path: Path, net: MxnetSqueezeNet) -> None:
    """Write a network's features as ``.npz`` under torchvision's names, for `networks.squeezenet.load_imagenet`.

    Raises
    ------
    ModelError
        For the ELU network, whose features are useless with ReLU.
    """
    if net.elu:
        raise ModelError(f"{path}: this network uses ELU, so its features can't start one with ReLU; write OUT.pt")
    arrays = {name: value.numpy() for name, value in net.state_dict().items() if name.startswith("features.")}
    with replacing(path) as stream:
        np.savez(stream, **arrays)


def _value(
    values: Mapping[str, npt.NDArray[np.generic]], name: str, shape: tuple[int, ...], path: Path
) -> npt.NDArray[np.float32]:
    if name not in values:
        hint = (
            "it was written by gluon's save_parameters; use export instead"
            if any(n[:8] == "features" for n in values)
            else ("it belongs to another symbol file")
        )
        raise BrokenModel(f"{path}: {name} is missing; {hint}")
    value = values[name]
    if value.shape != shape:
        raise BrokenModel(f"{path}: {name} is {value.shape}, not {shape}; it belongs to another symbol file")
    return value.astype(np.float32)


def _with_our_pixels(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    mean: Sequence[float],
    std: Sequence[float],
    bgr: bool,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Adapt the first convolution to RGB minus our mean.

    This is exact because ``(x + ours - mean) / std`` is linear, and so is a convolution.
    """
    w = (weight[:, ::-1] if bgr else weight).astype(np.float64) / np.reshape(std, (1, 3, 1, 1))
    shift = np.reshape(np.subtract(MEAN_RGB, mean), (1, 3, 1, 1))
    return w.astype(np.float32), (bias + (w * shift).sum(axis=(1, 2, 3))).astype(np.float32)
