"""Best chops that only touch the drop are not shown."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.server.conftest import answer
from xtalgrid_core import wire
from xtalgrid_core.best_chops import area_inside, shown_chops
from xtalgrid_core.outcomes import Outcome

SIDE = 200
corners = st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1))


@given(st.floats(20, 90), st.lists(st.floats(0.5, 1), min_size=12, max_size=12), corners, st.integers(20, 120))
def test_the_area_is_what_pixels_count(radius, waves, corner, side):
    """Against Pillow's polygon, also for outlines with dents."""
    turns = np.linspace(0, 2 * np.pi, len(waves), endpoint=False)
    outline = [(100 + radius * w * np.sin(a), 100 + radius * w * np.cos(a)) for a, w in zip(turns, waves, strict=True)]
    mask = Image.new("1", (SIDE * 2, SIDE * 2))
    ImageDraw.Draw(mask).polygon([(col * 2, row * 2) for row, col in outline], fill=1)
    row, col = corner
    counted = np.asarray(mask)[2 * row : 2 * (row + side), 2 * col : 2 * (col + side)].sum() / 4
    assert area_inside(outline, (row, col, side, side)) == pytest.approx(counted, abs=4 * radius)


def scored(boxes, outline):
    one = answer(0, Outcome.HARVESTABLE)
    chops = tuple(wire.BestChop(box=box, outcome=Outcome.HARVESTABLE, probability=0.9) for box in boxes)
    return msgspec.structs.replace(one, boxes=chops, drop=wire.Drop(box=(0, 0, 9, 9), outline=outline, confidence=0.9))


SQUARE = ((100, 100), (100, 500), (500, 500), (500, 100))


def test_a_chop_that_shows_mostly_the_wall_is_left_out():
    inside, half, wall = (100, 100, 100, 100), (50, 200, 100, 100), (20, 200, 100, 100)
    assert [chop.box for chop in shown_chops(scored([inside, half, wall], SQUARE))] == [inside, half]


def test_a_drop_smaller_than_a_chop_is_shown_by_the_chop_around_it():
    around, beside = (0, 0, 900, 900), (350, 0, 900, 900)
    assert [chop.box for chop in shown_chops(scored([around, beside], SQUARE))] == [around]


def test_without_an_outline_all_are_shown():
    assert len(shown_chops(scored([(0, 0, 10, 10), (900, 900, 10, 10)], ()))) == 2
