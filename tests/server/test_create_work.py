import io
import threading
import zipfile
from datetime import datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.ledger import tables
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.step import step
from xtalgrid_server.steps.system import System

from .conftest import INSPECTED, draw_well


@pytest.fixture
def imaged(system):
    """``imaged(days, number=1, file=True)``: the imager photographs drops so many days after the first inspection."""
    return imager_of(system)


def imager_of(system):
    count = 0

    def take(days: float, number: int = 1, file: bool = True, name: str = "{}.jpg") -> list[ImageRow]:
        nonlocal count
        rows = []
        for _ in range(number):
            count += 1
            when = INSPECTED + timedelta(days=days, seconds=count)
            rows.append(ImageRow(0, "P1", count, when, Well(1, 1, 1), name.format(count)))
            if file:
                draw_well(system.config.image_root / "P1" / str(count) / name.format(count), shade=count % 250)
        return system.imager.register(rows)

    return take


def planned(system):
    """Image numbers in the order in which they were planned."""
    return [
        row.inspection
        for unit in system.ledger.units.in_states("sent", "planned")
        for row in system.ledger.units.images(unit)
    ]


def test_a_unit_is_a_zip_of_neutral_names_and_a_manifest(system, imaged):
    imaged(0, 3)
    assert system.create_work().planned == 3
    (name,) = system.grid.waiting()
    with zipfile.ZipFile(system.config.spool / "units" / name / "unit.zip") as archive:
        assert archive.namelist() == ["000.jpg", "001.jpg", "002.jpg", "manifest.json"]
        manifest = wire.decode_manifest(archive.read("manifest.json"))
    assert manifest.unit == name
    assert (manifest.images[0].height, manifest.images[0].width) == (240, 320)


def test_a_large_unit_takes_no_more_statements_than_a_small_one(system, imaged):
    """One for each image was a third of create_work's time, and on PostgreSQL each image took two rows' space."""

    def statements(day, number):
        imaged(day, number)
        told = []
        with_each = system.ledger._db._engine, "before_cursor_execute", lambda *about: told.append(about[2])
        sa.event.listen(*with_each)
        assert system.create_work().planned == number
        sa.event.remove(*with_each)
        return len(told)

    statements(0, 1)  # the first run does more
    assert statements(1, 2) == statements(2, 12)
    with system.ledger._db.reading() as connection:
        sizes = connection.scalars(sa.select(tables.images.c.size)).all()
    assert len(sizes) == 15 and all(sizes), "each with its file"


def test_freshest_first_and_nothing_twice(system, imaged):
    imaged(0, 3)
    system.create_work()
    assert planned(system) == [3, 2, 1]
    assert system.create_work().planned == 0
    imaged(1, 2)
    assert system.create_work().planned == 2
    assert planned(system) == [3, 2, 1, 5, 4]


def test_a_limit_leaves_a_gap_that_later_runs_fill_behind_what_is_fresh(system, imaged):
    imaged(0, 6)
    system.create_work(limit=2)
    imaged(30, 3)
    system.create_work(limit=4)
    assert planned(system) == [6, 5, 9, 8, 7, 4]
    system.create_work()
    assert sorted(planned(system)) == list(range(1, 10))


@pytest.fixture
def labs(config, tmp_path):
    """A system over the lab's own imager database: PostgreSQL where the configuration has it, else SQLite."""
    if not config.imager.url:
        url = f"sqlite:///{tmp_path / 'lab.db'}"
        vendor = sa.create_engine(url)
        CrystalTrak().metadata.create_all(vendor)
        vendor.dispose()
        config = msgspec.structs.replace(config, imager=msgspec.structs.replace(config.imager, url=url))
    work = msgspec.structs.replace(config.work, backfill_per_hour=4, wells_per_backfill_unit=3)
    with System(msgspec.structs.replace(config, work=work)) as opened:
        yield opened


