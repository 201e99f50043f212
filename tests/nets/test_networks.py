"""The networks start from ImageNet's weights, and their ONNX files give what torch gives."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from xtalgrid_core.decision import Calibration  # noqa: E402
from xtalgrid_core.errors import BrokenModel, ModelError, XtalgridError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, Group  # noqa: E402
from xtalgrid_core.weights import PACKAGED, ModelEntry, default_models, find_model  # noqa: E402
from xtalgrid_nets.export import export_classifier, export_segmenter, install, shift_crystals  # noqa: E402
from xtalgrid_nets.networks.squeezenet import SqueezeNet, load_imagenet  # noqa: E402
from xtalgrid_nets.segmenter import segmenter  # noqa: E402
from xtalgrid_nets.states import SEGMENTER, SQUEEZENET, from_onnx, load_trained, network, save_trained  # noqa: E402

IMAGENET = "weights/squeezenet1_1_imagenet_torchvision_names.npz"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pictures(n: int) -> np.ndarray:
    return network_input(np.random.default_rng(0).integers(0, 256, (n, 256, 256, 3), dtype=np.uint8))


def class_map(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["class_map"], {"image": x})[0]


def trained(path: Path, name: str) -> Path:
    save_trained(path, network(name), name, {"steps": 0})
    return path


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


@pytest.mark.parametrize("side", [256, 320])
def test_a_dense_classifiers_onnx_equals_torch_for_any_number_of_pictures_of_any_size(
    tmp_path: Path, side: int
) -> None:
    net = SqueezeNet().eval()
    export_classifier(net, tmp_path / "c.onnx")
    for n in (1, 3):
        x = np.pad(pictures(n), ((0, 0), (0, 0), (0, 0), (0, side - 256)))
        with torch.inference_mode():
            expected = net.class_map(torch.from_numpy(x)).numpy()
        assert expected.shape == (n, len(CLASSES), 15, 15 + (side - 256) // 16)
        assert np.allclose(class_map(tmp_path / "c.onnx", x), expected, atol=1e-4)


def test_a_network_without_a_map_gives_one_cell_a_chop(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.AvgPool2d(64), torch.nn.Flatten(), torch.nn.Linear(48, len(CLASSES))).eval()
    export_classifier(net, tmp_path / "c.onnx", dense=False)
    made = class_map(tmp_path / "c.onnx", pictures(3))
    with torch.inference_mode():
        expected = net(torch.from_numpy(pictures(3))).numpy()
    assert made.shape == (3, len(CLASSES), 1, 1)
    assert np.allclose(made[:, :, 0, 0], expected, atol=1e-4)


def test_a_map_of_another_stride_is_not_exported_as_dense(tmp_path: Path) -> None:
    net = torch.nn.Module()
    net.class_map = torch.nn.Conv2d(3, len(CLASSES), 32, stride=32)
    with pytest.raises(ModelError, match="needs 15 × 15 cells"):
        export_classifier(net, tmp_path / "c.onnx")


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
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": trained(tmp_path / "c.pt", SQUEEZENET)}
    install(states, tmp_path / "weights")
    first, second = default_models(tmp_path / "weights")
    for name, role in ((first, "segmenter"), (second, "classifier")):
        entry, data = find_model(name, role, [tmp_path / "weights"])
        assert hashlib.sha256(data).hexdigest() == entry.sha256 == name
        assert entry.dense == (role == "classifier")


def test_a_role_without_a_state_is_kept_with_its_calibration(tmp_path: Path) -> None:
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": trained(tmp_path / "c.pt", SQUEEZENET)}
    first = install(states, tmp_path / "weights", Calibration(slope=0.5, intercept=-1.0))
    again = install({"classifier": states["classifier"]}, tmp_path / "weights", crystal_shift=2.0)
    assert again.default["segmenter"] == first.default["segmenter"]
    assert again.default["classifier"] != first.default["classifier"]
    assert again.models[1].calibration == Calibration(slope=0.5, intercept=-1.0)
    with pytest.raises(ModelError, match="there is no segmenter here yet"):
        install({"classifier": states["classifier"]}, tmp_path / "empty")
    with pytest.raises(ModelError, match="is not a segmenter"):
        install({"segmenter": states["classifier"]}, tmp_path / "weights")


def test_a_share_of_the_present_classifier_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    first, second = (trained(tmp_path / f"{n}.pt", SQUEEZENET) for n in (1, 2))
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": first}
    install(states, folder, crystal_shift=3.0)
    install({"classifier": second}, folder, crystal_shift=3.0, keep=0.75)
    mixed = from_onnx(folder / "classifier.onnx", SQUEEZENET).state_dict()
    one, other = (load_trained(path)[0].state_dict() for path in (first, second))
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])
    for name, value in mixed.items():
        expected = 0.75 * one[name] + 0.25 * other[name]
        if name == "head.bias":
            expected[list(GROUP_CLASSES[Group.CRYSTAL])] -= 3
        assert torch.allclose(value, expected, atol=1e-6), name


def test_no_share_is_kept_of_a_classifier_that_is_not_there(tmp_path: Path) -> None:
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": trained(tmp_path / "c.pt", SQUEEZENET)}
    with pytest.raises(ModelError, match="export without --keep"):
        install(states, tmp_path / "weights", keep=0.5)


def test_the_shift_lowers_the_crystals_logits_alone() -> None:
    net, x = SqueezeNet().eval(), torch.from_numpy(pictures(1))
    with torch.inference_mode():
        before = net(x)
        shift_crystals(net, 2.0)
        lowered = (before - net(x))[0]
    crystals = list(GROUP_CLASSES[Group.CRYSTAL])
    expected = torch.zeros(len(CLASSES))
    expected[crystals] = 2.0
    assert torch.allclose(lowered, expected, atol=1e-5)


def test_the_packaged_weights_are_small_and_have_cards() -> None:
    total = 0
    for name, role in zip(default_models(), ("segmenter", "classifier"), strict=True):
        entry, data = find_model(name, role)
        assert (PACKAGED / entry.card).is_file()
        assert name[:12] in (PACKAGED / entry.card).read_text(encoding="utf-8")
        total += len(data)
    assert total <= 12_000_000


def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """Mixing a share of the present classifier in twice would be the worst of it."""
    folder = tmp_path / "weights"
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": trained(tmp_path / "1.pt", SQUEEZENET)}
    install(states, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = {"classifier": trained(tmp_path / "2.pt", SQUEEZENET)}
    with pytest.raises(XtalgridError, match="no training set here"):
        install(other, folder, keep=0.75, int8=tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "classifier.onnx").write_bytes(before["classifier.onnx"][:-1])
    with pytest.raises(BrokenModel, match=r"classifier\.onnx: missing, or its content does not match"):
        install(other, folder, keep=0.75)
    with pytest.raises(BrokenModel, match=r"classifier\.onnx: missing, or its content does not match"):
        install({}, folder)


def test_what_cannot_score_is_not_exported(tmp_path: Path) -> None:
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER)}
    save_trained(tmp_path / "five.pt", network("alexnet", 5), "alexnet", {}, classes="abcde")
    with pytest.raises(ModelError, match="this classifier has 5 outputs"):
        install({**states, "classifier": tmp_path / "five.pt"}, tmp_path / "weights")
    net = network(SQUEEZENET)
    next(net.parameters()).data[0] = float("nan")
    save_trained(tmp_path / "nan.pt", net, SQUEEZENET, {})
    with pytest.raises(ModelError, match=r"nan\.pt: some of its numbers are not finite"):
        install({**states, "classifier": tmp_path / "nan.pt"}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_an_export_removes_no_second_opinion(tmp_path: Path, tiny_second_opinion: Path) -> None:
    folder = shutil.copytree(tiny_second_opinion, tmp_path / "weights")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER), "classifier": trained(tmp_path / "c.pt", SQUEEZENET)}
    with pytest.raises(ModelError, match="weights: has a second opinion, which would be lost"):
        install(states, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_of_a_server_s_folder_the_network_in_use_is_kept_and_none_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    names = ("first", "in use")
    states = {"segmenter": trained(tmp_path / "s.pt", SEGMENTER)}
    entries: list[ModelEntry] = []
    for name in names:
        made = install({**states, "classifier": trained(tmp_path / f"{name}.pt", SQUEEZENET)}, tmp_path / name)
        entries += [e for e in made.models if e.sha256 not in {known.sha256 for known in entries}]
        folder.mkdir(exist_ok=True)
        for entry in made.models:
            shutil.copy(tmp_path / name / entry.file, folder / f"{entry.sha256}.onnx")
    listed = tuple(msgspec.structs.replace(entry, file=f"{entry.sha256}.onnx") for entry in entries)
    changed = msgspec.structs.replace(made, models=listed)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(changed))
    assert len(listed) == 3
    again = install({"segmenter": trained(tmp_path / "other.pt", SEGMENTER)}, folder)
    assert again.default["classifier"] == made.default["classifier"]
    assert again.default["segmenter"] != made.default["segmenter"]
    for entry in (*listed, again.models[0]):
        assert find_model(entry.sha256, entry.role, [folder])
