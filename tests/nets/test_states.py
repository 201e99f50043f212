"""Trained states come back as they were written, and out of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from xtalgrid_core.errors import BrokenModel, ModelError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.outcomes import CLASSES  # noqa: E402
from xtalgrid_core.weights import PACKAGED  # noqa: E402
from xtalgrid_nets.export import export_segmenter  # noqa: E402
from xtalgrid_nets.networks.squeezenet import SqueezeNet  # noqa: E402
from xtalgrid_nets.states import SEGMENTER, SLIM_SEGMENTER, SQUEEZENET, from_onnx, load_trained, network, save_trained  # noqa: E402
from xtalgrid_scoring.networks import load_network  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def picture() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, (1, 3, 256, 256)).astype(np.float32)


def given(net: torch.nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(picture())).numpy()


def test_a_state_comes_back_with_its_name_and_record(tmp_path: Path) -> None:
    net = network(SQUEEZENET)
    save_trained(tmp_path / "c.pt", net, SQUEEZENET, {"steps": 12})
    found, record = load_trained(tmp_path / "c.pt")
    assert record == {"steps": 12, "network": SQUEEZENET}
    assert not found.training
    assert np.array_equal(given(found), given(net.eval()))


def test_a_bare_state_of_squeezenet_is_taken(tmp_path: Path) -> None:
    net = SqueezeNet()
    torch.save(net.state_dict(), tmp_path / "old.pt")
    found, record = load_trained(tmp_path / "old.pt")
    assert record["network"] == SQUEEZENET
    assert np.array_equal(given(found), given(net.eval()))


def test_what_is_no_state_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no state")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pt")
    for name in ("text.pt", "list.pt", "other.pt"):
        with pytest.raises(BrokenModel, match=name) as caught:
            load_trained(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"squeezenet1\.1"):
        network("lenet")


@pytest.mark.parametrize(
    ("role", "name", "output"), [("classifier", SQUEEZENET, "class_map"), ("segmenter", SLIM_SEGMENTER, "mask")]
)
def test_the_packaged_weights_come_back_into_torch(role: str, name: str, output: str) -> None:
    path = PACKAGED / f"{role}.onnx"
    (expected,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        [output], {"image": picture()}
    )
    net = from_onnx(path, name)
    made = (
        net.class_map(torch.from_numpy(picture()))
        if role == "classifier"
        else net(torch.from_numpy(picture())).sigmoid()
    )
    assert np.allclose(made.detach().numpy(), expected, atol=1e-4)


def test_int8_weights_come_back_too_without_the_rounding_between_the_layers() -> None:
    path = PACKAGED / "classifier-int8.onnx"
    coarse = np.random.default_rng(0).integers(90, 170, (1, 16, 16, 3), np.uint8)
    pixels = coarse.repeat(16, axis=1).repeat(16, axis=2)
    expected = load_network(path.read_bytes(), "class_map", path.name)(pixels)
    made = from_onnx(path, SQUEEZENET).class_map(torch.from_numpy(network_input(pixels))).detach().numpy()
    assert np.corrcoef(made.ravel(), expected.ravel())[0, 1] > 0.996, "0.995 with the fp32 weights"
    assert np.abs(made.mean(axis=(2, 3)) - expected.mean(axis=(2, 3))).max() < 0.05 * expected.std()


def test_running_statistics_come_back_too(tmp_path: Path) -> None:
    net = network(SEGMENTER)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    export_segmenter(net, tmp_path / "s.onnx")
    found = from_onnx(tmp_path / "s.onnx", SEGMENTER).state_dict()
    for key, value in net.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(found[key], value), key


def test_another_networks_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    for path, name in ((PACKAGED / "segmenter.onnx", SQUEEZENET), (PACKAGED / "classifier.onnx", "squeezenet1.0")):
        with pytest.raises(BrokenModel, match="not the weights of squeezenet"):
            from_onnx(path, name)
    with pytest.raises(BrokenModel, match="not an ONNX file"):
        from_onnx(tmp_path / "text.onnx", SQUEEZENET)


def test_outputs_in_another_order_are_not_taken_for_the_outcomes(tmp_path: Path) -> None:
    save_trained(tmp_path / "c.pt", network(SQUEEZENET), SQUEEZENET, {}, classes=[*reversed(CLASSES)])
    with pytest.raises(BrokenModel, match=r"c\.pt: its outputs are rim, clear with other features, .*; give one with"):
        load_trained(tmp_path / "c.pt")
