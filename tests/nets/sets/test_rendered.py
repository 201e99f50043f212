"""Training sets of rendered wells: all outcomes, or only those that one asks for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

from click.testing import CliRunner

from xtalgrid_nets.cli import main


def render(folder: Path, *arguments: str) -> list[str]:
    """Render three wells and three views; return their outcomes."""
    command = ["sets", "render", str(folder), "--wells", "3", "--views", "3", "--seed", "5", "--jobs", "1", *arguments]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    with (folder / "wells.csv").open(encoding="utf-8", newline="") as stream:
        return [row["outcome"] for row in csv.DictReader(stream)]


def test_only_the_outcomes_asked_for_are_rendered(tmp_path: Path) -> None:
    outcomes = render(tmp_path / "set", "--only", "phase separation", "--only", "other")
    assert len(outcomes) == 6
    assert set(outcomes) <= {"phase separation", "other"}
    made_by = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert made_by["arguments"]["only"] == ["other", "phase separation"]


def test_an_outcome_that_is_none_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["sets", "render", str(tmp_path / "set"), "--only", "crystal"])
    assert done.exit_code == 2
    assert "phase separation" in done.output
    assert not (tmp_path / "set").exists()
