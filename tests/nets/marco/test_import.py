"""``xtalgrid-train import marco``: the published network from its wheel, the same files each time, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="training needs the extra [train]")

import onnx
import onnxruntime as ort
from tests.conftest import missing

import xtalgrid
from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import UnknownModel
from xtalgrid_core.images import WellImage
from xtalgrid_core.weights import default_models, find_model, read_manifest
from xtalgrid_nets.cli import main
from xtalgrid_nets.marco import install
from xtalgrid_nets.quantize import check_weights
from xtalgrid_scoring.second_opinion import network_input, probabilities

CHECK_WELL = Path(__file__).parents[3] / "server" / "xtalgrid_server" / "steps" / "check_well.jpg"


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["import", "marco", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MARCO's wheel, 43 MB: ``XTALGRID_MARCO_WHEEL=FILE``, or downloaded by pip."""
    given = os.environ.get("XTALGRID_MARCO_WHEEL")
    if given:
        return Path(given)
    try:
        return install.download(tmp_path_factory.mktemp("wheel"))
    except install.ModelError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("marco") / "weights"
    code, output = run("--out", made, "--wheel", wheel)
    assert code == 0, output
    assert [line.split()[2] for line in output.splitlines()] == list(install.IDS.values())
    return made


def test_the_files_have_the_names_that_are_known(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert [(entry.role, entry.variant) for entry in manifest.models] == [
        ("second_opinion", "fp32"),
        ("second_opinion", "int8"),
    ]
    for entry in manifest.models:
        assert entry.sha256 == hashlib.sha256((folder / entry.file).read_bytes()).hexdigest()
        assert find_model(entry.sha256, "second_opinion", [folder])[0] == entry
        assert (folder / entry.card).is_file()
    check_weights(onnx.load(folder / "marco-int8.onnx").graph, "marco-int8.onnx")
    assert "Apache License" in (folder / "LICENSE").read_text()
    with pytest.raises(UnknownModel, match="no segmenter here"):
        default_models(folder)


def test_a_score_has_both_opinions(folder: Path) -> None:
    """A rendered well with crystals, of which MARCO's network is surer than ours are of the well's group."""
    alone = xtalgrid.Scorer().score(CHECK_WELL)
    for name, most in (("marco.onnx", 1e-5), ("marco-int8.onnx", 0.02)):
        score = xtalgrid.Scorer(second_opinion=folder / name).score(CHECK_WELL)
        assert score.second_opinion is not None
        assert list(score.second_opinion.values()) == pytest.approx([0.902712, 0.046037, 0.027441, 0.023810], abs=most)
        assert score.own_probabilities == alone.probabilities
        assert score.probabilities != alone.probabilities
        assert sum(score.probabilities.values()) == pytest.approx(1)
        assert score.group == "crystal"


def test_it_says_of_a_well_what_tensorflow_says(folder: Path) -> None:
    """TensorFlow 2.21 with the SavedModel, of the picture as libjpeg's accurate method decodes it (models/legacy-tensorflow, `answers`)."""
    expected = [0.902712, 0.046037, 0.027441, 0.023810]
    picture = network_input(WellImage(CHECK_WELL.read_bytes()))
    for entry, most in zip(read_manifest(folder).models, (1e-5, 0.02), strict=True):
        session = ort.InferenceSession(folder / entry.file, providers=["CPUExecutionProvider"])
        found = probabilities(lambda given: session.run(["logits"], {"image": given})[0], picture)  # noqa: B023
        assert found == pytest.approx(expected, abs=most)
    assert session.run(["features"], {"image": np.zeros((2, 3, 599, 599), np.float32)})[0].shape == (2, 1056)


def test_again_over_the_old_ones_but_not_over_others(folder: Path, wheel: Path, tiny_weights: Path) -> None:
    assert run("--out", folder, "--wheel", wheel)[0] == 0
    code, output = run("--out", tiny_weights, "--wheel", wheel)
    assert code == 1
    assert output == f"Error: {tiny_weights}: contains other weights; give a separate folder\n"


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "marco.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("dls_marco_score_ispyb/savedmodel/saved_model.pb", b"")
    code, output = run("--out", tmp_path / "out", "--wheel", wheel)
    assert code == 1
    assert output.startswith(f"Error: {wheel}: SHA-256 is ")
    assert output.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_another_result_is_refused(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of another release stand for anything that would change the bytes."""
    monkeypatch.setattr(install.convert, "RANGES", (1.0, *install.convert.RANGES[1:]))
    code, output = run("--out", tmp_path / "out", "--wheel", wheel)
    assert code == 1
    assert output.startswith("Error: the int8 network has SHA-256 ")
    assert f"numpy {np.__version__}" in output
    assert output.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    code, output = run("--out", tmp_path / "out")
    assert code == 1
    assert output.startswith("Error: pip could not download dls-marco-score-ispyb 1.0.1 (")
    assert "--wheel" in output
    assert output.count("\n") == 1


def test_it_needs_no_torch(wheel: Path, tmp_path: Path) -> None:
    """A server imports it with the extra [marco] alone."""
    absent = ("cv2", "matplotlib", "onnxscript", "scipy", "segmentation_models_pytorch", "skimage", "sklearn", "torch")
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); from xtalgrid_nets.cli import main; main()"
    command = [sys.executable, "-c", program, "import", "marco", "--out", tmp_path, "--wheel", wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [entry.sha256 for entry in read_manifest(tmp_path).models] == list(install.IDS.values())


def test_without_onnx_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules.update(onnx=None); from xtalgrid_nets.cli import main; main()"
    command = [sys.executable, "-c", program, "import", "marco", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    added = f"{sys.executable} -m pip install 'xtalgrid[marco]'"
    assert done.stderr == f"Error: onnx is not installed; add it by: {added}\n"


def test_a_full_disk_leaves_no_manifest(wheel: Path, tmp_path: Path) -> None:
    """The limit of a file's size stands for a disk that has no room for the larger network."""
    program = "from xtalgrid_nets.cli import main; main()"
    command = ["bash", "-c", 'ulimit -f 20000; exec "$@"', "", sys.executable, "-c", program, "import", "marco"]
    done = subprocess.run([*command, "--out", tmp_path, "--wheel", wheel], capture_output=True, text=True)
    assert done.returncode == 1, done
    assert done.stderr.startswith("Error: [Errno 27]")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tensorflow_says_the_same_of_a_hundred_wells(folder: Path, wheel: Path, shared: Path, tmp_path: Path) -> None:
    """Where it is installed: ``XTALGRID_TENSORFLOW=PYTHON``, see models/legacy-tensorflow. As served, it decodes JPEG files by a fast, coarse method."""
    python = os.environ.get("XTALGRID_TENSORFLOW")
    if not python:
        pytest.skip("no environment with TensorFlow; models/legacy-tensorflow/README.md says how to make it")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    kinds = {".jpg", ".jpeg", ".png"}
    images = sorted(
        path for path in (shared / "real").rglob("*") if path.suffix in kinds and "mask" not in path.parent.name
    )
    script = Path(__file__).parents[3] / "models" / "legacy-tensorflow" / "with_tensorflow.py"
    command = [
        python,
        script,
        "answers",
        tmp_path / "dls_marco_score_ispyb" / "savedmodel",
        *images[:: len(images) // 100],
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    session = ort.InferenceSession(folder / "marco.onnx", providers=["CPUExecutionProvider"])
    answers = {"accurate": [], "served": [], "ours": []}
    for line in map(json.loads, said):
        picture = network_input(WellImage(Path(line["image"]).read_bytes()))
        line["ours"] = probabilities(lambda given: session.run(["logits"], {"image": given})[0], picture)
        for which, found in answers.items():
            found.append(line[which])
    ours = np.array(answers["ours"])
    assert len(ours) >= 100
    differences = {which: np.abs(np.array(answers[which]) - ours).max(axis=1) for which in ("accurate", "served")}
    print({which: (found.max(), np.median(found)) for which, found in differences.items()})
    assert differences["accurate"].max() < 1e-3
    assert np.median(differences["served"]) < 0.01


def test_a_combination_that_a_lab_fitted_is_said_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_contents", lambda wheel: {install._LICENCE: b"Apache"})
    monkeypatch.setattr(install, "_convert", lambda parts: {"fp32": b"one", "int8": b"other"})
    (tmp_path / "wheel").touch()
    words = ("--out", tmp_path / "out", "--wheel", tmp_path / "wheel")
    first = run(*words)
    assert run(*words) == first, "nothing is lost"
    manifest = read_manifest(tmp_path / "out")
    fitted = msgspec.structs.replace(manifest.models[1], combination=Combination(0.9, 0.1, (0.0, 0.0, 0.0, 0.0)))
    changed = msgspec.structs.replace(manifest, models=(manifest.models[0], fitted))
    (tmp_path / "out" / "manifest.json").write_bytes(msgspec.json.encode(changed))
    code, output = run(*words)
    assert (code, output.count("replaced")) == (0, 1)
    assert "int8: replaced Combination(ours=0.9, second=0.1" in output
