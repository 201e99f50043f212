"""Rows that the score table refuses, by a trigger of SQLite's here; on MariaDB see ``ispyb/``."""

import csv
import json
import os
from datetime import datetime

import msgspec
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from xtalgrid_core.errors import ImagerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.steps import publish
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

from .conftest import INSPECTED


@pytest.fixture
def refuse(system):
    """``refuse(row)``: the score table takes none of this inspection from now on, as if it was deleted; ``refuse()``: all again."""
    engine, name = system.imager._engine, system.imager.tables.scores.fullname

    def change(*rows):
        ids = ", ".join(str(row.inspect_id) for row in rows)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS deleted")
            connection.exec_driver_sql(
                f"CREATE TRIGGER deleted BEFORE INSERT ON {name} WHEN NEW.inspectid IN ({ids}) "
                "BEGIN SELECT RAISE(ABORT, 'no such inspection'); END"
            )

    return change


def test_a_row_that_the_score_table_refuses_costs_no_other(system, score, score_table, refuse):
    rows = score({(col, 1): Outcome.CLEAR for col in range(1, 8)})
    refuse(rows[2])
    csv_file = system.finalize(frames="none").csv
    published = system.publish()
    assert published.actions == {"insert": 6}
    assert published.refused == [f"{csv_file.name} line 4: the score table refuses it: no such inspection"]
    score({(8, 1): Outcome.CLEAR})
    system.finalize(frames="none")
    assert system.publish().actions == {"insert": 1}, "a later file is not held up"
    assert len(score_table()) == 7
    refuse()
    assert system.publish().actions == {"insert": 1}
    assert not list(system.config.outbox.glob("*.csv"))
    assert sorted(row[0] for row in score_table()) == [row.inspect_id for row in rows] + [rows[-1].inspect_id + 1]


def test_a_row_that_is_refused_for_two_weeks_is_given_up(system, score, score_table, refuse):
    (row,) = score({(1, 1): Outcome.CLEAR})
    refuse(row)
    csv_file = system.finalize(frames="none").csv
    os.utime(csv_file, (0, 0))  # publishing was paused meanwhile
    assert len(system.publish().refused) == len(system.publish().refused) == 1
    (left,) = system.config.outbox.glob("*.csv")
    assert left.read_text() == (csv_file.parent / "done" / csv_file.name).read_text()
    old = left.stat().st_mtime - 15 * 24 * 3600
    os.utime(left, (old, old))
    assert len(system.publish().refused) == 1
    refuse()
    assert (system.publish().files, score_table()) == (0, [])


def test_a_score_table_that_refuses_nearly_all_rows_stops_the_step(system, score, score_table, refuse, monkeypatch):
    """As one whose sequence was reset; then nobody wants all lines in another file."""
    monkeypatch.setattr(publish, "_MOST_REFUSED", 2)
    rows = score({(col, 1): Outcome.CLEAR for col in range(1, 6)})
    refuse(*rows[1:])
    csv_file = system.finalize(frames="none").csv
    with pytest.raises(ImagerError, match="no such inspection"):
        system.publish()
    assert list(system.config.outbox.glob("*.csv")) == [csv_file]
    refuse()
    assert system.publish().actions == {"same": 1, "insert": 4}


def test_rows_that_were_refused_before_stop_no_later_run(system, score, refuse, monkeypatch):
    refuse(*score({(col, 1): Outcome.CLEAR for col in (1, 2)}))
    system.finalize(frames="none")
    assert len(system.publish().refused) == 2
    monkeypatch.setattr(publish, "_MOST_REFUSED", 1)
    score({(3, 1): Outcome.CLEAR})
    system.finalize(frames="none")
    assert system.publish().actions == {"insert": 1}


def test_rows_that_were_written_are_not_written_again_for_one_that_was_refused(system, score, score_table, refuse):
    """Somebody may have deleted them meanwhile."""
    first, _ = score({(col, 1): Outcome.CLEAR for col in (1, 2)})
    refuse(first)
    system.finalize(frames="none")
    system.publish()
    with system.imager._engine.begin() as connection:
        connection.execute(system.imager.tables.scores.delete())
    refuse()
    system.publish()
    assert [row[0] for row in score_table()] == [first.inspect_id]


