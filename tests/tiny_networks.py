"""Tiny networks that score small wells at once, for tests and scripts that start thousands of workers; needs onnx."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import msgspec
import numpy as np

from xtalgrid_core.combination import Combination
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_core.weights import MANIFEST, ModelEntry, WeightsManifest

FEW_CHOPS = Pooling(tuple(tuple(row) for row in np.eye(4, FEATURES).tolist()), (0.0,) * 4)
"""A pooling that takes a group's probability from the 0.3·n best chops, with n chops over an average point."""

TOGETHER = Combination(0.6, 0.8, (0.1, -0.2, 0.0, 0.1))
"""How the tiny second opinion is combined with the tiny classifier: every number counts."""


def write_tiny_weights(folder: Path) -> Path:
    """Fill a folder with weights: a segmenter that takes dark pixels for the drop, and a classifier by mean colour.

    Red chops are harvestable crystals, green ones precipitate, blue ones clear.
    """
    from onnx import helper

    def save(name: str, nodes: list, inputs: dict, outputs: dict, constants: dict) -> ModelEntry:
        return ModelEntry(
            sha256=_save(folder / f"{name}.onnx", nodes, inputs, outputs, constants),
            role=name,
            file=f"{name}.onnx",
            architecture="tiny",
            variant="fp32",
            card=f"{name}.md",
            dense=name == "classifier",
            pooling=FEW_CHOPS if name == "classifier" else None,
        )

    segmenter = save(
        "segmenter",
        [
            helper.make_node("Conv", ["image", "darkness", "bias"], ["grey"]),
            helper.make_node("Sigmoid", ["grey"], ["mask"]),
        ],
        {"image": [1, 3, 256, 256]},
        {"mask": [1, 1, 256, 256]},
        {"darkness": np.full((1, 3, 1, 1), -0.1), "bias": [15.0]},  # the threshold is a mean level of 165
    )
    colours = np.zeros((len(CLASSES), 3, 1, 1))
    for channel, index in enumerate((0, 3, 10)):
        colours[index, channel] = 1.0
    classifier = save(
        "classifier",
        [
            helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[31, 31], strides=[16, 16]),
            helper.make_node("Conv", ["pooled", "colours"], ["class_map"]),
        ],
        {"image": ["N", 3, "H", "W"]},
        {"class_map": ["N", len(CLASSES), "h", "w"]},
        {"colours": colours},
    )
    manifest = WeightsManifest(
        schema=1,
        default={"segmenter": segmenter.sha256, "classifier": classifier.sha256},
        models=(segmenter, classifier),
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def write_tiny_second_opinion(folder: Path) -> str:
    """Make a folder of weights with a second opinion that goes by the mean colour of the central square.

    It has the inputs and outputs of MARCO's network. The redder, the more crystal; green is precipitate, blue clear.
    Returns its SHA-256.
    """
    from onnx import helper

    folder.mkdir(parents=True, exist_ok=True)
    colours = np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0], [0, -1, 1]]) / 20
    sha256 = _save(
        folder / "second.onnx",
        [
            helper.make_node("ReduceMean", ["image"], ["features"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["features", "colours"], ["logits"]),
        ],
        {"image": ["n", 3, 599, 599]},
        {"logits": ["n", 4], "features": ["n", 3]},
        {"colours": colours.T},
    )
    entry = ModelEntry(
        sha256=sha256,
        role="second_opinion",
        file="second.onnx",
        architecture="tiny",
        variant="fp32",
        card="second.md",
        combination=TOGETHER,
    )
    manifest = WeightsManifest(schema=1, default={"second_opinion": sha256}, models=(entry,))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return sha256


def _save(path: Path, nodes: list, inputs: dict, outputs: dict, constants: dict) -> str:
    """Write an ONNX file; return its SHA-256."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def hostile_segmenter(kind: str) -> bytes:
    """An ONNX file that is a segmenter by its inputs and outputs, and does harm when it is loaded or run.

    ``memory`` asks for 32 GiB at once, ``growing`` for four times as much with each node, ``endless`` never ends.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1])], []
    if kind == "memory":
        constants = [numpy_helper.from_array(np.array([2**33]), "shape")]
        nodes += [
            helper.make_node("ConstantOfShape", ["shape"], ["large"]),
            helper.make_node("ReduceMax", ["large"], ["one"], keepdims=0),
            helper.make_node("Mul", ["grey", "one"], ["mask"]),
        ]
    elif kind == "growing":
        names = ["grey", *(f"times {4**n}" for n in range(1, 20))]
        nodes += [
            helper.make_node("Concat", [before] * 4, [after], axis=1) for before, after in itertools.pairwise(names)
        ]
        nodes.append(helper.make_node("ReduceMean", names[-1:], ["mask"], axes=[1]))
    else:
        number, value = (helper.make_tensor_value_info("n", TensorProto.INT64, []), ["x"])
        body = helper.make_graph(
            [helper.make_node("Identity", ["go on"], ["still"]), helper.make_node("Neg", value, ["y"])],
            "body",
            [
                number,
                helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            ],
        )
        constants = [numpy_helper.from_array(np.array(value), name) for name, value in (("trips", 2**62), ("go", True))]
        nodes.append(helper.make_node("Loop", ["trips", "go", "grey"], ["mask"], body=body))
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 256, 256])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 256, 256])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def with_segmenter(folder: Path, data: bytes) -> Path:
    """Put another segmenter into a folder of weights, and into its manifest."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=WeightsManifest)
    sha256 = hashlib.sha256(data).hexdigest()
    models = tuple(
        msgspec.structs.replace(entry, sha256=sha256) if entry.role == "segmenter" else entry
        for entry in manifest.models
    )
    changed = msgspec.structs.replace(manifest, default=dict(manifest.default) | {"segmenter": sha256}, models=models)
    (folder / "segmenter.onnx").write_bytes(data)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(changed))
    return folder
