"""The calibration finds what it was drawn from, and goes where it belongs."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="judging needs the extra [train]")

from tests.conftest import BLUE, GREEN, RED, encoded, well

from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.weights import MANIFEST, PACKAGED, default_models, default_options, find_model, read_manifest
from xtalgrid_nets.judge import calibrate
from xtalgrid_nets.judge.metrics import reliability
from xtalgrid_nets.judge.possible import fit_possible
from xtalgrid_nets.judge.truth import Truth

POOLING = Pooling(((0.25,) * FEATURES,) * 4, (1.0, 0.0, 0.0, 0.0))
POSSIBLE = PossibleGroups(0.95, (0.3, 0.5, 0.1, 0.5))


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
    network = manifest.models[1]
    shutil.copy(folder / network.file, folder / "int8.onnx")
    small = msgspec.structs.replace(network, variant="int8", sha256="0" * 64, file="int8.onnx", origin=network.sha256)
    both = msgspec.structs.replace(
        manifest, models=(*manifest.models, small), default={**manifest.default, "classifier": "0" * 64}
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(both))
    calibrate.write(folder, Calibration(0.5, -1), POOLING, POSSIBLE, "0" * 64)
    segmenter, classifier, quantized = read_manifest(folder).models
    name = hashlib.sha256((folder / "int8.onnx").read_bytes()).hexdigest()
    assert default_models(folder)[1] == quantized.sha256 == name != network.sha256, "another decision, another name"
    assert quantized.origin == classifier.sha256 == network.sha256
    assert (segmenter.calibration, classifier.calibration) == (Calibration(), Calibration())
    assert (quantized.calibration, quantized.pooling) == (Calibration(0.5, -1), POOLING)
    assert (classifier.possible, quantized.possible) == (None, POSSIBLE)
    assert classifier.pooling != POOLING
    with pytest.raises(ConfigError, match="does not list classifier 111111111111…"):
        calibrate.write(folder, Calibration(), POOLING, None, "1" * 64)
    calibrate.write(folder, Calibration(0.5, -2), POOLING, None, network.sha256)
    _, classifier, quantized = read_manifest(folder).models
    assert quantized.origin == classifier.sha256 != network.sha256, "int8 weights say what they were made from"
    assert default_models(folder, "fp32")[1] == classifier.sha256


def test_a_pooling_finds_the_groups_it_was_drawn_from() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(4), 200)
    drops = rng.normal(0, 1, (800, FEATURES))
    drops[np.arange(800), groups] += 5
    pooling = calibrate.fit_pooling(drops, groups)
    right = [pooling.of(drop).argmax() == group for drop, group in zip(drops, groups, strict=True)]
    assert np.mean(right) > 0.95
    with pytest.raises(ConfigError, match="none of 600 drops is clear"):
        calibrate.fit_pooling(drops[:600], groups[:600])


def test_the_possible_groups_leave_out_the_lowest_twentieth_of_each() -> None:
    groups = np.repeat([0, 1, 2, 3], 39)
    p = np.full((156, 4), 0.5)
    p[np.arange(156), groups] = np.tile(np.arange(39), 4) / 100 + groups / 2000
    assert fit_possible(p, groups, 0.95) == PossibleGroups(0.95, (0.01, 0.0105, 0.011, 0.0115))
    assert fit_possible(p, groups, 0.9).least[0] == pytest.approx(0.03)
    assert fit_possible(p + 0.5, groups, 0.9).least[0] == 0.2, "from crystal_from on it is called crystals"


def test_wells_calibrate_their_weights_plate_by_plate(tiny_weights: Path, tmp_path: Path) -> None:
    colours = {
        Group.CRYSTAL: (150, 40, 40),
        Group.PRECIPITATE: (40, 150, 40),
        Group.CLEAR: (40, 40, 140),
        Group.OTHER: (90, 90, 90),
    }
    truths = []
    for plate, shade in (("P1", 0), ("P2", 8)):
        for group, colour in colours.items():
            path = tmp_path / f"{plate}-{group.name}.png"
            path.write_bytes(encoded(well(tuple(level + shade for level in colour), 240, 320)))
            truths.append(Truth(path, "drawn", "rendered", plate, group, None))
        path = tmp_path / f"{plate}-empty.png"
        path.write_bytes(encoded(well(None, 240, 320)))
        truths.append(Truth(path, "drawn", "rendered", plate, Group.OTHER, None))
    folder = tmp_path / "weights"
    shutil.copytree(tiny_weights, folder)
    (tmp_path / "windows").mkdir()
    (tmp_path / "windows" / "stale.npz").write_bytes(b"of other wells")
    found = calibrate.calibrate(truths, tmp_path / "windows", folder)
    assert (found.wells, found.crystals) == (10, 2)
    assert [cutoff.weighted_mean.hits for cutoff in found.cutoffs if cutoff.crystal_from == 0.5] == [10]
    assert found.pooling_ece is not None
    (entry,) = (model for model in read_manifest(folder).models if model.role == "classifier")
    assert (entry.calibration, entry.pooling, entry.possible) == (found.calibration, found.pooling, found.possible)
    assert found.possible == PossibleGroups(0.98, (0.0,) * 4), "two wells of a group say too little"
    assert default_options(folder).possible == found.possible
    kept = calibrate.calibrate(truths[:5], tmp_path / "windows", folder, keep_pooling=True)
    assert (kept.calibration, kept.pooling) == (found.calibration, found.pooling)
    assert SCORED_GROUPS[0] is Group.CRYSTAL


def test_what_decides_with_the_package_or_promoted_weights_stays(tiny_weights: Path, tmp_path: Path) -> None:
    """Scores name them, and volunteers have them."""
    folder = shutil.copytree(tiny_weights, tmp_path / "promoted")
    manifest = read_manifest(folder)
    segmenter, classifier = manifest.models
    entry = msgspec.structs.replace(classifier, file=f"{classifier.sha256}.onnx")
    shutil.copy(folder / classifier.file, folder / entry.file)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, models=(segmenter, entry))))
    for weights in (folder, PACKAGED):
        before = (weights / MANIFEST).read_bytes()
        with pytest.raises(ConfigError, match=r"scores name classifier .* as it is; copy or export"):
            calibrate.calibrate([], tmp_path / "windows", weights)
        assert (weights / MANIFEST).read_bytes() == before


def test_the_pooling_is_fitted_to_chops_of_these_sizes(tiny_weights: Path, tmp_path: Path) -> None:
    colours = {Group.CRYSTAL: RED, Group.PRECIPITATE: GREEN, Group.CLEAR: BLUE, Group.OTHER: (90, 90, 90)}
    truths = []
    for number, (group, colour) in enumerate(colours.items()):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(well(colour)))
        truths.append(Truth(path, "drawn", "rendered", "P1", group, None))
    folder = shutil.copytree(tiny_weights, tmp_path / "weights")
    for sizes, windows in (((256,), 1), ((256, 512), 2)):
        calibrate.calibrate(truths, tmp_path / "windows", folder, chop_sizes=sizes)
        entry, _ = find_model(default_models(folder)[1], "classifier", [folder])
        assert entry.pooling is not None
        assert entry.pooling.chop_sizes == sizes
        (kept,) = (tmp_path / "windows").glob("*.npz")
        assert len(np.unique(np.load(kept)["boxes"][:, 2])) == windows
    calibrate.calibrate(truths, tmp_path / "windows", folder)
    assert default_models(folder)[1] == entry.sha256, "the sizes there, so the same again"
    with pytest.raises(ConfigError, match="leave out --chop-size"):
        calibrate.calibrate(truths, tmp_path / "windows", folder, keep_pooling=True, chop_sizes=(256,))
