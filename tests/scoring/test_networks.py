import shutil

import numpy as np
import pytest

from tests.conftest import CHOP_BY_CHOP
from tests.tiny_networks import with_segmenter
from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.networks import Networks


@pytest.fixture
def folder_with(tiny_weights, tmp_path):
    """``folder_with(data)``: the folder of small weights with the segmenter replaced, and a matching manifest."""

    def make(data: bytes):
        folder = with_segmenter(shutil.copytree(tiny_weights, tmp_path / "weights"), data)
        segmenter, classifier = default_models(folder)
        return folder, wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP)

    return make


def test_a_mask_has_the_views_size_and_probabilities(networks):
    view = np.full((256, 256, 3), 220, np.uint8)
    view[50:100, 20:200] = 40
    mask = networks.mask(view)
    assert (mask.shape, mask.dtype) == ((256, 256), np.float32)
    assert mask[60, 100] > 0.99
    assert mask[10, 10] < 0.01


@pytest.mark.parametrize("n", [1, 3])
def test_each_chop_has_13_probabilities(networks, n):
    probabilities = networks.probabilities(np.full((n, 256, 256, 3), (200, 30, 30), np.uint8))
    assert probabilities.shape == (n, 13)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert probabilities[:, 0].min() > 0.99


def test_missing_weights_are_unknown(options):
    with pytest.raises(UnknownModel, match="update this worker"):
        Networks.load(options)


@pytest.mark.parametrize("data", [b"", b"no network at all", b"\x08\x09" * 500])
def test_a_file_that_is_not_a_network_is_broken(folder_with, data):
    folder, options = folder_with(data)
    with pytest.raises(BrokenModel, match=r"segmenter .* cannot be loaded"):
        Networks.load(options, [folder])


def test_a_classifier_used_as_a_segmenter_is_broken(folder_with, tiny_weights):
    folder, options = folder_with((tiny_weights / "classifier.onnx").read_bytes())
    with pytest.raises(BrokenModel, match="expected"):
        Networks.load(options, [folder])


@pytest.mark.parametrize("location", ["weights.bin", "/{folder}/weights.bin", "../{name}/weights.bin", ""])
@pytest.mark.parametrize("where", ["graph", "constant", "branch", "function", "sparse"])
def test_weights_in_another_file_are_refused_unread(folder_with, tiny_weights, tmp_path, monkeypatch, location, where):
    """Wherever ONNX lets a tensor be; the file is there, in the folder that the process stands in."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.full(1, 15, np.float32).tobytes())
    model = onnx.load(tiny_weights / "segmenter.onnx")
    outside = onnx.numpy_helper.from_array(np.full(1, 15, np.float32), "outside")
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", location.format(folder=tmp_path, name=tmp_path.name)
    constant = onnx.helper.make_node("Constant", [], ["unused"], value=outside)
    if where == "graph":
        next(tensor for tensor in model.graph.initializer if tensor.name == "bias").CopyFrom(outside)
        model.graph.initializer[-1].name = "bias"
    elif where == "constant":
        model.graph.node.insert(0, constant)
    elif where == "branch":
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        model.graph.node.insert(0, onnx.helper.make_node("If", ["bias"], [], then_branch=branch, else_branch=branch))
    elif where == "function":
        model.functions.append(onnx.helper.make_function("x", "f", [], ["unused"], [constant], []))
    else:
        model.graph.sparse_initializer.add().values.CopyFrom(outside)
    folder, options = folder_with(model.SerializeToString())
    with pytest.raises(BrokenModel, match=r"keeps weights in another file .* export it again as one file"):
        Networks.load(options, [folder])


def test_names_in_a_file_cannot_control_a_terminal(folder_with, tiny_weights):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_weights / "segmenter.onnx")
    model.graph.output[0].name = model.graph.node[-1].output[0] = "\x1b[2J\nINFO all is well" + "x" * 5000
    folder, options = folder_with(model.SerializeToString())
    with pytest.raises(BrokenModel, match=r"\\x1b\[2J\\nINFO") as error:
        Networks.load(options, [folder])
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)
    assert len(str(error.value)) < 500


def test_an_onnx_file_in_another_format_is_refused(folder_with):
    """ONNX Runtime's own format begins so; its tensors are not looked through for other files."""
    folder, options = folder_with(b"\x18\0\0\0ORTM" + bytes(500))
    with pytest.raises(BrokenModel, match="it is not an ONNX file"):
        Networks.load(options, [folder])


def test_weights_nested_endlessly_are_refused_at_once(folder_with):
    message = b""
    for _ in range(4000):  # a graph in an attribute in a node in a graph ...
        for key in (b"\x32", b"\x2a", b"\x0a"):
            message = key + varint(len(message)) + message
    folder, options = folder_with(b"\x3a" + varint(len(message)) + message)
    with pytest.raises(BrokenModel, match="it is not an ONNX file"):
        Networks.load(options, [folder])


def varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])
