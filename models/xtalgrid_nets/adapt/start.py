"""The network to start from, divided where its end begins: only the end is fitted, and written into the same file."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.weights import Variant, default_models, find_model

from ..export import export_classifier
from ..fit.int8 import expand_in_int8
from ..int8_files import End, is_int8
from ..networks.squeezenet import Fire
from ..states import load_trained, rebuilt
from .candidate import Network
from .tail import Tail


@dataclass(frozen=True, slots=True)
class Start:
    """A network, the name of its architecture, and the ONNX file that it was read from; empty: a trained state."""

    net: nn.Module
    architecture: str
    file: bytes


def starting_point(start: Path | None, current: Path, variant: Variant | None = None) -> Start:
    """Return the network to start from: a trained state, an ONNX file, or the classifier of the weights in use.

    Parameters
    ----------
    start
        The state or file, if it is none of those in use.
    current
        Folder of the weights in use.
    variant
        Which of their classifiers; None: the default one.

    Raises
    ------
    ConfigError
        If there is no such file.
    ModelError
        If it can't be used.
    """
    entry, data = find_model(default_models(current, variant)[1], "classifier", [current])
    if start is None:
        return Start(rebuilt(data, entry.architecture, entry.file), entry.architecture, data)
    if not start.is_file():
        raise ConfigError(f"{start}: no such file; give --start a trained state (.pt) or a classifier (.onnx)")
    if start.suffix == ".onnx":
        data = start.read_bytes()
        return Start(rebuilt(data, entry.architecture, str(start)), entry.architecture, data)
    net, record = load_trained(start)
    return Start(net, str(record["network"]), b"")


@dataclass(frozen=True, slots=True)
class Divided:
    """A network of SqueezeNet's blocks, in two parts.

    Attributes
    ----------
    before
        All before the end, as ONNX: ``features`` is what the last block's expand layers take in.
    head
        The last layer, a 1×1 convolution.
    block
        The block before it. In int8 its expand layers round as they will in the file, so that what is judged in the
        folds is what is written.
    with_end
        Returns the network with another end.
    """

    before: bytes
    head: nn.Conv2d
    block: Fire
    with_end: Callable[[Tail], Network]


def divide(start: Start) -> Divided:
    """Divide a network; its own block becomes the part's.

    Raises
    ------
    ConfigError
        If it is of another kind.
    """
    import onnx

    features, head = getattr(start.net, "features", None), getattr(start.net, "head", None)
    if not (isinstance(features, nn.Sequential) and isinstance(block := features[-1], Fire)):
        raise ConfigError("only SqueezeNet's end can be adapted; start from a squeezenet1.1 or squeezenet1.0")
    assert isinstance(head, nn.Conv2d)
    if start.file and is_int8(onnx.load_from_string(start.file).graph):
        end = End(start.file)
        expand_in_int8(block, end.step)
        return Divided(end.before(), head, block, partial(_int8, end, start.architecture))
    return Divided(_before(features), head, block, partial(_fp32, start))


def _int8(end: End, architecture: str, tail: Tail) -> Network:
    layers = [tail.head] if tail.block is None else [tail.head, tail.block.expand1x1, tail.block.expand3x3]
    last, *expand = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers if layer.bias is not None
    ]
    return Network(end.replaced(last, expand), "int8", architecture)


def _fp32(start: Start, tail: Tail) -> Network:
    tail.put_into(start.net)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "classifier.onnx"
        export_classifier(start.net, path, dense=True)
        return Network(path.read_bytes(), "fp32", start.architecture)


class _ToSqueeze(nn.Module):
    """SqueezeNet's features up to the squeeze layer of the last block."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.before, self.block = features[:-1], features[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, S, h, w)``."""
        squeezed: Tensor = self.block.squeezed(self.before(x))  # type: ignore[operator]
        return squeezed


def _before(features: nn.Sequential) -> bytes:
    """Export all before the end, to run in ONNX Runtime, which on a CPU is four times as fast as torch."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            _ToSqueeze(features).eval(),
            (torch.zeros(1, 3, CHOP, CHOP),),
            stream,  # type: ignore[arg-type]  # the older exporter takes one
            input_names=["image"],
            output_names=["features"],
            dynamic_axes={"image": {0: "n", 2: "height", 3: "width"}, "features": {0: "n", 2: "rows", 3: "cols"}},
            opset_version=17,
            dynamo=False,
        )
    return stream.getvalue()
