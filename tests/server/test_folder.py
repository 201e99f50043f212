import os
from datetime import datetime
from pathlib import Path

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.domain.wells import Well

from .conftest import draw_well, rigaku_name


def test_a_folder_becomes_a_plate_and_twice_is_once(system, tmp_path):
    folder = tmp_path / "new"
    for col in (1, 2):
        draw_well(folder / rigaku_name(col))
    draw_well(folder / "drop_masks" / rigaku_name(1).replace(".jpg", ".png"))
    first = system.import_folder(folder)
    again = system.import_folder(folder)
    assert [row.well for row in first.entered] == [Well(1, 1, 1), Well(1, 2, 1)]
    assert first.entered == again.entered
    assert first.barcodes == ["CI022987"]
    assert (system.config.image_root / "CI022987" / "3" / rigaku_name(2)).is_file()


def test_a_file_dated_beyond_what_databases_hold_stops_nothing(system, tmp_path):
    late = draw_well(tmp_path / "new" / "A1.jpg")
    draw_well(tmp_path / "new" / "A2.jpg")
    os.utime(late, (0, 10_500_000_000))  # in 2302
    entered = system.import_folder(tmp_path / "new", names="{well}").entered
    assert [str(row.well) for row in entered if row.inspected.year == 2262] == ["A1a"]
    assert system.create_work().planned == 2


def test_what_file_servers_add_and_links_to_folders_are_counted_and_no_images(system, tmp_path):
    share, disk = tmp_path / "share", tmp_path / "disk2"
    draw_well(share / rigaku_name(1))
    for place in ("#recycle", "@eaDir/x.jpg", "$RECYCLE.BIN/S-1-5-21", "sub/@Recycle"):
        draw_well(share / place / rigaku_name(2))
    draw_well(disk / rigaku_name(3))
    (share / "plate2").symlink_to(disk)
    (share / "loop.jpg").symlink_to("loop.jpg")
    imported = system.import_folder(share, recursive=True)
    assert [row.image_name for row in imported.entered] == [rigaku_name(1)]
    assert [file.name for file in imported.rejected] == ["loop.jpg"]
    assert imported.passed_over == {
        "folder of deleted files, thumbnails or snapshots": 4,
        "link to a folder (import that folder itself)": 1,
    }


def test_deleted_images_do_not_tell_a_plate_s_format(system, tmp_path):
    for number, place in ((96, "."), (384, "#recycle")):
        draw_well(tmp_path / "share" / "plateID_1" / place / f"{number}.jpg")
    imported = system.import_folder(
        tmp_path / "share", recursive=True, names="plateID_(?P<barcode>1)/.*?(?P<well>\\d+)"
    )
    assert [str(row.well) for row in imported.entered] == ["H12a"]


def test_a_barcode_that_ends_in_a_blank_is_refused_and_the_rest_entered(system, tmp_path):
    for plate in ("P1", "P1 "):
        draw_well(tmp_path / plate / "A1.jpg")
    imported = system.import_folder(tmp_path, recursive=True, names="{barcode}/{well}")
    assert [row.barcode for row in imported.entered] == ["P1"]
    assert "'P1 ' ends in a blank" in imported.rejected[tmp_path / "P1 " / "A1.jpg"]


def test_our_own_links_and_frames_are_not_imported(system, tmp_path, monkeypatch):
    draw_well(system.config.home.parent / "P1" / "A1.jpg")
    monkeypatch.chdir(system.config.home.parent)
    for _ in range(2):
        imported = system.import_folder(Path(), recursive=True, names="any")
        draw_well(system.config.frames_dir / "P1" / "1" / "A1_ART.jpg")
    assert [(row.barcode, row.image_name) for row in imported.entered] == [("P1", "A1.jpg")]
    assert imported.passed_over["folder with xtalgrid's own data"] == 1


def test_one_stem_is_one_image(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1))
    png = draw_well(tmp_path / "new" / rigaku_name(1).replace(".jpg", ".png"))
    imported = system.import_folder(tmp_path / "new")
    assert len(imported.entered) == 1
    assert imported.doubles == [png]


def test_a_name_that_fits_no_pattern_is_recorded_and_the_rest_entered(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1))
    odd = draw_well(tmp_path / "new" / "holiday.jpg")
    imported = system.import_folder(tmp_path / "new")
    assert len(imported.entered) == 1
    assert "--names any" in imported.rejected[odd]
    ((file, reason, _),) = system.ledger.failures.of_files()
    assert (file, reason) == (str(odd), "name fits no pattern")


def test_any_name_takes_wells_in_order_and_keeps_them(system, tmp_path):
    folder = tmp_path / "my wells"
    for name in ("b.jpg", "d.png"):
        draw_well(folder / name)
    first = system.import_folder(folder, names="any")
    draw_well(folder / "a.jpg")
    second = system.import_folder(folder, names="any")
    assert {r.image_name: str(r.well) for r in first.entered} == {"b.jpg": "A1a", "d.png": "A2a"}
    assert {r.image_name: str(r.well) for r in second.entered} == {"a.jpg": "A3a", "b.jpg": "A1a", "d.png": "A2a"}
    assert second.barcodes == ["my-wells"]