def test_the_archive_waits_for_back_fill_which_waits_for_what_is_fresh(labs):
    image = imager_of(labs)
    image(-300, 3), image(-200, 3), image(0, 2)
    assert labs.create_work().planned == 2
    assert planned(labs) == [8, 7]
    assert labs.create_work(backfill=True).planned == 0, "fresh images are under way"
    for unit in labs.ledger.units.in_states("sent"):
        labs.ledger.units.set_state(unit, "returned")
    image(1, 1)
    assert labs.create_work(backfill=True).planned == 1, "a fresh image came"
    for unit in labs.ledger.units.in_states("sent"):
        labs.ledger.units.set_state(unit, "returned")
    assert "0 of 6 images read" in "\n".join(status_lines(status(labs.config, labs.ledger, labs.imager)))
    assert labs.create_work(backfill=True).planned == 4, "an hour's rate"
    assert planned(labs) == [6, 5, 4, 3]
    assert labs.create_work(backfill=True).planned == 0
    archive = "\n".join(status_lines(status(labs.config, labs.ledger, labs.imager)))
    assert "4 of 6 images read (66.7%), back to 2012-01-26" in archive


def came_back(system):
    for unit in system.ledger.units.in_states("sent"):
        system.ledger.units.set_state(unit, "returned")


def with_work(config, **options):
    return msgspec.structs.replace(config, work=msgspec.structs.replace(config.work, **options))


def test_no_more_of_the_archive_lies_in_the_spool_than_configured(labs):
    """However much of it the hour's rate would allow: the workers may be off for a week."""
    with System(with_work(labs.config, backfill_per_hour=1000, backfill_under_way=4)) as system:
        image = imager_of(system)
        image(-300, 7), image(0, 1)
        system.create_work(), came_back(system)
        assert [system.create_work(backfill=True).planned for _ in range(2)] == [4, 0]
        assert planned(system) == [7, 6, 5, 4]
        why = "4 are in units that have not come back, and work.backfill_under_way is 4"
        assert system.create_work(backfill=True).older_wait == why
        image(1, 2)
        assert system.create_work(backfill=True).planned == 2, "what is fresh never waits for it"
        came_back(system)
        assert [system.create_work(backfill=True).planned for _ in range(2)] == [3, 0]
        assert planned(system) == [3, 2, 1]


def test_older_images_of_imported_folders_wait_like_an_archive(tmp_path):
    with System(from_string("[work]\nbackfill_under_way = 2\n", home=tmp_path / "home")) as system:
        image = imager_of(system)
        image(0, 5), image(30, 3)
        assert [system.create_work().planned for _ in range(2)] == [5, 0]
        assert planned(system) == [8, 7, 6, 5, 4]
        assert system.create_work().older_wait.startswith("2 are in units that have not come back")
        image(31, 1)
        assert system.create_work().planned == 1, "what is fresh never waits for it"
        found = planned(system)
        while planned(system):
            came_back(system)
            system.create_work()
            found += planned(system)
        assert sorted(found) == list(range(1, 10))


def test_an_archive_whose_rate_is_used_up_says_so(labs):
    image = imager_of(labs)
    image(-300, 5), image(0, 1)
    labs.create_work(), came_back(labs)
    assert labs.create_work(backfill=True).planned == 4
    came_back(labs)
    assert (
        labs.create_work(backfill=True).older_wait == "4 were planned in the last hour, and work.backfill_per_hour is 4"
    )


def test_units_from_before_the_clock_was_set_back_use_up_no_rate(labs):
    image = imager_of(labs)
    image(-300, 5), image(0, 1)
    labs.create_work(), came_back(labs)
    assert labs.create_work(backfill=True).planned == 4
    came_back(labs)
    with labs.ledger._db.writing() as connection:
        connection.execute(tables.units.update().values(made_at=datetime(2999, 1, 1)))
    assert labs.create_work(backfill=True).planned == 1


