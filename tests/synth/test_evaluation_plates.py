"""The plates for evaluating models: frozen, rendered in one run or several, and unlike anything in a training set."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_synth import evaluation_plates
from xtalgrid_synth.evaluation_plates import (
    TEST_PLATES,
    VALIDATION_PLATES,
    Camera,
    PlateSettings,
    render_evaluation_plates,
)

SMALL = (
    PlateSettings("TS000001", 7, "disc", Camera(96, 80, 30.0)),
    PlateSettings("TS000002", 8, "ring", Camera(96, 80, 30.0)),
)


def test_the_settings_are_frozen() -> None:
    """Figures of different models are compared on these images: after a change all figures must be measured again."""
    held = repr([(plate, [outcome.value for outcome in plate.outcomes()]) for plate in TEST_PLATES + VALIDATION_PLATES])
    assert hashlib.sha256(held.encode()).hexdigest()[:16] == "430380f9c7ef6a9f"


def test_outcomes_are_as_common_as_in_a_lab() -> None:
    outcomes = [outcome for plate in TEST_PLATES for outcome in plate.outcomes()]
    assert len(outcomes) == 2400
    assert set(outcomes) == set(Outcome) - {Outcome.RIM, Outcome.UNDECIDED, Outcome.FAILED}
    assert 0.11 < sum(outcome.group is Group.CRYSTAL for outcome in outcomes) / 2400 < 0.18
    empty = [plate.plate_type for plate in TEST_PLATES if Outcome.NULL_EXPERIMENT in plate.outcomes()]
    assert not {"micro", "inside"} & set(empty)


def test_no_drop_is_rendered_twice_or_trained_on() -> None:
    plates = TEST_PLATES + VALIDATION_PLATES
    seeds = [plate.seed * 1000 + drop for plate in plates for drop in range(288)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) > 10**11  # training sets are rendered from seeds of wells below 10⁹
    assert len({plate.barcode for plate in plates}) == len(plates)


def test_a_stopped_run_goes_on_and_renders_nothing_twice(tmp_path: Path) -> None:
    first = render_evaluation_plates(tmp_path, range(1), wells=2, jobs=1, settings=SMALL)
    before = first[0].stat().st_mtime_ns
    files = render_evaluation_plates(tmp_path, range(2), wells=4, jobs=2, settings=SMALL)
    assert len(files) == 8
    assert files[:2] == first
    assert first[0].stat().st_mtime_ns == before
    with (tmp_path / "TS000001" / "truth.csv").open(encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    assert [row["image"] for row in truth] == [path.name for path in files[:4]]
    assert [row["outcome"] for row in truth] == [outcome.value for outcome in SMALL[0].outcomes(4)]
    assert not list(tmp_path.rglob("*.part"))


def test_images_of_two_versions_of_the_renderer_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render_evaluation_plates(tmp_path, range(1), wells=1, jobs=1, settings=SMALL)
    monkeypatch.setattr(evaluation_plates, "RENDERER", "another")
    with pytest.raises(ConfigError, match="another version of the renderer; give another folder"):
        render_evaluation_plates(tmp_path, range(1), wells=2, jobs=1, settings=SMALL)
