"""Read the graph of a SavedModel, and convert the convolutional part of one to ONNX.

Supported are the operations of convolutional networks: `Conv2D`, batch normalisation, ReLU, poolings and
concatenations. A batch normalisation is folded into its convolution. The same graph always gives the same bytes: the
nodes are in the order in which the output needs them and keep TensorFlow's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from xtalgrid_core.errors import BrokenModel

from .messages import fields, message, varints

OPSET = 17
IR_VERSION = 8

_POOLINGS = {"MaxPool": "MaxPool", "AvgPool": "AveragePool"}
"""In both formats, a mean leaves out what lies beyond the picture's edge."""

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its operation, its input nodes, and its attributes as serialized ``AttrValue`` messages."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, bytes]

    def ints(self, name: str) -> list[int]:
        """Return an attribute that is a list of integers: ``AttrValue.list.i``."""
        values: list[int] = []
        for _, whole in fields(self.attributes[name], {1}):
            for _, value in fields(message(whole), {3}):
                values += [value] if isinstance(value, int) else varints(value)
        return values

    def text(self, name: str) -> str:
        """Return an attribute that is a string: ``AttrValue.s``."""
        return message(dict(fields(self.attributes[name], {2}))[2]).decode()

    def number(self, name: str) -> float:
        """Return an attribute that is a number: ``AttrValue.f``."""
        return float(np.frombuffer(message(dict(fields(self.attributes[name], {4}))[4]), "<f4")[0])


def read_graph(saved_model: bytes) -> dict[str, Node]:
    """Return the nodes of the first graph of a ``saved_model.pb``, by name.

    Raises
    ------
    BrokenModel
        If the data is not a SavedModel.
    """
    try:
        graph = next(_inner(next(_inner(saved_model, 2)), 2))  # SavedModel.meta_graphs, MetaGraphDef.graph_def
        nodes = [_node(data) for data in _inner(graph, 1)]
    except (ValueError, StopIteration) as error:
        raise BrokenModel(f"this is not a saved_model.pb of TensorFlow ({error or 'it has no graph'})") from error
    return {node.name: node for node in nodes}


def _inner(data: bytes, number: int) -> Iterator[bytes]:
    return (message(value) for _, value in fields(data, {number}))


def _node(data: bytes) -> Node:
    name, op, inputs, attributes = "", "", [], {}
    for number, value in fields(data, {1, 2, 3, 5}):
        if number == 1:
            name = message(value).decode()
        elif number == 2:
            op = message(value).decode()
        elif number == 3:
            inputs.append(message(value).decode().removesuffix(":0"))
        else:
            entry = dict(fields(message(value), {1, 2}))
            attributes[message(entry[1]).decode()] = message(entry.get(2, b""))
    return Node(name, op, tuple(inputs), attributes)


