"""What the ledger keeps of people's scores and of drops' contents."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.server.conftest import INSPECTED
from xtalgrid_core.errors import LedgerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ScoreRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.people import Contents
from xtalgrid_server.ledger.records import now

JDOE = ScoreRow(7, 100, "13", INSPECTED, "jdoe", None)
OURS = ScoreRow(8, 100, "23", INSPECTED - timedelta(days=1), "ARTscore", "a.jpg")


def test_a_row_is_recorded_when_new_and_when_changed_and_never_lost(system):
    people = system.ledger.people
    assert people.record([JDOE, OURS]) == 2
    assert people.record([JDOE, OURS]) == 0
    assert people.record([replace(JDOE, score_id=9, code="")]) == 0  # a row without a score says nothing
    changed = replace(JDOE, code="23")
    assert people.record([changed]) == 1
    assert people.scores([100, 101]) == {100: [OURS, changed], 101: []}
    assert [seen.row for seen in people.history([100])] == [JDOE, OURS, changed]


def test_a_row_that_was_deleted_is_kept_as_gone_and_may_come_again(system):
    people = system.ledger.people
    people.record([JDOE, OURS])
    assert people.record([OURS], between=(0, 8, now() - timedelta(hours=1))) == 0  # recorded after that page was read
    assert people.record([OURS], between=(0, 8, now() + timedelta(seconds=1))) == 1
    assert people.record([OURS], between=(0, 8, now() + timedelta(seconds=1))) == 0
    assert people.scores([100]) == {100: [OURS]}
    assert [(seen.row.score_id, seen.gone) for seen in people.history([100])] == [(7, False), (8, False), (7, True)]
    assert people.record([JDOE, OURS]) == 1
    assert people.scores([100])[100][-1] == JDOE


def test_the_finalizer_records_every_row_it_sees(system, score, person):
    first, *_ = score({(1, 1): Outcome.CLEAR})
    person(first.inspect_id, "13", INSPECTED)
    system.finalize(frames="none")
    system.set_autoscore()
    later, *_ = score({(1, 1): Outcome.CLEAR}, inspection=4)
    system.finalize(frames="none")
    rows = system.ledger.people.scores([first.inspect_id, later.inspect_id])
    assert [(row.code, row.by) for row in rows[first.inspect_id]] == [("01", "ARTscore"), ("13", "jdoe")]


def test_corrections_of_several_people_and_one_taken_back(system, score):
    people = system.ledger.people
    row, *_ = score({(1, 1): Outcome.CLEAR})
    (seen,) = system.ledger.views.seen("CI022987")
    score_id = seen.score.score_id
    made = people.correct(seen.image_id, Outcome.HARVESTABLE, "ann", score_id=score_id, note="a needle")
    assert people.correct(seen.image_id, Outcome.HARVESTABLE, "ann", note="a needle") == made
    people.correct(seen.image_id, Outcome.BAD_FORM, "bob")
    said = people.said({seen.image_id: row.inspect_id})[row.inspect_id]
    assert [(one.outcome, one.who, one.code) for one in said] == [
        (Outcome.HARVESTABLE, "ann", "23"),
        (Outcome.BAD_FORM, "bob", "22"),
    ]
    people.correct(seen.image_id, None, "bob")
    people.correct(seen.image_id, None, "bob")
    assert people.correct(seen.image_id, None, "carl") is None
    (standing,) = people.said({seen.image_id: row.inspect_id})[row.inspect_id]
    assert (standing.who, standing.correction) == ("ann", made.id)
    assert [one.outcome for one in people.corrections([seen.image_id])[seen.image_id]] == [
        Outcome.HARVESTABLE,
        Outcome.BAD_FORM,
        None,
    ]
    with pytest.raises(LedgerError, match="no image 999"):
        people.correct(999, Outcome.CLEAR, "ann")
    with pytest.raises(LedgerError, match="name of the person"):
        people.correct(seen.image_id, Outcome.CLEAR, "  ")
    with pytest.raises(ValueError, match="undecided"):
        people.correct(seen.image_id, Outcome.UNDECIDED, "ann")


def test_what_people_said_in_the_imager_and_in_the_viewer_newest_last(system, score):
    people = system.ledger.people
    row, *_ = score({(1, 1): Outcome.CLEAR})
    (seen,) = system.ledger.views.seen("CI022987")
    other = replace(JDOE, inspect_id=row.inspect_id, code="99")
    people.record(
        [other, replace(OURS, inspect_id=row.inspect_id), ScoreRow(9, row.inspect_id, "20", INSPECTED, "x", None)]
    )
    people.correct(seen.image_id, Outcome.OTHER, "ann")
    said = people.said({seen.image_id: row.inspect_id})[row.inspect_id]
    assert [(one.who, one.code, one.outcome) for one in said] == [("jdoe", "99", None), ("ann", "33", Outcome.OTHER)]
    assert said[0].at == datetime(2012, 11, 21, 14, 0)  # the imager's zone is UTC here


def test_contents_by_the_most_exact_place_and_the_newest_row(system):
    people = system.ledger.people
    plate = Contents("CI1", Well(0, 0, 0), project="kinases", sample="ABL1", origin="imager database")
    well = Contents("CI1", Well(1, 2, 0), condition="0.1 M Tris pH 8, 20 % PEG 3350", origin="plate.csv")
    drop = Contents("CI1", Well(1, 2, 3), sample="ABL1 + inhibitor", origin="plate.csv")
    assert people.set_contents([plate, well, drop]) == 3
    assert people.set_contents([plate, well, drop]) == 0
    recipes = people.contents(["CI1", "CI2"])
    assert recipes("CI1", Well(1, 2, 3)) == Contents(
        "CI1", Well(1, 2, 3), "kinases", "ABL1 + inhibitor", "0.1 M Tris pH 8, 20 % PEG 3350", "plate.csv"
    )
    assert recipes("CI1", Well(1, 2, 1)).sample == "ABL1"
    assert recipes("CI1", Well(8, 12, 1)).condition == ""
    assert recipes("CI2", Well(1, 2, 1)).sample == ""
    assert people.set_contents([replace(drop, sample="")]) == 1  # not known after all
    assert people.contents(["CI1"])("CI1", Well(1, 2, 3)).sample == "ABL1"
