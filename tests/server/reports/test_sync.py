"""The sweep over the imager database's scores and samples."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from tests.server.conftest import INSPECTED
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak import samples
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.person_scores import PersonScore
from xtalgrid_server.steps import sync

TODAY = datetime.now().replace(microsecond=0)


@pytest.fixture
def statement(system):
    """Run a statement on the imager database."""

    def run(made):
        with system.imager._engine.begin() as connection:
            connection.execute(made)

    return run


def test_new_rows_come_page_by_page_and_changed_and_deleted_ones_again(system, person, statement, monkeypatch):
    monkeypatch.setattr(samples, "PAGE", 2)
    for number in range(5):
        person(100 + number, "13", INSPECTED if number < 2 else TODAY)
    assert (system.sync().recorded, system.sync().recorded) == (5, 0)
    scores = system.imager.tables.scores
    statement(scores.update().where(scores.c.inspectid == 100).values(score="23"))  # years old: read again in turn
    statement(scores.update().where(scores.c.inspectid == 103).values(score="23"))
    statement(scores.delete().where(scores.c.inspectid == 104))
    person(105, "01", TODAY)  # SQLite gives it the SCOREID of the deleted row
    done = system.sync()
    assert (done.rows, done.recorded) == (5, 4)
    rows = system.ledger.imager_scores.of_inspections(range(100, 106))
    assert {inspect_id: [row.code for row in found] for inspect_id, found in rows.items()} == {
        100: ["23"],
        101: ["13"],
        102: ["13"],
        103: ["23"],
        104: [],
        105: ["01"],
    }
    assert [seen.row.code for seen in system.ledger.imager_scores.history([103])] == ["13", "23"]


def test_the_newest_score_may_be_deleted_and_a_database_be_restored(system, score, person):
    (row,) = score({(1, 1): Outcome.CLEAR})
    for code in ("13", "23"):
        person(row.inspect_id, code, TODAY)
    system.sync()

    def seen():
        return [one.code for one in system.ledger.imager_scores.of_inspections([row.inspect_id])[row.inspect_id]]

    def delete(*codes):
        table = system.imager.tables.scores
        with system.imager.transaction() as connection:
            connection.execute(table.delete().where(table.c.score.in_(codes)))

    assert seen() == ["13", "23"]
    delete("23")
    assert system.sync().recorded == 1
    assert seen() == ["13"]
    delete("13")
    system.sync()
    assert seen() == []
    assert system.sync().recorded == 0
    person(row.inspect_id, "11", TODAY)
    system.sync()
    assert seen() == ["11"]


def test_killed_in_the_middle_it_goes_on_from_the_last_page(system, person, monkeypatch):
    monkeypatch.setattr(samples, "PAGE", 2)
    for number in range(5):
        person(100 + number, "13", INSPECTED)
    pages = []

    def page(database, after, score_page=samples.score_page):
        pages.append(after)
        if len(pages) == 2:
            raise KeyboardInterrupt
        return score_page(database, after)

    monkeypatch.setattr(samples, "score_page", page)
    with pytest.raises(KeyboardInterrupt):
        system.sync()
    assert system.sync().recorded == 3
    first = -(2**63)
    assert pages == [first, 2, 1, 3, 5, first]  # the highest row that is known is read again, and the old ones


def codes(system, inspect_ids):
    rows = system.ledger.imager_scores.of_inspections(inspect_ids)
    return {inspect_id: [row.code for row in found] for inspect_id, found in rows.items() if found}


def rows_of(system):
    with system.imager.reading() as connection:
        return connection.execute(system.imager.tables.scores.select()).all()


@pytest.mark.parametrize("new", [2, 6])
def test_a_restored_database_gives_scoreids_again_and_no_score_is_missed(system, person, statement, monkeypatch, new):
    monkeypatch.setattr(samples, "PAGE", 2)
    for number in range(5):
        person(100 + number, "13", INSPECTED)
    system.sync()
    scores = system.imager.tables.scores
    (second,) = (row.scoreid for row in rows_of(system) if row.inspectid == 101)
    statement(scores.delete().where(scores.c.scoreid > second))  # the backup had the first two
    for number in range(new):  # the restored sequence gives the next higher SCOREIDs
        given = {"score": "01", "scoredate": TODAY, "scoredby": "jdoe", "imagename": ""}
        statement(scores.insert().values(scoreid=second + 1 + number, inspectid=200 + number, **given))
    system.sync()
    expected = {100: ["13"], 101: ["13"]} | {200 + number: ["01"] for number in range(new)}
    assert codes(system, range(100, 210)) == expected
    assert system.sync().recorded == 0


def test_a_row_below_the_highest_scoreid_comes_in_turn(system, person, statement, monkeypatch):
    """As nodes of a cluster give them, each from its own part of a sequence; ids may be negative too."""
    monkeypatch.setattr(samples, "PAGE", 2)
    monkeypatch.setattr(sync, "OLD_PAGES", 1)
    kept = {"score": "23", "scoredate": INSPECTED, "scoredby": "jdoe", "imagename": ""}
    scores = system.imager.tables.scores
    for number in range(10, 20):
        statement(scores.insert().values(scoreid=number, inspectid=100 + number, **kept))
    system.sync()
    for number in (-7, 5, 13):
        statement(scores.delete().where(scores.c.scoreid == number))
        statement(scores.insert().values(scoreid=number, inspectid=300 + number, **kept))
    for _ in range(4):
        system.sync()
    assert codes(system, range(290, 330)) == {293: ["23"], 305: ["23"], 313: ["23"]}
    assert codes(system, [113]) == {}


def test_projects_and_samples_of_the_plates_that_were_seen(system, score, statement, xtalgrid):
    score({(1, 1): Outcome.CLEAR})
    tables = system.imager.tables
    sample_tables = [tables.plates, tables.plate_drops, tables.samples, tables.projects]
    for table in sample_tables:
        table.drop(system.imager._engine, checkfirst=True)
    missing = f"has no {', '.join(table.fullname.upper() for table in sample_tables)} with CrystalTrak's columns"
    assert [missing in xtalgrid("sync").output for _ in range(2)] == [True, False]

    for table in sample_tables:
        table.create(system.imager._engine)
    statement(tables.projects.insert().values(project_id=1, name="kinases"))
    statement(
        sa.insert(tables.samples).values(
            [{"sample_id": 1, "sample_name": "ABL1"}, {"sample_id": 2, "sample_name": "SRC"}]
        )
    )
    for number, barcode in enumerate(("CI022987", "CI999999")):  # of the second plate no image was seen
        statement(tables.plates.insert().values(plate_id=number, barcode=barcode, project_id=1))
        statement(sa.insert(tables.plate_drops).values([{"fk_plate_id": number, "fk_sample_id": n} for n in (1, 1, 2)]))
    assert (system.sync().contents, system.sync().contents) == (1, 0)
    inside = system.ledger.contents.of_plates(["CI022987", "CI999999"])
    assert (inside("CI022987", Well(1, 1, 1)).project, inside("CI022987", Well(1, 1, 1)).sample) == (
        "kinases",
        "ABL1, SRC",
    )
    assert inside("CI999999", Well(1, 1, 1)).project == ""


def test_a_plate_that_was_taken_out_of_its_project_is_of_none(system, statement):
    """Its people still saw it: nothing was recorded of a plate without a project and samples."""
    tables = system.imager.tables
    tables.metadata.create_all(system.imager._engine)
    statement(tables.projects.insert().values(project_id=1, name="kinases"))
    for number in (1, 2, 3):
        if number < 3:
            statement(tables.plates.insert().values(plate_id=number, barcode=f"P{number}", project_id=1))
        (row,) = system.imager.register([ImageRow(0, f"P{number}", 1, TODAY, Well(1, 1, 1), "a.jpg")])
        system.ledger.failures.add("a.jpg", "create_work", FailureReason.MISSING_FILE, "", row)
    system.ledger.contents.record([Contents("P3", Well(0, 0, 0), project="by hand", origin="layout.csv")])

    def projects():
        contents = system.ledger.contents.of_plates(["P1", "P2", "P3"])
        return [contents(barcode, Well(1, 1, 1)).project for barcode in ("P1", "P2", "P3")]

    assert (system.sync().contents, projects()) == (2, ["kinases", "kinases", "by hand"])
    statement(tables.plates.update().where(tables.plates.c.barcode == "P1").values(project_id=None))
    assert (system.sync().contents, projects()) == (1, ["", "kinases", "by hand"])
    assert system.sync().contents == 0
    statement(tables.plates.delete())  # as while a database is restored
    assert (system.sync().contents, projects()) == (0, ["", "kinases", "by hand"])


def test_contents_are_read_of_plates_that_can_have_changed(system, person, statement, monkeypatch):
    tables = system.imager.tables
    tables.metadata.create_all(system.imager._engine)
    statement(tables.projects.insert().values(project_id=1, name="kinases"))
    for number in range(1, 8):
        statement(tables.plates.insert().values(plate_id=number, barcode=f"P{number}", project_id=1))
        inspected = TODAY if number == 1 else INSPECTED
        (row,) = system.imager.register([ImageRow(0, f"P{number}", 1, inspected, Well(1, 1, 1), "a.jpg")])
        system.ledger.failures.add("a.jpg", "create_work", FailureReason.MISSING_FILE, "", row)
        if number == 2:
            person(row.inspect_id, "13", TODAY)
    asked = []

    def contents(database, tables, barcodes, plate_contents=samples.plate_contents):
        asked.append(list(barcodes))
        return plate_contents(database, tables, barcodes)

    monkeypatch.setattr(samples, "plate_contents", contents)
    monkeypatch.setattr(sync, "OLD_PLATES", 2)
    every = [f"P{number}" for number in range(1, 8)]
    assert system.sync().contents == 7
    statement(tables.projects.update().values(name="phosphatases"))
    assert [system.sync().contents for _ in range(5)] == [4, 2, 1, 0, 0]
    assert asked == [every, *([*["P1", "P2"], *turn.split()] for turn in ("P3 P4", "P5 P6", "P7", "P3 P4", "P5 P6"))]


def test_what_was_synced_is_what_people_said(system, score, person):
    row, *_ = score({(1, 1): Outcome.CLEAR})
    person(row.inspect_id, "23", INSPECTED)
    system.sync()
    scores = system.ledger.person_scores.of(system.ledger.images.of_plate("CI022987"))
    assert scores == {row.inspect_id: [PersonScore(row.inspect_id, Outcome.HARVESTABLE, "23", "jdoe", INSPECTED)]}
