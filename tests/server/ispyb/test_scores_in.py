"""People's scores from ISPyB count as people's, once and by their group; MARCO's count as a program's, if they can be right."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.server.conftest import INSPECTED
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.drop_state import DropState
from xtalgrid_server.exchange.foreign import Told
from xtalgrid_server.exchange.import_scores import import_source
from xtalgrid_server.exchange.ispyb import open_ispyb
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_server.ledger.entering import enter_images
from xtalgrid_server.service.jobs import plan

NOON = datetime(2012, 12, 1, 12, 0)


@pytest.fixture
def bring(system):
    def read(schema="", **options):
        source = open_ispyb(system.config, system.imager, Told(), schema)
        return import_source(system.config, system.imager, system.ledger, source, "ISPyB", "ISPyB", **options)

    return read


@pytest.fixture
def say(lab):
    """``say(image, "Clear")``: somebody scores an image in SynchWeb."""

    def write(image, name, at=NOON):
        with lab.writing() as connection:
            number = connection.scalar(sa.select(t.scores.c.blSampleImageScoreId).where(t.scores.c.name == name))
            changed = {"blSampleImageScoreId": number, "modifiedTimeStamp": at}
            connection.execute(t.images.update().where(t.images.c.blSampleImageId == image).values(**changed))

    return write


@pytest.fixture
def images(lab, score):
    """A1a to A6a have ARTscores; ISPyB's images of them, which are elsewhere, and of A7a, which nobody knows here."""
    score({(col, 1): Outcome.CLEAR for col in range(1, 7)})
    plate = lab.plate("CI022987")
    inspection = lab.inspection(plate, INSPECTED)
    return [lab.image(plate, inspection, str(2 * n + 1), f"/elsewhere/{n}.jpg") for n in range(7)]


def said(system):
    return {
        str(image.well): (one.meaning, one.code, one.who, one.at)
        for image, one in system.ledger.person_scores.imported(["CI022987"])
    }


def test_people_are_heard_by_group_and_by_the_labs_own_names(lab, system, images, bring, say, config):
    named = f'[publish.ispyb]\nurl = "{lab.url}"\n[scores.names]\n"3d crystals" = "crystals harvestable"\nSkin = "33"\n'
    system.config = from_string(named, home=config.home)
    own = lab.add(t.scores, name="Skin")
    for image, name in zip(
        images, ("Clear", "Light Precipitate", "Microcrystals", "3D Crystals", "Spherulites"), strict=False
    ):
        say(image, name)
    say(images[6], "Clear")
    with lab.writing() as connection:
        connection.execute(
            t.images.update().where(t.images.c.blSampleImageId == images[5]).values(blSampleImageScoreId=own)
        )
    done = bring(dry_run=True)
    assert said(system) == {}
    done = bring()
    with lab.writing() as connection:
        connection.execute(t.scores.delete().where(t.scores.c.blSampleImageScoreId == own))
    assert (done.lines, done.new, done.refused, done.people) == (7, 6, 1, {"ISPyB": 6})
    assert done.first_refused[0].line == images[6]
    assert said(system) == {
        "A1a": (Group.CLEAR, "Clear", "ISPyB", NOON),
        "A2a": (Group.PRECIPITATE, "Light Precipitate", "ISPyB", NOON),
        "A3a": (Group.CRYSTAL, "Microcrystals", "ISPyB", NOON),
        "A4a": (Outcome.HARVESTABLE, "3D Crystals", "ISPyB", NOON),
        "A5a": (Outcome.SPHERULITES, "Spherulites", "ISPyB", NOON),
        "A6a": (Outcome.OTHER, "Skin", "ISPyB", INSPECTED),  # its row says no time
    }


def test_only_another_word_is_another_score(lab, system, images, bring, say):
    say(images[0], "Clear")
    assert bring().new == 1
    say(images[0], "Clear", NOON + timedelta(hours=1))  # a comment was written, say
    assert (bring().new, bring().known) == (0, 1)
    say(images[0], "2D Crystals", NOON + timedelta(hours=2))
    assert bring().new == 1
    say(images[0], "Clear", NOON + timedelta(hours=3))
    assert bring().new == 1
    (image,) = [image for image in system.ledger.images.of_plate("CI022987") if str(image.well) == "A1a"]
    state = DropState.of(image.outcome, scores=system.ledger.person_scores.of([image])[image.inspect_id])
    assert state.name == "any clear"


