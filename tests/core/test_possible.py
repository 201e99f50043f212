import numpy as np
import pytest

from xtalgrid_core.decision import called_group
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.possible import PossibleGroups, least_probability


def test_a_group_is_possible_from_its_least_probability_on_and_the_most_probable_always():
    possible = PossibleGroups(0.95, (0.3, 0.5, 0.02, 0.5))
    assert possible((0.3, 0.5, 0.1, 0.1)) == (Group.CRYSTAL, Group.PRECIPITATE, Group.OTHER)
    assert possible((0.29, 0.49, 0.01, 0.21)) == (Group.PRECIPITATE,)


def test_what_a_well_is_called_is_possible():
    """With `crystal_from = 0.1`, a drop was called crystals and "may be: precipitate"."""
    possible = PossibleGroups(0.95, (0.3, 0.5, 0.02, 0.5))
    groups = 0.15, 0.8, 0.01, 0.04
    options = Options(segmenter="a" * 64, classifier="b" * 64, crystal_from=0.1)
    for outcome in (Outcome.HARVESTABLE, Outcome.UNDECIDED):
        called = called_group(outcome, groups, options, has_chops=True)
        assert possible(groups, called) == (Group.CRYSTAL, Group.PRECIPITATE)
    assert called_group(Outcome.UNDECIDED, groups, options, has_chops=False) is Group.OTHER


@pytest.mark.parametrize(("wells", "least"), [(18, 0.0), (19, 1.0), (38, 1.0), (39, 2.0)])
def test_the_least_probability_is_the_kth_lowest_or_none_if_there_are_too_few_wells(wells, least):
    assert least_probability([*range(wells, 0, -1)], 0.95) == least


def test_new_wells_of_the_same_kind_keep_their_group_as_often_as_said():
    rng = np.random.default_rng(1)
    kept = []
    for _ in range(400):
        least = least_probability(rng.beta(5, 1, 50).tolist(), 0.9)
        kept.append((rng.beta(5, 1, 200) >= least).mean())
    assert 0.9 <= np.mean(kept) < 0.915  # 1 − 5/51 = 0.902


@pytest.mark.parametrize(("coverage", "least"), [(0.95, (0.5,) * 3), (1.0, (0.5,) * 4), (0.95, (1.5, 0.0, 0.0, 0.0))])
def test_other_numbers_are_refused(coverage, least):
    with pytest.raises(ValueError, match="4 probabilities"):
        PossibleGroups(coverage, least)
