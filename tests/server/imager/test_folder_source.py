"""A folder that an imager fills, with pictures that come in pieces."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.folder.source import FolderSource
from xtalgrid_server.steps.account import account, account_lines
from xtalgrid_server.steps.system import System

from ..conftest import draw_well, rigaku_name

ROCKIMAGER = "WellImages/100/plateID_3100/batchID_17409/wellNum_{}/profileID_1/d1_r26_{}.jpg"


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watched(tmp_path):
    return tmp_path / "share"


@pytest.fixture
def config(config, watched):
    """As in the other tests, with a watched folder."""
    watched.mkdir()
    return msgspec.structs.replace(config, imager=msgspec.structs.replace(config.imager, folder=str(watched)))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(system, clock):
    return FolderSource(system.config, system.imager, system.ledger.failures, clock=clock, pause=clock.wait)


def names(rows):
    return [row.image_name for row in rows]


def test_a_new_file_is_taken_in_when_it_stayed_the_same(source, watched, clock, system):
    draw_well(watched / "CI022987" / rigaku_name(1))
    assert source.scan().entered == []
    assert source.scan().entered == []  # no time has passed
    clock.wait(5)
    (row,) = source.scan().entered
    assert (row.barcode, row.inspection, row.well) == ("CI022987", 3, Well(1, 1, 1))
    assert source.path(row).samefile(watched / "CI022987" / rigaku_name(1))
    clock.wait(5)
    assert source.refresh() == []
    assert names(next(source.of_plate("CI022987"))) == [rigaku_name(1)]
    assert len(list(source.newest_first(None, None))) == 1


def test_an_empty_folder_where_images_were_is_said_and_forgets_nothing(source, watched, clock, system, caplog):
    """A share that is not mounted leaves an empty folder: before, all was well, and nothing was scored any more."""
    source.scan()
    assert "is its share mounted?" not in caplog.text  # a new folder is empty, too
    half = draw_well(watched / rigaku_name(1))
    whole = half.read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert len(source.scan().waiting) == 1
        clock.wait(5)
    half.unlink()
    for _ in range(2):
        source.scan()
    assert caplog.text.count("is its share mounted?") == 1
    lines = list(account_lines(account(system.config, system.ledger, system.imager)))
    assert "passed over 1 empty folder where images were (is its share mounted?)" in lines
    assert lines[0].startswith("2 there = 0 scored + 1 waiting")
    half.write_bytes(whole)
    for _ in range(2):
        entered = source.scan().entered
        clock.wait(5)
    assert names(entered) == [rigaku_name(1)]
    assert not any("mounted" in line for line in account_lines(account(system.config, system.ledger, system.imager)))


def test_refresh_looks_twice_by_itself_and_create_work_refreshes(source, watched, system, monkeypatch):
    draw_well(watched / rigaku_name(1))
    monkeypatch.setattr(system, "source", source)
    assert system.create_work(dry_run=True).planned == 0
    assert system.create_work().planned == 1
    draw_well(watched / "old" / rigaku_name(2, inspection=1, date="090101"))
    assert system.create_work().planned == 1


def test_a_file_that_grows_waits_and_never_stops_the_others(source, watched, clock, system):
    whole = draw_well(watched / rigaku_name(1)).read_bytes()
    growing = watched / rigaku_name(2)
    growing.write_bytes(whole[:400])
    assert names(source.refresh()) == [rigaku_name(1)]
    clock.wait(3600)
    growing.write_bytes(whole[:800])
    found = source.scan()
    clock.wait(3600)
    again = source.scan()
    assert (found.entered, found.settling, again.waiting, again.settling) == ([], [growing], [growing], [])
    growing.write_bytes(whole)
    assert names(source.refresh()) == [rigaku_name(2)]
    assert system.ledger.failures.of_files() == []


def test_a_file_that_stays_incomplete_is_recorded_once_and_taken_in_if_it_is_mended(source, watched, clock, system):
    whole = draw_well(watched / "elsewhere.jpg").read_bytes()
    (watched / "elsewhere.jpg").unlink()
    broken = watched / rigaku_name(1)
    broken.write_bytes(whole[:-40] + bytes(40))  # as long as it should be: copies over a network look so
    assert source.refresh() == []
    clock.wait(25 * 3600)
    found = source.scan()
    assert list(found.rejected) == [broken]
    assert source.scan().rejected == {}
    ((file, reason, detail),) = system.ledger.failures.of_files()
    assert (file, reason) == (str(broken), "truncated image")
    assert "end marker is missing" in detail
    broken.write_bytes(whole)
    assert names(source.refresh()) == [rigaku_name(1)]


def test_killed_before_it_was_noted_that_a_file_was_entered(source, watched, clock, monkeypatch):
    draw_well(watched / rigaku_name(1))
    source.scan()
    clock.wait(5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(source._seen, "keep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        source.scan()
    assert names(source.scan().entered) == [rigaku_name(1)]
    assert len(list(source.of_plate("CI022987"))) == 1


def test_what_was_seen_outlives_the_process(source, watched, clock, config):
    draw_well(watched / rigaku_name(1))
    assert len(source.scan().waiting) == 1
    clock.wait(5)
    with System(config) as other:
        again = FolderSource(config, other.imager, other.ledger.failures, clock=clock, pause=clock.wait)
        assert names(again.scan().entered) == [rigaku_name(1)]
    assert source.refresh() == []


def test_a_name_that_fits_not_and_a_file_of_the_same_stem(source, watched, system):
    draw_well(watched / rigaku_name(1))
    draw_well(watched / "holiday.jpg")
    draw_well(watched / ".hidden.jpg")
    assert len(source.refresh()) == 1
    ((file, reason, _),) = system.ledger.failures.of_files()
    assert (file, reason) == (str(watched / "holiday.jpg"), "name fits no pattern")
    png = draw_well(watched / rigaku_name(1).replace(".jpg", ".png"))
    assert source.scan().doubles == [png]
    assert source.scan().doubles == []
    os.utime(watched / rigaku_name(1), (5, 5))
    assert names(source.refresh()) == [rigaku_name(1)]  # touched, and not a double of itself
    (watched / rigaku_name(1)).unlink()
    assert names(source.refresh()) == [png.name]


def test_what_could_not_be_stored_is_tried_again(source, watched, clock, system, monkeypatch):
    """As while the disk of the image root is full for a while: before, such files were never looked at again."""
    copying, linking = shutil.copyfileobj, Path.symlink_to

    def full(original, made):
        made.write(original.read(100))
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_links(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    monkeypatch.setattr(Path, "symlink_to", no_links)
    file = draw_well(watched / rigaku_name(1))
    assert source.refresh() == []
    ((_, _, detail),) = system.ledger.failures.of_files()
    assert detail == "cannot enter it: No space left on device"
    assert account(system.config, system.ledger, system.imager).there == 1
    assert [path.name for path in system.config.image_root.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(shutil, "copyfileobj", copying)
    monkeypatch.setattr(Path, "symlink_to", linking)
    clock.wait(300)
    assert source.scan().entered == [], "not at each scan"
    clock.wait(301)
    (row,) = source.scan().entered
    assert source.path(row).samefile(file)
    assert system.ledger.failures.of_files() == []


def test_what_fits_no_pattern_is_read_again_by_another_one(source, watched, clock, system):
    draw_well(watched / "CI022987" / "A01.jpg")
    assert source.refresh() == []
    assert len(system.ledger.failures.of_files()) == 1
    names = msgspec.structs.replace(system.config.import_, names="{barcode}/{row}{column}")
    config = msgspec.structs.replace(system.config, import_=names)
    mended = FolderSource(config, system.imager, system.ledger.failures, clock=clock, pause=clock.wait)
    (row,) = mended.scan().entered
    assert (row.barcode, row.well) == ("CI022987", Well(1, 1, 1))
    assert system.ledger.failures.of_files() == []


def test_watching_goes_on_and_reopens_what_is_old(system, watched, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    seen = msgspec.structs.replace(system.config, import_=msgspec.structs.replace(system.config.import_, settle_s=0))
    monkeypatch.setattr(system, "config", seen)
    watch = system.watch_folder()
    draw_well(watched / rigaku_name(1))
    assert [len(next(watch).entered) for _ in range(3)] == [0, 1, 0]
    assert system.create_work().planned == 1
    draw_well(watched / rigaku_name(2, inspection=1, date="090101"))
    assert [len(next(watch).entered) for _ in range(2)] == [0, 1]
    watch.close()
    assert system.create_work().planned == 1


def test_a_link_that_leads_nowhere_is_counted(source, watched):
    (watched / rigaku_name(1)).symlink_to(watched / "not mounted" / "a.jpg")
    scan = source.scan()
    assert (scan.entered, scan.waiting, scan.passed_over) == ([], [], {"link that leads nowhere": 1})


def test_files_that_were_seen_while_the_clock_was_ahead_do_not_wait_for_that_time(source, watched, clock, system):
    numbered = FolderSource(
        system.config, system.imager, system.ledger.failures, names="rockimager", clock=clock, pause=clock.wait
    )
    draw_well(watched / ROCKIMAGER.format(1, "ef"))
    clock.now += 9 * 365 * 86400
    assert numbered.refresh() == []
    clock.now -= 9 * 365 * 86400
    found = []
    for _ in range(3):
        clock.wait(60)
        found += numbered.refresh()
    assert len(found) == 1


def test_rockimagers_tree(system, watched, clock):
    for well in (1, 13):
        for kind in ("ef", "th", "dl"):
            draw_well(watched / ROCKIMAGER.format(well, kind))
    source = FolderSource(
        system.config, system.imager, system.ledger.failures, names="rockimager", clock=clock, pause=clock.wait
    )
    assert source.refresh() == []  # more wells may come, and only the highest number tells the plate's format
    clock.wait(60)
    rows = source.refresh()
    assert [(row.barcode, row.inspection, str(row.well)) for row in rows] == [
        ("3100", 17409, "A1a"),
        ("3100", 17409, "B1a"),
    ]
    assert rows[0].image_name == "plateID_3100_batchID_17409_wellNum_1_profileID_1_d1_r26_ef.jpg"
    assert system.ledger.failures.of_files() == []
    assert system.create_work().planned == 2


def test_a_plate_of_384_wells_is_not_taken_for_one_of_96_while_it_is_imaged(system, watched, clock):
    source = FolderSource(
        system.config, system.imager, system.ledger.failures, names="rockimager", clock=clock, pause=clock.wait
    )
    for last in (48, 96, 384):  # the imager is faster than 20 settling times
        draw_well(watched / ROCKIMAGER.format(last, "ef"))
        assert source.refresh() == []
        clock.wait(30)
    clock.wait(60)
    assert [str(row.well) for row in source.refresh()] == ["P24a", "B24a", "D24a"]
    draw_well(watched / ROCKIMAGER.format(7, "ef"))
    assert [str(row.well) for row in source.refresh()] == ["A7a"]  # the format is known, so it does not wait


def test_a_folder_that_is_not_there_or_in_the_wrong_place(system, source, watched, tmp_path):
    watched.rmdir()
    with pytest.raises(ConfigError, match="is it mounted"):
        source.refresh()
    with pytest.raises(ConfigError, match=r"imager\.folder: .* must not contain each other"):
        from_string(f'[imager]\nfolder = "{tmp_path}"\n', home=tmp_path / "home")


def test_a_format_that_was_corrected_too_late_is_said_once_though_no_file_is_read_again(config, watched, clock, caplog):
    for well in (7, 48):
        draw_well(watched / ROCKIMAGER.format(well, "ef"), shade=well)
    with System(config) as system:
        source = FolderSource(config, system.imager, system.ledger.failures, names="rockimager", clock=clock)
        for _ in range(3):
            source.scan()
            clock.wait(1000)
    plates = '[import.plates]\n"3100" = { rows = 8, columns = 12 }\n'
    corrected = msgspec.structs.replace(from_string(plates, home=config.home), imager=config.imager)
    caplog.clear()
    with System(corrected) as system:
        source = FolderSource(corrected, system.imager, system.ledger.failures, names="rockimager", clock=clock)
        assert not (source.scan().rejected or source.scan().rejected)
        assert {str(row.well) for row in system.imager.entered("3100")} == {"B1a", "H6a"}
    said = [record.message for record in caplog.records if "import.plates says 96 wells" in record.message]
    assert (
        len(said) == 1 and "plate 3100 was imported with 48 wells" in said[0] and "`xtalgrid --home NEW …`" in said[0]
    )
