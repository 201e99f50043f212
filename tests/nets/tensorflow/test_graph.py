"""A small network of TensorFlow's (``tiny.npz``, see test_bundle.py) as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="training needs the extra [train]")
pytest.importorskip("google_crc32c", reason="training needs the extra [train]")

import onnx
import onnxruntime as ort

from xtalgrid_core.errors import BrokenModel
from xtalgrid_nets.marco.int8 import quantised
from xtalgrid_nets.tensorflow.bundle import read_bundle
from xtalgrid_nets.tensorflow.graph import Convolutions, model, read_graph

TINY = dict(np.load(Path(__file__).parent / "data" / "tiny.npz"))
GRAPH = TINY["saved_model.pb"].tobytes()
VARIABLES = read_bundle(TINY["variables.index"].tobytes(), TINY["variables.data-00000-of-00001"].tobytes())
PICTURES = TINY["given"].transpose(0, 3, 1, 2)


def converted() -> Convolutions:
    net = Convolutions(read_graph(GRAPH), VARIABLES, "given")
    assert net.add("logits") == "logits"
    return net


def file(nodes: list, constants: list, *outputs: str) -> bytes:
    value = onnx.helper.make_tensor_value_info
    given = value("image", onnx.TensorProto.FLOAT, ["n", 3, 13, 13])
    return model(nodes, constants, given, [value(name, onnx.TensorProto.FLOAT, list("nchw")) for name in outputs])


def run(data: bytes) -> list[np.ndarray]:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"image": PICTURES})


def test_it_gives_what_tensorflow_gave() -> None:
    net = converted()
    kinds = [node.op_type for node in net.nodes]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Conv": 5, "Relu": 4, "AveragePool": 2, "Concat": 1, "MaxPool": 1
    }  # fmt: skip
    (logits,) = run(file(net.nodes, net.constants(), "logits"))
    expected = TINY["logits"][:, 0, 0]
    assert np.abs(expected[0] - expected[1]).max() > 0.01, "the pictures are told apart"
    assert logits[:, :, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_the_bytes_are_the_same_each_time() -> None:
    first, second = (file(net.nodes, net.constants(), "logits") for net in (converted(), converted()))
    assert first == second


def test_int8_gives_nearly_the_same() -> None:
    net = converted()
    relus = [node.name for node in net.nodes if node.op_type == "Relu"]
    logits, *values = run(file(net.nodes, net.constants(), "logits", *relus))
    nodes, integers = quantised(net, [float(value.max()) for value in values], {"features", "logits"})
    (rounded,) = run(file(nodes, integers, "logits"))
    assert 0 < np.abs(rounded - logits).max() < 0.02 * np.ptp(logits)
    weights = [onnx.numpy_helper.to_array(one) for one in integers if one.data_type == onnx.TensorProto.INT8]
    assert max(np.abs(one).max() for one in weights) == 64, "7 of the bits"


@pytest.mark.parametrize("damage", [b"", b"no graph at all", GRAPH[:100]])
def test_another_file_is_refused(damage: bytes) -> None:
    with pytest.raises(BrokenModel, match=r"saved_model\.pb"):
        read_graph(damage)


def test_a_layer_of_another_kind_is_refused() -> None:
    net = Convolutions(read_graph(GRAPH.replace(b"MaxPool", b"MinPool")), VARIABLES, "given")
    with pytest.raises(BrokenModel, match="the operation MinPool is not supported"):
        net.add("logits")
