"""The training set's labels, the calibration, and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core import wire  # noqa: E402
from xtalgrid_core.chops import Box  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome  # noqa: E402
from xtalgrid_nets import data  # noqa: E402
from xtalgrid_nets.calibrate import calibration_error, fit  # noqa: E402
from xtalgrid_nets.evaluate import Truth, report  # noqa: E402
from xtalgrid_synth import RenderedWell, WellObject  # noqa: E402


def well(content: np.ndarray, objects: tuple[WellObject, ...] = (), drop: np.ndarray | None = None) -> RenderedWell:
    shape = content.shape
    mask = np.ones(shape, bool) if drop is None else drop
    return RenderedWell(np.zeros((*shape, 3), np.uint8), Outcome.OTHER, mask, content, objects, 1.13, "disc")


def test_a_chop_is_labelled_by_what_is_inside_it() -> None:
    content = np.zeros((600, 600), np.uint8)
    content[100:200, 100:200] = 1 + PRIORITY[Outcome.HARVESTABLE]
    content[:, 400:] = 1 + PRIORITY[Outcome.PRECIPITATE]
    drop = np.ones((600, 600), bool)
    drop[500:] = False
    made = well(content, (WellObject(Outcome.HARVESTABLE, Box(100, 100, 100, 100)),), drop)
    assert data.chop_label(made, Box(50, 50, 256, 256)) is Outcome.HARVESTABLE
    assert data.chop_label(made, Box(50, 190, 256, 200)) is None  # a sliver of the crystal
    assert data.chop_label(made, Box(210, 120, 256, 256)) is Outcome.CLEAR
    assert data.chop_label(made, Box(344, 120, 256, 256)) is Outcome.RIM
    assert data.chop_label(made, Box(210, 344, 256, 256)) is Outcome.PRECIPITATE


def test_a_sample_is_cut_as_the_worker_cuts() -> None:
    seed = next(seed for seed in range(100) if data.outcome_of(seed) is Outcome.HARVESTABLE)
    sample = data.sample_well(Outcome.HARVESTABLE, seed, n_chops=4)
    assert sample.view.shape == (256, 256, 3)
    assert sample.mask.max() == 255
    assert sample.chops.shape[1:] == (256, 256, 3)
    assert len(sample.chops) == len(sample.labels) <= 4


def test_calibration_finds_the_curve_it_was_drawn_from() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, 4000)
    crystal = rng.random(4000) < 1 / (1 + np.exp(-(0.7 * x - 1)))
    evidence = 1 / (1 + np.exp(-x))
    found = fit(evidence, crystal)
    assert found.slope == pytest.approx(0.7, abs=0.06)
    assert found.intercept == pytest.approx(-1, abs=0.12)
    assert calibration_error(np.array([found(float(e)) for e in evidence]), crystal) < 0.03


def test_the_report_keeps_sources_apart_and_counts() -> None:
    def scored(outcome: Outcome) -> wire.Scored:
        return wire.Scored(
            number=0, outcome=outcome, score=None, probability=0.9, p_crystal=0.1, probabilities=(), height=10, width=10,
            pixel_size_um=1.0, pixel_size_origin="x", drop=wire.Drop(box=None, confidence=0.9), boxes=(), seconds=0.1,
        )  # fmt: skip

    truths = [
        Truth(Path("a.jpg"), "one", Group.CRYSTAL, True),
        Truth(Path("b.jpg"), "one", Group.CLEAR, True),
        Truth(Path("c.jpg"), "two", Group.CLEAR, False),
        Truth(Path("failed.jpg"), "two", Group.CLEAR, True),
    ]
    answers = {
        Path("a.jpg"): scored(Outcome.HARVESTABLE),
        Path("b.jpg"): scored(Outcome.UNDECIDED),
        Path("c.jpg"): scored(Outcome.CLEAR),
    }
    text = "\n".join(report(truths, answers))
    one, two = text.split("### two")
    assert "### one (2 images)" in one
    assert "| crystal | 1 | 0 | 0 | 0 | 0 | 1 of 1 |" in one
    assert "| clear | 0 | 0 | 0 | 0 | 1 | 0 of 1 |" in one
    assert "scored: 1 of 2" in two
