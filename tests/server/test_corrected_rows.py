"""Rows of the imager database that were corrected after their images were planned, or could not be found."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well

from .conftest import INSPECTED, answer, draw_well, result_of
from .test_create_work import imaged  # noqa: F401


def test_a_barcode_that_is_no_name_of_a_folder_stops_nothing(system, imaged, correct, caplog):  # noqa: F811
    (row,) = imaged(0)
    system.create_work()
    correct(row.inspect_id, barcodeid="../P1")
    imaged(1)
    assert system.create_work().planned == 1
    assert "'../P1' is not a file name; correct the imager database" in caplog.text


@pytest.fixture
def correct(system):
    """``correct(inspect_id, col=7)``: somebody corrects an inspection in the vendor's database."""

    def change(inspect_id, **values):
        table = system.imager.tables.inspections
        with system.imager.transaction() as connection:
            connection.execute(table.update().where(table.c.inspectid == inspect_id).values(**values))

    return change


def come_back(system):
    for folder in (system.config.spool / "units").iterdir():
        manifest = wire.decode_manifest(system.ledger.units.named(folder.name).manifest)
        answers = [answer(n, Outcome.HARVESTABLE) for n in range(len(manifest.images))]
        (folder / "result.json").write_bytes(wire.encode(result_of(manifest, answers)))
    system.assimilate()


def at(system, barcode):
    return [(i.inspection, i.well, i.inspected, i.outcome) for i in system.ledger.images.of_plate(barcode)]


def test_well_plate_and_date_follow_a_correction(system, imaged, correct, score_table, caplog):  # noqa: F811
    (row,) = imaged(0)
    system.create_work(), come_back(system)
    system.finalize(frames="none"), system.publish()
    later = INSPECTED + timedelta(hours=2)
    correct(row.inspect_id, barcodeid="P9", inspectnumber=4, col=7, i_row=2, inspectdate=later)
    system.create_work()
    assert "put its file to" in caplog.text and at(system, "P9") == [], "the file is not where the row says"
    old = system.config.image_root / "P1" / "1" / row.image_name
    (system.config.image_root / "P9" / "4").mkdir(parents=True)
    old.rename(system.config.image_root / "P9" / "4" / row.image_name)
    assert system.create_work().planned == 0, "it is scored already"
    assert at(system, "P9") == [(4, Well(2, 7, 1), later, Outcome.HARVESTABLE)]
    assert at(system, "P1") == []
    assert "plate P1 inspection 1 A1a of 2012-11-21 14:00:01, is plate P9 inspection 4 B7a" in caplog.text
    system.finalize(frames="none"), system.publish()
    assert score_table() == [(row.inspect_id, "23", later, "ARTscore")]
    caplog.clear()
    system.create_work()
    assert "corrected in the imager" not in caplog.text, "said once"
    assert system.finalize(frames="none").run == ""


def test_an_alert_that_waits_is_about_the_corrected_well(system, imaged, correct):  # noqa: F811
    days = (datetime.now() - INSPECTED).days - 1
    (row,) = imaged(days)
    system.create_work(), come_back(system)
    system.ledger.alerts.add(system.ledger.images.of_plate("P1"))
    correct(row.inspect_id, col=7)
    system.create_work()
    shown = []
    for _ in range(2):
        system.send_alerts(shown.append)
    assert [[one.crystal.image.well for one in alerts] for alerts in shown] == [[Well(1, 7, 1)], []]


def test_a_row_whose_file_was_missing_is_planned_where_it_is_now(system, imaged, correct):  # noqa: F811
    (row,) = imaged(0, file=False)
    assert len(system.create_work().failed) == 1
    draw_well(system.config.image_root / "P9" / "1" / row.image_name)
    correct(row.inspect_id, barcodeid="P9", col=3)
    assert system.create_work().planned == 1
    assert [one[1] for one in at(system, "P9")] == [Well(1, 3, 1)] and at(system, "P1") == []


def test_another_picture_under_the_same_id_and_name_moves_nothing(system, imaged, correct, caplog):  # noqa: F811
    (row,) = imaged(0)
    system.create_work(), come_back(system)
    correct(row.inspect_id, barcodeid="P9", col=7)
    draw_well(system.config.image_root / "P9" / "1" / row.image_name, shade=200)
    system.create_work()
    assert "not the one that was scored" in caplog.text
    assert len(at(system, "P1")) == 1, "what people said of it stays with that drop"
