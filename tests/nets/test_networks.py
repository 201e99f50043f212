"""The networks: they start from ImageNet's weights, take odd sizes, and their ONNX files give what torch gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.outcomes import CLASSES  # noqa: E402
from xtalgrid_core.weights import PACKAGED, default_models, find_model  # noqa: E402
from xtalgrid_nets.export import export_classifier, export_segmenter, install  # noqa: E402
from xtalgrid_nets.networks.squeezenet import SqueezeNet, load_imagenet  # noqa: E402
from xtalgrid_nets.segmenter import segmenter  # noqa: E402

IMAGENET = "weights/squeezenet1_1_imagenet_torchvision_names.npz"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pictures(n: int) -> np.ndarray:
    return network_input(np.random.default_rng(0).integers(0, 256, (n, 256, 256, 3), dtype=np.uint8))


def test_a_chop_gives_a_map_of_15_by_15_and_one_logit_a_class() -> None:
    net = SqueezeNet().eval()
    x = torch.from_numpy(pictures(2))
    assert net.features(x).shape == (2, 512, 15, 15)
    assert net(x).shape == (2, len(CLASSES))
    assert net(x[:, :, :97, :130]).shape == (2, len(CLASSES))


def test_both_networks_start_from_imagenet_weights(shared: Path) -> None:
    classifier, unet = SqueezeNet(), segmenter()
    load_imagenet(classifier, shared / IMAGENET)
    load_imagenet(unet.encoder, shared / IMAGENET)
    assert torch.equal(classifier.features[0].weight, unet.encoder.features[0].weight)
    assert classifier.features[0].weight.std() > 0.05  # not the fresh initialisation


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **{"features.0.weight": np.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"other\.npz: these are not the features of SqueezeNet"):
        load_imagenet(SqueezeNet(), tmp_path / "other.npz")


def test_the_classifiers_onnx_equals_torch_for_any_number_of_chops(tmp_path: Path) -> None:
    net = SqueezeNet().eval()
    export_classifier(net, tmp_path / "c.onnx")
    session = ort.InferenceSession(str(tmp_path / "c.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        (made,) = session.run(["probabilities"], {"chops": pictures(n)})
        with torch.inference_mode():
            expected = torch.softmax(net(torch.from_numpy(pictures(n))), dim=1).numpy()
        assert made.shape == (n, len(CLASSES))
        assert np.allclose(made, expected, atol=1e-5)


def test_the_segmenters_onnx_equals_torch(tmp_path: Path) -> None:
    net = segmenter().eval()
    export_segmenter(net, tmp_path / "s.onnx")
    session = ort.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    (made,) = session.run(["mask"], {"image": pictures(1)})
    with torch.inference_mode():
        expected = torch.sigmoid(net(torch.from_numpy(pictures(1)))).numpy()
    assert made.shape == (1, 1, 256, 256)
    assert np.allclose(made, expected, atol=1e-4)  # an untrained network's logits reach 100


def test_installed_weights_are_found_by_their_hash(tmp_path: Path) -> None:
    torch.save(SqueezeNet().state_dict(), tmp_path / "c.pt")
    torch.save(segmenter().state_dict(), tmp_path / "s.pt")
    install({"segmenter": tmp_path / "s.pt", "classifier": tmp_path / "c.pt"}, tmp_path / "weights")
    first, second = default_models(tmp_path / "weights")
    for name, role in ((first, "segmenter"), (second, "classifier")):
        entry, data = find_model(name, role, [tmp_path / "weights"])
        assert hashlib.sha256(data).hexdigest() == entry.sha256 == name


def test_the_packaged_weights_are_small_and_have_cards() -> None:
    total = 0
    for name, role in zip(default_models(), ("segmenter", "classifier"), strict=True):
        entry, data = find_model(name, role)
        assert (PACKAGED / entry.card).is_file()
        assert name[:12] in (PACKAGED / entry.card).read_text(encoding="utf-8")
        total += len(data)
    assert total <= 12_000_000
