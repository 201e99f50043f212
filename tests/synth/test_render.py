"""Rendered wells: the same for the same seed, and as their masks, boxes and content maps say."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from xtalgrid_core.images import read_image
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome
from xtalgrid_synth import render_plate, render_well
from xtalgrid_synth.grounds import PLATE_TYPES

SMALL = {"width": 613, "height": 514, "pixel_size_um": 4.524}


@pytest.mark.parametrize("outcome", CLASSES)
def test_every_outcome_renders(outcome: Outcome) -> None:
    well = render_well(outcome, seed=11, **SMALL)
    assert well.image.shape == (514, 613, 3)
    assert well.image.dtype == np.uint8
    assert well.image.std() > 5
    assert well.drop_mask.any() == (outcome is not Outcome.NULL_EXPERIMENT)
    if outcome.group is Group.CRYSTAL:
        assert well.crystal_boxes


@pytest.mark.parametrize("plate", PLATE_TYPES)
def test_every_plate_renders_at_odd_sizes(plate: str) -> None:
    for width, height in ((64, 64), (331, 207), (1001, 77)):
        well = render_well(
            Outcome.CLEAR, seed=5, width=width, height=height, pixel_size_um=2900 / width, plate_type=plate
        )  # type: ignore[arg-type]
        assert well.image.shape == (height, width, 3)


def test_same_seed_same_bytes_other_seed_other_picture() -> None:
    first, again, other = (render_well(Outcome.HARVESTABLE, seed=seed, **SMALL) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    assert not np.array_equal(first.image, other.image)


def test_boxes_lie_in_the_picture_around_what_the_content_map_marks() -> None:
    for seed in range(6):
        well = render_well(Outcome.HARVESTABLE, seed=seed, plate_type="disc", **SMALL)
        marked = np.isin(well.content, [1 + PRIORITY[o] for o in CLASSES if o.group is Group.CRYSTAL])
        covered = np.zeros_like(marked)
        for box in well.crystal_boxes:
            assert box == box.clipped(*marked.shape)
            part = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
            covered[part] = True
            assert marked[part].any()
            assert well.drop_mask[part].mean() > 0.3  # a crystal may touch the drop's edge, not lie beside it
        assert marked.any()
        assert not (marked & ~covered).any()
        assert not (marked & ~well.drop_mask).any()


def test_the_mask_covers_the_drop() -> None:
    well = render_well(Outcome.PRECIPITATE_BAD, seed=21, plate_type="disc", **SMALL)
    assert well.image[well.drop_mask].mean(axis=1).std() > 3  # precipitate has texture
    assert 0.005 < well.drop_mask.mean() < 0.9


def test_outcomes_without_a_score_and_tiny_images_are_refused() -> None:
    with pytest.raises(ValueError, match="undecided"):
        render_well(Outcome.UNDECIDED, seed=0)
    with pytest.raises(ValueError, match="at least 64"):
        render_well(Outcome.CLEAR, seed=0, width=40, height=40)
    with pytest.raises(ValueError, match="pixel_size_um"):
        render_well(Outcome.CLEAR, seed=0, pixel_size_um=0)


def test_a_plate_has_rigaku_names_and_a_file_of_outcomes(tmp_path: Path) -> None:
    outcomes = [Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.NULL_EXPERIMENT, Outcome.PRECIPITATE]
    files = render_plate(
        tmp_path,
        barcode="CI022987",
        seed=1,
        wells=outcomes,
        inspection=3,
        date=date(2012, 11, 21),
        width=320,
        height=240,
        pixel_size_um=9,
    )
    assert (
        files[3]
        == tmp_path
        / "CI022987"
        / "3"
        / "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_02_01_01_HF_99_030_001_RDI.jpg"
    )
    assert len(files[0].stem.split("_")) == 18
    assert read_image(files[1].read_bytes()).shape == (240, 320, 3)
    with (tmp_path / "CI022987" / "truth.csv").open(encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    assert [row["outcome"] for row in truth] == [outcome.value for outcome in outcomes]
    assert [row["drop"] for row in truth] == ["A1a", "A1b", "A1c", "A2a"]
    assert [row["image"] for row in truth] == [file.name for file in files]


def test_an_inspection_that_is_rendered_again_has_its_outcomes_once(tmp_path: Path) -> None:
    """As after a run that was stopped between two inspections and begun anew."""
    for inspection, outcome in ((1, Outcome.CLEAR), (2, Outcome.OTHER), (3, Outcome.CLEAR), (2, Outcome.PRECIPITATE)):
        render_plate(
            tmp_path,
            barcode="CI022987",
            seed=1,
            wells=[outcome],
            inspection=inspection,
            width=160,
            height=120,
            pixel_size_um=18,
        )
    with (tmp_path / "CI022987" / "truth.csv").open(encoding="utf-8", newline="") as file:
        lines = [(row["inspection"], row["outcome"]) for row in csv.DictReader(file)]
    assert sorted(lines) == [("1", "clear"), ("2", "precipitate"), ("3", "clear")]


def test_crystals_lie_in_the_drop_and_differ_in_size() -> None:
    """Real crystals of one drop differ in size up to tenfold; only a few extend beyond the drop's edge."""
    outside, spread = [], []
    for seed in range(20):
        well = render_well(Outcome.HARVESTABLE, seed=seed, plate_type="disc", width=368, height=276, pixel_size_um=8)
        boxes = [np.s_[b.row : b.row + b.height, b.col : b.col + b.width] for b in well.crystal_boxes]
        outside += [well.drop_mask[box].mean() < 0.8 for box in boxes]
        sides = [max(b.height, b.width) for b in well.crystal_boxes]
        spread.append(max(sides) / min(sides))
    assert np.mean(outside) < 0.12
    assert max(spread) > 3


def test_motes_are_objects_of_class_clear_and_never_crystals() -> None:
    wells = [render_well(Outcome.CLEAR, seed=seed, plate_type="disc", **SMALL) for seed in range(8)]
    motes = [(well, item.box) for well in wells for item in well.objects]
    assert motes
    assert {item.outcome for well in wells for item in well.objects} == {Outcome.CLEAR}
    assert not any(well.content.any() or well.crystal_boxes for well in wells)
    seen = [np.ptp(well.image[b.row : b.row + b.height, b.col : b.col + b.width, 1]) > 8 for well, b in motes]
    assert np.mean(seen) > 0.6


@pytest.mark.parametrize("outcome", [Outcome.PRECIPITATE, Outcome.PRECIPITATE_GOOD, Outcome.PRECIPITATE_BAD])
def test_precipitate_can_be_seen(outcome: Outcome) -> None:
    for seed in range(5):
        well = render_well(outcome, seed=seed, plate_type="ring", **SMALL)
        assert (well.content == 1 + PRIORITY[outcome]).sum() > 0.05 * well.drop_mask.sum()


@pytest.mark.parametrize("outcome", [Outcome.HARVESTABLE, Outcome.BAD_FORM, Outcome.OVERNUCLEATED])
def test_crystals_lie_in_precipitate_where_that_is_asked_for(outcome: Outcome) -> None:
    of = {group: [1 + PRIORITY[o] for o in CLASSES if o.group is group] for group in (Group.CRYSTAL, Group.PRECIPITATE)}
    for seed in range(4):
        well = render_well(outcome, seed=seed, plate_type="ring", in_precipitate=True, **SMALL)
        assert np.isin(well.content, of[Group.PRECIPITATE]).sum() > 0.05 * well.drop_mask.sum()
        assert np.isin(well.content, of[Group.CRYSTAL]).any()
