import hashlib
import shutil

import msgspec
import numpy as np
import pytest

from tests.conftest import CHOP_BY_CHOP
from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.weights import MANIFEST, read_manifest
from xtalgrid_scoring.networks import Networks


@pytest.fixture
def folder_with(tiny_weights, tmp_path):
    """``folder_with(data)``: the folder of small weights with the segmenter replaced, and a matching manifest."""

    def make(data: bytes):
        folder = shutil.copytree(tiny_weights, tmp_path / "weights")
        manifest = read_manifest(folder)
        sha256 = hashlib.sha256(data).hexdigest()
        models = tuple(
            msgspec.structs.replace(entry, sha256=sha256) if entry.role == "segmenter" else entry
            for entry in manifest.models
        )
        default = dict(manifest.default) | {"segmenter": sha256}
        (folder / MANIFEST).write_bytes(
            msgspec.json.encode(msgspec.structs.replace(manifest, default=default, models=models))
        )
        (folder / "segmenter.onnx").write_bytes(data)
        return folder, wire.Options(segmenter=sha256, classifier=default["classifier"], **CHOP_BY_CHOP)

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
