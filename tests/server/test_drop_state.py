"""What a drop is held to be, from the ARTscore and people's scores."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_server.domain.drop_state import DropState, PersonScore

START = datetime(2026, 1, 1)
CLEAR, GOOD, BAD = Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.BAD_FORM


def said(*scores: tuple[str, Outcome | None]) -> list[PersonScore]:
    """Scores by name, a minute apart."""
    return [PersonScore(1, what, "xx", who, START + timedelta(minutes=n)) for n, (who, what) in enumerate(scores)]


@pytest.mark.parametrize(
    ("artscore", "people", "name", "chance", "comparison"),
    [
        (CLEAR, (), "clear", 0.2, "alone"),
        (None, (), "", 0.2, "alone"),
        (CLEAR, [("ann", GOOD)], "crystals harvestable", 1.0, "differ"),
        (GOOD, [("ann", BAD)], "crystals bad form", 1.0, "agree"),
        (GOOD, [("ann", CLEAR)], "clear", 0.0, "differ"),
        (None, [("ann", CLEAR)], "clear", 0.0, "alone"),
        (Outcome.FAILED, [("ann", CLEAR)], "clear", 0.0, "alone"),
        (Outcome.UNDECIDED, [("ann", CLEAR)], "clear", 0.0, "differ"),
        (CLEAR, [("ann", GOOD), ("ann", CLEAR)], "clear", 0.0, "agree"),  # who thinks better of it
        (CLEAR, [("JDOE", GOOD), ("jdoe", CLEAR)], "clear", 0.0, "agree"),
        (CLEAR, [("ann", GOOD), ("ben", BAD)], "crystals bad form", 1.0, "differ"),
        (CLEAR, [("ann", GOOD), ("ben", CLEAR)], "people disagree", 0.5, "differ"),
        (None, [("ann", GOOD), ("ben", CLEAR)], "people disagree", 0.5, "differ"),
        (CLEAR, [("ann", GOOD), ("ben", GOOD), ("eve", CLEAR)], "people disagree", 2 / 3, "differ"),
        (CLEAR, [("ann", None)], "clear", 0.2, "alone"),  # a code that the lab's map does not know
        (CLEAR, [("ann", GOOD), ("ben", None)], "crystals harvestable", 1.0, "differ"),
    ],
)
def test_the_rule(artscore, people, name, chance, comparison):
    state = DropState.of(artscore, 0.2, said(*people))
    assert (state.name, state.chance, state.comparison) == (name, pytest.approx(chance), comparison)


@pytest.mark.parametrize(
    ("people", "agreed"),
    [
        ((), None),
        ([("ann", GOOD), ("ben", GOOD)], GOOD),
        ([("ann", GOOD), ("ben", BAD)], Group.CRYSTAL),
        ([("ann", GOOD), ("ben", CLEAR)], None),
        ([("ann", GOOD), ("ben", None)], None),  # ben's code may mean anything
        ([("ann", CLEAR), ("ben", GOOD), ("ANN", GOOD)], GOOD),
    ],
)
def test_what_all_people_agree_on(people, agreed):
    assert DropState.of(BAD, 0.2, said(*people)).agreed is agreed


@given(
    st.sampled_from([None, *Outcome]),
    st.lists(st.tuples(st.sampled_from(["ann", "ben", "eve"]), st.sampled_from(CLASSES)), max_size=6),
)
def test_no_persons_newest_score_is_hidden(artscore, people):
    """Against a dictionary of who said what last."""
    last = dict(people)
    state = DropState.of(artscore, None, reversed(said(*people)))
    assert {score.who: score.outcome for score in state.people} == last
    groups = {outcome.group for outcome in last.values()}
    assert state.disputed is (len(groups) > 1)
    for outcome in last.values():
        assert outcome in state.said
        assert state.is_one_of(outcome.group)
    if last:
        crystals = sum(outcome.group is Group.CRYSTAL for outcome in last.values())
        assert state.chance == pytest.approx(crystals / len(last))
        assert (state.outcome is None) is state.disputed
    else:
        assert state.outcome is artscore
