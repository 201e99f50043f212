"""Open the int8 classifiers that `quantize` makes again: their weights as fp32, and another end for the same network.

With another end only numbers in the file change, so it takes as long as before and runs wherever it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import ModelError
from xtalgrid_core.images import MEAN_RGB

from .onnx_graphs import change, constants_of, makers_of, users_of
from .quantize import LARGEST_WEIGHT

Float = npt.NDArray[np.float32]
Layer = tuple[Float, Float]
"""A convolution's weights, ``(O, I, h, w)``, and its bias, ``(O,)``."""


def is_int8(graph: Any) -> bool:
    """Tell whether an ONNX graph is quantised."""
    return any(node.op_type == "QuantizeLinear" for node in graph.node)


def give_fp32_weights(graph: Any) -> None:
    """Make the layers of an int8 graph of ours convolutions with fp32 weights, of the shapes that the network has.

    They take pixels less the mean again, and the matrix product at the end is a convolution again. The graph is for
    reading its weights; it can't be run. Layers of other forms stay.
    """
    from onnx import helper, numpy_helper

    makers, values = makers_of(graph), constants_of(graph)

    def add(name: str, array: npt.NDArray[np.floating[Any]]) -> None:
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))

    layers = [node for node in graph.node if node.op_type == "Conv"]
    for node in layers:
        parts = [makers.get(name) for name in node.input[1:]]
        if [part and part.op_type for part in parts] != ["DequantizeLinear"] * 2:
            continue
        weight, bias = (_integers_times_scale(part, values) for part in parts)
        if node is layers[0]:  # see quantize._take_fours and quantize._as_pixels
            if weight.shape[1:] == (12, 3, 2):
                fours = weight.reshape(2, -1, 4, 3, 3, 2)  # column, filter, pixel, channel, row, four
                weight, bias = fours[0, :, :3, :, :, 0].transpose(0, 2, 3, 1), bias[: len(bias) // 2]
            if weight.shape[1] == len(MEAN_RGB):
                bias = bias + (weight * np.array(MEAN_RGB)[None, :, None, None]).sum(axis=(1, 2, 3))
        add(node.input[1], weight)
        add(node.input[2], bias)
    if last := _last_layer(graph):
        add("last weight", numpy_helper.to_array(values[last[0]]).T[:, :, None, None])
        graph.node.append(helper.make_node("Conv", ["cells", "last weight", last[1]], ["map"]))


def _integers_times_scale(node: Any, values: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return weights that are integers, with a scale for each output, as numbers."""
    from onnx import numpy_helper

    integers, scale = (numpy_helper.to_array(values[name]).astype(np.float64) for name in node.input[:2])
    return np.asarray(integers * scale.reshape(-1, *[1] * (integers.ndim - 1)))


def _last_layer(graph: Any) -> tuple[str, str] | None:
    """Return the names of the last layer's weights and bias, if it is a matrix product (`quantize._multiply_last`)."""
    nodes = graph.node[-4:]
    if [node.op_type for node in nodes] != ["Transpose", "MatMul", "Add", "Transpose"]:
        return None
    return nodes[1].input[1], nodes[2].input[1]


class End:
    """The end of an int8 SqueezeNet's file: the last block's expand layers, in int8, and the last layer, in fp32.

    Attributes
    ----------
    step
        Between the 256 levels, from 0, of the block's output.

    Raises
    ------
    ModelError
        If the file ends in another way.
    """

    def __init__(self, data: bytes) -> None:
        import onnx
        from onnx import numpy_helper

        self._model = onnx.load_from_string(data)
        graph = self._model.graph
        self._makers, values, users = makers_of(graph), constants_of(graph), users_of(graph)
        self._expand = [node for node in graph.node if node.op_type == "Conv"][-2:]
        last = _last_layer(graph)
        after = [one for node in self._expand for one in users.get(node.output[0], ())]
        if last is None or [node.op_type for node in after] != ["QuantizeLinear"] * 2:
            raise ModelError(
                "this int8 classifier does not end as those of today; make it again with "
                "`xtalgrid-train export --int8`, or give fp32 weights with --start"
            )
        self._last = last
        self.step = float(numpy_helper.to_array(values[after[0].input[1]]))

    def before(self) -> bytes:
        """Return all before it as an ONNX file: ``features`` is what the expand layers take in, ``(N, S, h, w)``."""
        from onnx import TensorProto, helper

        graph, needed = self._model.graph, {self._expand[0].input[0]}
        nodes = [helper.make_node("Identity", list(needed), ["features"])]
        for node in reversed(graph.node):
            if needed & set(node.output):
                nodes.append(node)
                inner = [one for attribute in node.attribute for one in attribute.g.node]
                needed.update(name for one in (node, *inner) for name in one.input)
        made = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", "s", "rows", "cols"])
        kept = [value for value in graph.initializer if value.name in needed]
        part = helper.make_graph(nodes[::-1], "before the end", graph.input, [made], kept)
        opsets, version = self._model.opset_import, self._model.ir_version
        return bytes(helper.make_model(part, opset_imports=opsets, ir_version=version).SerializeToString())

    def replaced(self, last: Layer, expand: Sequence[Layer] = ()) -> bytes:
        """Return the file with another last layer, and with the other two if they are given.

        Parameters
        ----------
        last
            The last layer, 1×1.
        expand
            The 1×1 and the 3×3 layer; weights are rounded to integers up to `LARGEST_WEIGHT`.
        """
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        values = constants_of(model.graph)
        for name, array in zip(self._last, (last[0][:, :, 0, 0].T, last[1]), strict=True):
            change(values[name], array)
        for node, (weight, bias) in zip(self._expand, expand, strict=False):
            taken, *parts = (self._makers[name].input for name in node.input)
            scale = np.abs(weight).max(axis=(1, 2, 3)) / np.float32(LARGEST_WEIGHT)
            step = scale * numpy_helper.to_array(values[taken[1]])
            for (integers, unit, _), array, one in zip(parts, (weight, bias), (scale, step), strict=True):
                change(values[unit], one)
                kind = numpy_helper.to_array(values[integers]).dtype
                change(values[integers], np.rint(array / one.reshape(-1, *[1] * (array.ndim - 1))).astype(kind))
        return bytes(model.SerializeToString())
