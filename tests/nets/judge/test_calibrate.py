"""The calibration finds what it was drawn from, and goes where it belongs."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="judging needs the extra [train]")

from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.weights import MANIFEST, read_manifest
from xtalgrid_nets.judge import calibrate
from xtalgrid_nets.judge.metrics import reliability


def test_calibration_finds_the_curve_it_was_drawn_from() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, 4000)
    crystal = rng.random(4000) < 1 / (1 + np.exp(-(0.7 * x - 1)))
    evidence = 1 / (1 + np.exp(-x))
    found = calibrate.fit(evidence, crystal)
    assert found.slope == pytest.approx(0.7, abs=0.06)
    assert found.intercept == pytest.approx(-1, abs=0.12)
    error = reliability(calibrate.apply(found, evidence), crystal)
    assert error is not None
    assert error.ece < 0.03


def test_wells_told_apart_perfectly_leave_the_slope_finite() -> None:
    found = calibrate.fit(np.array([1e-9] * 50 + [1.0] * 10), np.array([False] * 50 + [True] * 10))
    assert 0 < found.slope < 1
    assert found(1.0) == pytest.approx(11 / 12, abs=0.01)  # Platt's target for ten of ten


@pytest.mark.parametrize(
    ("evidence", "crystal", "said"),
    [([0.2, 0.9], [True, True], "2 of 2 wells are crystals"), ([0.1, 0.9], [True, False], "more evidence does not")],
)
def test_nothing_is_calibrated_on_wells_that_cannot_show_it(
    evidence: list[float], crystal: list[bool], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        calibrate.fit(np.array(evidence), np.array(crystal))


def test_a_calibration_is_written_for_one_classifier_alone(tiny_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(tiny_weights, folder)
    manifest = read_manifest(folder)
    small = msgspec.structs.replace(manifest.models[1], variant="int8", sha256="0" * 64)
    both = msgspec.structs.replace(manifest, models=(*manifest.models, small))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(both))
    calibrate.write(folder, Calibration(0.5, -1), "0" * 64)
    segmenter, classifier, quantized = read_manifest(folder).models
    assert (segmenter.calibration, classifier.calibration) == (Calibration(), Calibration())
    assert quantized.calibration == Calibration(0.5, -1)
    with pytest.raises(ConfigError, match="no classifier 111111111111… here"):
        calibrate.write(folder, Calibration(), "1" * 64)
