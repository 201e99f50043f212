"""ARTscores in ISPyB: our four numbers, once, restored by an undo; people's scores and other programs' untouched."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner

from tests.server.conftest import BOTH, INSPECTED
from xtalgrid_core.errors import ConfigError, ImagerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_server.imager.source import image_path
from xtalgrid_server.ledger.ispyb_publications import IspybPublications
from xtalgrid_server.steps import publish_ispyb
from xtalgrid_server.steps.undo import undo

FOUR = {"crystal": BOTH[0], "precipitant": BOTH[1], "other": BOTH[2], "clear": BOTH[3]}
MARCO = {"crystal": 0.012345, "precipitant": 0.687655, "other": 0.2, "clear": 0.1}
WELLS = {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.PRECIPITATE}


@pytest.fixture
def plate(lab, system, score):
    """Two drops with scores, whose images ISPyB has by their paths; their ids."""
    lab.schema()
    rows = score(WELLS, combined=True)
    plate = lab.plate("CI022987")
    inspection = lab.inspection(plate, INSPECTED)
    places = zip(rows, ("1", "3"), strict=True)
    return [
        lab.image(plate, inspection, location, str(image_path(system.config, row)), blSampleImageScoreId=9)
        for row, location in places
    ]


def publish(system):
    run = system.finalize(frames="none").run
    return run, system.publish().ispyb


def test_scores_are_written_once_and_nothing_else(lab, system, plate, score_table):
    first, second = plate
    lab.put(first, MARCO, "MARCO")
    _, done = publish(system)
    assert done.actions == {"insert": 2}
    assert lab.four(first) == lab.four(second) == FOUR
    assert lab.four(first, "MARCO") == MARCO
    with lab.engine.connect() as connection:
        assert [row.blSampleImageScoreId for row in connection.execute(t.images.select())] == [9, 9]
    assert len(score_table()) == 2  # beside the imager's score table
    assert system.publish().ispyb.actions == {}


def test_undo_restores_what_was_there(lab, system, plate, score):
    first, second = plate
    lab.put(first, MARCO)  # as if an earlier version had written
    run, done = publish(system)
    assert done.actions == {"replace": 1, "insert": 1}
    assert system.undo(run, "ann", dry_run=True).ispyb.restored == 1
    assert lab.four(first) == FOUR
    back = system.undo(run, "ann").ispyb
    assert (back.restored, back.removed, back.left) == (1, 1, [])
    assert (lab.four(first), lab.four(second)) == (MARCO, {})
    assert system.publish().ispyb.actions == {}, "an undone score is not published again by itself"
    assert system.undo(run, "ann").ispyb.restored == 0, "twice is once"


def test_undo_leaves_what_somebody_changed_or_a_later_run_wrote(lab, system, plate, score):
    _, second = plate
    old, _ = publish(system)
    with lab.writing() as connection:
        connection.execute(
            t.auto_scores.update().where(t.auto_scores.c.blSampleImageId == second).values(probability=0.5)
        )
    score({(1, 1): Outcome.CLEAR}, threshold=0.8, combined=True)
    new, done = publish(system)
    assert done.actions == {"same": 1}  # the same four numbers: nothing to write
    left = system.undo(old, "ann").ispyb.left
    assert any(f"image {second}: its numbers were changed" in line for line in left)
    assert system.undo(new, "ann").ispyb.left == []


def test_an_image_that_is_not_there_is_said_and_found_when_it_comes(lab, system, plate, score, config):
    score({(3, 1): Outcome.CLEAR}, combined=True)
    _, done = publish(system)
    assert done.actions == {"insert": 2, "missing": 1}
    assert len(done.missing) == 1
    assert "plate CI022987 inspection 3 A3a" in done.missing[0]
    with lab.engine.connect() as connection:
        known = connection.execute(t.images.select()).first()
        plate = connection.execute(t.containers.select()).first()
    late = lab.image(plate.containerId, known.containerInspectionId, "5", "/elsewhere/on/this/disk.jpg")
    assert system.publish().ispyb.actions == {"insert": 1}  # by barcode, location and time
    assert lab.four(late) == FOUR


def test_by_location_the_nearest_visible_inspection_counts(lab, system, score):
    lab.schema()
    score({(2, 1): Outcome.CLEAR}, combined=True)
    plate = lab.plate("CI022987", "SWISSCI 3 Drop")
    images = {}
    for name, kind, at in (("uv", 2, INSPECTED), ("now", 1, INSPECTED + timedelta(minutes=2)),
                           ("before", 1, INSPECTED - timedelta(days=1))):  # fmt: skip
        inspection = lab.inspection(plate, at, kind)
        images[name] = lab.image(plate, inspection, "4", f"/images/{name}/a2.jpg")
        lab.image(plate, inspection, "5", f"/images/{name}/a2 second drop.jpg")
        lab.image(plate, inspection, "nowhere", f"/images/{name}/odd.jpg")
    publish(system)
    assert {name: bool(lab.four(image)) for name, image in images.items()} == {
        "uv": False,
        "now": True,
        "before": False,
    }


@pytest.mark.parametrize("date", [datetime(1, 1, 1), datetime(9999, 12, 31)])
def test_an_inspection_of_an_impossible_date_stops_no_other(lab, system, score, date):
    lab.schema()
    score({(1, 1): Outcome.CLEAR}, inspected=date, combined=True)
    system.finalize("none")
    assert system.publish().ispyb.actions == {"missing": 1}


def test_a_plate_type_that_cannot_be_right_is_said_with_the_remedy(lab, system, score, config):
    lab.schema()
    score({(2, 1): Outcome.CLEAR}, combined=True)
    plate = lab.plate("CI022987", "SWISSCI 2 Drop")
    image = lab.image(plate, lab.inspection(plate, INSPECTED), "3", "/images/a2.jpg")
    _, done = publish(system)
    assert '"SWISSCI 2 Drop" = { rows = 8, columns = 12, drops = 2 }' in done.missing[0]
    types = '[imager.ispyb.types]\n"SWISSCI 2 Drop" = { rows = 8, columns = 12, drops = 2 }\n'
    system.config = from_string(f'{types}[publish.ispyb]\nurl = "{lab.url}"\n', home=config.home)
    assert system.publish().ispyb.actions == {"insert": 1}
    assert lab.four(image) == FOUR


def test_scores_without_four_numbers_and_undecided_ones_are_not_written(lab, system, score):
    lab.schema()
    rows = score({(1, 1): Outcome.CLEAR})  # by a worker that sent no groups
    rows += score({(2, 1): Outcome.UNDECIDED}, threshold=0.7, combined=True)
    plate = lab.plate("CI022987")
    inspection = lab.inspection(plate, INSPECTED)
    images = [lab.image(plate, inspection, str(n), str(image_path(system.config, r))) for n, r in enumerate(rows, 1)]
    _, done = publish(system)
    assert done.actions == {"without": 1}
    assert [lab.four(image) for image in images] == [{}, {}]


def test_paths_are_translated_and_a_link_leads_to_its_file(lab, system, score, config, tmp_path):
    lab.schema()
    (row,) = score({(1, 1): Outcome.CLEAR}, combined=True)
    there = image_path(system.config, row)
    mounted = tmp_path / "mnt" / "42.jpg"
    mounted.parent.mkdir()
    there.rename(mounted)
    there.symlink_to(mounted)
    plate = lab.plate("another barcode")
    image = lab.image(plate, lab.inspection(plate, INSPECTED), "1", "/dls/vmxi/42.jpg")
    toml = f'[imager.ispyb.paths]\n"/dls/vmxi" = "{tmp_path / "mnt"}"\n[publish.ispyb]\nurl = "{lab.url}"\n'
    system.config = from_string(toml, home=config.home)
    publish(system)
    assert lab.four(image) == FOUR


@pytest.mark.parametrize("moment", ["intend", "set_done"])
def test_killed_and_started_again_nothing_is_lost_or_doubled(lab, system, plate, monkeypatch, moment):
    first, second = plate
    lab.put(first, MARCO)
    run = system.finalize(frames="none").run
    real = getattr(IspybPublications, moment)

    def killed(self, rows):
        if moment == "intend":
            real(self, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IspybPublications, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            system.publish()
    assert (lab.four(first) == FOUR) == (moment == "set_done")
    done = system.publish().ispyb
    assert done.actions == ({"replace": 1, "insert": 1} if moment == "intend" else {"same": 2})
    assert lab.four(first) == lab.four(second) == FOUR
    system.undo(run, "ann")
    assert (lab.four(first), lab.four(second)) == (MARCO, {})


def test_killed_when_a_missing_image_has_come_it_is_written_by_the_next_run(lab, system, score, monkeypatch):
    lab.schema()
    (row,) = score({(1, 1): Outcome.CLEAR}, combined=True)
    _, done = publish(system)
    assert done.actions == {"missing": 1}
    plate = lab.plate("CI022987")
    image = lab.image(plate, lab.inspection(plate, INSPECTED), "1", str(image_path(system.config, row)))
    real = IspybPublications.intend

    def killed(self, rows):
        real(self, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IspybPublications, "intend", killed)
        with pytest.raises(KeyboardInterrupt):
            system.publish()
    assert lab.four(image) == {}
    assert system.publish().ispyb.actions == {"insert": 1}
    assert lab.four(image) == FOUR


@pytest.fixture
def refuse(lab):
    """``refuse(image)``: ISPyB takes no scores of an image from now on; ``refuse()``: it takes all."""

    def change(image=None):
        with lab.writing() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS closed")
            if image is not None:
                connection.exec_driver_sql(
                    f"CREATE TRIGGER closed BEFORE INSERT ON {t.auto_scores.name} FOR EACH ROW "
                    f"IF NEW.blSampleImageId = {image} THEN "
                    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the visit is closed'; END IF"
                )

    yield change
    change()


def test_a_row_that_ispyb_refuses_costs_no_other_and_is_written_when_it_takes_it(lab, system, plate, refuse):
    first, second = plate
    lab.put(first, MARCO)
    refuse(first)
    run, done = publish(system)
    assert done.actions == {"insert": 1, "refused": 1}
    assert list(done.lines())[1:] == [
        "refused  plate CI022987 inspection 3 A1a: (1644, 'the visit is closed')",
    ]
    assert (lab.four(first), lab.four(second)) == (MARCO, FOUR)
    assert system.publish().ispyb.actions == {"refused": 1}, "it is tried again"
    refuse()
    assert system.publish().ispyb.actions == {"replace": 1}
    assert lab.four(first) == FOUR
    assert system.publish().ispyb.actions == {}
    system.undo(run, "ann")
    assert (lab.four(first), lab.four(second)) == (MARCO, {})


def test_a_row_that_breaks_a_constraint_costs_no_other_and_is_given_up_after_two_weeks(lab, system, plate, monkeypatch):
    first, second = plate
    with lab.writing() as connection:
        connection.exec_driver_sql(
            f"ALTER TABLE {t.auto_scores.name} ADD CONSTRAINT closed CHECK (blSampleImageId <> {first})"
        )
    try:
        _, done = publish(system)
        assert done.actions == {"insert": 1, "refused": 1}
        assert lab.four(second) == FOUR
        monkeypatch.setattr(publish_ispyb, "TRY_AGAIN", timedelta(seconds=-5))
        assert system.publish().ispyb.actions == {}
    finally:
        with lab.writing() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {t.auto_scores.name} DROP CONSTRAINT closed")


def test_an_ispyb_that_refuses_too_much_stops_the_step_but_not_for_what_it_refused_before(
    lab, system, plate, refuse, monkeypatch
):
    first, _ = plate
    monkeypatch.setattr(publish_ispyb, "_MOST_REFUSED", 0)
    refuse(first)
    with pytest.raises(ImagerError, match="the visit is closed"):
        publish(system)
    monkeypatch.setattr(publish_ispyb, "_MOST_REFUSED", 1)
    assert system.publish().ispyb.actions == {"insert": 1, "refused": 1}
    monkeypatch.setattr(publish_ispyb, "_MOST_REFUSED", 0)
    assert system.publish().ispyb.actions == {"refused": 1}


def test_instead_of_the_score_table(lab, system, plate, score_table, config):
    toml = f'[publish]\nscore_table = false\n[publish.ispyb]\nurl = "{lab.url}"\n'
    system.config = from_string(toml, home=config.home)
    run = system.finalize(frames="none").run
    done = system.publish()
    assert (done.actions, done.ispyb.actions) == ({"elsewhere": 2}, {"insert": 2})
    assert score_table() == []
    assert lab.four(plate[0]) == FOUR
    assert undo(system.config, system.imager, system.ledger, run, "ann").ispyb.removed == 2
    assert lab.four(plate[0]) == {}
    assert system.publish().ispyb.actions == {}


def test_without_the_schema_the_score_table_is_written_and_the_rest_waits(lab, system, score, score_table):
    score(WELLS, combined=True)
    system.finalize(frames="none")
    with pytest.raises(ConfigError, match=r"no schema 'ARTscore'; .*xtalgrid ispyb-schema"):
        system.publish()
    assert len(score_table()) == 2
    lab.schema()
    assert system.publish().ispyb.actions == {"missing": 2}


def test_the_printed_sql_creates_the_schema_and_suffices(lab, system, score, config, tmp_path):
    (tmp_path / "xtalgrid.toml").write_text('[publish.ispyb]\nschema = "it\'s ART 7b55"\n')
    printed = CliRunner().invoke(main, ["--config", str(tmp_path / "xtalgrid.toml"), "ispyb-schema"]).output
    with lab.engine.connect() as connection:
        connection.exec_driver_sql("CREATE OR REPLACE USER xtalgrid@'%%' IDENTIFIED BY 'pass word'")
        for statement in printed.strip().split(";\n"):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()
    (row,) = score({(1, 1): Outcome.CLEAR}, combined=True)
    plate = lab.plate("CI022987")
    image = lab.image(plate, lab.inspection(plate, INSPECTED), "1", str(image_path(system.config, row)))
    (tmp_path / "password").write_text("pass word\n")
    settings = msgspec.structs.replace(
        config.publish.ispyb,
        url=lab.url.replace("root@", "xtalgrid@"),
        password_file=str(tmp_path / "password"),
        schema="it's ART 7b55",
    )
    system.config = msgspec.structs.replace(config, publish=msgspec.structs.replace(config.publish, ispyb=settings))
    run, done = publish(system)
    assert done.actions == {"insert": 1}
    assert lab.four(image, "it's ART 7b55") == FOUR
    system.undo(run, "ann")
    assert lab.four(image, "it's ART 7b55") == {}


def test_an_ispyb_that_is_away_costs_nothing(lab, system, plate, config, score_table):
    lost = lab.url.replace("127.0.0.1", "127.0.0.9")
    system.config = from_string(f'[imager]\nretry_s = 0\n[publish.ispyb]\nurl = "{lost}"\n', home=config.home)
    with pytest.raises(ImagerError, match=r"ISPyB \(mysql at 127.0.0.9:.*check publish.ispyb.url"):
        publish(system)
    assert len(score_table()) == 2
    system.config = config
    assert system.publish().ispyb.actions == {"insert": 2}


def test_wells_by_the_types_that_are_shipped():
    """The formula of SynchWeb: rows of the plate, then columns, then drops."""
    from types import SimpleNamespace

    from tests.ispyb import TYPES
    from xtalgrid_server.imager.ispyb.plates import plate_format, well_at

    def plate(name):
        columns = ("capacity", "wellPerRow", "dropPerWellX", "dropPerWellY", "wellDrop")
        values = dict(zip(columns, TYPES[name], strict=True))
        return plate_format(SimpleNamespace(type=name, containerType=None, **values), {})

    assert well_at("1", plate("SWISSCI 3 Drop")) == Well(1, 1, 1)
    assert well_at("288", plate("SWISSCI 3 Drop")) == Well(8, 12, 3)
    assert well_at("26", plate("MRC 2 Drop")) == Well(2, 1, 2)
    for location in ("0", "193", "", None, "A1", "1e2", "٣"):
        with pytest.raises(ValueError, match="location"):
            well_at(location, plate("MRC 2 Drop"))
