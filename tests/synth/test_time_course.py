"""A drop's pictures at several inspections show the same things but for the crystals."""

import numpy as np
import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.registration import Shift, find_shift
from xtalgrid_synth.time_course import Growth, render_course

SIZE = {"width": 480, "height": 360, "pixel_size_um": 6.0}


def test_crystals_appear_where_they_are_at_last_and_only_grow():
    course = render_course(Outcome.HARVESTABLE, seed=41, growth=Growth.APPEAR, inspections=4, **SIZE)
    assert len(course.images) == len(course.moved) == 4
    assert course.crystals
    for crystal in course.crystals:
        assert crystal.sizes[0] == 0 < crystal.sizes[-1] == 1
        assert list(crystal.sizes) == sorted(crystal.sizes)
        row, col, height, width = crystal.box
        (down, right), last = course.moved[0], course.images[-1]
        if min(row, col) >= 10 and row + height < 350 and col + width < 470:  # in sight at the first inspection too
            here, there = (
                np.ptp(image[top : top + height, left : left + width].astype(int), axis=(0, 1)).max()
                for image, top, left in ((last, row, col), (course.images[0], row + down, col + right))
            )
            assert here > 1.5 * there, "there is little contrast where a crystal will be"


def test_the_camera_moves_as_it_says():
    course = render_course(Outcome.OTHER, seed=42, inspections=2, **SIZE)
    first, last = course.images
    found = find_shift(last, first)
    assert isinstance(found, Shift)
    down, right = course.moved[0]
    assert (found.down * 360, found.right * 480) == pytest.approx((-down, -right), abs=1)
    assert not np.array_equal(first, last)


@pytest.mark.parametrize(("growth", "first"), [(Growth.STAND, (1, 1)), (Growth.GROW, (0.3, 0.7))])
def test_sizes_at_the_first_inspection(growth, first):
    course = render_course(Outcome.BAD_FORM, seed=43, growth=growth, inspections=2, **SIZE)
    assert all(first[0] <= one.sizes[0] <= first[1] for one in course.crystals)


def test_the_same_seed_gives_the_same_pictures_and_one_picture_is_no_course():
    drawn = [render_course(Outcome.CLEAR, seed=44, inspections=2, **SIZE) for _ in range(2)]
    assert all(np.array_equal(*pair) for pair in zip(*(course.images for course in drawn), strict=True))
    with pytest.raises(ValueError, match="at least 2"):
        render_course(Outcome.CLEAR, seed=44, inspections=1, **SIZE)
