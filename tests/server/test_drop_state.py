"""What a drop is held to be, from the ARTscore and people's scores."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome
from xtalgrid_server.domain.drop_state import DropState, PersonScore, group_of

START = datetime(2026, 1, 1)
CLEAR, GOOD, BAD = Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.BAD_FORM


ANY_CRYSTAL, ANY_CLEAR = Group.CRYSTAL, Group.CLEAR


def said(*scores: tuple[str, Outcome | Group | None]) -> list[PersonScore]:
    """Scores by name, a minute apart."""
    return [
        PersonScore(
            1,
            what if isinstance(what, Outcome) else None,
            "xx",
            who,
            START + timedelta(minutes=n),
            group_only=what if isinstance(what, Group) else None,
        )
        for n, (who, what) in enumerate(scores)
    ]


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
        (CLEAR, [("ann", ANY_CRYSTAL)], "any crystal", 1.0, "differ"),
        (GOOD, [("ann", ANY_CRYSTAL)], "any crystal", 1.0, "agree"),  # the ARTscore's class is not ann's
        (GOOD, [("ann", BAD), ("ben", ANY_CRYSTAL)], "crystals bad form", 1.0, "agree"),  # ben said no less of it
        (GOOD, [("ann", BAD), ("ann", ANY_CRYSTAL)], "any crystal", 1.0, "agree"),
        (CLEAR, [("ann", ANY_CRYSTAL), ("ben", CLEAR)], "people disagree", 0.5, "differ"),
        (None, [("ann", CLEAR), ("ben", ANY_CLEAR)], "clear", 0.0, "alone"),
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
        ([("ann", ANY_CRYSTAL)], ANY_CRYSTAL),
        ([("ann", GOOD), ("ben", ANY_CRYSTAL)], ANY_CRYSTAL),
        ([("ann", CLEAR), ("ben", ANY_CLEAR)], ANY_CLEAR),  # though both are called clear
    ],
)
def test_what_all_people_agree_on(people, agreed):
    assert DropState.of(BAD, 0.2, said(*people)).agreed is agreed


@given(
    st.sampled_from([None, *Outcome]),
    st.lists(
        st.tuples(st.sampled_from(["ann", "ben", "eve"]), st.sampled_from([*CLASSES, *SCORED_GROUPS])), max_size=6
    ),
)
def test_no_persons_newest_score_is_hidden(artscore, people):
    """Against a dictionary of who said what last."""
    last = dict(people)
    state = DropState.of(artscore, None, reversed(said(*people)))
    assert {score.who: score.meaning for score in state.people} == last
    groups = {group_of(meaning) for meaning in last.values()}
    assert state.disputed is (len(groups) > 1)
    for meaning in last.values():
        assert meaning in state.said
        assert state.is_one_of(group_of(meaning))
    if last:
        crystals = sum(group_of(meaning) is Group.CRYSTAL for meaning in last.values())
        assert state.chance == pytest.approx(crystals / len(last))
        assert (state.outcome is None) is state.disputed
    else:
        assert state.outcome is artscore


def test_a_person_is_one_however_the_letters_of_the_name_are_written():
    """Else Jörg, who changed a score, would disagree with Jörg."""
    state = DropState.of(CLEAR, scores=said(("J\u00f6rg", CLEAR), ("jo\u0308rg", GOOD)))
    assert (state.name, len(state.people), state.disputed) == (str(GOOD), 1, False)
    assert state.by("JO\u0308RG") == state.people[0]
