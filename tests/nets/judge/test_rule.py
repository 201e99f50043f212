"""Rules tried on windows decide as the worker decides, and windows are those of the worker."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn", reason="judging needs the extra [train]")
pytest.importorskip("onnxruntime")

from tests.conftest import encoded, well

from xtalgrid_core import wire
from xtalgrid_core.chops import Box, cut, dense_window, smallest_overlap
from xtalgrid_core.decision import decide
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.images import WellImage, network_input
from xtalgrid_core.onnx_files import with_note
from xtalgrid_core.options import Options, Rule
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome, published
from xtalgrid_core.weights import PACKAGED, default_models, default_options, find_model
from xtalgrid_nets.cli import judge as commands
from xtalgrid_nets.judge import rule, success, windows
from xtalgrid_nets.judge.metrics import share
from xtalgrid_nets.judge.scoring import Settings, score
from xtalgrid_nets.judge.truth import Truth
from xtalgrid_scoring.drop import WellDrop, cut_out
from xtalgrid_scoring.networks import Networks
from xtalgrid_synth import render_plate


def by(**options: Any) -> Options:
    return Options(segmenter="a" * 64, classifier="b" * 64, **options)


def invented(wells: int, seed: int) -> windows.WindowSet:
    """Wells of random windows that hardly agree; the last has none."""
    rng = np.random.default_rng(seed)
    boxes = np.array(dense_window(600, 500, 48), np.int32)
    logits = rng.normal(0, 3, (wells, len(boxes), 13)) + rng.normal(0, 2, (wells, 1, 13))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return windows.WindowSet(
        names=np.array([f"{n}.jpg" for n in range(wells + 1)]),
        plates=np.array(["P"] * (wells + 1)),
        groups=rng.integers(0, 4, wells + 1),
        ends=np.append(np.arange(1, wells + 1), wells) * len(boxes),
        probabilities=probabilities.reshape(-1, 13).astype(np.float32),
        boxes=np.tile(boxes, (wells, 1)),
    )


@pytest.mark.parametrize("kind", ["group", "published"])
@pytest.mark.parametrize(("threshold", "support"), [(0.85, 0.0), (0.7, 0.2), (0.95, 0.5)])
def test_a_trial_decides_as_the_worker_does(kind: Rule, threshold: float, support: float) -> None:
    wells = invented(40, seed=5)
    support = support if kind == "group" else 0.0
    (trial,) = (t for t in rule.sweep(wells, [threshold], [support]) if t.rule == kind)
    called = []
    for a, b in zip([0, *wells.ends[:-1]], wells.ends, strict=True):
        boxes = dense_window(600, 500, 48)
        if b > a:
            decided = decide(wells.probabilities[a:b], boxes, by(rule=kind, threshold=threshold, support=support))
            called.append(decided.outcome.group)
        else:
            called.append(Group.OTHER)
    truth = [SCORED_GROUPS[i] for i in wells.groups]
    assert trial.weighted_mean.hits == sum(c is t for c, t in zip(called, truth, strict=True))
    assert trial.undecided.hits == called.count(Group.UNKNOWN)
    crystals = [c for c, t in zip(called, truth, strict=True) if t is Group.CRYSTAL]
    assert (trial.crystals_called.hits, trial.crystals_called.of) == (crystals.count(Group.CRYSTAL), len(crystals))
    assert len(set(called)) > 2  # or nothing was tested


def test_a_shift_of_log_odds_is_a_shift_of_the_last_bias() -> None:
    wells = invented(30, seed=6)
    logits = np.log(wells.probabilities)
    logits[:, :3] += 1.5
    logits[:, 6:10] -= 0.5
    powers = np.exp(logits)
    moved = windows.WindowSet(
        wells.names, wells.plates, wells.groups, wells.ends, powers / powers.sum(axis=1, keepdims=True), wells.boxes
    )
    (shifted,) = (t for t in rule.sweep(wells, [0.8], [0.2], [1.5], [0.0], [-0.5]) if t.rule == "group")
    (plain,) = (t for t in rule.sweep(moved, [0.8], [0.2]) if t.rule == "group")
    assert shifted.weighted_mean == plain.weighted_mean
    assert shifted.crystals_found == plain.crystals_found
    (unshifted,) = (t for t in rule.sweep(wells, [0.8], [0.2]) if t.rule == "group")
    assert shifted.weighted_mean != unshifted.weighted_mean


def test_the_best_rules_keep_the_limits_and_find_most() -> None:
    trials = list(rule.sweep(invented(60, seed=7), [0.6, 0.8, 0.95], [0.0, 0.5], [-2.0, 0.0, 2.0]))
    limit = 0.4
    first, *others = rule.best(trials, limit, rows=100)
    assert first.others_opened.rate is not None
    assert first.others_opened.rate <= limit
    assert all(first.crystals_found.hits >= other.crystals_found.hits for other in others)
    assert len(others) < len(trials) - 1  # some open too many
    assert "| group |" in "\n".join(rule.lines([first]))


def test_the_windows_are_the_workers(tmp_path: Path) -> None:
    if not find_model(default_models(PACKAGED)[1], "classifier")[0].dense:
        pytest.skip("the packaged classifier is not dense")
    outcomes = [Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT]
    files = render_plate(tmp_path, barcode="WW000001", seed=3, wells=outcomes, width=640, height=480, pixel_size_um=4.5)
    answers = score(files, Settings(rule="published", threshold=0.5), tmp_path / "scores")
    truths = [Truth(path, "S", "rendered", "P", outcome.group) for path, outcome in zip(files, outcomes, strict=True)]
    (written,) = windows.collect(truths, tmp_path / "windows")
    before = written.stat().st_mtime_ns
    found = windows.read(tmp_path / "windows")
    assert found.names.tolist() == [path.name for path in files]
    for path, a, b in zip(files, [0, *found.ends[:-1]], found.ends, strict=True):
        answer = answers[path]
        assert isinstance(answer, wire.Scored)
        if answer.outcome is Outcome.NULL_EXPERIMENT:
            assert a == b
            continue
        assert found.probabilities[a:b].max(axis=0) == pytest.approx(answer.probabilities, abs=2e-3)
        boxes = [Box(*map(int, box)) for box in found.boxes[a:b]]
        decided = decide(found.probabilities[a:b], boxes, by(rule="published", threshold=0.5))
        assert published(decided.outcome) is answer.outcome
    windows.collect(truths, tmp_path / "windows")
    assert written.stat().st_mtime_ns == before


def test_windows_are_of_the_table_s_pixel_size_and_of_all_plates(tmp_path: Path, tiny_weights: Path) -> None:
    """Two plates whose names have the same letters of ours, of wells that are 640 pixels wide."""
    truths = []
    for name, um in (("結晶-01", 1.13), ("蛋白-01", 2.26)):
        (tmp_path / f"{um}.png").write_bytes(encoded(well()))
        truths.append(Truth(tmp_path / f"{um}.png", "lab", "real", name, Group.CRYSTAL, pixel_size_um=um))
    files = windows.collect(truths, tmp_path / "windows", tiny_weights)
    assert len(set(files)) == 2
    found = windows.read(tmp_path / "windows")
    extents = {}
    for plate, (_, boxes) in zip(found.plates.tolist(), found, strict=True):
        extents[plate] = (boxes[:, 1] + boxes[:, 3]).max() - boxes[:, 1].min()
    assert extents["蛋白-01"] == pytest.approx(2 * extents["結晶-01"], abs=64)


def test_windows_of_several_networks_are_not_mixed(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(well()))
    other = tmp_path / "other"
    shutil.copytree(tiny_weights, other)
    listed = json.loads((other / "manifest.json").read_bytes())
    data = with_note((other / "classifier.onnx").read_bytes(), "note", "another one")
    (other / "classifier.onnx").write_bytes(data)
    (entry,) = (model for model in listed["models"] if model["role"] == "classifier")
    entry["sha256"] = listed["default"]["classifier"] = hashlib.sha256(data).hexdigest()
    (other / "manifest.json").write_text(json.dumps(listed))
    for plate, weights in (("P1", tiny_weights), ("P2", other)):
        truth = Truth(tmp_path / "a.png", "lab", "real", plate, Group.CRYSTAL)
        windows.collect([truth], tmp_path / "windows", weights)
    with pytest.raises(ConfigError, match=r"lab-p1\.npz and lab-p2\.npz were made with different networks"):
        windows.read(tmp_path / "windows")


def test_windows_of_another_version_of_the_library_are_made_anew(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(well()))
    truth = Truth(tmp_path / "a.png", "lab", "real", "P1", Group.CRYSTAL)
    made = []
    for version in ("one", "one", "other"):
        monkeypatch.setattr(windows, "library", lambda version=version: version)
        (file,) = windows.collect([truth], tmp_path / "windows", tiny_weights)
        made.append(file.stat().st_mtime_ns)
    assert made[0] == made[1] < made[2]


def test_plates_of_an_earlier_run_are_named(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(well()))
    words = [str(tmp_path / "out"), "--wells", str(tmp_path / "wells.csv"), "--weights", str(tiny_weights)]
    said = []
    for plate in ("P1", "P2"):
        (tmp_path / "wells.csv").write_text(f"plate,image,label,source\n{plate},a.png,crystal,lab\n")
        done = CliRunner().invoke(commands.windows, [*words, "--jobs", "1"])
        assert done.exit_code == 0, done.output
        said.append("1 plates of earlier runs are there too, such as lab-p1.npz" in done.output)
    assert said == [False, True]


def test_an_image_without_windows_is_named(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"no picture")
    truth = Truth(tmp_path / "torn.png", "lab", "real", "P1", Group.CRYSTAL)
    with pytest.raises(ImageError, match=r"torn\.png"):
        windows.collect([truth], tmp_path / "windows", tiny_weights)


def test_a_network_in_training_sees_windows_one_by_one(tmp_path: Path) -> None:
    """CrystalNet, which has no class map, answers for each window of the grid as for a chop by itself."""
    torch = pytest.importorskip("torch")
    from xtalgrid_nets.networks import build
    from xtalgrid_nets.states import save_trained

    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = build("crystalnet", 13).eval()
    save_trained(tmp_path / "state.pt", net, "crystalnet", {})
    (path,) = render_plate(
        tmp_path, barcode="WW2", seed=4, wells=[Outcome.CLEAR], width=640, height=480, pixel_size_um=4.5
    )
    truth = Truth(path, "S", "rendered", "P", Group.CLEAR)
    trained = windows.OneByOne(tmp_path / "state.pt", 256)
    windows.collect([truth], tmp_path / "windows", trained=trained)
    found = windows.read(tmp_path / "windows")
    options = default_options(PACKAGED)
    drop = cut_out(WellImage(path.read_bytes()), Networks.load(options).mask)
    assert isinstance(drop, WellDrop)
    boxes = drop.chops("exact", 256)
    assert [tuple(box) for box in boxes] == [tuple(box) for box in found.boxes.tolist()]
    with torch.inference_mode():
        wanted = torch.softmax(net(torch.from_numpy(network_input(cut(drop.view, boxes)))), dim=1).numpy()
    assert found.probabilities == pytest.approx(wanted, abs=1e-5)


def test_table_3_counts_undecided_wells_as_wrong_and_pools_by_other_plates() -> None:
    """On 4 plates of 12 wells the groups' windows differ, but not by a probability of 0.85."""
    groups = np.tile(np.arange(4), 12)
    logits = np.random.default_rng(8).normal(0, 0.3, (48, 9, 13))
    for group, first in enumerate((0, 3, 6, 10)):
        logits[groups == group, :, first] += 2.5
    powers = np.exp(logits)
    boxes = np.array(smallest_overlap(600, 600), np.int32)
    wells = windows.WindowSet(
        names=np.array([f"{n}.jpg" for n in range(48)]),
        plates=np.repeat(["A", "B", "C", "D"], 12),
        groups=groups,
        ends=np.arange(1, 49) * 9,
        probabilities=(powers / powers.sum(axis=2, keepdims=True)).reshape(-1, 13).astype(np.float32),
        boxes=np.tile(boxes, (48, 1)),
    )
    found = success.table3(wells)
    assert found["c = 0.85"].weighted_mean == share(0, 48)
    assert found[success.POOLED].weighted_mean == share(48, 48)
    assert found[success.POOLED].groups["crystal"] == share(12, 12)
    assert "| pooled | 100.0 %" in success.markdown(found)
    one_plate = windows.WindowSet(
        wells.names, np.repeat("A", 48), wells.groups, wells.ends, wells.probabilities, wells.boxes
    )
    assert success.POOLED not in success.table3(one_plate)
