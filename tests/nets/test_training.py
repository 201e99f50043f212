"""The labels of rendered chops, and how a rendered well is sampled."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.chops import Box  # noqa: E402
from xtalgrid_core.outcomes import PRIORITY, Outcome  # noqa: E402
from xtalgrid_nets import data  # noqa: E402
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
    assert sample.chops is not None
    assert sample.patches is not None
    (view, mask), (chops, labels), (patches, windows) = sample.view, sample.chops, sample.patches
    assert (view.shape, mask.shape) == ((1, 256, 256, 3), (1, 256, 256))
    assert mask.max() == 255
    assert chops.shape[1:] == (256, 256, 3)
    assert len(chops) == len(labels) <= 4
    assert patches.shape == (4, 448, 448, 3)
    assert windows.shape == (4, 5, 5)
    assert set(np.unique(windows)) <= {*range(13), 255}