def test_an_archive_waits_while_the_share_is_off(labs):
    image = imager_of(labs)
    image(-300, 3), image(0, 1)
    labs.create_work(), came_back(labs)
    root = labs.config.image_root
    away = root.rename(root.with_name("away"))
    for mount_point in (False, True):
        if mount_point:
            root.mkdir()
        done = labs.create_work(backfill=True)
        assert (done.failed, done.planned) == ([], 0)
        assert done.older_wait == f"there is nothing in {root}; is the share mounted?"
    root.rmdir()
    away.rename(root)
    assert labs.create_work(backfill=True).planned == 3


def test_no_run_goes_through_an_archive_whose_files_are_gone(labs):
    image = imager_of(labs)
    image(-300, 7, file=False), image(0, 1)
    labs.create_work(), came_back(labs)
    assert [len(labs.create_work(backfill=True).failed) for _ in range(3)] == [4, 3, 0], "an hour's rate in each run"


def test_old_images_whose_files_come_back_are_back_fill_still(labs):
    with System(with_work(labs.config, backfill_under_way=2)) as system:
        image = imager_of(system)
        image(-300, 7, file=False), image(0, 1)
        system.create_work(), came_back(system)
        assert sum(len(system.create_work(backfill=True).failed) for _ in range(4)) == 7
        for number in range(1, 8):
            draw_well(system.config.image_root / "P1" / str(number) / f"{number}.jpg", shade=number)
        assert [system.create_work().planned for _ in range(2)] == [2, 0]
        found = planned(system)
        while planned(system):
            came_back(system)
            assert system.create_work().planned <= 2
            found += planned(system)
        assert sorted(found) == list(range(1, 8))


def test_back_fill_goes_on_where_it_was_killed_and_comes_to_an_end(labs, monkeypatch):
    image = imager_of(labs)
    image(-300, 3), image(0, 1)
    labs.create_work()
    for unit in labs.ledger.units.in_states("sent"):
        labs.ledger.units.set_state(unit, "returned")
    with monkeypatch.context() as patch:
        patch.setattr(labs.ledger, "set_watermark", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            labs.create_work(backfill=True)
    assert labs.create_work(backfill=True).planned == 0, "they were planned before it was killed"
    assert sorted(planned(labs)) == [1, 2, 3]
    assert "archive" not in "\n".join(status_lines(status(labs.config, labs.ledger, labs.imager)))


def test_rows_and_files_that_arrive_late_are_found(system, imaged):
    imaged(10, 1)
    (missing,) = imaged(10, 1, file=False)
    first = system.create_work()
    assert (first.planned, len(first.failed)) == (1, 1)
    assert system.ledger.failures.of_files()[0][1] == "missing file"
    imaged(8.5, 1)  # a row that was committed late
    imaged(1, 1)  # before the look-back of 3 days, as from an imager whose clock is behind
    draw_well(system.config.image_root / "P1" / str(missing.inspection) / missing.image_name)
    assert system.create_work().planned == 3
    assert sorted(planned(system)) == [1, 2, 3, 4]


def test_a_plate_on_demand_whatever_was_read(system, imaged):
    imaged(10)
    system.create_work()
    imaged(1)
    assert system.create_work(barcodes=["P1"]).planned == 1


def test_broken_files_cost_nobody_else(system, imaged):
    good, text, cut, tiny, huge = imaged(0, 5)

    def path(row):
        return system.config.image_root / "P1" / str(row.inspection) / row.image_name

    path(text).write_text("not an image")
    path(cut).write_bytes(path(good).read_bytes()[:-200])
    draw_well(path(tiny), size=(1, 1))
    path(huge).write_bytes(_png_header(20_000, 20_000))
    created = system.create_work()
    assert created.planned == 1
    assert {row.inspection: error.reason for row, error in created.waiting} == {cut.inspection: "truncated image"}
    assert {row.inspection: error.reason for row, error in created.failed} == {
        text.inspection: "not an image",
        tiny.inspection: "image too small",
        huge.inspection: "image too large",
    }


@pytest.mark.parametrize("bytes_after", [300, 6000])
def test_a_jpeg_with_data_behind_its_end_is_whole(system, imaged, bytes_after):
    (image,) = imaged(0, 1)
    path = system.config.image_root / "P1" / str(image.inspection) / image.image_name
    path.write_bytes(path.read_bytes() + b"<meta>".ljust(bytes_after, b"x"))
    assert system.create_work().planned == 1


def test_a_tiff_that_is_cut_off_costs_no_worker_s_time(system, imaged):
    whole, cut = imaged(0, 2)
    for image, kept in ((whole, None), (cut, -200)):
        path = system.config.image_root / "P1" / str(image.inspection) / image.image_name
        stream = io.BytesIO()
        Image.effect_noise((320, 240), 80).save(stream, "TIFF")
        path.write_bytes(stream.getvalue()[:kept])
    created = system.create_work()
    assert created.planned == 1
    assert [(row, error.reason) for row, error in created.waiting] == [(cut, "truncated image")]


def _png_header(width, height):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["../../../etc/passwd{}", "..", "a/b{}.jpg", "a\\b{}.jpg"])
def test_a_name_that_leads_out_of_the_image_root_is_refused(system, imaged, name):
    imaged(0, 1, file=False, name=name)
    ((_, error),) = system.create_work().failed
    assert "not a file name" in error.detail


