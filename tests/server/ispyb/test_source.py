"""ISPyB as the source of images: plates, wells, inspections and light as it has them; what can't be used is named."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.server.conftest import draw_well
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.light import Light
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_server.imager.source import image_path
from xtalgrid_server.steps.account import account
from xtalgrid_server.steps.pack import read_original
from xtalgrid_server.steps.system import System

DAY = datetime(2024, 1, 8, 10, 15)


@pytest.fixture
def mounted(tmp_path):
    return tmp_path / "mnt"


@pytest.fixture
def config(lab, mounted, tmp_path):
    toml = f'[imager.ispyb]\nurl = "{lab.url}"\npaths = {{ "/dls/vmxi" = "{mounted}" }}\n'
    return from_string(toml, home=tmp_path / "home")


@pytest.fixture
def shot(lab, mounted):
    """``shot(plate, inspection, location, "7/91.jpg")``: an image in ISPyB, and its file here."""

    def add(plate, inspection, location, name, shade=90):
        draw_well(mounted / name, shade=shade)
        return lab.image(plate, inspection, location, f"/dls/vmxi/{name}")

    return add


def entered(system):
    return {
        (row.barcode, row.inspection, str(row.well), row.image_name)
        for barcode in system.imager.barcodes()
        for rows in system.source.of_plate(barcode)
        for row in rows
    }


def test_plates_wells_inspections_and_light(lab, system, shot):
    plate, other = lab.plate("DEMO000001"), lab.plate("DEMO000002", "SWISSCI 3 Drop")
    late = lab.inspection(plate, DAY + timedelta(days=2))  # entered first: numbers go by time
    early = lab.inspection(plate, DAY)
    uv = lab.inspection(plate, DAY + timedelta(minutes=40), kind=2)
    alone = lab.inspection(other, DAY, kind=2)
    shot(plate, late, "1", "2/1.jpg", 10)
    shot(plate, early, "1", "1/1.jpg", 20)
    shot(plate, early, "26", "1/26.jpg", 30)
    shot(plate, uv, "1", "3/1.jpg", 40)
    shot(other, alone, "4", "4/4.jpg", 50)
    assert len(system.source.refresh()) == 5
    assert entered(system) == {
        ("DEMO000001", 1, "A1a", "1.jpg"),
        ("DEMO000001", 1, "A1a", "UV_1.jpg"),  # within hours of a visible one: the same inspection
        ("DEMO000001", 1, "B1b", "26.jpg"),
        ("DEMO000001", 2, "A1a", "1.jpg"),
        ("DEMO000002", 1, "A2a", "UV_4.jpg"),
    }
    rows = [row for rows in system.source.of_plate("DEMO000001") for row in rows]
    first = next(row for row in rows if (row.inspection, str(row.well), row.image_name) == (1, "A1a", "1.jpg"))
    assert first.inspected == DAY
    assert [mate.light for mate in system.imager.mates(first.inspect_id)] == [Light.UV]
    assert read_original(system.config, first)
    created = system.create_work(barcodes=["DEMO000001", "DEMO000002"])
    assert (created.planned, created.lights.passed_over) == (3, {"uv": 2})
    assert system.source.refresh() == []


def test_numbers_stay_and_new_inspections_count_on(lab, config, shot):
    plate = lab.plate("DEMO000001")
    shot(plate, lab.inspection(plate, DAY), "1", "1.jpg")
    with System(config) as system:
        system.source.refresh()
    shot(plate, lab.inspection(plate, DAY - timedelta(days=3)), "1", "before.jpg")  # entered late
    shot(plate, lab.inspection(plate, DAY + timedelta(days=3)), "1", "after.jpg")
    with System(config) as system:
        assert {(row.inspection, row.image_name) for row in system.source.refresh()} == {
            (2, "before.jpg"),
            (3, "after.jpg"),
        }
        assert ("DEMO000001", 1, "A1a", "1.jpg") in entered(system)


def test_two_images_of_one_name_are_two(lab, system, shot):
    plate = lab.plate("DEMO000001")
    inspection = lab.inspection(plate, DAY)
    shot(plate, inspection, "1", "A1/ef.jpg", 10)
    second = shot(plate, inspection, "3", "A2/ef.jpg", 20)
    rows = {str(row.well): row for row in system.source.refresh()}
    assert (rows["A1a"].image_name, rows["A2a"].image_name) == ("ef.jpg", f"{second}_ef.jpg")
    assert read_original(system.config, rows["A1a"]) != read_original(system.config, rows["A2a"])


def test_what_can_not_be_used_is_named_and_costs_nothing_else(lab, system, shot):
    plate, nameless, doubtful = lab.plate("DEMO000001"), lab.plate(None), lab.plate("DEMO000003", "SWISSCI 2 Drop")
    inspection = lab.inspection(plate, DAY)
    shot(plate, inspection, "1", "good.jpg")
    shot(plate, inspection, "193", "off the plate.jpg")
    shot(nameless, lab.inspection(nameless, DAY), "1", "nameless.jpg")
    shot(doubtful, lab.inspection(doubtful, DAY), "1", "doubtful.jpg")
    timeless = lab.plate("DEMO000004")
    shot(timeless, lab.inspection(timeless, None), "1", "timeless.jpg")
    lab.image(plate, inspection, "5", "relative/path.jpg")
    lab.image(plate, None, "7", "/dls/vmxi/of no inspection.jpg")  # such as a snapshot at the beamline
    assert [row.image_name for row in system.source.refresh()] == ["good.jpg"]
    failed = {Path(one.file).name: one.detail for one in system.ledger.accounts.failures()}
    expected = {
        "off the plate.jpg": "location '193' is not on the plate",
        "nameless.jpg": "has no barcode",
        "doubtful.jpg": "no usual plate; give its format: [imager.ispyb.types]",
        "timeless.jpg": "has a time",
        "path.jpg": "not a path",
    }
    assert failed.keys() == expected.keys()
    assert all(words in failed[name] for name, words in expected.items())
    counted = account(system.config, system.ledger, system.imager)
    assert (counted.there, counted.waiting, counted.failed) == (6, 1, 5)
    assert system.source.refresh() == []
    with lab.writing() as connection:
        connection.execute(
            t.containers.update().where(t.containers.c.containerId == nameless).values(barcode="DEMO000002")
        )
    assert [(row.barcode, row.image_name) for row in system.source.refresh()] == [("DEMO000002", "nameless.jpg")]
    assert account(system.config, system.ledger, system.imager).failed == 4


def test_a_path_of_the_database_leads_nowhere_else(lab, system, shot, mounted, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(draw_well(tmp_path / "drawn.jpg").read_bytes())
    plate = lab.plate("DEMO000001")
    inspection = lab.inspection(plate, DAY)
    lab.image(plate, inspection, "1", str(tmp_path / "secret.jpg"))
    lab.image(plate, inspection, "3", "/dls/vmxi/../secret2.jpg")
    mounted.mkdir()
    (tmp_path / "secret2.jpg").write_bytes(b"x")
    rows = system.source.refresh()
    assert len(rows) == 2
    for row in rows:
        with pytest.raises(ImageError, match=r"outside imager\.image_root and imager\.linked_folders"):
            read_original(system.config, row)


def test_a_file_that_comes_later_or_moves_is_found(lab, system, shot, mounted):
    plate = lab.plate("DEMO000001")
    mounted.mkdir()
    image = lab.image(plate, lab.inspection(plate, DAY), "1", "/dls/vmxi/late.jpg")
    (row,) = system.source.refresh()
    with pytest.raises(ImageError) as missing:
        read_original(system.config, row)
    assert missing.value.reason is FailureReason.MISSING_FILE
    draw_well(mounted / "late.jpg")
    assert read_original(system.config, row)
    (mounted / "late.jpg").rename(mounted / "archived.jpg")
    with lab.writing() as connection:
        moved = t.images.update().where(t.images.c.blSampleImageId == image)
        connection.execute(moved.values(imageFullPath="/dls/vmxi/archived.jpg"))
    assert system.source.refresh() == [row]
    assert image_path(system.config, row).is_symlink()
    assert read_original(system.config, row)


def test_killed_between_link_and_entry(lab, config, shot, monkeypatch):
    plate = lab.plate("DEMO000001")
    shot(plate, lab.inspection(plate, DAY), "1", "1.jpg")
    with System(config) as system:
        monkeypatch.setattr(system.source._database, "register", lambda images: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            system.source.refresh()
    with System(config) as system:
        assert [(row.inspection, row.image_name) for row in system.source.refresh()] == [(1, "1.jpg")]


def test_only_inspections_since_a_date(lab, config, shot, tmp_path):
    plate = lab.plate("DEMO000001")
    shot(plate, lab.inspection(plate, DAY), "1", "old.jpg")
    shot(plate, lab.inspection(plate, DAY + timedelta(days=9)), "1", "new.jpg")
    toml = f'[imager.ispyb]\nurl = "{lab.url}"\nsince = "2024-01-10"\n'
    with System(from_string(toml, home=tmp_path / "home")) as system:
        assert [row.image_name for row in system.source.refresh()] == ["new.jpg"]


def test_since_a_date_leaves_out_no_image_for_lack_of_one(lab, config, shot, tmp_path, mounted):
    """An inspection's row may have no time, or MySQL's date of zeros; its images have one, or are named."""
    plate = lab.plate("DEMO000001")
    for location, at in (("1", DAY + timedelta(days=9)), ("3", DAY), ("5", None)):
        draw_well(mounted / f"{location}.jpg")
        lab.image(plate, lab.inspection(plate, None), location, f"/dls/vmxi/{location}.jpg", blTimeStamp=at)
    zeros = lab.inspection(plate, DAY)
    shot(plate, zeros, "7", "7.jpg")
    with lab.writing() as connection:
        connection.exec_driver_sql("SET sql_mode = ''")
        zero = "UPDATE ContainerInspection SET blTimeStamp = '0000-00-00 00:00:00' WHERE containerInspectionId = %s"
        connection.exec_driver_sql(zero, (zeros,))
    for since, entered in (("2024-01-10", ["1.jpg"]), ("", ["1.jpg", "3.jpg"])):
        toml = f'[imager.ispyb]\nurl = "{lab.url}"\nsince = "{since}"\npaths = {{ "/dls/vmxi" = "{mounted}" }}\n'
        with System(from_string(toml, home=tmp_path / f"home{since}")) as system:
            assert [row.image_name for row in system.source.refresh()] == entered
            named = {file.rpartition("/")[2] for file, _, _ in system.ledger.failures.of_files()}
            assert named == ({"5.jpg", "7.jpg"})


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('imager = { url = "sqlite:///x.db", ispyb = { url = "mysql+pymysql://a@b/c" } }', "images come from imager.url"),
        ('imager = { ispyb = { url = "secret" } }', "imager.ispyb.url: not a database URL"),
        ('imager = { ispyb = { url = ["mysql://a:secret@b/c"] } }', "imager.ispyb.url: Expected `str`"),
        ('imager = { ispyb = { url = "mysql+pymysql://a@b/c", since = "May" } }', "imager.ispyb.since: 'May' is not"),
        ('imager = { ispyb = { typo = 1 } }', "imager.ispyb.typo: unknown key; did you mean types?"),
        ("publish = { score_table = false }", "publish.score_table: false, but no publish.ispyb.url"),
        ('publish = { ispyb = { schema = "a name of more than 25 characters" } }', "publish.ispyb.schema: Expected"),
        ('publish = { ispyb = { classes = ["crystals harvestable", "a", "b", "c"] } }', "at most 15 characters"),
    ],
)  # fmt: skip
def test_mistakes_in_the_configuration(toml, message, tmp_path):
    with pytest.raises(ConfigError) as mistake:
        from_string(toml, home=tmp_path)
    assert message in str(mistake.value)
    assert "secret" not in str(mistake.value)
