"""Tiny networks that score small wells at once, for tests and scripts that start thousands of workers; needs onnx."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_core.weights import MANIFEST, ModelEntry, WeightsManifest

FEW_CHOPS = Pooling(tuple(tuple(row) for row in np.eye(4, FEATURES).tolist()), (0.0,) * 4)
"""A pooling that takes a group's probability from the 0.3·n best chops, with n chops over an average point."""


def write_tiny_weights(folder: Path) -> Path:
    """Fill a folder with weights: a segmenter that takes dark pixels for the drop, and a classifier by mean colour.

    Red chops are harvestable crystals, green ones precipitate, blue ones clear.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def save(name: str, nodes: list, inputs: dict, outputs: dict, constants: dict) -> ModelEntry:
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        return ModelEntry(
            sha256=hashlib.sha256(data).hexdigest(),
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