def test_dry_run_writes_nothing(system, imaged):
    imaged(0, 2)
    assert system.create_work(dry_run=True).planned == 2
    assert system.grid.waiting() == []
    assert system.create_work().planned == 2


def test_units_are_bounded_in_wells(system, imaged):
    work = msgspec.structs.replace(system.config.work, wells_per_unit=2)
    system.config = msgspec.structs.replace(system.config, work=work)
    imaged(0, 5)
    assert system.create_work().units == 3


def test_two_runs_never_overlap(system, config):
    with step(config, "create_work"):
        caught = []

        def other():
            try:
                system.create_work()
            except Busy as error:
                caught.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "already running" in str(caught[0])


def test_a_new_threshold_is_new_work(system, imaged):
    imaged(0)
    system.create_work()
    work = msgspec.structs.replace(system.config.work, threshold=0.8)
    system.config = msgspec.structs.replace(system.config, work=work)
    assert system.create_work(barcodes=["P1"]).planned == 1


def test_a_unit_lost_from_the_spool_is_built_again(system, imaged):
    imaged(0, 2)
    system.create_work()
    (name,) = system.grid.waiting()
    before = (system.config.spool / "units" / name / "unit.zip").read_bytes()
    system.grid.discard(name)
    system.create_work()
    assert (system.config.spool / "units" / name / "unit.zip").read_bytes() == before


def test_pause_stops_new_work(system, imaged):
    imaged(0)
    system.ledger.set_switch("paused", "yes", "jdoe")
    assert system.create_work().planned == 0
    system.ledger.set_switch("paused", "no", "jdoe")
    assert system.create_work().planned == 1


def ahead_of_now() -> float:
    """Days from the first inspection of the tests to a month from now."""
    return (datetime.now() - INSPECTED).days + 30


def test_an_inspection_dated_ahead_hides_no_other(system, imaged):
    imaged(0, 1)
    system.create_work()
    imaged(ahead_of_now(), 1)
    created = system.create_work()
    assert [image.inspection for image in created.ahead] == [2]
    for day in (1, 2):
        imaged(day, 1)
        system.create_work()
    assert sorted(planned(system)) == [1, 2, 3, 4]
    (line,) = (
        line for line in status_lines(status(system.config, system.ledger, system.imager)) if line.startswith("ahead")
    )
    assert "plate P1 inspection 2 (1 images)" in line


