"""MXNet's checkpoints: its arrays are read, its networks recognised, and its probabilities come out."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.errors import BrokenModel, ModelError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.outcomes import CLASSES  # noqa: E402
from xtalgrid_nets.cli.imports import mxnet  # noqa: E402
from xtalgrid_nets.mxnet.checkpoints import import_checkpoint, read_symbol, save_features  # noqa: E402
from xtalgrid_nets.mxnet.params import read_params  # noqa: E402
from xtalgrid_nets.networks import NETWORKS as REGISTRY  # noqa: E402
from xtalgrid_nets.networks import build  # noqa: E402
from xtalgrid_nets.networks.squeezenet import load_imagenet  # noqa: E402
from xtalgrid_nets.networks.squeezenet_mxnet import convolutions  # noqa: E402
from xtalgrid_nets.states import load_trained  # noqa: E402

DATA = Path(__file__).parent / "data"
NETWORKS = {"gluon1_0": "squeezenet1.0-mxnet", "gluon1_1": "squeezenet1.1-mxnet", "elu": "squeezenet1.0-elu-mxnet"}
TRAINED = {"mean": (123.675, 116.28, 103.53), "std": (58.393, 57.12, 57.375), "bgr": True}
"""How the fixtures' pixels were made; see models/legacy-mxnet/with_mxnet.py."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def chops() -> torch.Tensor:
    """The two chops that MXNet saw."""
    small = np.random.RandomState(0).randint(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    return torch.from_numpy(network_input(small.repeat(64, 1).repeat(64, 2)))


def checkpoint(name: str, folder: Path, classes: int = 13, prefix: str = "arg:") -> tuple[Path, Path]:
    """A network of real MXNet, with the weights it had there: they are made from the names."""
    symbol, params = folder / f"{name}-symbol.json", folder / f"{name}-0000.params"
    text = gzip.decompress((DATA / f"{name}-symbol.json.gz").read_bytes()).decode()
    symbol.write_text(text.replace('"13"', f'"{classes}"'))
    found = read_symbol(symbol)
    arrays = {}
    layers = convolutions(build(found.name("13"), classes))  # type: ignore[arg-type]
    for names, layer in zip(found.weights, layers, strict=True):
        for parameter, tensor in zip(names, (layer.weight, layer.bias), strict=True):
            deviation = 0.1 if parameter.endswith("bias") else (2 / np.prod(tensor.shape[1:])) ** 0.5
            random = np.random.RandomState(zlib.crc32(parameter.encode()))
            arrays[prefix + parameter] = random.normal(0, deviation, tensor.shape).astype(np.float32)
    made = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        made += struct.pack(f"<Iii{array.ndim}qiii", 0xF993FAC9, 0, array.ndim, *array.shape, 1, 0, 0) + array.tobytes()
    made += struct.pack("<Q", len(arrays))
    made += b"".join(struct.pack("<Q", len(key)) + key.encode() for key in arrays)
    params.write_bytes(made)
    return symbol, params


def probabilities(net: torch.nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return torch.softmax(net.eval()(chops()), dim=1).numpy()


def test_arrays_of_mxnet_are_read_with_type_and_shape() -> None:
    found = read_params(DATA / "tiny.params")
    assert {name: (str(a.dtype), a.shape) for name, a in found.items()} == {
        "arg:a": ("float32", (1, 3)),
        "aux:b": ("int64", (3,)),
        "c": ("float16", (2,)),
        "d": ("uint8", (2, 3, 4)),
    }
    assert found["arg:a"].tolist() == [[1.5, -2.0, 3.25]]
    assert found["c"].tolist() == [0.5, 65504.0]
    assert found["d"].ravel().tolist() == list(range(24))


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    whole = (DATA / "tiny.params").read_bytes()
    path = tmp_path / "x.params"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenModel, match=r"x\.params: "):
            read_params(path)
    for place in range(0, 44, 4):  # heads of list and first array
        path.write_bytes(whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :])
        with pytest.raises(BrokenModel, match=r"x\.params: "):
            read_params(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_are_mxnets(name: str, tmp_path: Path) -> None:
    net, ours = import_checkpoint(*checkpoint(name, tmp_path), **TRAINED)
    assert ours == NETWORKS[name]
    expected = np.load(DATA / f"{name}.npy")  # from MXNet 1.9.1
    assert np.ptp(expected, axis=0).max() > 0.01  # the chops are told apart
    assert np.abs(probabilities(net) - expected).max() <= 1e-5


def test_the_workers_file_gives_them_too(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from xtalgrid_nets.export import export_classifier

    net, ours = import_checkpoint(*checkpoint("elu", tmp_path), **TRAINED)
    export_classifier(net, tmp_path / "c.onnx", REGISTRY[ours].dense)
    session = ort.InferenceSession(str(tmp_path / "c.onnx"), providers=["CPUExecutionProvider"])
    (cells,) = session.run(["class_map"], {"image": chops().numpy()})
    assert cells.shape == (2, 13, 1, 1)
    made = torch.softmax(torch.from_numpy(cells).mean(dim=(2, 3)), dim=1).numpy()
    assert np.abs(made - np.load(DATA / "elu.npy")).max() <= 1e-5


def test_all_cells_averaged_is_another_network(tmp_path: Path) -> None:
    files = checkpoint("gluon1_1", tmp_path)
    net, ours = import_checkpoint(*files, **TRAINED, pool="mean")
    assert ours == "squeezenet1.1-mxnet-mean"
    assert np.abs(probabilities(net) - np.load(DATA / "gluon1_1.npy")).max() > 1e-3
    with torch.inference_mode():
        assert net.class_map(chops()).shape == (2, 13, 15, 15)
    with pytest.raises(ModelError, match="leave --pool at 13"):
        import_checkpoint(*checkpoint("elu", tmp_path), pool="mean")


@pytest.mark.parametrize("name", NETWORKS)
def test_one_pass_over_a_picture_gives_the_chops_of_a_grid(name: str, tmp_path: Path) -> None:
    """But for the padding of the 3×3 convolutions, which sees the neighbours instead of zeros."""
    net, _ = import_checkpoint(*checkpoint(name, tmp_path), **TRAINED)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1, 18, 17, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    x = torch.from_numpy(network_input(picture))
    with torch.inference_mode():
        cells = torch.softmax(net.class_map(x), 1)
        corner = torch.softmax(net(x[:, :, 32:, 16:]), 1)
    assert cells.shape == (1, 13, 3, 2)
    assert (cells[:, :, 2, 1] - corner).abs().max() < 0.1


def test_a_checkpoint_becomes_a_trained_state_with_its_outputs_in_our_order(tmp_path: Path) -> None:
    symbol, params = checkpoint("gluon1_1", tmp_path, prefix="arg:")
    there = sorted(CLASSES)  # as folders in the order of their names
    out = tmp_path / "imported.pt"
    options = ["--classes", ",".join(there), "--bgr", "--mean", *map(str, TRAINED["mean"])]
    result = CliRunner().invoke(
        mxnet, [str(symbol), str(params), str(out), *options, "--std", *map(str, TRAINED["std"])]
    )
    assert result.exit_code == 0, result.output
    net, record = load_trained(out)
    assert record["network"] == "squeezenet1.1-mxnet"
    expected = np.load(DATA / "gluon1_1.npy")[:, [there.index(outcome) for outcome in CLASSES]]
    assert np.abs(probabilities(net) - expected).max() <= 1e-5


def test_another_count_of_outputs_comes_too_and_its_features_start_a_training(tmp_path: Path) -> None:
    symbol, params = checkpoint("gluon1_1", tmp_path, classes=5)
    groups = "crystal,precipitate,other,clear,rim"
    files = [str(symbol), str(params)]
    result = CliRunner().invoke(mxnet, [*files, str(tmp_path / "o.pt"), "--classes", groups])
    assert result.exit_code == 0, result.output
    assert "To start training from this one, write to OUT.npz" in result.output
    assert torch.load(tmp_path / "o.pt", weights_only=True)["classes"] == groups.split(",")
    net, _ = load_trained(tmp_path / "o.pt")
    with torch.inference_mode():
        assert net(chops()).shape == (2, 5)
    assert CliRunner().invoke(mxnet, [*files, str(tmp_path / "o.npz")]).exit_code == 0
    fresh = build("squeezenet1.1")
    load_imagenet(fresh, tmp_path / "o.npz")
    with torch.inference_mode():
        assert torch.equal(fresh.features(chops()), net.features(chops()))


def test_what_cannot_be_imported_is_said_in_one_line(tmp_path: Path) -> None:
    symbol, params = checkpoint("gluon1_1", tmp_path)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(mxnet, [*map(str, arguments), str(tmp_path / "o.pt")])
        assert result.exit_code == 1
        assert not (tmp_path / "o.pt").exists()
        return result.output.strip()

    assert "the meaning of the 13 outputs is unknown; name them in order with --classes" in run(symbol, params)
    assert "has 13 outputs, but --classes names 2" in run("--classes", "clear,rim", symbol, params)
    twisted = ",".join([*CLASSES[:-1], "edge"])
    assert "wrong or missing: edge, rim" in run("--classes", twisted, symbol, params)
    names = ("--classes", ",".join(CLASSES))
    other = checkpoint("gluon1_0", tmp_path)[1]
    assert "net_conv0_weight is (96, 3, 7, 7), not (64, 3, 3, 3); it belongs to another symbol file" in run(
        *names, symbol, other
    )
    assert "not a .params file of MXNet" in run(*names, symbol, symbol)
    assert "not a symbol file of MXNet" in run(*names, params, params)
    twins = checkpoint("elu", tmp_path)
    with pytest.raises(ModelError, match="uses ELU"):
        save_features(tmp_path / "o.npz", import_checkpoint(*twins)[0])
    nodes = json.loads(symbol.read_text())
    first = next(node for node in nodes["nodes"] if node["op"] == "Convolution")
    first["attrs"]["stride"] = "(1, 1)"
    symbol.write_text(json.dumps(nodes))
    message = run(*names, symbol, params)
    assert "layer 1 is convolution 64 (3, 3) (1, 1)" in message
    assert "where SqueezeNet 1.1 has convolution 64 (3, 3) (2, 2)" in message


@pytest.mark.slow
def test_real_mxnet_agrees(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where its environment has been made: ``XTALGRID_MXNET=FOLDER``, see models/legacy-mxnet."""
    folder = os.environ.get("XTALGRID_MXNET")
    if not folder or not shutil.which(f"{folder}/env/bin/python"):
        pytest.skip("no environment with MXNet; models/legacy-mxnet/README.md says how to make it")
    check = Path(__file__).parents[3] / "models" / "legacy-mxnet" / "check.py"
    done = subprocess.run([sys.executable, str(check), folder], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
