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
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.database import now

JDOE = ScoreRow(7, 100, "13", INSPECTED, "jdoe", None)
OURS = ScoreRow(8, 100, "23", INSPECTED - timedelta(days=1), "ARTscore", "a.jpg")


def test_a_row_is_recorded_when_new_and_when_changed_and_never_lost(system):
    imager_scores = system.ledger.imager_scores
    assert imager_scores.record([JDOE, OURS]) == 2
    assert imager_scores.record([JDOE, OURS]) == 0
    assert imager_scores.record([replace(JDOE, score_id=9, code="")]) == 0  # a row without a score says nothing
    changed = replace(JDOE, code="23")
    assert imager_scores.record([changed]) == 1
    assert imager_scores.of_inspections([100, 101]) == {100: [OURS, changed], 101: []}
    assert [seen.row for seen in imager_scores.history([100])] == [JDOE, OURS, changed]


def test_a_row_that_was_deleted_is_kept_as_gone_and_may_come_again(system):
    imager_scores = system.ledger.imager_scores
    imager_scores.record([JDOE, OURS])
    assert (
        imager_scores.record([OURS], between=(0, 8, now() - timedelta(hours=1))) == 0
    )  # recorded after that page was read
    assert imager_scores.record([OURS], between=(0, 8, now() + timedelta(seconds=1))) == 1
    assert imager_scores.record([OURS], between=(0, 8, now() + timedelta(seconds=1))) == 0
    assert imager_scores.of_inspections([100]) == {100: [OURS]}
    assert [(seen.row.score_id, seen.gone) for seen in imager_scores.history([100])] == [
        (7, False),
        (8, False),
        (7, True),
    ]
    assert imager_scores.record([JDOE, OURS]) == 1
    assert imager_scores.of_inspections([100])[100][-1] == JDOE


def test_the_finalizer_records_every_row_it_sees(system, score, person):
    first, *_ = score({(1, 1): Outcome.CLEAR})
    person(first.inspect_id, "13", INSPECTED)
    system.finalize(frames="none")
    system.publish()
    later, *_ = score({(1, 1): Outcome.CLEAR}, inspection=4)
    system.finalize(frames="none")
    rows = system.ledger.imager_scores.of_inspections([first.inspect_id, later.inspect_id])
    assert [(row.code, row.by) for row in rows[first.inspect_id]] == [("01", "ARTscore"), ("13", "jdoe")]


def test_corrections_of_several_people_and_one_taken_back(system, score):
    ledger = system.ledger
    row, *_ = score({(1, 1): Outcome.CLEAR})
    (image,) = system.ledger.images.of_plate("CI022987")
    score_id = image.score_id
    made = ledger.corrections.add(image.image_id, Outcome.HARVESTABLE, "ann", score_id=score_id, note="a needle")
    assert ledger.corrections.add(image.image_id, Outcome.HARVESTABLE, "ann", note="a needle") == made
    ledger.corrections.add(image.image_id, Outcome.BAD_FORM, "bob")
    scores = ledger.person_scores.of([image])[row.inspect_id]
    assert [(one.outcome, one.who, one.code) for one in scores] == [
        (Outcome.HARVESTABLE, "ann", "23"),
        (Outcome.BAD_FORM, "bob", "22"),
    ]
    ledger.corrections.add(image.image_id, None, "bob")
    ledger.corrections.add(image.image_id, None, "bob")
    assert ledger.corrections.add(image.image_id, None, "carl") is None
    (standing,) = ledger.person_scores.of([image])[row.inspect_id]
    assert (standing.who, standing.correction) == ("ann", made.id)
    assert [one.outcome for one in ledger.corrections.of_images([image.image_id])[image.image_id]] == [
        Outcome.HARVESTABLE,
        Outcome.BAD_FORM,
        None,
    ]
    with pytest.raises(LedgerError, match="no image 999"):
        ledger.corrections.add(999, Outcome.CLEAR, "ann")
    with pytest.raises(LedgerError, match="name of the person"):
        ledger.corrections.add(image.image_id, Outcome.CLEAR, "  ")
    with pytest.raises(ValueError, match="undecided"):
        ledger.corrections.add(image.image_id, Outcome.UNDECIDED, "ann")


def test_scores_of_people_in_the_imager_and_in_the_viewer_newest_last(system, score):
    ledger = system.ledger
    row, *_ = score({(1, 1): Outcome.CLEAR})
    (image,) = system.ledger.images.of_plate("CI022987")
    other = replace(JDOE, inspect_id=row.inspect_id, code="99")
    ledger.imager_scores.record(
        [other, replace(OURS, inspect_id=row.inspect_id), ScoreRow(9, row.inspect_id, "20", INSPECTED, "x", None)]
    )
    ledger.corrections.add(image.image_id, Outcome.OTHER, "ann")
    scores = ledger.person_scores.of([image])[row.inspect_id]
    assert [(one.who, one.code, one.outcome) for one in scores] == [("jdoe", "99", None), ("ann", "33", Outcome.OTHER)]
    assert scores[0].at == datetime(2012, 11, 21, 14, 0)  # the imager's zone is UTC here


def test_contents_by_the_most_exact_place_and_the_newest_row(system):
    contents = system.ledger.contents
    plate = Contents("CI1", Well(0, 0, 0), project="kinases", sample="ABL1", origin="imager database")
    well = Contents("CI1", Well(1, 2, 0), condition="0.1 M Tris pH 8, 20 % PEG 3350", origin="plate.csv")
    drop = Contents("CI1", Well(1, 2, 3), sample="ABL1 + inhibitor", origin="plate.csv")
    assert contents.record([plate, well, drop]) == 3
    assert contents.record([plate, well, drop]) == 0
    inside = contents.of_plates(["CI1", "CI2"])
    assert inside("CI1", Well(1, 2, 3)) == Contents(
        "CI1", Well(1, 2, 3), "kinases", "ABL1 + inhibitor", "0.1 M Tris pH 8, 20 % PEG 3350", "plate.csv"
    )
    assert inside("CI1", Well(1, 2, 1)).sample == "ABL1"
    assert inside("CI1", Well(8, 12, 1)).condition == ""
    assert inside("CI2", Well(1, 2, 1)).sample == ""
    assert contents.record([replace(drop, sample="")]) == 1  # not known after all
    assert contents.of_plates(["CI1"])("CI1", Well(1, 2, 3)).sample == "ABL1"
