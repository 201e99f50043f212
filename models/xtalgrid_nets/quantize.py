"""Quantise exported networks to int8: static quantisation, calibrated on chops and views of a training set.

ONNX Runtime's own tool converts weights to 8-bit integers for each output channel, and activations for each tensor.
Weights use 7 of the bits (`LARGEST_WEIGHT`), so that sums are exact on every processor. The last layer and what follows
it stay in fp32, because the decision is based on it.

ONNX Runtime changes the layout of a picture wherever int8 and fp32 meet, so all other layers of a classifier are
quantised. Its first layer sees pixels, which are 8-bit numbers already, and so loses only its weights' last bits
(`_as_pixels`); it takes them as they lie in memory, four at a time (`_take_fours`). A concatenation and its inputs have
one scale, so that it only copies (`_share_scales`). A segmenter pads its pictures with the mean colour, which is no
8-bit number; its first layer stays in fp32, with the pooling behind it (`_pool_before_rounding`).

Without learned steps, the range of a layer is a mean over pictures: the largest value of all pictures is rare, and
would leave coarser steps for all the others. Not taken, because they change the group of more windows: equalising the
channels' ranges across layers, with the factors moved to the weights of the next layer, and correcting the last layer's
bias so that the mean logits are those of fp32 (1.2 instead of 0.4 % of windows).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import ModelError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.images import MEAN_RGB, network_input
from xtalgrid_core.onnx_files import check_self_contained
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import PIXELS, Role

from .onnx_graphs import change, constants_of, makers_of, users_of
from .sets.reading import ChopSet

LARGEST_WEIGHT = 64
"""Largest int8 weight, of either sign.

