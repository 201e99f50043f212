"""Simulated labs and learning curves."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_nets.adapt.choose import LAST_BLOCK, LAST_LAYER
from xtalgrid_nets.adapt.curves import curve, table
from xtalgrid_nets.adapt.decider import Decider, Wells
from xtalgrid_nets.adapt.simulated import LABS, Look, apply_look, render_lab
from xtalgrid_synth.evaluation_plates import RENDERER


def test_a_look_is_that_of_its_numbers() -> None:
    flat = np.full((40, 60, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    assert (apply_look(flat, Look(), 2.0, 1.0, rng) == 100).all(), "a plain look changes nothing"
    assert (apply_look(flat, Look(gains=(0.5, 1.0, 2.0)), 2.0, 1.0, rng)[20, 30] == (50, 100, 200)).all()
    dark = apply_look(flat, Look(vignette=0.5), 2.0, 1.0, rng)
    assert dark[0, 0, 0] == 50, "half of the light is lost in the very corner"
    assert dark[20, 30, 0] == 100
    assert 9 < apply_look(flat, Look(noise=10), 2.0, 1.0, rng).std() < 11


def test_a_lab_s_wells_are_the_same_however_many_and_labelled_by_its_habits(tmp_path: Path) -> None:
    lab = LABS[1]
    first = render_lab(lab, tmp_path, 1)
    assert (first.parent / "renderer.txt").read_text() == RENDERER
    (image,) = first.parent.glob("*/*.jpg")
    before = image.read_bytes()
    with render_lab(lab, tmp_path, 2).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert image.read_bytes() == before
    with Image.open(first.parent / rows[1]["image"]) as picture:
        red, _, blue = picture.convert("RGB").split()
        assert np.abs(np.asarray(red, int) - np.asarray(blue, int)).max() < 6, "a grey camera, but for JPEG"
    assert {row["source"] for row in rows} == {lab.name}


def simple_lab() -> tuple[Decider, Wells]:
    """A pooling that says nothing, and a lab whose wells show their group in one feature."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 120)
    drops = np.zeros((120, FEATURES))
    drops[np.arange(120), groups] = 3
    wells = Wells(
        drops,
        np.full((120, 4), np.nan),
        groups,
        np.ones(120),
        np.array([f"P{well // 12}" for well in range(120)]),
        np.arange(120),
    )
    return Decider(Pooling(((0.0,) * FEATURES,) * 4, (0.0,) * 4)), wells


def test_each_well_is_judged_once_at_each_size() -> None:
    start, wells = simple_lab()
    points = list(curve("a lab", start, wells, wells))
    assert [(point.scored, point.wells) for point in points] == [(50, 120), (108, 120)]
    (crystals,) = {point.crystals for point in points}
    assert crystals == (wells.groups == 0).sum()
    assert points[0].right[0] == crystals, "all are called crystals at one in four"
    assert points[1].right[1] == 120
    assert points[1].log_loss[0] == round(np.log(4), 3)
    assert f"| {crystals} → 120 (" in table(points)[3]


def test_a_size_that_one_plate_has_is_not_measured_as_if_nothing_were_gained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of 3 plates with 40 wells, 30 wells are of one, in which no fold is left to choose by."""
    start, wells = simple_lab()
    wells.folds[:] = [f"P{well // 40}" for well in range(120)]
    assert [point.scored for point in curve("a lab", start, wells, wells, sizes=(30, 60))] == [60, 80]
    assert "a lab: 30 scored wells would be of one plate" in capsys.readouterr().err


def test_a_deeper_step_is_tried_where_wells_are_enough_and_shares_the_parts_of_the_folds() -> None:
    start, wells = simple_lab()
    fitted_to = []

    def layer(start: Decider, wells: Wells) -> Decider:
        fitted_to.append(frozenset(wells.index.tolist()))
        return start

    def block(start: Decider, wells: Wells) -> Decider:
        raise AssertionError(f"{len(wells)} wells are too few")

    points = list(curve("a lab", start, wells, wells[:0], ((LAST_LAYER, layer), (LAST_BLOCK, block)), sizes=(500,)))
    assert [(point.scored, point.wells) for point in points] == [(96, 120)]
    assert len(set(fitted_to)) == 5 + 10, "without each fifth, and without each two"


def test_a_lab_s_wells_are_of_one_renderer(tmp_path: Path) -> None:
    place = tmp_path / LABS[1].name.replace(" ", "-")
    place.mkdir()
    (place / "renderer.txt").write_text("2020-01-01")
    with pytest.raises(ConfigError, match="has images of another version of the renderer"):
        render_lab(LABS[1], tmp_path, 1)
