import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xtalgrid_core.chops import Box
from xtalgrid_core.drops import crop_around, find_drop, largest_region, outline

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def picture(text: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in text.split()])


def mask(rows: slice, cols: slice, inside: float = 0.9, outside: float = 0.05) -> np.ndarray:
    values = np.full((256, 256), outside, np.float32)
    values[rows, cols] = inside
    return values


def test_a_drop_has_its_box_in_pixels_of_the_original():
    drop = find_drop(mask(slice(64, 128), slice(32, 192)), height=1920, width=2560)
    assert drop.box == Box(480, 320, 480, 1600)
    assert drop.confidence == pytest.approx(0.9)
    assert not drop.is_null_experiment


def test_the_outline_runs_clockwise_inside_the_box():
    drop = find_drop(mask(slice(64, 128), slice(32, 192)), height=1920, width=2560)
    rows, cols = np.array(drop.outline).T
    area = np.sum(cols * np.roll(rows, -1) - np.roll(cols, -1) * rows) / 2  # rows go down: clockwise is positive
    assert area == pytest.approx(480 * 1600, rel=0.05)
    assert rows.min() >= 480
    assert rows.max() < 960
    assert len(drop.outline) == 64


def test_the_larger_of_two_drops_is_used():
    values = np.maximum(mask(slice(10, 40), slice(10, 40)), mask(slice(100, 200), slice(100, 200)))
    assert find_drop(values, 256, 256).box == Box(100, 100, 100, 100)


def test_a_confident_no_drop_is_a_null_experiment():
    drop = find_drop(mask(slice(0, 0), slice(0, 0)), 1024, 1224)
    assert (drop.box, drop.outline) == (None, ())
    assert drop.confidence == pytest.approx(0.95)
    assert drop.is_null_experiment


@pytest.mark.parametrize(("side", "is_drop"), [(20, False), (30, True)], ids=["a reflection", "a core of a hundredth"])
def test_a_faint_region_is_a_drop_only_with_a_core_that_is_certain(side, is_drop):
    faint = mask(slice(60, 200), slice(60, 200), inside=0.6)
    faint[100 : 100 + side, 100 : 100 + side] = 0.99
    drop = find_drop(faint, 256, 256)
    assert drop.box == (Box(60, 60, 140, 140) if is_drop else None)
    assert drop.is_null_experiment is not is_drop


def test_many_small_regions_are_not_a_drop_but_the_whole_well_is_scored():
    scattered = np.zeros((256, 256), np.float32)
    for row in range(16, 240, 32):
        for col in range(16, 240, 32):
            scattered[row : row + 10, col : col + 10] = 0.7
    drop = find_drop(scattered, 1024, 1224)
    assert drop.box is None
    assert drop.confidence == pytest.approx(0.3)
    assert not drop.is_null_experiment


def test_a_dust_speck_is_not_a_drop():
    drop = find_drop(mask(slice(50, 55), slice(50, 55), inside=0.99), 1024, 1224)
    assert drop.box is None
    assert drop.is_null_experiment


def test_regions_touching_at_a_corner_are_two():
    region = largest_region(picture("##... ##... ..#.. ..###"))
    assert region.sum() == 4


def test_branches_that_meet_later_are_one_region():
    assert largest_region(picture("#.#.# #.#.# #####")).sum() == 11


@given(masks)
def test_the_largest_region_agrees_with_flood_fill(inside):
    left, best = {(int(r), int(c)) for r, c in np.argwhere(inside)}, 0
    while left:
        stack, size = [left.pop()], 0
        while stack:
            r, c = stack.pop()
            size += 1
            for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if near in left:
                    left.remove(near)
                    stack.append(near)
        best = max(best, size)
    region = largest_region(inside)
    assert region.sum() == best
    assert not (region & ~inside).any()


@given(masks)
def test_the_outline_is_closed_and_surrounds_the_region(inside):
    region = largest_region(inside)
    border = outline(region)
    assert bool(border) == bool(region.any())
    for (r0, c0), (r1, c1) in zip(border, border[1:] + border[:1], strict=True):
        assert max(abs(r0 - r1), abs(c0 - c1)) <= 1
        assert region[r0, c0]
    if border:
        assert _outer_border(region) <= set(border)


def test_the_outline_of_a_notched_drop():
    assert outline(picture("##.. ##.. #### ####")) == [
        (0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3), (3, 2), (3, 1), (3, 0), (2, 0), (1, 0),
    ]  # fmt: skip


def _outer_border(region):
    """The pixels with a side to the outside, holes not counted."""
    padded = np.pad(region, 1)
    outside, stack = np.zeros_like(padded), [(0, 0)]
    while stack:
        r, c = stack.pop()
        if 0 <= r < padded.shape[0] and 0 <= c < padded.shape[1] and not padded[r, c] and not outside[r, c]:
            outside[r, c] = True
            stack += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
    near = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    return {(int(r), int(c)) for r, c in np.argwhere(region & near)}


@pytest.mark.parametrize(
    ("box", "to_reference", "expected"),
    [
        (Box(400, 500, 300, 200), 1.0, Box(360, 460, 380, 280)),  # 40 pixels wider on each side; 256 at least
        (Box(400, 500, 300, 200), 0.5, Box(294, 344, 512, 512)),  # a chop is 512 of these pixels
        (Box(0, 1950, 100, 50), 1.0, Box(0, 1744, 256, 256)),  # moved inside the image
        (Box(0, 0, 1000, 2000), 1.0, Box(0, 0, 1000, 2000)),  # the whole image: there is no more
    ],
)
def test_a_crop_has_a_margin_and_room_for_a_chop(box: Box, to_reference: float, expected: Box) -> None:
    assert crop_around(box, 1000, 2000, to_reference) == expected


@pytest.mark.parametrize(("inside", "confidence"), [(0.82, 0.515), (0.6, 0.848)])
def test_a_faint_region_is_a_reflection(inside: float, confidence: float) -> None:
    drop = find_drop(mask(slice(64, 128), slice(32, 192), inside=inside), 1000, 1000)
    assert drop.box is None
    assert drop.is_null_experiment
    assert drop.confidence == pytest.approx(confidence, abs=0.001)


def test_a_region_that_fills_the_image_is_a_drop_however_faint() -> None:
    drop = find_drop(mask(slice(0, 250), slice(0, 250), inside=0.7), 1000, 1000)
    assert drop.box is not None