def test_what_is_said_of_a_uv_image_is_no_score_of_the_visible_one(lab, system, score, bring, say):
    score({(1, 1): Outcome.CLEAR})
    plate = lab.plate("CI022987")
    uv = lab.image(plate, lab.inspection(plate, INSPECTED + timedelta(minutes=30), kind=2), "1", "/elsewhere/uv.jpg")
    visible = lab.image(plate, lab.inspection(plate, INSPECTED), "1", "/elsewhere/1.jpg")
    say(uv, "Clear")  # nothing fluoresces: the crystals are salt
    say(visible, "3D Crystals")
    done = bring()
    assert (done.lines, done.new, done.refused) == (2, 1, 1)
    assert (done.first_refused[0].line, "it is a UV image" in done.first_refused[0].reason) == (uv, True)
    assert said(system) == {"A1a": (Group.CRYSTAL, "3D Crystals", "ISPyB", NOON)}
    for image in (uv, visible):
        lab.put(image, {"crystal": 0.1, "precipitant": 0.6, "other": 0.2, "clear": 0.1}, "MARCO")
    done = bring("MARCO")
    assert (done.lines, done.new, done.refused) == (2, 1, 1)


def test_an_unknown_word_is_refused_with_the_key(lab, system, images, bring, say):
    say(images[0], "Clear")
    own = lab.add(t.scores, name="Jelly")
    say(images[1], "Jelly")
    done = bring()
    with lab.writing() as connection:
        connection.execute(t.scores.delete().where(t.scores.c.blSampleImageScoreId == own))
    assert (done.new, done.unknown_words) == (1, {"Jelly": 1})
    assert "add it to scores.names" in done.first_refused[0].reason


def test_where_ispyb_is_the_source_a_score_finds_its_very_image(lab, system, bring, say, config, tmp_path):
    toml = f'[imager.ispyb]\nurl = "{lab.url}"\npaths = {{ "/dls" = "{tmp_path}" }}\n'
    system.config = from_string(toml, home=config.home)
    from xtalgrid_server.imager.ispyb.source import IspybSource

    plate = lab.plate("DEMO000001")
    for days in (0, 7):  # both inspections have a 1.jpg
        inspection = lab.inspection(plate, INSPECTED + timedelta(days=days))
        image = lab.image(plate, inspection, "1", f"/dls/{days}/1.jpg")
    rows = IspybSource(system.config, system.imager, system.ledger.failures).refresh()
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, rows)
    say(image, "1D Crystals")
    assert bring().new == 1
    found = system.ledger.person_scores.imported(["DEMO000001"])
    assert [(image.inspection, one.meaning) for image, one in found] == [(2, Group.CRYSTAL)]


def test_a_programs_scores_are_never_peoples(lab, system, images, bring):
    fours = [(0.1, 0.6, 0.2, 0.1), (0.92, 0.03, 0.03, 0.02), (0.2, 0.2, 0.1, 0.5), (0, 0, 1, 0), (0.3, 0.4, 0.2, 0.1)]
    names = ("crystal", "precipitant", "other", "clear")
    for image, four in zip(images, fours, strict=False):
        lab.put(image, dict(zip(names, four, strict=True)), "MARCO")
    lab.put(images[5], {"crystal": 0.5}, "MARCO")
    done = bring("MARCO")
    assert (done.lines, done.new, done.refused, done.programs, done.people) == (6, 5, 1, {"MARCO": 5}, {})
    assert said(system) == {}
    (image,) = [image for image in system.ledger.images.of_plate("CI022987") if str(image.well) == "A1a"]
    (kept,) = system.ledger.imported_scores.of_images([image.image_id])[image.image_id]
    assert kept.numbers == pytest.approx({"Crystals": 0.1, "Precipitate": 0.6, "Other": 0.2, "Clear": 0.1})
    assert bring("MARCO").known == 5


def test_rows_of_the_wrong_writer_are_refused(lab, system, images, bring):
    for image in images[:5]:  # sorted, whatever the image shows: "crystal" has the largest
        lab.put(image, {"crystal": 0.9, "precipitant": 0.02, "clear": 0.05, "other": 0.03}, "CHIMP")
    with pytest.raises(ConfigError, match="ISPyB: in all 5 rows crystal has the largest probability"):
        bring("CHIMP")
    assert bring("CHIMP", accept_sorted=True).new == 5


def test_there_must_be_an_ispyb_and_the_schema(system, bring, config):
    with pytest.raises(ConfigError, match="no auto-score schema 'NONE'; its table BLSampleImageAutoScoreSchema"):
        bring("NONE")
    with pytest.raises(ConfigError, match=r"our own ARTscores .*; give another --schema"):
        bring("ARTscore")
    system.config = from_string("", home=config.home)
    with pytest.raises(ConfigError, match=r"set imager\.ispyb\.url"):
        bring()


def test_the_service_imports_by_itself(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "xtalgrid"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr("sys.executable", str(program.with_name("python")))
    toml = '[imager.ispyb]\nurl = "mysql+pymysql://reader@host/ispyb"\npaths = { "/dls" = "/mnt/dls" }\n'
    planned = plan(from_string(toml, file=tmp_path / "xtalgrid.toml", home=tmp_path / "home"), "xtalgrid")
    (tell,) = (job for job in planned.jobs if job.name == "tell")
    assert tell.commands == ("sync", "import-scores --ispyb", "look_again --minutes 20", "alerts")
    assert Path("/mnt/dls") in planned.mounts
