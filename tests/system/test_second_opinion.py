"""A second opinion on its way: from the configuration to every host, and refused by those that do not have it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.conftest import BLUE, GREEN, RED, encoded, well
from tests.system.compat.conftest import as_release as as_release
from tests.system.compat.conftest import release as release
from xtalgrid_core import wire
from xtalgrid_core.weights import read_manifest
from xtalgrid_server.cli import boinc_hooks as hooks
from xtalgrid_server.config import Config, load
from xtalgrid_server.grids.boinc.weights import weight_files
from xtalgrid_server.steps.system import System

WORKER = [sys.executable, "-m", "xtalgrid_worker.cli"]


@pytest.fixture
def config(tmp_path: Path, tiny_weights: Path, tiny_second_opinion: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A lab's configuration that names the small networks and the small second opinion."""
    named = read_manifest(tiny_weights).default | read_manifest(tiny_second_opinion).default
    work = "".join(f'{role} = "{sha256}"\n' for role, sha256 in named.items())
    file = tmp_path / "xtalgrid.toml"
    file.write_text(f"[imager]\npixel_size_um = 1.13\n[import]\nnames = 'any'\n[work]\n{work}")
    config = load(file, tmp_path / "home")
    shutil.copytree(tiny_weights, config.weights)
    shutil.copytree(tiny_second_opinion, config.weights / "second-opinion")
    monkeypatch.setenv("XTALGRID_CONFIG", str(file))
    monkeypatch.setenv("XTALGRID_HOME", str(config.home))
    return config


@pytest.fixture
def unit(config: Config, tmp_path: Path) -> Path:
    """The folder in the spool of a unit of four wells."""
    wells = tmp_path / "wells"
    wells.mkdir()
    for name, colour in (("a", RED), ("b", GREEN), ("c", BLUE), ("d", None)):
        (wells / f"{name}.png").write_bytes(encoded(well(colour)))
    with System(config) as system:
        system.import_folder(wells)
        system.create_work()
    (folder,) = (config.spool / "units").iterdir()
    return folder


def run(words: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [*WORKER, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    return done.returncode, done.stderr


def slot_of(unit: Path, config: Config, slot: Path) -> Path:
    """A BOINC client's slot with the unit and all that is sent beside it."""
    slot.mkdir()
    shutil.copy(unit / "unit.zip", slot / wire.UNIT_FILE)
    options = config_options(config)
    pair = options.segmenter, options.classifier
    for file in weight_files(config, pair, options.second_opinion):
        (slot / file.logical).write_bytes(file.data)
    return slot


def config_options(config: Config) -> wire.Options:
    with System(config) as system:
        (name,) = system.ledger.units.attempts("planned", "sent")
        unit = system.ledger.units.named(name)
    assert unit is not None
    return wire.decode_manifest(unit.manifest).options


def test_two_hosts_make_a_quorum(config: Config, unit: Path, tmp_path: Path) -> None:
    """One finds the network on the server's disk, the other got it beside the unit, as BOINC's sticky files."""
    slot = slot_of(unit, config, tmp_path / "slot")
    results = [tmp_path / f"{unit.name}.1_{number}_r1{number}_0" for number in range(2)]
    assert run(["run", unit / "unit.zip", results[0], "--weights", config.weights], tmp_path)[0] == 0
    code, said = run(["boinc"], slot)
    assert code == 0, said
    shutil.copy(slot / wire.RESULT_FILE, results[1])
    assert [hooks.main(["check", str(result)]) for result in results] == [hooks.OK] * 2
    assert hooks.main(["compare", *map(str, results)]) == hooks.OK
    shutil.copy(results[1], unit / "result.json")
    with System(config) as system:
        assert system.assimilate().scores == 4
        answers = [score.answer for score in system.ledger.scores.by_id(range(1, 10))]
    seconds = [answer.second_opinion for answer in answers if isinstance(answer, wire.Scored)]
    assert len(seconds) == 4 and None not in seconds


def test_a_host_that_answers_otherwise_makes_none(config: Config, unit: Path, tmp_path: Path) -> None:
    honest, other = (tmp_path / f"{unit.name}.1_{number}_r1{number}_0" for number in range(2))
    assert run(["run", unit / "unit.zip", honest, "--weights", config.weights], tmp_path)[0] == 0
    result = wire.decode_result(honest.read_bytes())
    options = config_options(config)
    first, *rest = result.images
    assert isinstance(first, wire.Scored) and first.second_opinion and first.own_groups and options.combination
    second = msgspec.structs.replace(first.second_opinion, groups=(0.1, 0.2, 0.3, 0.4))
    crystal, precipitate, other_group, clear = options.combination(first.own_groups, second.groups).tolist()
    groups = crystal, precipitate, other_group, clear
    forged = msgspec.structs.replace(
        first, second_opinion=second, groups=groups, p_crystal=crystal, probability=max(groups)
    )
    other.write_bytes(wire.encode(msgspec.structs.replace(result, images=(forged, *rest))))
    assert hooks.main(["compare", str(honest), str(other)]) != hooks.OK


def test_a_host_without_the_network_says_unknown_model(config: Config, unit: Path, tmp_path: Path) -> None:
    shutil.rmtree(config.weights / "second-opinion")
    code, said = run(["run", unit / "unit.zip", tmp_path / "result.json", "--weights", config.weights], tmp_path)
    second = config.work.second_opinion[:12]
    assert code == 78
    assert f"unknown model: second opinion {second}… is not available here" in said
    assert not (tmp_path / "result.json").exists()


def test_a_worker_of_before_second_opinions_refuses_the_unit(
    config: Config, unit: Path, tmp_path: Path, as_release: dict[str, str]
) -> None:
    """It would ignore fields that it does not know, and score alone; the rule's name and the weights' role stop it."""
    old = {**os.environ, **as_release}
    code, said = run(["run", unit / "unit.zip", tmp_path / "result.json", "--weights", config.weights], tmp_path, old)
    assert (code, (tmp_path / "result.json").exists()) == (2, False)
    assert "combined" in said
    slot = slot_of(unit, config, tmp_path / "slot")
    code, said = run(["boinc"], slot, old)
    assert code != 0
    assert "second_opinion" in said
    assert not (slot / wire.RESULT_FILE).exists()
