"""`model adapt`: from the scores that people gave to a candidate with its comparison, and never further."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

from xtalgrid_core.comparison import Comparison, write_comparison
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


def test_codes_that_mean_nothing_are_no_labels_and_images_that_are_away_are_said(config: Config) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.CLEAR))
    with System(config) as system:
        (drop, *_) = system.imager.scored_by_people()
        with system.imager.writing() as writer:
            writer.insert(drop.inspect_id, "36", INSPECTED + timedelta(days=2), "jdoe", rigaku_name(col=1))
    (config.image_root / "CI022987" / "3" / rigaku_name(col=2)).unlink()
    output = command(config, "adapt")
    assert "1 of 2 scored wells have a label" in output
    assert "no outcome for score '36' (1 wells)" in output
    assert "left out  1 images that are not under imager.image_root" in output


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of fits that would have been made; each leaves a candidate's comparison and table."""
    commands: list[list[str]] = []

    def fit(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(words[3:])
        folder = Path(words[5])
        made = Comparison(
            candidate=("a", "b"), current=default_models(), sources=(), verdict="better", reasons=(), made_at="now"
        )
        write_comparison(folder, made)
        shutil.copy(words[4], folder / "wells.csv")
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(adapting, "LEAST_WELLS", 2)
    monkeypatch.setattr(adapting.subprocess, "run", fit)
    return commands


def new_frozen_well(config: Config) -> None:
    (config.home / "frozen").mkdir()
    (config.home / "frozen" / "wells.csv").write_text("plate,image,label\nP,a.jpg,crystal\n")


def other_image(config: Config) -> None:
    path = config.image_root / "CI022987" / "3" / rigaku_name(col=1)
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, (1, 1))


def broken_comparison(config: Config) -> None:
    (config.home / "adapted" / "comparison.json").write_text("{")


@pytest.mark.parametrize("change", [new_frozen_well, other_image, broken_comparison])
def test_a_candidate_is_made_again_if_anything_that_it_depends_on_has_changed(
    config: Config, fits: list[list[str]], change: Callable[[Config], None]
) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    command(config, "adapt")
    assert "no new score since" in command(config, "adapt")
    assert len(fits) == 1
    change(config)
    assert "no new score since" not in command(config, "adapt")
    assert len(fits) == 2
    assert ("--frozen" in fits[1]) == (change is new_frozen_well)


def test_frozen_wells_count_however_people_write_their_header(config: Config, fits: list[list[str]]) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    folder = config.home / "frozen"
    folder.mkdir()
    (folder / "wells.csv").write_text("Plate, Image,label\nP, a.jpg,crystal\n")
    (folder / "a.jpg").write_bytes(b"one picture")
    command(config, "adapt")
    assert "no new score since" in command(config, "adapt")
    (folder / "a.jpg").write_bytes(b"another")
    assert "no new score since" not in command(config, "adapt")
    assert len(fits) == 2


def test_other_options_of_the_fit_make_another_candidate(config: Config, fits: list[list[str]]) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    command(config, "adapt")
    command(config, "adapt", "--last-layer")
    assert [fit[-1] == "--last-layer" for fit in fits] == [False, True]


def test_the_fit_calls_crystals_what_the_lab_calls_so(tmp_path: Path, fits: list[list[str]]) -> None:
    (tmp_path / "xtalgrid.toml").write_text(
        f'home = "{tmp_path / "home"}"\n[imager]\npixel_size_um = 2.6\n[work]\ncrystal_from = 0.3\n'
    )
    scored(from_string((tmp_path / "xtalgrid.toml").read_text()), (Outcome.CLEAR, Outcome.HARVESTABLE))
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "xtalgrid.toml"), "model", "adapt"])
    assert done.exit_code == 0, done.output
    assert fits[0][fits[0].index("--crystal-from") + 1] == "0.3"


def test_a_rule_that_does_not_use_what_is_adapted_is_said(tmp_path: Path, fits: list[list[str]]) -> None:
    (tmp_path / "xtalgrid.toml").write_text(f'home = "{tmp_path / "home"}"\n[work]\nrule = "group"\n')
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "xtalgrid.toml"), "model", "adapt"])
    assert done.exit_code == 2
    assert 'work.rule is "group", and what is adapted decides only by the rule "pooled"' in done.output
    assert fits == []


def test_no_candidate_is_left_of_scores_that_were_taken_back(config: Config, fits: list[list[str]]) -> None:
    scored(config, (Outcome.CLEAR, Outcome.HARVESTABLE))
    command(config, "adapt")
    adapted = config.home / "adapted"
    path = config.image_root / "CI022987" / "3" / rigaku_name(col=1)
    path.rename(path.with_suffix(".away"))
    assert "too few" in command(config, "adapt")
    assert (adapted / "comparison.json").is_file(), "a share that is off takes no score back"
    path.with_suffix(".away").rename(path)
    with System(config) as system:
        for drop in system.imager.scored_by_people():
            with system.imager.writing() as writer:
                writer.insert(drop.inspect_id, "13", INSPECTED + timedelta(days=2), "asmith", None)
    output = command(config, "adapt")
    assert "0 of 2 scored wells have a label" in output
    assert "can't be promoted: people took back scores" in output
    assert not (adapted / "comparison.json").exists()


def test_a_fit_that_the_system_kills_says_so(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "LEAST_WELLS", 1)
    monkeypatch.setattr(
        adapting.subprocess,
        "run",
        lambda words, **_: subprocess.CompletedProcess(words, -9, "", "left out  a.jpg: the same image as b.jpg\n"),
    )
    scored(config, (Outcome.CLEAR,))
    done = CliRunner().invoke(main, ["--home", str(config.home), "model", "adapt"])
    assert done.exit_code == 2
    assert "xtalgrid-train adapt: killed by signal 9, as where memory is short" in done.output
