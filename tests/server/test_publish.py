import csv

import pytest
import sqlalchemy as sa

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger.publications import Publications
from xtalgrid_server.steps.publish import _read_csv

from .conftest import INSPECTED

WELLS = {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.PRECIPITATE, (3, 1): Outcome.UNDECIDED}


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_csv_says_what_a_person_needs_to_judge(system, score, person):
    first, *_ = score(WELLS)
    person(first.inspect_id, "13", INSPECTED)
    rows = read(system.finalize(frames="crystals").csv)
    assert [(r["well"], r["artscore"], r["action"]) for r in rows] == [
        ("A1a", "23", "publish"),
        ("A2a", "13", "publish"),
        ("A3a", "", "none"),
    ]
    assert rows[0]["existing_scores"] == "13 by jdoe 2012-11-21"
    assert rows[0]["framed_image"].endswith("_ART.jpg")
    assert rows[1]["framed_image"] == ""  # precipitate: drawn on demand
    assert rows[2]["why"] == "undecided: a person should look"


def test_dry_run_writes_nothing(system, score, score_table):
    score(WELLS)
    done = system.finalize(frames="none")
    assert system.publish(dry_run=True).actions == {"insert": 2}
    assert score_table() == []
    assert done.csv.exists()


def test_lines_that_do_not_fit_the_ledger_are_refused_and_the_rest_written(system, score, score_table):
    score(WELLS)
    path = system.finalize(frames="none").csv
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(",23,crystals harvestable", ",13,crystals harvestable")  # somebody's own opinion
    head, cells = lines[0].split(","), lines[2].split(",")
    cells[head.index("score_id")] = "999"  # a score that never was
    lines += [lines[2], ",".join(cells)]
    path.write_text("\n".join(lines) + "\n")
    published = system.publish()
    assert published.actions == {"insert": 1}
    assert [why.split(":")[0].split()[-1] for why in published.refused] == ["2", "5", "6"]
    assert "line 3 publishes this inspection already" in published.refused[1]
    assert [row[1] for row in score_table()] == ["13"]
    assert system.publish().files == 0  # nothing is left that would be refused each time


def test_a_line_taken_out_is_not_published(system, score, score_table):
    score(WELLS)
    path = system.finalize(frames="none").csv
    path.write_text("\n".join(line for line in path.read_text().splitlines() if ",A1a," not in line) + "\n")
    system.publish()
    assert [row[1] for row in score_table()] == ["13"]


def test_no_cell_is_a_formula_and_set_autoscore_reads_what_was_written(system, score, score_table):
    """Names come from whoever names a plate's files."""
    (row,) = score({(1, 1): Outcome.CLEAR}, image='=cmd|" /C calc"!A1;=1+1')
    with system.ledger.scores._db.writing() as connection:
        connection.execute(sa.text("UPDATE images SET barcode = '@P;+1', image_name = '=1\r-2;=3.jpg'"))
    path = system.finalize(frames="none").csv
    (line,) = read(path)
    assert (line["barcode"], line["image"]) == ("'@P;'+1", "'=1\r'-2;'=3.jpg")
    ((_, read_back),) = _read_csv(path)
    assert (read_back["barcode"], read_back["image"]) == ("@P;+1", "=1\r-2;=3.jpg")
    system.publish()
    assert [score[0] for score in score_table()] == [row.inspect_id]


def test_what_is_no_csv_of_ours(system, tmp_path):
    (tmp_path / "a.csv").write_text("well,score\nA1,23\n")
    with pytest.raises(XtalgridError, match="not a CSV file of the finalizer; it lacks the columns"):
        system.publish([tmp_path / "a.csv"])


def test_killed_before_the_csv_was_written(system, score, score_table):
    score(WELLS)
    system.finalize(frames="none").csv.unlink()
    system.publish()
    assert [row[1] for row in score_table()] == ["23", "13"]


def test_an_old_csv_does_not_undo_a_newer_model(system, score, score_table):
    score({(1, 1): Outcome.CLEAR})
    old = system.finalize(frames="none").csv
    system.publish()
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.8)
    system.finalize(frames="none")
    system.publish()
    assert system.publish([old.parent / "done" / old.name]).actions == {"keep": 1}
    assert [row[1] for row in score_table()] == ["23"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_between_the_score_table_and_the_ledger(system, score, score_table, monkeypatch):
    score(WELLS)
    run = system.finalize(frames="none").run

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Publications, "set_done", die)
        with pytest.raises(Killed):
            system.publish()
    written = score_table()
    assert len(written) == 2
    assert system.publish().actions == {"same": 2}
    assert score_table() == written
    publications = system.ledger.publications.of_run(run).values()
    assert {row.action for row in publications} == {"insert"}  # the first intention stands
    assert all(row.done_at for row in publications)
