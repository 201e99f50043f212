"""Quantise a network's weights and activations to 8 bits with given ranges: the same bytes on every machine.

`xtalgrid_nets.quantize` measures the ranges each time, and their last digits depend on processor and runtime. As
there, weights have a range for each output channel and activations one for each tensor, and the first and last layers
stay in fp32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from ..quantize import LARGEST_WEIGHT
from ..tensorflow.graph import Convolutions, tensor


def quantised(net: Convolutions, ranges: Sequence[float], kept: Collection[str]) -> tuple[list[Any], list[TensorProto]]:
    """Convert the network to QDQ form: each tensor is quantised at the node that makes it.

    Parameters
    ----------
    ranges
        Largest output of each ReLU, in the order of the nodes. A pooling keeps the range of its input, a
        concatenation the largest of its inputs' ranges.
    kept
        Nodes that are not quantised, besides the first convolution; nor are their outputs.

    Returns
    -------
    The ONNX nodes, and the constants they use.
    """
    nodes: list[Any] = []
    constants = [tensor("zero", np.zeros((), np.uint8))]
    largest = iter(ranges)
    scales: dict[str, np.float32] = {}
    kept = {net.nodes[0].name, *kept}
    for node in net.nodes:
        name, inputs = node.name, list(node.input)
        if node.op_type == "Conv" and name in kept:
            constants += [tensor(*pair) for pair in zip(inputs[1:], net.weights[name], strict=True)]
        elif node.op_type == "Conv":
            weight, bias = net.weights[name]
            scale = np.abs(weight).max(axis=(1, 2, 3)) / np.float32(LARGEST_WEIGHT)
            per_output = scale[:, None, None, None]
            for constant, integers, unit in (
                (inputs[1], np.rint(weight / per_output).astype(np.int8), scale),
                (inputs[2], np.rint(bias / (scale * scales[inputs[0]])).astype(np.int32), scale * scales[inputs[0]]),
            ):
                parts = {"integers": integers, "scale": unit, "zero": np.zeros(len(unit), integers.dtype)}
                constants += [tensor(f"{constant}/{part}", values) for part, values in parts.items()]
                nodes.append(_node("DequantizeLinear", [f"{constant}/{part}" for part in parts], constant, axis=0))
        nodes.append(_node(node.op_type, [f"{source}/8" if source in scales else source for source in inputs], name))
        nodes[-1].attribute.extend(node.attribute)
        if node.op_type == "Conv" or name in kept:
            continue
        is_relu = node.op_type == "Relu"
        scales[name] = (
            np.float32(next(largest)) / np.float32(255) if is_relu else max(scales[source] for source in inputs)
        )
        constants.append(tensor(f"{name}/scale", np.asarray(scales[name])))
        nodes.append(_node("QuantizeLinear", [name, f"{name}/scale", "zero"], f"{name}/integers"))
        nodes.append(_node("DequantizeLinear", [f"{name}/integers", f"{name}/scale", "zero"], f"{name}/8"))
    return nodes, constants


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)