@pytest.fixture
def vendor(system):
    """``vendor(sql)``: what another program does in the imager database."""

    def change(sql):
        with system.imager._engine.begin() as connection:
            connection.exec_driver_sql(sql)

    return change


def test_a_score_is_not_written_for_an_inspection_that_was_deleted(system, score, score_table, vendor):
    deleted, other = score({(col, 1): Outcome.CLEAR for col in (1, 2)})
    csv_file = system.finalize(frames="none").csv
    vendor(f"update i_inspections set inspectid = 77 where inspectid = {deleted.inspect_id}")
    said = f"{csv_file.name} line 2: inspection {deleted.inspect_id} is not in the imager database any more"
    assert system.publish(dry_run=True).refused == [said]
    assert (published := system.publish()).refused == [said]
    assert published.actions == {"insert": 1}
    assert [row[0] for row in score_table()] == [other.inspect_id]
    vendor(f"update i_inspections set inspectid = {deleted.inspect_id} where inspectid = 77")
    assert system.publish().actions == {"insert": 1}
    assert len(score_table()) == 2


def test_an_id_that_is_another_drops_now_gets_no_score_of_the_old_one(system, score, score_table, vendor):
    """As in a database that was restored; a well that was corrected still has its image, and gets its score."""
    reused, corrected = score({(col, 1): Outcome.CLEAR for col in (1, 2)})
    system.finalize(frames="none")
    vendor(f"update i_inspections set barcodeid = 'CI5', col = 7 where inspectid = {reused.inspect_id}")
    vendor(f"update i_images set imagename = 'another.jpg' where inspectid = {reused.inspect_id}")
    vendor(f"update i_inspections set col = 9 where inspectid = {corrected.inspect_id}")
    (said,) = system.publish().refused
    assert said.endswith(f"inspection {reused.inspect_id} is of another drop now, CI5 number 3")
    assert [row[0] for row in score_table()] == [corrected.inspect_id]


def test_a_row_of_ours_that_goes_while_it_is_written_is_tried_again(system, score, score_table, vendor):
    score({(1, 1): Outcome.CLEAR})
    system.finalize(frames="none")
    system.publish()
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR}, threshold=0.5)
    system.finalize(frames="none")
    vendor("create trigger elsewhere before update on i_scores begin select raise(ignore); end")
    published = system.publish()
    assert published.actions == {"insert": 1}
    (said,) = published.refused
    assert "SCOREID 1 was changed or deleted by somebody else while it was written" in said
    vendor("drop trigger elsewhere")
    assert system.publish().actions == {"replace": 1}
    assert sorted(row[1] for row in score_table()) == ["01", "23"]


@pytest.mark.parametrize("blanks", ["", "  "])
def test_blanks_behind_texts_hide_no_score_plate_or_image(system, score, person, vendor, blanks):
    """A VARCHAR2 holds them and compares with them, other than a CHAR."""
    rows = score({(col, 1): Outcome.CLEAR for col in (1, 2)})
    person(rows[0].inspect_id, "13", INSPECTED)
    vendor(f"update i_inspections set barcodeid = barcodeid || '{blanks}'")
    vendor(f"update i_images set imagename = imagename || '{blanks}'")
    vendor(f"update i_scores set scoredby = scoredby || '{blanks}'")
    system.imager._settings = msgspec.structs.replace(system.imager._settings, patterns=("*_RDI.jpg",))
    (given,) = system.imager.scores_of_drops([rows[0].inspect_id])[rows[0].inspect_id]
    assert (given.code, given.by) == ("13", "jdoe")
    for found in (system.imager.of_plate("CI022987"), system.imager.newest_first(None, None)):
        assert {image for group in found for image in group} == set(rows)
    assert not list(system.imager.of_plate("CI02298"))