def test_what_an_earlier_version_passed_over_is_found_again(system, imaged):
    """It took its watermark from an inspection dated ahead, whose date has passed meanwhile or not."""
    for day in (ahead_of_now(), 40):
        imaged(0, 1)
        (late,) = imaged(day, 1)
        system.create_work()
        imaged(1, 1)
        (key,) = (row.key for row in system.ledger._db.rows(sa.select(tables.watermarks)))
        written = {"newest": [late.inspected, late.inspect_id], "gaps": [], "archive": None}
        system.ledger.set_watermark(key, msgspec.json.encode(written).decode())
        assert system.create_work().planned == 1
        assert system.create_work().planned == 0
    assert sorted(planned(system)) == list(range(1, 7))


def test_ids_that_go_back_are_read_again(labs, caplog):
    """The imager database is restored from a backup; then an old plate is entered."""
    image, inspections, images = imager_of(labs), labs.imager.tables.inspections, labs.imager.tables.images
    ids = [row.inspect_id for row in image(0, 5)]
    assert labs.create_work().planned == 5
    with labs.imager.transaction() as connection:
        for table in (images, inspections):
            connection.execute(table.delete().where(table.c.inspectid > ids[1]))
    labs.create_work()
    assert f"the highest INSPECTID was {ids[4]} and is {ids[1]}" in caplog.text
    (old,) = image(-3000)
    assert labs.create_work().planned == 1, old


@pytest.mark.parametrize("is_first", [True, False])
def test_a_stray_id_hides_no_old_plate(labs, is_first):
    """Somebody entered an inspection with an id of their own; an old plate is entered after that."""
    image, inspections, images = imager_of(labs), labs.imager.tables.inspections, labs.imager.tables.images
    rows = image(0, 3)
    if not is_first:
        labs.create_work()
    (stray,) = image(0.5)
    with labs.imager.transaction() as connection:
        for table in (inspections, images):
            connection.execute(table.insert().from_select(*moved(table, stray.inspect_id, 2_000_000_000)))
        for table in (images, inspections):
            connection.execute(table.delete().where(table.c.inspectid == stray.inspect_id))
    labs.create_work(), labs.create_work()
    assert len(planned(labs)) == 4
    for number in range(2):
        old = ImageRow(0, "P0", number + 1, INSPECTED - timedelta(days=3000), Well(1, 1, 1), f"old{number}.jpg")
        draw_well(labs.config.image_root / "P0" / str(number + 1) / old.image_name, shade=200 + number)
        with labs.imager.transaction() as connection:
            entered = {"inspectid": rows[-1].inspect_id + 1 + number, "barcodeid": "P0", "col": 1, "i_row": 1}
            numbers = {"subwell": 1, "inspectnumber": number + 1, "inspectdate": old.inspected}
            connection.execute(inspections.insert().values(**entered, **numbers))
            connection.execute(images.insert().values(inspectid=entered["inspectid"], imagename=old.image_name))
        assert labs.create_work().planned == 1, number


def moved(table, inspect_id, to):
    """The columns of a table, and a query of the rows of an inspection with another id."""
    columns = [sa.literal(to) if c.key == "inspectid" else c for c in table.c]
    return [c.key for c in table.c], sa.select(*columns).where(table.c.inspectid == inspect_id)


def test_a_row_that_cannot_be_used_is_recorded_once(labs):
    first, odd, last = imager_of(labs)(0, 3)
    columns = labs.imager.tables.inspections
    with labs.imager.transaction() as connection:
        for statement in ("ALTER TABLE {} DROP COLUMN subwell", "ALTER TABLE {} ADD subwell INTEGER"):
            connection.exec_driver_sql(statement.format(columns.fullname))
        connection.execute(columns.update().values(subwell=1).where(columns.c.inspectid != odd.inspect_id))
    assert [len(labs.create_work().unusable) for _ in range(2)] == [1, 0]
    assert sorted(planned(labs)) == [first.inspection, last.inspection]
    (failure,) = labs.ledger.failures.of_files()
    assert failure == (
        f"I_INSPECTIONS, INSPECTID {odd.inspect_id}",
        "unusable row",
        "SUBWELL is NULL, not a whole number; correct the row",
    )
