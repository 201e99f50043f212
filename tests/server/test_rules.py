"""The score table rules: a person's score is never changed, deleted or hidden."""

from datetime import datetime, timedelta

import msgspec
import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import HoldRule

from .conftest import INSPECTED

WELL = {(1, 1): Outcome.HARVESTABLE}


def finish(system):
    system.finalize(frames="none")
    return system.publish().actions


def with_policy(system, **changes):
    publish = msgspec.structs.replace(system.config.publish, **changes)
    system.config = msgspec.structs.replace(system.config, publish=publish)


def test_an_artscore_is_dated_as_its_inspection(system, score, score_table):
    (row,) = score(WELL)
    assert finish(system) == {"insert": 1}
    assert score_table() == [(row.inspect_id, "23", INSPECTED, "ARTscore")]


def test_twice_is_once(system, score, score_table):
    score(WELL)
    finish(system)
    before = score_table()
    assert finish(system) == {}
    assert score_table() == before


@pytest.mark.parametrize("days", [-10, 0, 10])
def test_it_is_never_the_newest_beside_a_persons(system, score, score_table, person, days):
    (first,) = score(WELL, inspection=1, inspected=INSPECTED - timedelta(days=20))
    (second,) = score(WELL, inspection=2)
    persons_date = INSPECTED + timedelta(days=days)
    person(first.inspect_id, "13", persons_date)
    finish(system)
    newest = max(score_table(), key=lambda row: row[2])
    assert newest[3] == "jdoe"
    ours = {row[0]: row[2] for row in score_table() if row[3] == "ARTscore"}
    assert ours[second.inspect_id] == min(INSPECTED, persons_date - timedelta(seconds=1))


def test_not_scored_is_no_persons_score(system, score, score_table, person):
    (row,) = score(WELL)
    person(row.inspect_id, "20", INSPECTED - timedelta(days=1))
    finish(system)
    assert score_table()[-1][2] == INSPECTED


def test_policy_drop_writes_nothing_where_a_person_scored_the_drop(system, score, score_table, person):
    with_policy(system, policy="drop")
    (first,) = score(WELL, inspection=1, inspected=INSPECTED - timedelta(days=20))
    score(WELL | {(2, 1): Outcome.CLEAR}, inspection=2)
    person(first.inspect_id, "13", INSPECTED)
    finish(system)
    assert [row[1] for row in score_table() if row[3] == "ARTscore"] == ["01"]


def test_policy_inspection_writes_beside_other_inspections_but_behind(system, score, score_table, person):
    with_policy(system, policy="inspection")
    (first,) = score(WELL, inspection=1, inspected=INSPECTED - timedelta(days=20))
    (second,) = score(WELL, inspection=2)
    person(first.inspect_id, "13", INSPECTED - timedelta(days=19))
    finish(system)
    ours = [row for row in score_table() if row[3] == "ARTscore"]
    assert [row[0] for row in ours] == [second.inspect_id]
    assert ours[0][2] < INSPECTED - timedelta(days=19)


def test_policy_shadow_publishes_nothing(system, score, score_table):
    with_policy(system, policy="shadow")
    score(WELL)
    assert finish(system) == {}
    assert score_table() == []
    assert system.ledger.counts()["actions"] == {"shadow": 1}


def test_what_was_scored_in_shadow_mode_is_published_when_asked_for(system, score, score_table):
    with_policy(system, policy="shadow")
    (row,) = score(WELL)
    finish(system)
    with pytest.raises(ConfigError, match="set another one first"):
        system.finalize(shadow=True)
    with_policy(system, policy="behind")
    assert finish(system) == {}  # nobody asked
    system.finalize(frames="none", shadow=True)
    assert system.publish().actions == {"insert": 1}
    assert score_table() == [(row.inspect_id, "23", INSPECTED, "ARTscore")]
    assert system.finalize(frames="none", shadow=True).actions == {}


def test_hold_rules_are_asked_of_what_was_scored_in_shadow_mode_too(system, score):
    with_policy(system, policy="shadow")
    score(WELL)
    finish(system)
    with_policy(system, policy="behind", hold=(HoldRule(outcome="crystal", below=1),))
    assert system.finalize(frames="none", shadow=True).actions == {"hold": 1}


def test_a_person_who_scores_between_finalizer_and_publication_is_seen(system, score, score_table, person):
    with_policy(system, policy="drop")
    (row,) = score(WELL)
    system.finalize(frames="none")
    person(row.inspect_id, "13", datetime(2012, 12, 1))
    assert system.publish().actions == {"keep": 1}
    assert [by for *_, by in score_table()] == ["jdoe"]


def test_of_several_images_the_highest_priority_is_the_inspections_score(system, score, score_table):
    score({(1, 1): Outcome.CLEAR}, image="E0")
    score({(1, 1): Outcome.BAD_FORM}, image="HF")
    finish(system)
    assert [row[1] for row in score_table()] == ["22"]


def test_a_newer_model_replaces_our_own_row_and_no_other(system, score, score_table, person):
    (row,) = score({(1, 1): Outcome.CLEAR})
    finish(system)
    person(row.inspect_id, "13", INSPECTED + timedelta(days=1))
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.8)
    assert finish(system) == {"replace": 1}
    assert score_table() == [
        (row.inspect_id, "23", INSPECTED, "ARTscore"),
        (row.inspect_id, "13", INSPECTED + timedelta(days=1), "jdoe"),
    ]


def test_undecided_is_never_written(system, score, score_table):
    score({(1, 1): Outcome.UNDECIDED})
    assert finish(system) == {}
    assert score_table() == []


def test_held_scores_wait_for_a_person(system, score, score_table):
    with_policy(system, hold=(HoldRule(outcome="crystal", below=0.97),))
    score(WELL | {(2, 1): Outcome.BAD_FORM, (3, 1): Outcome.CLEAR})
    finish(system)
    assert [row[1] for row in score_table()] == ["01"]
    held = sorted(s for s, action in system.ledger.decisions.actions().items() if action == "hold")
    system.ledger.decisions.add_reviews(held[:1], "approve", "jdoe")
    system.ledger.decisions.add_reviews(held[1:], "reject", "jdoe")
    finish(system)
    assert [row[1] for row in score_table()] == ["01", "23"]
    assert finish(system) == {}


@pytest.mark.parametrize(("policy", "written"), [("behind", [3, 4]), ("inspection", [3]), ("drop", [])])
def test_a_score_that_is_only_in_the_viewer_stands_too(system, score, score_table, policy, written):
    with_policy(system, policy=policy)
    (third,) = score(WELL, inspection=3)
    (fourth,) = score(WELL, inspection=4, inspected=INSPECTED + timedelta(days=7))
    (image,) = system.ledger.images.of_inspections([fourth.inspect_id])
    system.ledger.corrections.add(image.image_id, Outcome.CLEAR, "ann")
    finish(system)
    ids = {third.inspect_id: 3, fourth.inspect_id: 4}
    assert sorted(ids[inspect_id] for inspect_id, *_ in score_table()) == written


def test_a_score_given_in_the_viewer_in_the_meantime_stands(system, score, score_table):
    with_policy(system, policy="inspection")
    (row,) = score(WELL)
    system.finalize(frames="none")
    (image,) = system.ledger.images.of_inspections([row.inspect_id])
    system.ledger.corrections.add(image.image_id, Outcome.CLEAR, "ann")
    assert system.publish().actions == {"keep": 1}
    assert score_table() == []
