"""Crystals of protein fluoresce, those of salt are dark, on rendered pairs."""

import numpy as np
import pytest

from xtalgrid_core.fluorescence import Contrast, Glow, fluorescence
from xtalgrid_core.outcomes import Outcome
from xtalgrid_synth.uv import Nature, render_uv
from xtalgrid_synth.well import render_well

UM = 4.5


@pytest.fixture(scope="module")
def well():
    return render_well(Outcome.HARVESTABLE, seed=52, width=640, height=480, pixel_size_um=UM)


@pytest.fixture(scope="module")
def boxes(well):
    largest = sorted(well.crystal_boxes, key=lambda box: -box.height * box.width)[:3]
    return [(max(box.row - 25, 0), max(box.col - 25, 0), box.height + 50, box.width + 50) for box in largest]


def in_uv(well, nature):
    uv = render_uv(well, seed=52, nature=nature).image
    return np.repeat(uv[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("nature", "glow"),
    [(Nature.PROTEIN, Glow.FLUORESCES), (Nature.SALT, Glow.DARK), (Nature.CHROMOPHORE, Glow.DARK)],
)
def test_protein_glows_and_salt_does_not(well, boxes, nature, glow):
    found = fluorescence(well.image, in_uv(well, nature), boxes, UM)
    assert found.glow is glow
    assert len(found.contrasts) == len(boxes)


def test_a_shift_between_the_images_does_not_matter(well, boxes):
    uv = in_uv(well, Nature.PROTEIN)
    moved = fluorescence(well.image, np.roll(uv, (2, -2), axis=(0, 1)), boxes, UM)
    apart = fluorescence(well.image, np.roll(uv, (0, 200), axis=(0, 1)), boxes, UM)
    best = [
        max(c.relative for c in found.contrasts) for found in (fluorescence(well.image, uv, boxes, UM), moved, apart)
    ]
    assert best[1] == pytest.approx(best[0], rel=0.2)
    assert best[2] < best[0] / 2


def test_a_smaller_uv_image_of_the_same_field_will_do(well, boxes):
    uv = np.repeat(render_uv(well, seed=52, nature=Nature.PROTEIN, width=320).image[:, :, None], 3, axis=2)
    assert fluorescence(well.image, uv, boxes, UM).glow is Glow.FLUORESCES


def test_what_cannot_be_compared_says_nothing(well, boxes):
    uv = in_uv(well, Nature.SALT)
    assert fluorescence(well.image, uv[:, :400], boxes, UM) == (Glow.UNSAID, ()), "another field"
    assert fluorescence(well.image, uv, [], UM) == (Glow.UNSAID, ())
    found = fluorescence(well.image, np.clip(uv.astype(int) + 90, 0, 255).astype(np.uint8), boxes, UM)
    assert found.glow is Glow.UNSAID, "the drop itself glows"
    assert all(isinstance(one, Contrast) and one.around > 60 for one in found.contrasts)