def test_where_no_name_fits_run_takes_each_file_for_a_well(system, tmp_path):
    draw_well(tmp_path / "odd" / "holiday.jpg")
    imported = system.import_folder(tmp_path / "odd", fall_back=True)
    assert imported.fell_back
    assert [str(row.well) for row in imported.entered] == ["A1a"]
    draw_well(tmp_path / "odd" / rigaku_name(2))
    imported = system.import_folder(tmp_path / "odd", fall_back=True)
    assert not imported.fell_back
    assert len(imported.rejected) == 1


def test_a_folder_whose_names_were_corrected_is_a_second_plate_and_this_is_said(system, tmp_path):
    """What ran before the names were right stays: nothing tells which well of one plate is which of the other."""
    file = draw_well(tmp_path / "odd" / "holiday.jpg")
    assert system.import_folder(tmp_path / "odd", fall_back=True).barcodes == ["odd"]
    file.rename(file.with_name(rigaku_name(2)))
    imported = system.import_folder(tmp_path / "odd", fall_back=True)
    assert imported.barcodes == ["CI022987"]
    (note,) = imported.notes
    assert note.startswith(f"{tmp_path / 'odd'} was imported as plate odd before")
    assert "their wells may be there twice" in note
    for folder, names in (("odd", None), ("other", None), ("odd", "any")):  # each time; and only where it is so
        draw_well(tmp_path / folder / rigaku_name(3), shade=30)
        notes = system.import_folder(tmp_path / folder, names=names).notes
        assert bool(notes) == (folder == "odd" and names is None)


def test_where_all_names_fit_another_convention_run_takes_that(system, tmp_path):
    draw_well(tmp_path / "in" / "90j8_02B_1.jpg")
    imported = system.import_folder(tmp_path / "in", fall_back=True)
    assert not imported.fell_back
    assert [str(row.well) for row in imported.entered] == ["B2a"]
    assert imported.notes == ["no name matches rigaku, and all match xchem, which is used"]


def test_the_same_name_with_other_content_is_not_taken_for_it(system, tmp_path):
    draw_well(tmp_path / "one" / rigaku_name(1), shade=10)
    other = draw_well(tmp_path / "two" / rigaku_name(1), shade=200)
    system.import_folder(tmp_path / "one")
    imported = system.import_folder(tmp_path / "two")
    assert imported.entered == []
    assert "other content" in imported.rejected[other]


def test_a_folder_that_is_not_there(system, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        system.import_folder(tmp_path / "nowhere")


def test_an_old_plate_imported_later_is_read_all_the_same(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1, date="250101"))
    system.import_folder(tmp_path / "new")
    assert system.create_work().planned == 1
    draw_well(tmp_path / "old" / rigaku_name(2, inspection=1, date="090101"))
    (row,) = system.import_folder(tmp_path / "old").entered
    assert row.inspected == datetime(2009, 1, 1)
    assert system.create_work().planned == 1


def test_a_name_that_is_not_utf_8_is_taken(system, tmp_path):
    good = draw_well(tmp_path / "in" / "good.jpg")
    other = tmp_path / "in" / os.fsdecode(b"tropfen_\xfc3.jpg")  # as an old Windows share has it
    other.write_bytes(draw_well(tmp_path / "other.jpg", shade=40).read_bytes())
    imported = system.import_folder(tmp_path / "in", names="any")
    assert [row.image_name for row in imported.entered] == ["good.jpg", "tropfen_ü3.jpg"]
    assert system.create_work().planned == 2
    draw_well(tmp_path / "in" / "third.jpg", shade=70)
    assert len(system.import_folder(tmp_path / "in", names="any").entered) == 3
    assert system.create_work().planned == 1
    assert good.is_file()


def test_a_name_that_is_not_utf_8_and_fits_no_pattern_is_recorded(system, tmp_path):
    draw_well(tmp_path / "in" / rigaku_name())
    (tmp_path / "in" / os.fsdecode(b"tropfen_\xfc3.jpg")).write_bytes(b"x")
    imported = system.import_folder(tmp_path / "in")
    assert (len(imported.entered), len(imported.rejected)) == (1, 1)
    assert system.ledger.failures.of_files()[0][0].endswith("tropfen_ü3.jpg")


def test_two_folders_are_two_plates_whatever_their_names(system, tmp_path):
    long = "a-very-long-name-of-a-plate-of-the-lab"
    folders = (
        "Пластина А",
        "结晶-01",
        "蛋白-01",
        "A/day01",
        "B/day01",
        f"{long}-1",
        f"{long}-2",
        "///".strip("/") or "_",
    )
    for number, folder in enumerate(folders):
        draw_well(tmp_path / "in" / folder / "1.jpg", shade=20 * number)
    imported = system.import_folder(tmp_path / "in", recursive=True, names="any")
    assert len({row.barcode for row in imported.entered}) == len(folders)
    assert {"Пластина-А", "结晶-01", "蛋白-01", "day01", "B-day01"} <= {row.barcode for row in imported.entered}
    again = system.import_folder(tmp_path / "in", recursive=True, names="any")
    assert [row.barcode for row in again.entered] == [row.barcode for row in imported.entered]


def test_a_folder_imported_by_an_earlier_version_keeps_its_plate(system, tmp_path):
    draw_well(tmp_path / "plate" / "1.jpg")
    first = system.import_folder(tmp_path / "plate", names="any")
    with system.imager.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM xtalgrid_plates")
    assert system.import_folder(tmp_path / "plate", names="any").barcodes == first.barcodes == ["plate"]
