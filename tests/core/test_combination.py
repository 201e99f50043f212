"""How a second opinion changes a well's probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.combination import Combination

EVEN = (0.25, 0.25, 0.25, 0.25)
groups = st.lists(st.floats(1e-3, 1), min_size=4, max_size=4).map(lambda odds: [p / sum(odds) for p in odds])


def test_two_networks_of_one_mind_are_surer_than_each_alone():
    both = Combination(1.0, 1.0, (0.0,) * 4)([0.6, 0.2, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1])
    assert both == pytest.approx([0.36 / 0.42, 0.04 / 0.42, 0.01 / 0.42, 0.01 / 0.42])


def test_a_network_that_knows_nothing_changes_nothing():
    assert Combination(1.0, 1.0, (0.0,) * 4)([0.6, 0.2, 0.1, 0.1], EVEN) == pytest.approx([0.6, 0.2, 0.1, 0.1])
    assert Combination(1.0, 0.0, (0.0,) * 4)([0.6, 0.2, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx([0.6, 0.2, 0.1, 0.1])


def test_shifts_multiply_odds():
    found = Combination(1.0, 1.0, (math.log(3), 0.0, 0.0, 0.0))(EVEN, EVEN)
    assert found == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])


@given(groups, groups, st.floats(0, 3), st.floats(0.1, 3), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_the_groups_sum_to_1_and_more_crystal_in_the_second_opinion_means_more_in_all(own, second, a, b, shifts):
    combination = Combination(a, b, tuple(shifts))
    found = combination(own, second)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()
    more = [(second[0] + 1) / 2, *(p / 2 for p in second[1:])]
    assert combination(own, more)[0] >= found[0] - 1e-12
    assert np.array_equal(combination([own] * 2, [second] * 2), [found, found])


def test_certainty_is_limited():
    """A network that gives a group no chance at all is not believed without limit."""
    found = Combination(1.0, 1.0, (0.0,) * 4)([0, 0, 0, 1], [0.9, 0.04, 0.03, 0.03])
    assert 0.001 < found[0] < 0.01


@pytest.mark.parametrize("numbers", [(1.0, math.nan, (0.0,) * 4), (-1.0, 1.0, (0.0,) * 4), (1.0, 1.0, (0.0,) * 3)])
def test_what_is_no_combination_is_refused(numbers):
    with pytest.raises(ValueError, match="two powers"):
        Combination(*numbers)