Processors without VNNI add two products of an activation, 0..255, and a weight in 16 bits (``vpmaddubsw``), which end
at 32,767: 2 · 255 · 64 = 32,640.
"""

PICTURES = 156
"""Number of chops or views that the ranges of activations are measured on: twelve chops of each class."""

PATCHES = 60
"""Number of context patches, if a set has them: in use the classifier sees drops, not chops."""


def quantize(fp32: Path, int8: Path, role: Role, data: Path, steps: Sequence[float] = ()) -> None:
    """Quantise an exported network.

    Parameters
    ----------
    fp32
        The ONNX file (see `export`).
    int8
        The file to write, whole or not at all.
    role
        Decides what it is calibrated on: chops, or views of whole wells.
    data
        A chop set; wells held out for validation are not used.
    steps
        Steps between the levels of the activations that each convolution takes, from the second to the last but one,
        as learned with the weights (`fit.int8`). If there are none, they follow from the ranges in `data`.

    Raises
    ------
    ModelError
        If the set has no such pictures, or the network has no layer that can be quantised, or has not as many steps.
    SetError
        If the set can't be read.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    check_self_contained(fp32.read_bytes(), str(fp32))
    chosen = calibration_pictures(data, role)
    pictures = iter(chosen)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            picture = next(pictures, None)
            return None if picture is None else {"image": network_input(picture[None])}

    with tempfile.TemporaryDirectory() as scratch:
        folded, quantised_file = Path(scratch) / "folded.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(str(fp32), str(folded), skip_symbolic_shape=True)
        graph = onnx.load(folded)
        layers = [index for index, node in enumerate(graph.graph.node) if node.op_type in ("Conv", "Gemm", "MatMul")]
        if len(layers) < 2:
            raise ModelError(f"{fp32}: this network has no layers to quantise")
        kept = [node.name for node in graph.graph.node[layers[-1] :]]
        options: dict[str, Any] = {}
        if role == "classifier":
            options |= {"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05}
        is_first_quantised = _as_pixels(graph.graph)
        if is_first_quantised:
            options["TensorQuantOverrides"] = {PIXELS: _scale(1.0), **_learned(graph.graph, steps)}
            kept.append(PIXELS)
            onnx.save(graph, folded)
        else:
            kept.append(graph.graph.node[layers[0]].name)
        quantize_static(
            folded,
            quantised_file,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options=options,
        )
        quantised = onnx.load(quantised_file)
        _share_scales(quantised.graph)
        if is_first_quantised:
            _take_fours(quantised.graph)
            _multiply_last(quantised.graph)
        else:
            _pool_before_rounding(quantised.graph)
        check_weights(quantised.graph, str(int8))
        write_atomically(int8, quantised.SerializeToString())


def check_weights(graph: Any, name: str) -> None:
    """Check that no int8 weight of an ONNX graph is above `LARGEST_WEIGHT`.

    Raises
    ------
    ModelError
        If one is; `name` is used in the message.
    """
    from onnx import TensorProto, numpy_helper

    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.INT8 and tensor.dims:
            largest = int(np.abs(numpy_helper.to_array(tensor).astype(int)).max(initial=0))
            if largest > LARGEST_WEIGHT:
                raise ModelError(
                    f"{name}: {tensor.name} has weights up to {largest}; with more than {LARGEST_WEIGHT}, processors "
                    "without VNNI give other scores: quantise it again with `xtalgrid-train export --int8`"
                )


def _pool_before_rounding(graph: Any) -> None:
    """Let a pooling in a QDQ graph that takes what the first convolution makes, in fp32, come before the rounding.

    The numbers stay the same. The runtime would pool the 8-bit numbers in another layout, which takes longer than all
    the rest up to there.
    """
    makers = makers_of(graph)
    first = next(node for node in graph.node if node.op_type == "Conv")
    made = {first.output[0], *(node.output[0] for node in graph.node if list(node.input) == list(first.output))}
    for node in graph.node:
        if node.op_type == "MaxPool" and (before := makers.get(node.input[0])) and before.op_type == "DequantizeLinear":
            unrounded = makers[before.input[0]].input[0]
            if unrounded in made:
                node.input[0] = unrounded


MEAN = "mean"


def _as_pixels(graph: Any) -> bool:
    """Let an ONNX graph's first convolution take pixels, with the mean in its bias; False if it pads the picture.

    Node and tensor of the picture with the mean added back, whole numbers 0..255, are called `PIXELS`.
    """
    from onnx import helper, numpy_helper

    first = next(node for node in graph.node if node.op_type == "Conv")
    pads = next((list(attribute.ints) for attribute in first.attribute if attribute.name == "pads"), [])
    if any(pads) or first.input[0] != graph.input[0].name or len(first.input) < 3:
        return False
    values = constants_of(graph)
    weight, bias = (numpy_helper.to_array(values[name]).astype(np.float64) for name in first.input[1:])
    mean = np.array(MEAN_RGB)[None, :, None, None]
    bias -= (weight * mean).sum(axis=(1, 2, 3))
    change(values[first.input[2]], bias.astype(np.float32))
    graph.initializer.append(numpy_helper.from_array(mean.astype(np.float32), MEAN))
    graph.node.insert(0, helper.make_node("Add", [first.input[0], MEAN], [PIXELS], name=PIXELS))
    first.input[0] = PIXELS
    return True


_FOURS = ("QuantizeLinear", "DequantizeLinear", "Conv", "QuantizeLinear", "DequantizeLinear", "MaxPool")
"""Kinds of the nodes with which a graph begins that `_take_fours` changes."""


def _take_fours(graph: Any) -> None:
    """Let a QDQ graph take pictures as they are, ``(N, H, W, 3)`` uint8, too, if it begins as SqueezeNet 1.1.

    They are an input of their own, `PIXELS`, which may be left out: programs that know only ``image`` give that.

    The runtime's int8 convolutions take more than twice as long where the channels are no multiple of four. So four
    pixels of a row become one of 12 channels, which moves nothing in memory, and the first convolution, 3×3 at a stride
    of 2, becomes one of 3×2 such pixels that makes two columns at once. The numbers stay the same. A column too many
    comes out on the right, which the pooling behind, 3×3 at a stride of 2, never reaches.
    """
    from onnx import helper, numpy_helper

    chain = _followers(graph, PIXELS)[: len(_FOURS)]
    if [node.op_type for node in chain] != list(_FOURS):
        return
    rounding, as_floats, first, after, made, pool = chain
    if _shape(first) != (3, 3, 2, 2) or _shape(pool) != (3, 3, 2, 2):
        return
    makers = makers_of(graph)
    values = constants_of(graph)
    weight, bias = (makers[name] for name in first.input[1:])

    threes = numpy_helper.to_array(values[weight.input[0]])
    fours = np.zeros((2, len(threes), 2, 4, 3, 3), threes.dtype)  # column, filter, four, pixel, channel, row
    for column in range(2):
        for across in range(3):
            four, pixel = divmod(2 * column + across, 4)
            fours[column, :, four, pixel] = threes[:, :, :, across]
    change(values[weight.input[0]], fours.transpose(0, 1, 3, 4, 5, 2).reshape(2 * len(threes), 12, 3, 2))
    for name in {*weight.input[1:], *bias.input}:
        change(values[name], np.tile(numpy_helper.to_array(values[name]), 2))
    for name, channels in (("fours", 12), ("columns", len(threes))):
        graph.initializer.append(numpy_helper.from_array(np.array([0, 0, -1, channels]), name))
    del first.attribute[:]
    shape = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [0, 0, 0, 1]}
    first.attribute.extend(helper.make_attribute(key, value) for key, value in shape.items())
    next(attribute for attribute in pool.attribute if attribute.name == "ceil_mode").i = 0

    graph.initializer.remove(values[MEAN])
    graph.node.remove(makers[PIXELS])
    graph.node.remove(rounding)
    as_floats.input[0], made.input[0] = "pictures of fours", "single columns"
    before = [
        *_either(graph, "picture"),
        helper.make_node("Reshape", ["picture", "fours"], ["in fours"]),
        helper.make_node("Transpose", ["in fours"], [as_floats.input[0]], perm=[0, 3, 1, 2]),
    ]
    between = [
        helper.make_node("Transpose", [after.output[0]], ["in pairs"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["in pairs", "columns"], ["in columns"]),
        helper.make_node("Transpose", ["in columns"], [made.input[0]], perm=[0, 3, 1, 2]),
    ]
    nodes = list(graph.node)
    at = nodes.index(made)
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*before, *nodes[:at], *between, *nodes[at:]])


