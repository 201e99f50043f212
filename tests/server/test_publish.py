import csv

import pytest
import sqlalchemy as sa

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger.publications import Publications
from xtalgrid_server.steps import finalize, publish
from xtalgrid_server.steps.publish import _read_csv

from .conftest import INSPECTED, draw_well


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


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


def test_framed_images_without_an_original_are_counted(system, score):
    score(WELLS)
    next(system.config.image_root.rglob("*_01_01_01_HF_*")).unlink()
    done = system.finalize(frames="crystals")
    assert (done.not_framed, done.actions) == (1, {"publish": 2, "none": 1})
    assert [bool(row["framed_image"]) for row in read(done.csv)] == [False, False, True]


def test_a_file_that_was_replaced_is_not_framed_by_what_was_seen_in_the_other(system, score):
    score(WELLS)
    draw_well(next(system.config.image_root.rglob("*_01_01_01_HF_*")), shade=200)
    done = system.finalize(frames="crystals")
    assert (done.not_framed, done.actions) == (1, {"publish": 2, "none": 1})


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
    with system.imager.transaction() as connection:  # its plate there too
        connection.execute(system.imager.tables.inspections.update().values(barcodeid="@P;+1"))
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


def test_killed_between_the_score_table_and_the_ledger(system, score, score_table, monkeypatch):
    score(WELLS)
    run = system.finalize(frames="none").run

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


def die(*_):
    raise Killed


def test_a_million_due_scores_are_not_in_memory_at_once(system, score, score_table, monkeypatch):
    """As when months in shadow mode end: both steps take them in parts, and nothing is done twice or lost."""
    monkeypatch.setattr(finalize, "_PART", 2)
    monkeypatch.setattr(publish, "_PART", 2)
    score({(col, 1): Outcome.CLEAR for col in range(1, 8)})
    read, asked = system.ledger.scores._read, []
    monkeypatch.setattr(system.ledger.scores, "_read", lambda *about: asked.append(len(about[2])) or read(*about))
    done = system.finalize(frames="none")
    assert done.actions == {"publish": 7}
    lines = done.csv.read_text().splitlines()
    done.csv.write_text("\n".join([*lines, lines[1]]) + "\n")  # far from the line that it repeats
    published = system.publish()
    assert published.actions == {"insert": 7}
    assert [why.partition(": ")[2][:6] for why in published.refused] == ["line 2"]
    assert len(score_table()) == 7
    assert max(asked) == 2


def test_a_finalizer_that_is_killed_keeps_the_parts_that_it_has_done(system, score, score_table, monkeypatch):
    monkeypatch.setattr(finalize, "_PART", 2)
    score({(col, 1): Outcome.CLEAR for col in range(1, 6)})
    with monkeypatch.context() as patch:
        add, parts = system.ledger.decisions.add, iter(range(2))
        patch.setattr(
            system.ledger.decisions, "add", lambda *about: add(*about) if next(parts, None) is not None else die()
        )
        with pytest.raises(Killed):
            system.finalize(frames="none")
    assert system.publish().actions == {"insert": 4}
    assert system.finalize(frames="none").actions == {"publish": 1}
    assert system.publish().actions == {"insert": 1}
    assert len({row[0] for row in score_table()}) == len(score_table()) == 5


def test_a_csv_that_is_broken_at_its_end_publishes_nothing(system, score, score_table, monkeypatch):
    monkeypatch.setattr(publish, "_PART", 1)
    score(WELLS)
    path = system.finalize(frames="none").csv
    path.write_bytes(path.read_bytes() + b'"a cell without an end')
    with pytest.raises(XtalgridError, match=r"cannot read .*\.csv"):
        system.publish()
    assert score_table() == []
    assert path.exists()
