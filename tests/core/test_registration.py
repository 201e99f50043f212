"""Pictures of a drop are laid on each other, with shifts that are known because both are cut out of one picture."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.registration import Shift, Unaligned, find_shift
from xtalgrid_synth.uv import Nature, render_uv
from xtalgrid_synth.well import render_well

HEIGHT, WIDTH = 720, 960


@pytest.fixture(scope="module")
def field():
    """A picture that is larger than those that are cut out of it."""
    return render_well(Outcome.BAD_FORM, seed=54, width=1040, height=800, pixel_size_um=3.0)


def cut_out(image, row, col):
    return np.ascontiguousarray(image[row : row + HEIGHT, col : col + WIDTH])


def pixels(shift):
    """What a shift is in pixels of the pictures: (right, down)."""
    assert isinstance(shift, Shift)
    return shift.right * WIDTH, shift.down * HEIGHT


@pytest.mark.parametrize(("row", "col"), [(40, 40), (43, 40), (5, 70), (78, 11)])
def test_a_later_picture_that_is_brighter_and_noisier(field, row, col):
    """What lies at (r, c) of the first lies at (r + 40 - row, c + 40 - col) of the second."""
    darker = ImageEnhance.Brightness(Image.fromarray(cut_out(field.image, row, col))).enhance(0.6)
    noise = np.random.default_rng(1).normal(20, 5, (HEIGHT, WIDTH, 3))
    later = np.clip(np.asarray(darker) + noise, 0, 255).astype(np.uint8)
    found = find_shift(cut_out(field.image, 40, 40), later)
    assert pixels(found) == pytest.approx((col - 40, row - 40), abs=0.5)


def test_a_picture_of_another_size(field):
    later = Image.fromarray(cut_out(field.image, 24, 52)).resize((1500, 1125), Image.Resampling.BICUBIC)
    found = find_shift(cut_out(field.image, 40, 40), np.asarray(later))
    assert pixels(found) == pytest.approx((12, -16), abs=0.7)


def test_crystals_that_grew_move_nothing(field):
    """The well's wall and the drop's edge lie where they lay, whatever appears in the drop."""
    later = cut_out(field.image, 20, 60)
    for row, col in ((300, 400), (380, 520), (340, 300)):
        later[row : row + 60, col : col + 60] = 30
        later[row + 8 : row + 50, col + 8 : col + 50] = 230
    assert pixels(find_shift(cut_out(field.image, 40, 40), later)) == pytest.approx((20, -20), abs=0.7)


@pytest.mark.parametrize("nature", [Nature.PROTEIN, Nature.SALT])
def test_a_uv_picture_of_half_the_size(nature):
    well = render_well(Outcome.BAD_FORM, seed=53, width=1040, height=800, pixel_size_um=3.0)
    uv = Image.fromarray(cut_out(render_uv(well, seed=53, nature=nature).image, 52, 32)).convert("RGB")
    found = find_shift(cut_out(well.image, 40, 40), np.asarray(uv.resize((WIDTH // 2, HEIGHT // 2))))
    assert pixels(found) == pytest.approx((-8, 12), abs=3)  # what glows is not quite what casts a shadow


def test_what_cannot_be_aligned_is_said(field):
    picture = cut_out(field.image, 40, 40)
    noise = np.random.default_rng(2).integers(0, 255, picture.shape, dtype=np.uint8)
    assert find_shift(picture, noise) is Unaligned.NOTHING
    assert find_shift(picture, np.full_like(picture, 200)) is Unaligned.NOTHING
    assert find_shift(picture, picture[:, :600]) is Unaligned.SHAPE
    far = np.roll(picture, WIDTH // 3, axis=1)
    assert find_shift(picture, far) is Unaligned.NOTHING, "no imager misses a well by a third of the picture"


def test_the_smallest_pictures_that_are_read_say_nothing():
    picture = render_well(Outcome.HARVESTABLE, seed=52, width=64, height=64, pixel_size_um=40).image
    assert find_shift(picture, picture) is Unaligned.NOTHING
