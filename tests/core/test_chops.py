import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.chops import (
    Box,
    cut,
    dense_length,
    dense_starts,
    dense_window,
    sliding_starts,
    sliding_window,
    smallest_overlap,
    smallest_overlap_starts,
    touches_mask,
)

sides = st.integers(1, 3000)
boxes = st.builds(Box, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60))


def test_the_training_grid_of_the_papers_images():
    # 2056 = 8·256 + 8: n = 8, d = (9·256 − 2056)/8 = 31, starts i·(256 − 31)
    assert smallest_overlap_starts(2056) == [i * 225 for i in range(9)]
    assert len(smallest_overlap(2056, 2452)) == 9 * 10


def test_an_exact_multiple_gets_an_extra_chop_as_published():
    assert smallest_overlap_starts(512) == [0, 128, 256]


@given(sides, st.integers(1, 300))
def test_the_training_grid_follows_the_papers_formula(length, chop):
    n = length // chop
    if length > chop:
        d = ((n + 1) * chop - length) / n
        published = [i * chop - i * d for i in range(n + 1)]
        assert smallest_overlap_starts(length, chop) == pytest.approx(published, abs=1)


def test_the_scoring_grid_steps_by_50_and_ends_flush():
    assert sliding_starts(400) == [0, 50, 100, 144]
    assert sliding_starts(456) == [0, 50, 100, 150, 200]


@pytest.mark.parametrize("starts", [smallest_overlap_starts, sliding_starts])
@given(length=sides)
def test_chops_cover_every_pixel_and_stay_inside(starts, length):
    firsts = starts(length)
    covered = np.zeros(max(length, 256), bool)
    for first in firsts:
        assert 0 <= first <= max(length - 256, 0)
        covered[first : first + 256] = True
    assert covered.all()
    assert firsts == sorted(set(firsts))


@given(sides, st.sampled_from([16, 48, 64, 256]))
def test_the_dense_grid_lies_on_whole_cells_and_covers_the_side(length, step):
    starts = dense_starts(length, step)
    covered = np.zeros(max(length, 256) + 16, bool)
    for first in starts:
        assert first % 16 == 0
        covered[first : first + 256] = True
    assert covered[:length].all()
    assert all(b - a <= step for a, b in itertools.pairwise(starts))
    assert starts == sorted(set(starts))
    assert starts[-1] + 256 == dense_length(length) < max(length, 256) + 16


@pytest.mark.parametrize("step", [50, 8, 1])
def test_a_step_between_cells_is_rejected(step):
    with pytest.raises(ValueError, match="multiples of 16 such as 48"):
        dense_window(400, 400, step)


def test_which_boxes_touch_a_mask():
    mask = np.zeros((10, 20), bool)
    mask[4, 9] = True  # rows 40..49 and columns 45..49 of an image of 100 × 100
    boxes = [Box(0, 0, 40, 100), Box(0, 0, 41, 46), Box(49, 49, 5, 5), Box(50, 0, 100, 100), Box(40, 50, 9, 9)]
    assert touches_mask(mask, boxes, 100, 100).tolist() == [False, True, True, False, False]
    assert touches_mask(mask, [], 100, 100).shape == (0,)


def test_boxes_go_row_by_row():
    assert sliding_window(300, 320)[:3] == [Box(0, 0, 256, 256), Box(0, 50, 256, 256), Box(0, 64, 256, 256)]


@pytest.mark.parametrize(("length", "step"), [(0, 50), (-3, 50), (400, 0), (400, -5)])
def test_impossible_sides_and_steps_are_rejected(length, step):
    with pytest.raises(ValueError, match="at least 1"):
        sliding_starts(length, step)


def test_chops_are_the_images_pixels():
    image = np.random.default_rng(0).integers(0, 256, (300, 320, 3), np.uint8)
    chops = cut(image, sliding_window(300, 320))
    assert chops.shape == (2 * 3, 256, 256, 3)
    assert (chops[0] == image[:256, :256]).all()
    assert (chops[-1] == image[44:, 64:]).all()


@pytest.mark.parametrize(("height", "width"), [(100, 90), (255, 400), (1, 1)])
def test_an_image_smaller_than_a_chop_is_reflected(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    (chop, *_) = cut(image, sliding_window(height, width))
    assert chop.shape == (256, 256, 3)
    assert (chop[:height, : min(width, 256)] == image[:, :256]).all()
    assert (chop[height] == chop[height - 1]).all()


def test_no_boxes_give_no_chops():
    assert cut(np.zeros((300, 300, 3), np.uint8), []).shape == (0, 256, 256, 3)


@given(boxes, boxes)
def test_overlap_counts_pixels(a, b):
    def pixels(box):
        return {(r, c) for r in range(box.row, box.row + box.height) for c in range(box.col, box.col + box.width)}

    assert a.overlap(b) == pytest.approx(len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)))


@given(boxes, st.integers(1, 60), st.integers(1, 60))
def test_a_clipped_box_is_the_part_inside(box, height, width):
    clipped = box.clipped(height, width)
    canvas = np.zeros((height, width), bool)
    rows, cols = (
        slice(max(box.row, 0), max(box.row + box.height, 0)),
        slice(max(box.col, 0), max(box.col + box.width, 0)),
    )
    canvas[rows, cols] = True
    assert canvas.sum() == clipped.height * clipped.width
    assert canvas[clipped.row : clipped.row + clipped.height, clipped.col : clipped.col + clipped.width].all()


def test_scaling_and_moving():
    assert Box(10, 20, 30, 40).scaled(0.5).moved(1, 2) == Box(6, 12, 15, 20)
