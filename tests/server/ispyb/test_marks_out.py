"""People's marks as ISPyB's sub-samples: each once, only in the very file, and nothing of anybody else's deleted."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest
from click.testing import CliRunner

from tests.server.conftest import INSPECTED
from xtalgrid_core.errors import ConfigError, ImagerError, XtalgridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_server.imager.ispyb.auto_scores import schema_sql
from xtalgrid_server.imager.ispyb.check import check_ispyb
from xtalgrid_server.imager.source import image_path
from xtalgrid_server.ledger.ispyb_marks import IspybMarks
from xtalgrid_server.ledger.marks import Mark, box_mark, outline_mark
from xtalgrid_server.steps import publish_ispyb_marks

AT = datetime(2026, 11, 29, 12)
NUMBERS = itertools.count()


@pytest.fixture
def config(lab, tmp_path) -> Config:
    return from_string(f'[publish.ispyb]\nurl = "{lab.url}"\nmarks = true\n', home=tmp_path / "home")


@pytest.fixture
def image(lab, system, score):
    """An image with a score that ISPyB has by its path; its id there."""
    lab.schema()
    (row,) = score({(1, 1): Outcome.HARVESTABLE})
    plate = lab.plate("CI022987")
    return lab.image(plate, lab.inspection(plate, INSPECTED), "1", str(image_path(system.config, row)))


@pytest.fixture
def marks(system):
    return system.ledger.marks


def point(x=10.0, y=20.0, **values):
    return Mark(**{"image_id": 1, "kind": "point", "x": x, "y": y, "who": "ann", "at": AT, **values})


def remove(marks, number=0):
    marks.undo(marks.of_image(1).standing[number].id, "ann", f"removal {next(NUMBERS)}", AT)


def restore(marks):
    _, undoing = marks.of_image(1).removed[0]
    marks.undo(marks.row_with_key(undoing.key).id, "ann", f"restored {next(NUMBERS)}", AT)


def test_points_boxes_and_outlines_are_written_once_in_pixels_of_the_image(lab, system, marks, image):
    marks.add(
        [
            point(10.5, 20.25, word="needle", meaning=Outcome.BAD_FORM, note="on  the\nrim"),
            box_mark(100, 50, 20, 10, image_id=1, who="Łukasz Müller", at=AT, meaning=Outcome.HARVESTABLE),
            outline_mark(((-0.0, 2), (30, 0), (20, 40)), image_id=1, who="ann", at=AT, origin="A1.json"),
            point(5, 5, who="MARCO", given_by="program"),
        ]
    )
    assert system.publish(dry_run=True).marks.actions == {"insert": 3}
    assert lab.sub_samples() == []
    assert system.publish().marks.actions == {"insert": 3}
    assert lab.sub_samples() == [
        (image, 10.5, 20.25, None, None, "manual", "poi", "needle: on the rim (ann, xtalgrid)"),
        (image, 100, 50, 120, 60, "manual", "roi", "crystals harvestable (?ukasz Müller, xtalgrid)"),
        (image, 0, 0, 30, 40, "manual", "roi", "(ann, xtalgrid)"),
    ]
    assert system.publish().marks.actions == {}
    assert len(lab.sub_samples()) == 3


def test_a_box_over_the_edge_is_cut_there(lab, system, marks, image):
    marks.add(
        [
            box_mark(-8, -4, 20, 10, image_id=1, who="ann", at=AT),
            box_mark(310, 230, 20, 20, image_id=1, who="ann", at=AT),
        ]
    )
    system.publish()
    assert [row[1:5] for row in lab.sub_samples()] == [(0, 0, 12, 6), (310, 230, 320, 240)]  # of 320 x 240


def test_a_removed_mark_takes_our_rows_and_no_others(lab, system, marks, image):
    system_rows = lab.add(t.positions, posX=10.0, posY=20.0)
    theirs = lab.add(
        t.sub_samples, blSampleId=1, blSampleImageId=image, positionId=system_rows, source="manual", type="poi",
        comments="(ann, xtalgrid)",
    )  # fmt: skip
    marks.add([point(), box_mark(50, 50, 9, 9, image_id=1, who="ann", at=AT)])
    system.publish()
    remove(marks)
    remove(marks)
    assert system.publish(dry_run=True).marks.actions == {"removed": 2}
    assert len(lab.sub_samples()) == 3
    assert system.publish().marks.actions == {"removed": 2}
    with lab.engine.connect() as connection:
        assert [row.blSubSampleId for row in connection.execute(t.sub_samples.select())] == [theirs]
        assert [row.positionId for row in connection.execute(t.positions.select())] == [system_rows]
    assert system.publish().marks.actions == {}
    restore(marks)
    assert system.publish().marks.actions == {"insert": 1}
    assert len(lab.sub_samples()) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE BLSubSample SET comments = 'collect this one'", "changed by somebody else"),
        ("UPDATE Position SET posX = 11", "changed by somebody else"),
        ("INSERT INTO ContainerQueueSample (blSubSampleId) SELECT blSubSampleId FROM BLSubSample", "waits in a queue"),
    ],
)
def test_what_somebody_changed_or_uses_is_left_and_said_once(lab, system, marks, image, change, why):
    marks.add([point()])
    run = system.publish().marks.run
    with lab.writing() as connection:
        connection.exec_driver_sql(change)
    before = lab.sub_samples()
    remove(marks)
    done = system.publish().marks
    assert done.actions == {"left": 1}
    assert why in done.problems[0]
    assert system.publish().marks.actions == {}
    assert system.undo_marks(run, "ann").actions == {"left": 1}
    restore(marks)
    system.publish()
    assert lab.sub_samples() == before, "it is still there: nothing is doubled"


def test_what_people_deleted_in_synchweb_does_not_come_again(lab, system, marks, image):
    marks.add([point()])
    system.publish()
    with lab.writing() as connection:
        connection.execute(t.sub_samples.delete())
    assert system.publish().marks.actions == {}
    assert lab.sub_samples() == []
    remove(marks)
    assert system.publish().marks.actions == {"removed": 1}


def test_only_the_same_file_counts_not_another_of_the_drop(lab, system, marks, score):
    lab.schema()
    score({(1, 1): Outcome.CLEAR}, combined=True)
    plate = lab.plate("CI022987")
    turned = lab.image(plate, lab.inspection(plate, INSPECTED), "1", "/dls/turned/by/the/loader.jpg")
    marks.add([point()])
    system.finalize(frames="none")
    done = system.publish()
    assert done.ispyb.actions == {"insert": 1}, "the score is of the drop"
    assert lab.four(turned)
    assert done.marks.actions == {"missing": 1}
    assert "plate CI022987 inspection 3 A1a" in done.marks.problems[0]
    assert lab.sub_samples() == []
    with lab.writing() as connection:
        there = str(image_path(system.config, system.ledger.images.row(1)))
        connection.execute(t.images.update().values(imageFullPath=there))
    assert system.publish().marks.actions == {"insert": 1}


def test_marks_of_a_file_that_was_replaced_are_taken_away(lab, system, marks, image, config):
    marks.add([point()])
    system.publish()
    with system.ledger._db.writing() as connection:
        connection.exec_driver_sql(f"UPDATE images SET sha256 = '{'f' * 64}'")
    assert system.publish().marks.actions == {"removed": 1}
    assert lab.sub_samples() == []


@pytest.mark.parametrize("is_committed", [False, True])
def test_killed_and_started_again_nothing_is_lost_or_doubled(lab, system, marks, image, monkeypatch, is_committed):
    marks.add([point(), point(30, 40)])
    real = IspybMarks.record

    def killed(self, rows, *, done):
        if not done:
            real(self, rows, done=done)
        if done == is_committed:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IspybMarks, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            system.publish()
    assert len(lab.sub_samples()) == (2 if is_committed else 0)
    run = system.publish().marks.run
    assert [row[1:3] for row in lab.sub_samples()] == [(10, 20), (30, 40)]
    assert system.publish().marks.actions == {}
    remove(marks)
    with monkeypatch.context() as patch:
        patch.setattr(IspybMarks, "record", killed)
        if is_committed:
            with pytest.raises(KeyboardInterrupt):
                system.publish()
    system.publish()
    assert [row[1:3] for row in lab.sub_samples()] == [(30, 40)]
    assert run


def test_a_row_that_ispyb_refuses_does_not_stop_the_others(lab, system, marks, image):
    with lab.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE Position ADD CONSTRAINT near CHECK (posX < 300)")
    marks.add([point(301, 5), point(12, 5)])
    try:
        done = system.publish().marks
        assert done.actions == {"failed": 1, "insert": 1}
        assert "plate CI022987 inspection 3 A1a, mark by ann: " in done.problems[0]
        assert [row[1] for row in lab.sub_samples()] == [12]
        assert system.publish().marks.actions == {"failed": 1}, "it is tried again"
    finally:
        with lab.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE Position DROP CONSTRAINT near")
    assert system.publish().marks.actions == {"insert": 1}
    assert [row[1] for row in lab.sub_samples()] == [12, 301]


def test_what_is_no_fault_of_a_mark_stops_the_step_and_marks_none_as_failed(lab, system, marks, image, monkeypatch):
    """As for scores: an account without the right to write, or a table that refuses everything."""
    marks.add([point(10, 5), point(12, 5)])
    with lab.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE Position RENAME TO Elsewhere")
    try:
        with pytest.raises(ImagerError, match="Position"):
            system.publish()
    finally:
        with lab.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE Elsewhere RENAME TO Position")
            connection.exec_driver_sql("ALTER TABLE Position ADD CONSTRAINT near CHECK (posX < 5)")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(publish_ispyb_marks, "_MOST_REFUSED", 1)
            with pytest.raises(ImagerError, match="near"):
                system.publish()
    finally:
        with lab.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE Position DROP CONSTRAINT near")
    assert system.publish().marks.actions == {"insert": 2}


def test_a_sub_sample_that_ispyb_keeps_costs_no_other(lab, system, marks, image):
    marks.add([point(10, 5), point(12, 5)])
    system.publish()
    first, _ = lab.sub_samples()
    with lab.writing() as connection:
        number = connection.exec_driver_sql("SELECT MIN(blSubSampleId) FROM BLSubSample").scalar_one()
        connection.exec_driver_sql(
            "CREATE TRIGGER used BEFORE DELETE ON BLSubSample FOR EACH ROW "
            f"IF OLD.blSubSampleId = {number} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'shipped'; END IF"
        )
    try:
        remove(marks)
        remove(marks)
        done = system.publish().marks
        assert done.actions == {"left": 1, "removed": 1}
        assert "it is used by something else (" in done.problems[0] and "shipped" in done.problems[0]
        assert lab.sub_samples() == [first]
    finally:
        with lab.writing() as connection:
            connection.exec_driver_sql("DROP TRIGGER used")


def test_undo_takes_back_a_run_or_all(lab, system, marks, image, config, tmp_path):
    file = tmp_path / "xtalgrid.toml"
    file.write_text(f'home = "{config.home}"\n[publish.ispyb]\nurl = "{lab.url}"\nmarks = true\n')

    def set_autoscore(*words):
        done = CliRunner().invoke(main, ["--config", str(file), "set_autoscore", *words])
        return done.exit_code, done.output

    marks.add([point()])
    _, said = set_autoscore()
    run = said.split("(run ")[1].split(")")[0]
    assert f"marks in ISPyB: 1 written (run {run})" in said
    assert "1 sub-samples of marks would be removed" in set_autoscore("--undo", run, "--dry-run")[1]
    assert len(lab.sub_samples()) == 1
    assert "1 sub-samples of marks removed" in set_autoscore("--undo", run)[1]
    assert lab.sub_samples() == []
    assert system.publish().marks.actions == {}, "what was undone is not written again by itself"
    marks.add([point(1, 2), point(3, 4)])
    system.publish()
    assert "2 sub-samples of marks removed" in set_autoscore("--undo", "marks")[1]
    code, said = set_autoscore("--undo", "marks")
    assert code != 0
    assert "no run of this name has marks in ISPyB" in said
    with pytest.raises(XtalgridError, match="no run of this name"):
        system.undo_marks("marks-20200101T000000Z", "ann")


def test_an_ispyb_that_is_away_costs_nothing(lab, system, marks, image, config):
    marks.add([point()])
    lost = lab.url.replace("127.0.0.1", "127.0.0.9")
    toml = f'[imager]\nretry_s = 0\n[publish.ispyb]\nurl = "{lost}"\nmarks = true\n'
    system.config = from_string(toml, home=config.home)
    with pytest.raises(ImagerError, match="ISPyB"):
        system.publish()
    system.config = config
    assert system.publish().marks.actions == {"insert": 1}


def test_without_the_setting_there_are_none(lab, system, marks, image, config):
    marks.add([point()])
    system.config = from_string(f'[publish.ispyb]\nurl = "{lab.url}"\n', home=config.home)
    assert system.publish().marks is None
    assert lab.sub_samples() == []


def test_the_setting_needs_an_ispyb(tmp_path):
    with pytest.raises(ConfigError, match=r"publish.ispyb.marks: needs publish.ispyb.url"):
        from_string("[publish.ispyb]\nmarks = true\n", home=tmp_path)


def test_the_printed_grants_suffice_and_check_imager_leaves_nothing(lab, system, marks, image, config):
    with lab.engine.connect() as connection:
        connection.exec_driver_sql("CREATE OR REPLACE USER xtalgrid@'%%'")
        for statement in schema_sql(config.publish.ispyb).split(";\n"):
            if "GRANT" in statement:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()
    toml = f'[publish.ispyb]\nurl = "{lab.url.replace("root@", "xtalgrid@")}"\nmarks = true\n'
    system.config = from_string(toml, home=config.home)
    (*_, tried) = check_ispyb(system.config)
    assert (tried.label, tried.text) == (
        "ok",
        "marks for ISPyB: sub-samples can be written and deleted; writing was undone",
    )
    assert lab.sub_samples() == []
    marks.add([box_mark(1, 2, 3, 4, image_id=1, who="ann", at=AT)])
    assert system.publish().marks.actions == {"insert": 1}
    remove(marks)
    assert system.publish().marks.actions == {"removed": 1}
    with lab.engine.connect() as connection:
        connection.exec_driver_sql("REVOKE INSERT ON Position FROM xtalgrid@'%%'")
    (*_, tried) = check_ispyb(system.config)
    assert tried.label == "PROBLEM"
    assert any("ON Position" in line for line in tried.statements)
