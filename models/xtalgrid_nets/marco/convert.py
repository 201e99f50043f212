"""Convert MARCO's SavedModel to ONNX: fp32, and int8 with ranges measured once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_scoring.second_opinion import SIDE

from ..tensorflow.bundle import read_bundle
from ..tensorflow.graph import Convolutions, model, read_graph
from .int8 import quantised

START = "map/TensorArrayStack/TensorArrayGatherV3"
"""The node with the pictures, resized and scaled to -1..1."""

FEATURES = "Inception/Logits/AvgPool_1a_8x8/AvgPool"
LOGITS = "Inception/Logits/Conv2d_1c_1x1/BiasAdd"
OUTPUTS = (Group.CLEAR, Group.CRYSTAL, Group.OTHER, Group.PRECIPITATE)
"""In the order of the labels in the graph: Clear, Crystals, Other, Precipitate."""

# fmt: off
RANGES = (
    13.4, 24.5, 15.8, 19.0, 14.5, 13.7, 12.8, 9.95, 6.70, 9.66, 9.27, 10.1, 3.88, 10.2, 9.38, 7.00, 9.23, 8.52,
    9.23, 5.13, 13.2, 10.9, 7.79, 9.95, 9.83, 7.30, 6.75, 6.69, 7.25, 5.80, 4.65, 10.8, 8.96, 8.50, 5.36, 8.93,
    8.10, 7.42, 5.72, 4.13, 4.77, 10.2, 7.31, 7.48, 4.33, 9.18, 6.88, 5.53, 4.69, 3.33, 5.03, 14.6, 12.2, 12.6,
    8.09, 12.8, 11.8, 7.25, 5.99, 2.89, 5.49, 9.67, 15.0, 15.4, 4.67, 15.7, 10.7, 7.65, 5.47, 4.73, 9.90, 12.8,
    8.13, 12.2, 10.7, 7.80, 6.90, 10.1, 8.67, 4.44, 3.99, 7.15, 3.43, 3.64, 3.58, 5.06, 3.78, 4.76, 2.70, 2.09,
    3.99, 2.61, 0.416, 0.267, 2.96,
)
# fmt: on
"""Largest output of each ReLU, in the graph's order: a mean over 135 of MARCO's own wells. `models/legacy-tensorflow`
describes the measurement."""


def read(saved_model: bytes, index: bytes, data: bytes) -> Convolutions:
    """Read the network, with input and output changed to our form (see the module `xtalgrid_core.weights`).

    The first convolution, which is not padded, scales the pixels of 0..255; the outputs are put in the order of
    `SCORED_GROUPS`.
    """
    net = Convolutions(read_graph(saved_model), read_bundle(index, data), START)
    net.add(LOGITS)
    first = net.nodes[0].name
    weight, bias = net.weights[first]
    sums = np.array([math.fsum(one.ravel()) for one in weight])  # exact, and so the same on every machine
    net.weights[first] = (weight.astype(np.float64) * (2 / 255)).astype(np.float32), (bias - sums).astype(np.float32)
    order = [OUTPUTS.index(group) for group in SCORED_GROUPS]
    weight, bias = net.weights[LOGITS]
    net.weights[LOGITS] = weight[order], bias[order]
    return net


def fp32(net: Convolutions) -> bytes:
    """Write the network as an ONNX file."""
    return _file(net.nodes, net.constants())


def int8(net: Convolutions) -> bytes:
    """Write the network as an ONNX file in int8.

    The first convolution, the last pooling and the last layer stay in fp32.
    """
    return _file(*quantised(net, RANGES, {FEATURES, LOGITS}))


def _file(nodes: Sequence[Any], constants: list[TensorProto]) -> bytes:
    ends = [helper.make_node("Flatten", [FEATURES], ["features"]), helper.make_node("Flatten", [LOGITS], ["logits"])]
    return model(
        [*nodes, *ends],
        constants,
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]),
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(OUTPUTS)]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1056]),
        ],
    )