def _either(graph: Any, name: str) -> list[Any]:
    """Let a graph take `PIXELS`; return the nodes that make `name`: these, or if there are none, those of its input."""
    from onnx import TensorProto, helper, numpy_helper

    whole = np.array(MEAN_RGB, np.uint8)
    if not np.array_equal(whole, MEAN_RGB):
        raise ModelError("the mean is no whole number, so pictures less it can't be rounded to pixels")
    constants = {
        PIXELS: np.zeros((0, 0, 0, 3), np.uint8),
        MEAN: whole,
        "steps": np.ones(3, np.float32),
        "none": np.int64(0),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items())
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["m", "rows", "columns", 3]))

    def branch(*nodes: Any) -> Any:
        made = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.UINT8, ["k", "down", "across", 3])
        return helper.make_graph(nodes, nodes[-1].output[0], [], [made])

    given = branch(helper.make_node("Identity", [PIXELS], ["given"]))
    rounded = branch(
        helper.make_node("QuantizeLinear", [graph.input[0].name, "steps", MEAN], ["rounded"], axis=1),
        helper.make_node("Transpose", ["rounded"], ["turned"], perm=[0, 2, 3, 1]),
    )
    return [
        helper.make_node("Size", [PIXELS], ["count"]),
        helper.make_node("Greater", ["count", "none"], ["any"]),
        helper.make_node("If", ["any"], [name], then_branch=given, else_branch=rounded),
    ]


