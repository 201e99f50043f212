"""What appeared or grew is told from what stood, in rendered time courses with known crystals."""

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.growth import growth
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.registration import Unaligned
from xtalgrid_synth.time_course import Growth, render_course

UM = 4.5
SIZE = {"width": 640, "height": 480, "pixel_size_um": UM}
CHOP = 64


def course(seed, grows):
    return render_course(Outcome.HARVESTABLE, seed=seed, growth=grows, inspections=2, **SIZE)


def around(box):
    return box.row + box.height // 2 - CHOP // 2, box.col + box.width // 2 - CHOP // 2, CHOP, CHOP


@pytest.fixture(scope="module")
def mixed():
    """A drop in which some crystals stand and others appear."""
    drawn = course(92, Growth.MIXED)
    assert {one.sizes[0] for one in drawn.crystals} == {0, 1}
    return drawn


@pytest.mark.parametrize(
    ("grows", "low", "high"), [(Growth.APPEAR, 0.9, 1), (Growth.GROW, 0.7, 1), (Growth.STAND, 0, 0.2)]
)
def test_crystals_that_appear_or_grow_are_new(grows, low, high):
    drawn = course(92, grows)
    before, now = drawn.images
    found = growth(now, before, [around(one.box) for one in drawn.crystals], UM)
    assert found.p_new is not None and low <= found.p_new <= high
    assert found.why == ""


def test_one_new_crystal_beside_an_old_one_is_news(mixed):
    before, now = mixed.images
    old, new = ([around(one.box) for one in mixed.crystals if one.sizes[0] == there] for there in (1, 0))
    p_old, p_new, p_both = (growth(now, before, boxes, UM).p_new for boxes in (old[:1], new, old[:1] + new))
    assert p_old < 0.2 < 0.8 < p_new == p_both


def test_the_earlier_picture_may_have_another_size(mixed):
    before, now = mixed.images
    boxes = [around(one.box) for one in mixed.crystals]
    half = np.asarray(Image.fromarray(before).resize((480, 360)))
    assert growth(now, half, boxes, UM).p_new == pytest.approx(growth(now, before, boxes, UM).p_new, abs=0.1)


def test_what_cannot_be_compared_is_said(mixed):
    before, now = mixed.images
    boxes = [around(one.box) for one in mixed.crystals]
    other = course(90, Growth.STAND).images[0]
    assert growth(now, other, boxes, UM) == (None, str(Unaligned.NOTHING))
    assert growth(now, before[:, :400], boxes, UM) == (None, str(Unaligned.SHAPE))
    assert growth(now, before, [], UM).why == "no box is large enough to compare"
    assert growth(now, before, [(0, 0, 3, 3)], UM).p_new is None
