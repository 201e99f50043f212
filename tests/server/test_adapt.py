"""`model adapt`: from the scores that people gave to a candidate with its comparison, and never further."""

from __future__ import annotations

import csv
import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import MANIFEST, default_models, read_manifest
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange import adapt as adapting
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_well

from .conftest import INSPECTED, rigaku_name

QUICK = ("--rendered-wells", "1", "--remember-wells", "1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return from_string("[imager]\npixel_size_um = 2.6\n", home=tmp_path / "home")


def scored(config: Config, kinds: tuple[Outcome, ...]) -> None:
    """Wells of a plate, a column for each, that a person scored in the imager's score table."""
    with System(config) as system:
        for col, outcome in enumerate(kinds, start=1):
            name = rigaku_name(col=col)
            path = config.image_root / "CI022987" / "3" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            well = render_well(outcome, seed=col, width=640, height=540, pixel_size_um=2.6)
            Image.fromarray(well.image).save(path, quality=92)
            (entered,) = system.imager.register([ImageRow(0, "CI022987", 3, INSPECTED, Well(1, col, 1), name)])
            with system.imager.writing() as writer:
                writer.insert(entered.inspect_id, outcome.code, INSPECTED + timedelta(days=1), "jdoe", name)


def command(config: Config, *words: str) -> str:
    done = CliRunner().invoke(main, ["--home", str(config.home), "model", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_few_scores_are_said_to_be_too_few(config: Config) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    output = command(config, "adapt")
    assert "2 of 2 scored wells have a label" in output
    assert "too few: 50 are needed" in output


def test_from_peoples_scores_to_a_candidate_that_nobody_promoted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "LEAST_WELLS", 4)
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.CLEAR))
    output = command(config, "adapt", *QUICK)
    assert "4 of 4 scored wells have a label" in output
    assert "not better:" in output, "four wells, all right already, show nothing"
    assert "model promote" not in output
    folder = config.home / "adapted"
    with (folder / "wells.csv").open(newline="") as stream:
        assert [row["group"] for row in csv.DictReader(stream)] == ["clear", "crystal", "precipitate", "clear"]
    with System(config) as system:
        assert system.models_in_use() == default_models(), "nothing is promoted"
    made = (folder / "comparison.json").stat().st_mtime_ns
    assert "no new score since" in command(config, "adapt", *QUICK)
    assert (folder / "comparison.json").stat().st_mtime_ns == made


def test_an_error_of_the_fit_is_its_last_line(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "LEAST_WELLS", 1)
    scored(config, (Outcome.CLEAR,))
    done = CliRunner().invoke(main, ["--home", str(config.home), "model", "adapt", "--fold", "plates"])
    assert done.exit_code == 2
    assert "xtalgrid-train adapt: No such option" in done.output


def test_it_is_combined_with_the_second_opinion_that_the_configuration_names(
    tmp_path: Path, tiny_second_opinion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(tiny_second_opinion)
    (default,) = manifest.models
    data = (tiny_second_opinion / default.file).read_bytes()
    named = msgspec.structs.replace(
        default, sha256=hashlib.sha256(data + b"\0").hexdigest(), file="named.onnx", combination=None
    )
    text = f'home = "{tmp_path}"\n[imager]\npixel_size_um = 2.6\n[work]\nsecond_opinion = "{named.sha256}"\n'
    (tmp_path / "xtalgrid.toml").write_text(text)
    config = from_string(text)
    folder = shutil.copytree(tiny_second_opinion, config.weights / "second-opinion")
    (folder / named.file).write_bytes(data + b"\0")
    both = msgspec.structs.replace(manifest, models=(default, named))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(both))
    monkeypatch.setattr(adapting, "LEAST_WELLS", 1)
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "xtalgrid.toml"), "model", "adapt"])
    assert done.exit_code == 2
    assert f"second opinion {named.sha256[:12]}… has no combination" in done.output