class Convolutions:
    """The part of a graph between two nodes, with the values of its variables, as ONNX nodes in channels-first order.

    Parameters
    ----------
    graph, variables
        From `read_graph` and `bundle.read_bundle`.
    start
        The node whose output, ``(N, H, W, C)``, becomes the input ``image``, ``(N, C, H, W)``.

    Attributes
    ----------
    nodes
        ONNX nodes in the order they run. A node has the name of its output, which is that of TensorFlow's node;
        `Conv` nodes take weights and bias from `weights`.
    weights
        For each convolution: weights ``(out, in, height, width)`` float32 and bias ``(out,)`` float32.
    """

    def __init__(self, graph: Mapping[str, Node], variables: Arrays, start: str) -> None:
        self._graph = graph
        self._variables = variables
        self.nodes: list[Any] = []
        self.weights: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}
        self._made = {start: "image"}

    def add(self, name: str) -> str:
        """Convert a node and all that it needs; return the name of its output.

        Raises
        ------
        BrokenModel
            If a node is of an unsupported kind.
        """
        if name not in self._made:
            self._made[name] = self._convert(self._graph[name])
        return self._made[name]

    def constants(self) -> list[TensorProto]:
        """Return the weights and biases, under the names that `nodes` use."""
        named = ((node.input[1:], self.weights[node.name]) for node in self.nodes if node.op_type == "Conv")
        return [tensor(*pair) for names, values in named for pair in zip(names, values, strict=True)]

    def _convert(self, node: Node) -> str:
        if node.op == "Relu":
            return self._append("Relu", node, node.inputs[:1])
        if node.op == "ConcatV2":  # its axis is the last one, the channels
            return self._append("Concat", node, node.inputs[:-1], axis=1)
        if node.op in _POOLINGS:
            return self._append(_POOLINGS[node.op], node, node.inputs, **_window(node, node.ints("ksize")[1:3]))
        if node.op == "BiasAdd":
            return self._convolution(node, self._value(node.inputs[1]))
        if node.op.startswith("FusedBatchNorm"):
            scale, beta, mean, variance = (self._value(name).astype(np.float64) for name in node.inputs[1:])
            factor = scale / np.sqrt(variance + node.number("epsilon"))
            return self._convolution(node, beta - mean * factor, factor)
        raise BrokenModel(f"{node.name}: the operation {node.op} is not supported")

    def _convolution(self, node: Node, bias: Any, factor: Any = 1.0) -> str:
        """Convert the convolution before a node, with its outputs multiplied by a factor and a bias added."""
        before = self._graph[node.inputs[0]]
        if before.op != "Conv2D":
            raise BrokenModel(f"{node.name}: follows {before.op}, not a convolution")
        weight = (self._value(before.inputs[1]).astype(np.float64) * factor).transpose(3, 2, 0, 1)
        output = self._append("Conv", node, before.inputs[:1], **_window(before, list(weight.shape[2:])))
        self.weights[output] = np.ascontiguousarray(weight, "<f4"), np.asarray(bias, "<f4")
        return output

    def _append(self, kind: str, node: Node, inputs: tuple[str, ...], **attributes: Any) -> str:
        names = [self.add(name) for name in inputs]
        if kind == "Conv":
            names += [f"{node.name}/weight", f"{node.name}/bias"]
        self.nodes.append(helper.make_node(kind, names, [node.name], name=node.name, **attributes))
        return node.name

    def _value(self, name: str) -> npt.NDArray[Any]:
        """Return the value of a variable or a constant."""
        node = self._graph[name]
        if node.op == "Identity":
            return self._value(node.inputs[0])
        if node.op in ("VariableV2", "Variable"):
            return self._variables[node.name]
        if node.op == "Const":  # TensorProto.tensor_content or float_val
            whole = message(dict(fields(node.attributes["value"], {8}))[8])
            return np.frombuffer(b"".join(message(value) for _, value in fields(whole, {4, 5})), "<f4")
        raise BrokenModel(f"{name}: {node.op} is not a variable")


def _window(node: Node, kernel: list[int]) -> dict[str, list[int]]:
    """Return the attributes of the window of a convolution or a pooling."""
    strides = node.ints("strides")[1:3]
    window = {"kernel_shape": kernel, "strides": strides}
    if node.text("padding") == "SAME":
        if strides != [1, 1] or not all(side % 2 for side in kernel):
            raise BrokenModel(f"{node.name}: SAME padding with a stride or an even window is not supported")
        window["pads"] = [side // 2 for side in kernel] * 2
    return window


def tensor(name: str, values: npt.NDArray[Any]) -> TensorProto:
    """Return a constant of an ONNX graph."""
    return helper.make_tensor(
        name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape, values.tobytes(), raw=True
    )


def model(nodes: list[Any], constants: list[TensorProto], input_info: Any, outputs: list[Any]) -> bytes:
    """Return an ONNX file; its bytes depend only on the arguments, not on onnx's version."""
    graph = helper.make_graph(nodes, "xtalgrid", [input_info], outputs, constants)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    whole.producer_name = ""
    data: bytes = whole.SerializeToString(deterministic=True)
    return data
