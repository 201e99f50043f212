"""Table 2's figures, by hand on a few chops, and of a trained state on a set of a few wells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("sklearn", reason="judging needs the extra [train]")

from xtalgrid_core.outcomes import CLASSES, PRIORITY, Outcome  # noqa: E402
from xtalgrid_nets.cli import judge as commands  # noqa: E402
from xtalgrid_nets.judge import chops  # noqa: E402
from xtalgrid_nets.networks import build  # noqa: E402
from xtalgrid_nets.sets.format import held_out  # noqa: E402
from xtalgrid_nets.states import save_trained  # noqa: E402


def test_figures_by_hand() -> None:
    """Three chops: a crystal called so, a crystal called precipitate with a crystal class second, a clear one called rim."""
    p = np.full((3, 13), 0.01)
    p[0, PRIORITY[Outcome.BAD_FORM]] = 0.88
    p[1, PRIORITY[Outcome.PRECIPITATE]], p[1, PRIORITY[Outcome.HARVESTABLE]] = 0.5, 0.39
    p[2, PRIORITY[Outcome.RIM]] = 0.88
    labels = np.array([PRIORITY[o] for o in (Outcome.HARVESTABLE, Outcome.HARVESTABLE, Outcome.CLEAR)])
    found = chops.figures(p, labels, "S", "held out", 2)
    assert (found.accuracy.hits, found.groups.hits) == (0, 2)
    assert found.top5 is not None
    assert found.top5.hits == 2  # of equal ones the first in priority; clear comes late
    assert [share.hits for share in found.missed_crystals] == [1, 0, 0]
    assert (found.crystals.hits, found.crystals.of) == (1, 2)
    assert found.loss == pytest.approx(-(np.log(0.01) + np.log(0.39) + np.log(0.01)) / 3)
    assert found.crystal_auc == 1.0


def test_the_five_classes_have_no_top_5() -> None:
    p = np.array([[0.6, 0.1, 0.1, 0.1, 0.1], [0.3, 0.1, 0.1, 0.4, 0.1]])
    found = chops.figures(p, np.array([0, 4]), "S", "held out", 1)
    assert found.top5 is None
    assert (found.accuracy.hits, found.groups.hits) == (1, 2)  # clear for rim: the same group


def plates(held: bool, count: int) -> list[str]:
    return [name for name in (f"P{n}" for n in range(200)) if held_out(name) is held][:count]


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Four wells with two chops each: one red and one green on each plate, two plates held out."""
    folder = tmp_path / "set"
    folder.mkdir()
    names = plates(True, 2) + plates(False, 2)
    pixels = np.zeros((8, 256, 256, 3), np.uint8)
    pixels[0::2, :, :, 0] = 255
    pixels[1::2, :, :, 1] = 255
    np.save(folder / "chops.npy", pixels)
    np.save(folder / "labels.npy", np.array([0, 3] * 4, np.uint8))
    np.save(folder / "wells.npy", np.repeat(np.arange(4), 2))
    rows = "".join(f"{i},{name},imager {i % 2},{i}.jpg,clear\n" for i, name in enumerate(names))
    (folder / "wells.csv").write_text(f"well,plate,source,image,outcome\n{rows}", encoding="utf-8")
    lengths = {"chops.npy": 8, "labels.npy": 8, "wells.npy": 8}
    arrays = {name: {"sha256": "0" * 64, "shape": [length]} for name, length in lengths.items()}
    (folder / "dataset.json").write_text(json.dumps({"arrays": arrays}), encoding="utf-8")
    return folder


def test_a_state_is_judged_source_by_source_on_plates_it_never_saw(small_set: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build("squeezenet1.1")
    save_trained(tmp_path / "a.pt", net, "squeezenet1.1", {"epochs": 3.0, "seconds_an_epoch": 90.0, "seconds": 270.0})
    done = CliRunner().invoke(
        commands.evaluate_chops, [str(small_set), str(tmp_path / "a.pt"), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    (state,) = json.loads((tmp_path / "out" / "chops.json").read_bytes())
    parameters = sum(value.numel() for value in net.parameters())
    assert state["parameters"] == parameters
    assert state["size_mb"] == pytest.approx(4 * parameters / 2**20)
    parts = [(p["source"], p["part"], p["wells"], p["accuracy"]["of"]) for p in state["parts"]]
    assert parts == [(s, part, 1, 2) for part in ("held out", "training") for s in ("imager 0", "imager 1")]
    text = done.output
    assert "| squeezenet1.1 | 13 |" in text
    assert "| 1.50 |" in text  # minutes an epoch
    with torch.inference_mode():
        logits = net.eval()(torch.tensor([[[[132.0]], [[-117.0]], [[-104.0]]]]).expand(1, 3, 256, 256))
    assert logits.shape == (1, len(CLASSES))
    expected = -float(torch.log_softmax(logits.double(), 1)[0, 0])
    green = torch.tensor([[[[-123.0]], [[138.0]], [[-104.0]]]]).expand(1, 3, 256, 256)
    with torch.inference_mode():
        expected -= float(torch.log_softmax(net(green).double(), 1)[0, 3])
    assert state["parts"][0]["loss"] == pytest.approx(expected / 2, rel=1e-4)


def test_what_cannot_be_judged_is_said_in_a_line(small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    done = CliRunner().invoke(commands.evaluate_chops, [str(small_set), str(tmp_path / "bad.pt")])
    assert done.exit_code == 1
    assert "not a trained state" in done.output
    done = CliRunner().invoke(commands.evaluate_chops, [str(tmp_path / "none"), str(tmp_path / "bad.pt")])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
