"""How far a second opinion can be trusted is fitted to judged wells, and shown source by source."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="training needs the extra [train]")

from tests.conftest import BLUE, GREEN, RED, encoded, well
from tests.tiny_networks import TOGETHER

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group
from xtalgrid_core.weights import read_manifest
from xtalgrid_nets.cli import main
from xtalgrid_nets.judge.second_opinion import MOST, PRIOR, Opinions, Well, check_split, fit, weights_of
from xtalgrid_nets.judge.truth import Truth

RNG = np.random.default_rng(5)


def says(groups: np.ndarray, right: float) -> np.ndarray:
    """A network that gives 0.7 to one group: in the part `right` of all wells to the true one, else to any."""
    named = np.where(RNG.random(len(groups)) < right, groups, RNG.integers(0, 4, len(groups)))
    return np.full((len(groups), 4), 0.1) + 0.6 * np.eye(4)[named]


def test_without_wells_both_are_trusted_alike() -> None:
    nothing = np.zeros((0, 4))
    assert fit(Opinions(nothing, nothing), np.zeros(0, np.int64), np.zeros(0)) == PRIOR


def test_whoever_is_right_more_often_is_trusted_more() -> None:
    groups = RNG.integers(0, 4, 400)
    good, bad = says(groups, 0.9), says(groups, 0.1)
    found = fit(Opinions(good, bad), groups, np.ones(400))
    turned = fit(Opinions(bad, good), groups, np.ones(400))
    # what 0.7 against 0.1 means: 0.925 against 0.025 of the good one, 0.325 against 0.225 of the bad one
    powers = np.log([0.925 / 0.025, 0.325 / 0.225]) / np.log(0.7 / 0.1)
    assert (found.ours, found.second) == pytest.approx(powers, abs=0.2)
    assert (turned.second, turned.ours) == pytest.approx((found.ours, found.second), abs=0.01)
    assert found(good, bad).mean(axis=0) == pytest.approx(
        np.bincount(groups) / 400, abs=0.05
    )  # calibrated in the large


def test_how_frequent_groups_are_among_picked_wells_changes_nothing() -> None:
    """A hundred picked crystals, which both recognize, beside wells of all groups."""
    groups = RNG.integers(0, 4, 200)
    own, second = says(groups, 0.8), says(groups, 0.8)
    crystals = says(np.zeros(100, np.int64), 1.0)
    more = Opinions(np.concatenate([own, crystals]), np.concatenate([second, crystals]))
    of_all = np.concatenate([groups, np.zeros(100, np.int64)])
    alone = fit(Opinions(own, second), groups, np.ones(200))
    natural, picked = (fit(more, of_all, np.ones(300), np.arange(300) >= start) for start in (300, 200))
    assert natural.shifts[0] > alone.shifts[0] + 0.15
    assert picked.shifts == pytest.approx(alone.shifts, abs=0.05)


def test_a_large_source_counts_as_few_wells_and_trained_ones_as_half() -> None:
    def wells(source: str, count: int, trained: str = "") -> list[Well]:
        return [Well(Truth(Path(), source, "real", "", Group.CLEAR), True, trained)] * count

    weights = weights_of([*wells("plates", 1200), *wells("AMi", 3), *wells("MARCO/GSK", 4, "MARCO")])
    assert weights[:1200].sum() == pytest.approx(MOST)
    assert weights[1200:].tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_the_command_fits_and_judges(tmp_path: Path, tiny_weights: Path, tiny_second_opinion: Path) -> None:
    folder = shutil.copytree(tiny_second_opinion, tmp_path / "second")
    rows = []
    for number, (label, colour) in enumerate(
        [("crystal", RED), ("precipitate", GREEN), ("clear", BLUE), ("null experiment", None)] * 2
    ):
        shade = None if colour is None else tuple(level + number for level in colour)
        (tmp_path / f"{number}.png").write_bytes(encoded(well(shade, 240 + 8 * number)))
        is_training = number < 4
        rows.append(
            {
                "image": f"{number}.png",
                "source": "lab",
                "label": label,
                "confidence": "high",
                "trained": "" if number != 7 else "MARCO",
                "split": "train" if is_training else "judge",
            }
        )
    with (tmp_path / "wells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    words = [folder, "--wells", tmp_path / "wells.csv", "--images", tmp_path, "--work", tmp_path / "work"]
    command = ["judge", "second-opinion", *map(str, words), "--weights", str(tiny_weights), "--jobs", "1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (entry,) = read_manifest(folder).models
    assert entry.combination not in (None, TOGETHER, PRIOR)
    assert str(entry.combination) in done.output
    lines = [line for line in done.output.splitlines() if line.startswith("|")]
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "lab",
        "lab (trained MARCO)",
        "all that trained neither",
    ]
    assert lines[-1].split(" | ")[1:5] == ["3", "3, 3, 3", "1, 1, 1 of 1", "0, 0, 0 of 2"]
    again = CliRunner().invoke(main, [*command, "--no-fit"])
    assert again.output == done.output
    (tmp_path / "wells.csv").write_text("image,source\n1.png,lab\n")
    missing = CliRunner().invoke(main, command)
    assert missing.exit_code == 1
    assert "no column label, confidence, trained, split" in missing.output


def test_without_wells_to_fit_to_nothing_is_written(
    tmp_path: Path, tiny_weights: Path, tiny_second_opinion: Path
) -> None:
    folder = shutil.copytree(tiny_second_opinion, tmp_path / "second")
    before = (folder / "manifest.json").read_bytes()
    words = ["judge", "second-opinion", str(folder), "--work", str(tmp_path / "work"), "--weights", str(tiny_weights)]
    (tmp_path / "none.png").write_bytes(encoded(well(None)))
    head = "image,source,label,confidence,trained,split\n"
    for rows in ("", "none.png,lab,null experiment,high,,train\n"):  # without a drop nothing is combined
        (tmp_path / "wells.csv").write_text(head + rows)
        table = ["--wells", str(tmp_path / "wells.csv"), "--images", str(tmp_path), "--jobs", "1"]
        done = CliRunner().invoke(main, [*words, *table])
        assert done.exit_code == 1
        assert "no surely judged well with a drop to fit to: give --plates" in done.output
        assert (folder / "manifest.json").read_bytes() == before


def test_what_was_fitted_to_does_not_judge_under_another_name(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("copy", b"one"), ("b", b"two")):
        (tmp_path / name).write_bytes(content)

    def wells(*names: str) -> list[Well]:
        truths = [Truth(tmp_path / name, "lab", "real", "", Group.CLEAR) for name in names]
        return [Well(truth, number == 0) for number, truth in enumerate(truths)]

    check_split(wells("a", "b"))
    with pytest.raises(ConfigError, match=r"copy: judges, but is the same picture as .*a, which trains"):
        check_split(wells("a", "b", "copy"))
    with pytest.raises(ConfigError, match="b: listed twice"):
        check_split([*wells("a", "b"), *wells("b")])
