"""Where a crystal is new."""

from __future__ import annotations

from datetime import timedelta

from tests.server.conftest import INSPECTED
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.database import now
from xtalgrid_server.reports.history import history
from xtalgrid_server.steps.new_crystals import crystal_from, new_crystals

DAY = timedelta(days=1)


def told(found):
    return [(one.image.well.col, one.image.inspection, one.image.p_crystal, one.before) for one in found]


def test_a_drop_is_told_of_at_the_first_inspection_that_reaches_the_threshold(system, inspect):
    inspect(1, {1: 0.1, 2: 0.5, 3: 0.1})
    inspect(2, {1: 0.4, 2: 0.1, 3: 0.2})
    inspect(3, {1: 0.8, 2: 0.9, 3: 0.3, 4: 0.5})
    found = new_crystals(system.ledger, 0.5)
    assert told(found) == [(1, 3, 0.8, 0.4), (4, 3, 0.5, None), (2, 1, 0.5, None)]
    assert found[0].image.drop == ("CI022987", Well(1, 1, 1))
    assert told(new_crystals(system.ledger, 0.5, inspected_since=INSPECTED + 2 * DAY)) == [
        (1, 3, 0.8, 0.4),
        (4, 3, 0.5, None),
    ]
    assert told(new_crystals(system.ledger, 0.3, inspected_since=INSPECTED + 3 * DAY)) == [
        (4, 3, 0.5, None),
        (3, 3, 0.3, 0.2),
    ]
    assert new_crystals(system.ledger, 0.5, scored_since=now() + DAY) == []
    assert len(new_crystals(system.ledger, 0.5, scored_since=now() - DAY)) == 3
    assert new_crystals(system.ledger, 0.5, barcodes=["CI000001"]) == []


def test_also_where_a_person_scored_the_drop_before(system, inspect, person):
    inspect(1, {1: 0.1})
    (image,) = system.ledger.images.of_plate("CI022987")
    person(image.inspect_id, "13", INSPECTED)
    inspect(2, {1: 0.9})
    system.finalize(frames="none")
    (found,) = new_crystals(system.ledger, crystal_from(system.config))
    assert found.before == 0.1
    assert [(score.code, score.who) for score in found.person_scores] == [("13", "jdoe")]


def test_of_several_images_of_an_inspection_the_most_crystalline_counts_and_a_newer_score_replaces_the_older(
    system, score, inspect
):
    inspect(1, {1: 0.1})
    score({(1, 1): Outcome.CLEAR}, inspection=1, inspected=INSPECTED + DAY, p_crystal=0.7, image="E0")
    inspect(2, {1: 0.9})
    assert told(new_crystals(system.ledger, 0.5)) == [(1, 1, 0.7, None)]
    again = {"inspection": 1, "inspected": INSPECTED + DAY, "threshold": 0.8, "image": "E0"}
    score({(1, 1): Outcome.CLEAR}, p_crystal=0.2, **again)
    assert told(new_crystals(system.ledger, 0.5)) == [(1, 2, 0.9, 0.2)]


def test_plates_come_whole_whatever_the_size_of_a_batch(system, inspect, monkeypatch):
    monkeypatch.setattr("xtalgrid_server.ledger.plates.BATCH", 1)
    inspect(1, {1: 0.1, 2: 0.1})
    inspect(2, {1: 0.9, 2: 0.1})
    assert told(new_crystals(system.ledger, 0.5)) == [(1, 2, 0.9, 0.1)]


def test_a_newest_inspection_that_was_deleted_hides_no_score_of_the_others(system, inspect, person):
    inspect(1, {1: 0.1})
    inspect(2, {1: 0.9})
    first, second = system.ledger.images.of_plate("CI022987")
    person(first.inspect_id, "13", INSPECTED)
    tables = system.imager.tables
    with system.imager.transaction() as connection:
        connection.execute(tables.images.delete().where(tables.images.c.inspectid == second.inspect_id))
        connection.execute(tables.inspections.delete().where(tables.inspections.c.inspectid == second.inspect_id))
    told = history(system.config, system.imager, system.ledger, "CI022987", "A1a")
    steps = [step for chapter in told.chapters for step in chapter.steps]
    assert [step.code for step in steps if step.what == "score table"] == ["13"]
