"""What several tests need: the small networks, small images, and the real images where they are."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_core.weights import MANIFEST, ModelEntry, WeightsManifest

settings.register_profile("xtalgrid", deadline=None)  # a busy machine is no failure
settings.load_profile("xtalgrid")


def missing(what: str) -> NoReturn:
    """An outside program is not there, which `what` says: the test is skipped, and fails where everything is required."""
    if os.environ.get("XTALGRID_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and papers, which is no part of the repository."""
    folder = Path(os.environ.get("XTALGRID_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "real").is_dir():
        pytest.skip(f"no real images in {folder}; set XTALGRID_SHARED")
    return folder


FEW_CHOPS = Pooling(tuple(tuple(row) for row in np.eye(4, FEATURES).tolist()), (0.0,) * 4)
"""A pooling by which a group is as probable as three tenths of the chops that see a point say."""


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights: a segmenter for which dark pixels are drop, a classifier that goes by the mean colour.

    Red chops are harvestable crystals, green ones precipitate, blue ones clear.
    """
    onnx = pytest.importorskip("onnx", reason="the small test networks are made with onnx (extra dev)")
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

    folder = tmp_path_factory.mktemp("weights")
    segmenter = save(
        "segmenter",
        [
            helper.make_node("Conv", ["image", "darkness", "bias"], ["grey"]),
            helper.make_node("Sigmoid", ["grey"], ["mask"]),
        ],
        {"image": [1, 3, 256, 256]},
        {"mask": [1, 1, 256, 256]},
        {"darkness": np.full((1, 3, 1, 1), -0.1), "bias": [15.0]},  # mean levels of 165 are the border
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


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """An image's file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def well(colour: tuple[int, int, int] | None = (150, 40, 40), height: int = 480, width: int = 640) -> np.ndarray:
    """A white well with a round drop of one colour in the middle; None for no drop."""
    image = np.full((height, width, 3), 220, np.uint8)
    if colour is not None:
        row, col = np.ogrid[:height, :width]
        image[(row - height / 2) ** 2 + (col - width / 2) ** 2 < (height / 3) ** 2] = colour
    return image


def entry(number: int, data: bytes, pixel_size_um: float | None = 1.13) -> wire.ImageEntry:
    """A work unit's entry for an image's bytes."""
    return wire.ImageEntry(
        number=number,
        file=f"{number:03d}.png",
        inspect_id=1000 + number,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_size_um=pixel_size_um,
    )
