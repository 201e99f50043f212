"""The scripts that make weights: what was half made, or made of something else, is never taken for what was asked for."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

DEV = Path(__file__).parents[2] / "scripts" / "dev"


def script(name: str) -> ModuleType:
    spec = spec_from_file_location(name, DEV / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_weights_are_judged_only_when_they_are_those_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_weights = script("judge_weights")
    (tmp_path / "state.pt").write_text("a state")

    def fails(*words: str) -> None:
        raise SystemExit("the export failed")

    def exports(*words: str) -> None:
        (Path(words[words.index("--out") + 1]) / "classifier.onnx").write_text("exported")

    monkeypatch.setattr(judge_weights, "run", fails)
    with pytest.raises(SystemExit, match="the export failed"):
        judge_weights.export(tmp_path, tmp_path / "state.pt", "0.7", False)
    assert not (tmp_path / "weights").exists()
    monkeypatch.setattr(judge_weights, "run", exports)
    for keep in ("0.7", "0.70"):
        weights = judge_weights.export(tmp_path, tmp_path / "state.pt", keep, False)
        assert (weights / "classifier.onnx").read_text() == "exported"
        assert (weights / "segmenter.onnx").is_file()
    for keep, calibrate in (("0.5", False), ("0.7", True)):
        with pytest.raises(SystemExit, match="made of another state, share or package"):
            judge_weights.export(tmp_path, tmp_path / "state.pt", keep, calibrate)
    (tmp_path / "state.pt").write_text("another state")
    with pytest.raises(SystemExit, match="made of another state, share or package"):
        judge_weights.export(tmp_path, tmp_path / "state.pt", "0.7", False)


def test_a_leg_goes_on_only_with_the_wells_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_leg = script("train_leg")
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(train_leg, "run", lambda work, *words: commands.append(words))
    assert train_leg.rendered(tmp_path, "rendered-01", 7, 800, 1, ["--only", "clear"]) == "rendered-01"
    assert commands[0][-2:] == ("--only", "clear")
    (tmp_path / "rendered-01").mkdir()
    arguments = {"wells": 800, "views": 0, "seed": 7, "only": ["clear"]}
    (tmp_path / "rendered-01" / "dataset.json").write_text(json.dumps({"arguments": arguments}))
    train_leg.rendered(tmp_path, "rendered-01", 7, 800, 1, ["--only", "clear"])
    for wells, only in (
        (400, ["--only", "clear"]),
        (800, ["--only", "other"]),
        (800, ["--only", "clear", "--in-precipitate"]),
    ):
        with pytest.raises(SystemExit, match="holds 800 wells of other options"):
            train_leg.rendered(tmp_path, "rendered-01", 7, wells, 1, only)
    assert len(commands) == 1


def test_networks_trained_on_other_sets_are_not_in_one_table(tmp_path: Path) -> None:
    tables = script("network_tables")
    run = tmp_path / tables.run_folder(tables.ROWS[0], 40)
    run.mkdir()
    (run / "record.json").write_text(json.dumps({"finished": True, "data": {"rendered": {}}}))
    work = tables.Work.__new__(tables.Work)
    work.folder = tmp_path
    tables.train(work, tables.ROWS[0], ["rendered"], 40, None, None)
    with pytest.raises(tables.Failed, match="was trained on rendered, not on rendered, marco_tiles"):
        tables.train(work, tables.ROWS[0], ["rendered", "marco_tiles"], 40, None, None)