def _multiply_last(graph: Any) -> None:
    """Let a 1×1 convolution at the end of a graph be a matrix product, which needs no other layout than int8.

    The numbers stay the same but for the order of fp32 sums.
    """
    from onnx import helper, numpy_helper

    last = graph.node[-1]
    if last.op_type != "Conv" or _shape(last) != (1, 1, 1, 1):
        return
    before, weight, bias = last.input
    values = constants_of(graph)[weight]
    change(values, numpy_helper.to_array(values)[:, :, 0, 0].T)
    graph.node.remove(last)
    graph.node.extend(
        [
            helper.make_node("Transpose", [before], ["cells"], perm=[0, 2, 3, 1]),
            helper.make_node("MatMul", ["cells", weight], ["products"]),
            helper.make_node("Add", ["products", bias], ["sums"]),
            helper.make_node("Transpose", ["sums"], [last.output[0]], perm=[0, 3, 1, 2]),
        ]
    )


def _followers(graph: Any, name: str) -> list[Any]:
    """Return the nodes that one after the other take a tensor, as long as only one does."""
    users = users_of(graph)
    chain: list[Any] = []
    while len(users.get(name, ())) == 1:
        chain += users[name]
        name = chain[-1].output[0]
    return chain


def _shape(node: Any) -> tuple[int, ...]:
    """Return a convolution's or a pooling's kernel and strides; empty if it has a padding."""
    from onnx import helper

    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return () if any(given.get("pads", ())) else (*given.get("kernel_shape", ()), *given.get("strides", ()))


def _scale(step: float) -> list[dict[str, Any]]:
    return [{"scale": np.array(step, np.float32), "zero_point": np.array(0, np.uint8)}]


def _learned(graph: Any, steps: Sequence[float]) -> dict[str, Any]:
    """Return the scales of the tensors that the inner convolutions take; a maximum has the scale of what it is of."""
    inner = [node for node in graph.node if node.op_type == "Conv"][1:-1]
    if steps and len(steps) != len(inner):
        raise ModelError(
            f"{len(steps)} steps of activations for {len(inner)} convolutions; they are of another network"
        )
    makers = makers_of(graph)
    scales = {}
    for node, step in zip(inner, steps, strict=False):
        name = node.input[0]
        while makers[name].op_type == "MaxPool":
            name = makers[name].input[0]
        scales[name] = _scale(step)
    return scales


def _share_scales(graph: Any) -> None:
    """Give the inputs of each concatenation in a QDQ graph the scale of its output, if nothing else uses them."""
    from onnx import numpy_helper

    values = constants_of(graph)
    makers = makers_of(graph)
    users = users_of(graph)
    for node in graph.node:
        after = users.get(node.output[0], []) if node.op_type == "Concat" else []
        before = [makers[name] for name in node.input if name in makers and len(users[name]) == 1]
        if not after or {one.op_type for one in (after[0], *before)} != {"QuantizeLinear", "DequantizeLinear"}:
            continue
        for one in before:
            for mine, common in zip(one.input[1:], after[0].input[1:], strict=True):
                change(values[mine], numpy_helper.to_array(values[common]))


def calibration_pictures(data: Path, role: Role, count: int = PICTURES) -> npt.NDArray[np.uint8]:
    """Choose pictures of a set to calibrate on, ``(n, S, S, 3)``.

    For a classifier these are at most `PATCHES` patches, or if there are none `count` chops, equally many of each
    class if possible; for a segmenter, `count` views.

    Raises
    ------
    ModelError
        If the set has none.
    SetError
        If it can't be read.
    """
    chosen = ChopSet(data)
    rng = np.random.default_rng(0)
    if role == "segmenter":
        train, _ = chosen.split(chosen.view_wells)
        if not len(train):
            raise ModelError(
                f"{data}: no views to quantise the segmenter on; give a set made by `xtalgrid-train sets render`"
            )
        return chosen.take_views(np.sort(rng.permutation(train)[:count]))[0]
    train, _ = chosen.split(chosen.patch_wells)
    if len(train):
        return chosen.take_patches(np.sort(rng.permutation(train)[:PATCHES]))
    train, _ = chosen.split()
    if not len(train):
        raise ModelError(f"{data}: no chops to quantise the classifier on; give a set with chops of several plates")
    labels = chosen.labels[train]
    each = count // len(CLASSES)
    indices = [rng.permutation(train[labels == rank])[:each] for rank in range(len(CLASSES))]
    return chosen.take(np.sort(np.concatenate(indices)))
