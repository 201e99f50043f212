"""Trained states on disk: write them with their description, and read them or the worker's ONNX weights back.

A file holds ``{"network", "classes", "state", "record"}``: the network's name, the outcomes its logits stand for, its
parameters, and how it was trained. A bare ``state_dict`` of SqueezeNet 1.1, as torch saves it, can be read too.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.files import replacing
from xtalgrid_core.onnx_files import check_self_contained
from xtalgrid_core.outcomes import CLASSES

from .int8_files import give_fp32_weights, is_int8
from .networks import build
from .onnx_graphs import constants_of

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

SEGMENTER, SLIM_SEGMENTER = "unet-squeezenet1.1", "fpn-squeezenet1.1"
SEGMENTERS = (SEGMENTER, SLIM_SEGMENTER)
SQUEEZENET = "squeezenet1.1"

_Layer: TypeAlias = nn.Conv2d | nn.Linear | nn.BatchNorm2d
_NODES = {"Conv": nn.Conv2d, "Gemm": nn.Linear, "BatchNormalization": nn.BatchNorm2d}


def network(name: str, classes: int = len(CLASSES)) -> nn.Module:
    """Build an untrained network by name: a classifier of the registry, or a segmenter.

    Raises
    ------
    ModelError
        If there is no such name; the message lists the names.
    """
    if name in SEGMENTERS:
        from .segmenter import SlimSegmenter, segmenter

        return SlimSegmenter() if name == SLIM_SEGMENTER else segmenter()
    return build(name, classes)


def save_trained(
    path: Path, net: nn.Module, name: str, record: Mapping[str, Any], classes: Sequence[str] = CLASSES
) -> None:
    """Write a trained network, whole or not at all.

    Parameters
    ----------
    path
        The file, ``.pt``.
    net
        The network, on any device.
    name
        Its name for `network`.
    record
        How it was trained, as plain values that JSON can hold.
    classes
        Meaning of its outputs, if not the 13 outcomes.
    """
    state = {key: value.detach().cpu() for key, value in net.state_dict().items()}
    with replacing(path) as stream:
        torch.save(
            {"network": name, "classes": list(map(str, classes)), "state": state, "record": dict(record)}, stream
        )


def load_trained(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a trained network and the record of its training (with its ``network`` name).

    The network is on the CPU and in evaluation mode.

    Raises
    ------
    BrokenModel
        If the file is not one of ours, or its parameters don't fit the network that it names, or its 13 outputs are
        the outcomes in another order.
    OSError
        If it can't be read.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # unpickles only tensors and plain values
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise BrokenModel(
            f"{path}: not a trained state ({str(error).splitlines()[0][:120]}); give a .pt file"
        ) from error
    if not isinstance(content, dict):
        raise BrokenModel(
            f"{path}: not a trained state but a {type(content).__name__}; give a .pt file of xtalgrid-train"
        )
    if content and all(isinstance(value, Tensor) for value in content.values()):
        name = SEGMENTER if any(key.startswith("decoder.") for key in content) else SQUEEZENET
        content = {"network": name, "state": content, "record": {}}
    if not {"network", "state", "record"} <= set(content):
        raise BrokenModel(f"{path}: not a trained state, as no network is named; give a .pt file of xtalgrid-train")
    classes = list(content.get("classes", CLASSES))
    if len(classes) == len(CLASSES) and classes != list(map(str, CLASSES)):
        raise BrokenModel(f"{path}: its outputs are {', '.join(map(str, classes))}; give one with {', '.join(CLASSES)}")
    net = network(content["network"], len(classes))
    try:
        net.load_state_dict(content["state"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BrokenModel(f"{path}: the parameters don't fit {content['network']}: {reason}") from error
    return net.eval(), {**content["record"], "network": content["network"]}


def from_onnx(path: Path, name: str) -> nn.Module:
    """Rebuild a network from one of our ONNX files; see `rebuilt`.

    Raises
    ------
    BrokenModel
        As there.
    OSError
        If the file can't be read.
    """
    return rebuilt(path.read_bytes(), name, str(path))


def rebuilt(data: bytes, name: str, where: str) -> nn.Module:
    """Rebuild a network from one of our ONNX files, on the CPU and in evaluation mode.

    The layers with parameters are matched in the order in which they run. If the file has a batch normalisation
    folded into the convolution before it, the network's own one is set to change nothing but add the bias. The output
    is the same, but the running statistics are lost, so freeze them in fine-tuning or expect the first steps to be
    rough. Of an int8 file the network has the weights, and leaves out the rounding between the layers.

    Parameters
    ----------
    data
        An ONNX file.
    name
        Of the network, see `network`.
    where
        Used in messages.

    Raises
    ------
    BrokenModel
        If the file is not ONNX, or holds another network.
    """
    from onnx import numpy_helper

    nodes, values = _with_parameters(data, where)
    net = network(name).eval()
    foreign = BrokenModel(f"{where}: not the weights of {name}; give the ONNX file and the network it was made from")
    position, conv_bias = 0, None
    for layer in _in_order(net):
        node = nodes[position] if position < len(nodes) else None
        if isinstance(layer, nn.BatchNorm2d) and (node is None or node.op_type != "BatchNormalization"):
            _leave_as_is(layer, conv_bias)
            continue
        if node is None or not isinstance(layer, _NODES[node.op_type]):
            raise foreign
        if any(key not in values for key in node.input[1:]):
            raise foreign
        arrays = [torch.from_numpy(numpy_helper.to_array(values[key]).copy()) for key in node.input[1:]]
        conv_bias = arrays[1] if isinstance(layer, nn.Conv2d) and len(arrays) > 1 else None
        if not _copy(layer, arrays):
            raise foreign
        position += 1
    if position != len(nodes):
        raise foreign
    return net


def _with_parameters(data: bytes, where: str) -> tuple[list[NodeProto], dict[str, TensorProto]]:
    """Read the nodes with parameters of an ONNX file, in their order, and all parameters by name."""
    import onnx
    from google.protobuf.message import DecodeError

    check_self_contained(data, where)
    try:
        graph = onnx.load_from_string(data).graph
    except DecodeError as error:
        raise BrokenModel(f"{where}: not an ONNX file ({error})") from error
    if is_int8(graph):
        give_fp32_weights(graph)
    values = constants_of(graph)
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in values:  # the exporter keeps one of several equal parameters
            values[node.output[0]] = values[node.input[0]]
    return [node for node in graph.node if node.op_type in _NODES], values


def _copy(layer: _Layer, arrays: Sequence[Tensor]) -> bool:
    """Copy a node's parameters into a layer; return False if their shapes differ."""
    own: list[Tensor | None] = [layer.weight, layer.bias]
    if isinstance(layer, nn.BatchNorm2d):
        own += [layer.running_mean, layer.running_var]
    with torch.no_grad():
        for target, source in zip(own, arrays, strict=False):
            if target is None:
                continue  # a bias that results from folding, and goes to the normalisation
            if target.shape != source.shape:
                return False
            target.copy_(source)
    return True


def _in_order(net: nn.Module) -> list[_Layer]:
    """List the layers with parameters in the order in which a picture passes through them."""
    order: list[_Layer] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: order.append(layer))
        for layer in net.modules()
        if isinstance(layer, _Layer)
    ]
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 3, CHOP, CHOP))
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _leave_as_is(layer: nn.BatchNorm2d, bias: Tensor | None) -> None:
    with torch.no_grad():
        layer.running_mean.zero_()  # type: ignore[union-attr]
        layer.running_var.fill_(1.0)  # type: ignore[union-attr]
        layer.weight.fill_((1.0 + layer.eps) ** 0.5)
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