@pytest.mark.parametrize(("policy", "action"), [("drop", "keep"), ("inspection", "keep"), ("behind", "publish")])
def test_a_persons_score_without_a_date_counts(system, score, person, vendor, policy, action):
    (row,) = score({(1, 1): Outcome.HARVESTABLE})
    person(row.inspect_id, "13", INSPECTED)
    vendor("update i_scores set scoredate = ''")
    config = from_string(f'[publish]\npolicy = "{policy}"\n', home=system.config.home)
    with System(config) as of_policy:
        done = of_policy.finalize(frames="none")
        assert done.actions == {action: 1}
        assert "13 by jdoe without a date" in done.csv.read_text()
        of_policy.publish()
        if action == "publish":
            dates = [one.date for one in of_policy.imager.scores_of_drops([row.inspect_id])[row.inspect_id]]
            assert dates == [datetime(1, 1, 1), INSPECTED]


def test_rows_whose_scoredby_a_rule_of_the_lab_writes_in_capitals_are_ours(system, score, score_table, vendor):
    """Otherwise they would be a person's, before which the next ARTscore is dated, so that XtalTrak never shows it."""
    score({(1, 1): Outcome.CLEAR})
    vendor(
        "create trigger capitals after insert on i_scores "
        "begin update i_scores set scoredby = upper(scoredby) where scoreid = new.scoreid; end"
    )
    run = system.finalize(frames="none").csv.stem
    system.publish()
    assert score_table() == [(1, "01", INSPECTED, "ARTSCORE")]
    system.sync()
    assert list(system.imager.scored_by_people()) == []
    assert {one.row.by for one in system.ledger.imager_scores.history([1])} == {"ARTscore"}
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.5)
    system.finalize(frames="none")
    assert system.publish().actions == {"replace": 1}
    assert score_table() == [(1, "23", INSPECTED, "ARTSCORE")]
    assert system.undo(system.ledger.publications.later_runs(run)[1], "test").restored == 1
    assert system.undo(run, "test").removed == 1
    assert score_table() == []


def test_a_score_without_a_date_is_shown_without_one(system, score, person, vendor, config, tmp_path):
    """It was said to be of the year 1."""
    (row,) = score({(1, 1): Outcome.CLEAR})
    person(row.inspect_id, "23", INSPECTED)
    vendor("update i_scores set scoredate = ''")
    system.sync()
    home, shown = ["--home", str(config.home)], {}
    drop = ("CI022987", "A1a")
    for name, words in {"history": drop, "explain": drop, "disagreements": ()}.items():
        done = CliRunner().invoke(main, [*home, name, *words])
        shown[name] = done.output
    report = tmp_path / "report.html"
    CliRunner().invoke(main, [*home, "report", "CI022987", "--out", str(report)])
    shown["report"] = report.read_text(encoding="utf-8")
    with TestClient(create_app(config), base_url="http://localhost", client=("127.0.0.1", 5)) as client:
        shown["page"] = client.get("/well/CI022987/3/A1a").text
    for name, text in shown.items():
        assert "jdoe" in text and "1-01-01" not in text, name
        assert ("without a date" in text) == (name != "disagreements"), name


def test_a_score_without_a_date_has_none_in_what_programs_read(system, score, person, vendor, config, tmp_path):
    (row,) = score({(1, 1): Outcome.CLEAR})
    person(row.inspect_id, "23", INSPECTED)
    vendor("update i_scores set scoredate = ''")
    system.sync()
    home = ["--home", str(config.home)]

    def document(*words):
        return json.loads(CliRunner().invoke(main, [*home, *words, "--json"]).stdout)

    drop = ("CI022987", "A1a")
    (chapter,) = document("history", *drop)["chapters"]
    assert [step["at"] for step in chapter["steps"] if step["who"] == "jdoe"] == [None]
    assert document("explain", *drop)["imager_scores"][0]["row"]["date"] is None
    assert [one["at"] for one in document("disagreements")] == [None]
    scored, lines = tmp_path / "scored.csv", tmp_path / "out.jsonl"
    CliRunner().invoke(main, [*home, "export-scored", str(scored)])
    assert [one["date"] for one in csv.DictReader(scored.read_text().splitlines())] == [""]
    CliRunner().invoke(main, [*home, "export", "jsonl", str(lines)])
    (one,) = map(json.loads, lines.read_text().splitlines())
    assert (one["person_at"], one["people"][0]["at"]) == (None, None)
