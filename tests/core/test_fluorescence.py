"""Crystals of protein fluoresce, those of salt are dark, on rendered pairs."""

import io

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.fluorescence import Contrast, Glow, fluorescence
from xtalgrid_core.images import read_uv
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


def test_images_that_an_imager_took_further_apart_are_laid_on_each_other():
    """Shifts of up to 16 µm were looked for: of this well's pair, moved by 54 µm, protein was called dark."""
    bad = render_well(Outcome.BAD_FORM, seed=12, width=640, height=480, pixel_size_um=UM)
    largest = sorted(bad.crystal_boxes, key=lambda box: -box.height * box.width)[:3]
    boxes = [(max(box.row - 25, 0), max(box.col - 25, 0), box.height + 50, box.width + 50) for box in largest]
    for nature, glow in ((Nature.PROTEIN, Glow.FLUORESCES), (Nature.SALT, Glow.DARK)):
        uv = np.repeat(render_uv(bad, seed=12, nature=nature).image[:, :, None], 3, axis=2)
        moved = np.roll(uv, (12, -12), axis=(0, 1))
        assert fluorescence(bad.image, moved, boxes, UM).glow is glow


def test_a_colour_camera_sees_the_same(well, boxes):
    """Tryptophan glows at some 350 nm: such a picture is blue, of which grey keeps a ninth."""
    for nature in (Nature.PROTEIN, Nature.SALT):
        grey = in_uv(well, nature)
        assert fluorescence(well.image, grey * np.array([0, 0, 1], np.uint8), boxes, UM) == fluorescence(
            well.image, grey, boxes, UM
        )


def test_a_box_that_the_uv_image_does_not_show_says_nothing(well, boxes):
    """Moved by 40 pixels, it has none of the 30 columns at the left edge."""
    uv = in_uv(well, Nature.PROTEIN)
    moved = np.roll(uv, (0, -40), axis=(0, 1))
    moved[:, -40:] = 0
    at_edge = (150, 0, 100, 30)
    found = fluorescence(well.image, moved, [*boxes, at_edge], UM)
    assert found.glow is Glow.FLUORESCES
    assert found.contrasts[-1] is None


@pytest.mark.parametrize("level", [0, 3])
def test_a_black_image_is_not_dark_crystals(well, boxes, level):
    """As of a lamp that did not burn, or of a camera with the shutter closed."""
    black = np.full_like(well.image, level)
    assert fluorescence(well.image, black, boxes, UM).glow is Glow.UNSAID
    black[::7, ::5] += 1  # noise
    assert fluorescence(well.image, black, boxes, UM).glow is Glow.UNSAID


@pytest.mark.parametrize("dimmed", [1, 2, 4, 8])
def test_a_copy_of_the_visible_image_says_nothing(well, boxes, dimmed):
    """Dimmed to a quarter, it was taken for dark crystals."""
    assert fluorescence(well.image, well.image // dimmed, boxes, UM).glow is Glow.UNSAID


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_uv_camera_of_more_bits_sees_the_same(well, boxes, bits):
    """Small crystals are less than 1 % of the picture: white was judged without them, and the ground became bright."""
    uv = in_uv(well, Nature.PROTEIN)[:, :, 0].astype(np.float64)
    outside = np.ones(uv.shape, bool)
    for row, col, height, width in boxes[:1]:
        outside[row + 40 : row + height - 40, col + 40 : col + width - 40] = False
    uv[outside] = np.minimum(uv[outside], 24)
    assert 0 < np.mean(uv > 24) < 0.01
    stream = io.BytesIO()
    deep = (uv / 255 * (2**bits - 1)).astype(np.uint16)
    Image.fromarray(deep).save(stream, "TIFF")
    read = read_uv(stream.getvalue())
    assert np.abs(read[:, :, 0].astype(int) - uv).max() <= 1


def test_what_cannot_be_compared_says_nothing(well, boxes):
    uv = in_uv(well, Nature.SALT)
    assert fluorescence(well.image, uv[:, :400], boxes, UM) == (Glow.UNSAID, ()), "another field"
    assert fluorescence(well.image, uv, [], UM) == (Glow.UNSAID, ())
    found = fluorescence(well.image, np.clip(uv.astype(int) + 90, 0, 255).astype(np.uint8), boxes, UM)
    assert found.glow is Glow.UNSAID, "the drop itself glows"
    assert all(isinstance(one, Contrast) and one.around > 60 for one in found.contrasts)
