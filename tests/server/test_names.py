import csv
from datetime import datetime
from pathlib import Path

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.domain.wells import PlateFormat, Well, format_of
from xtalgrid_server.imager.folder.names import NumberedWell, compile_names

RIGAKU = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_04_02_03_HF_99_030_001_RDI"
ROCKIMAGER = "RockMakerStorage/WellImages/100/plateID_3100/batchID_17409/wellNum_{}/profileID_1/d2_r260654_{}.jpg"


def test_rigakus_18_fields():
    path = Path("images/CI022987/3") / f"{RIGAKU}.jpg"
    found = compile_names("rigaku").read(path)
    assert found is not None
    assert (found.barcode, found.inspection, found.place) == ("CI022987", 3, Well(2, 4, 3))
    assert found.date == datetime(2012, 11, 21)
    assert compile_names("rigaku").image_name(path) == path.name


@pytest.mark.parametrize(
    "stem", ["photo", RIGAKU + "_ART", RIGAKU.replace("_121121_", "_129999_"), RIGAKU.replace("_04_02_", "_00_02_")]
)
def test_what_is_no_such_name_does_not_fit(stem):
    assert compile_names("rigaku").read(Path(f"3/{stem}.jpg")) is None


def test_rockimagers_folders_are_read_with_the_name():
    found = compile_names("rockimager").read(Path(ROCKIMAGER.format(13, "ef")))
    assert found is not None
    assert (found.barcode, found.inspection, found.place, found.date) == ("3100", 17409, NumberedWell(13, 2), None)


@pytest.mark.parametrize(
    ("number", "highest", "well"),
    [(7, 24, "B1b"), (7, 48, "B1b"), (48, 48, "H6b"), (7, 40, "A7b"), (13, 13, "B1b"), (96, 96, "H12b"),
     (25, 97, "B1b"), (384, 384, "P24b"), (49, 385, "B1b"), (1536, 1536, "AF48b")],
)  # fmt: skip
def test_a_well_number_is_a_well_of_the_plate_that_the_highest_number_tells(number, highest, well):
    assert str(format_of(highest).well(number, 2)) == well


def test_what_is_on_a_plate():
    plate = PlateFormat(8, 6, drops=2)
    assert all(plate.has(Well(*place)) for place in ((1, 1, 1), (8, 6, 2)))
    assert not any(plate.has(Well(*place)) for place in ((9, 1, 1), (1, 7, 1), (1, 1, 3), (0, 1, 1)))
    assert PlateFormat(8, 6).has(Well(1, 1, 9))


def test_of_rockimagers_files_the_extended_focus_images_are_scored():
    names = compile_names("rockimager")
    image = Path(ROCKIMAGER.format(6, "ef"))
    assert not names.passes_over(image)
    assert names.image_name(image) == "plateID_3100_batchID_17409_wellNum_6_profileID_1_d2_r260654_ef.jpg"
    for kind in ("th", "dl", "sl03"):
        assert names.passes_over(Path(ROCKIMAGER.format(6, kind)))
        assert names.read(Path(ROCKIMAGER.format(6, kind))) is None
    assert names.read(Path("elsewhere/d1_r1_ef.jpg")) is None
    assert names.read(Path(ROCKIMAGER.format(6, "ef").replace("plateID_", "plateID"))) is not None


@pytest.mark.parametrize(
    ("stem", "barcode", "well"),
    [
        ("folderID101_plateID2101_batchID9083_wellNum84_profileID1_d1_r140381_ef", "2101", "G12a"),
        ("X0000038351439200410071403", "X000003835", "AD47a"),
        ("05r0_L16_ImagerDefaults_1", "05r0", "L16a"),
        ("C10_HighResolution_Crystal_1", "", "C10a"),
        ("RI01_03_000_0212_Proj1_Clon1_MC_0000MC011145_014_161007_10_04_02_00_99_002_001_RAI", "MC011145", "D10b"),
    ],
)
def test_marcos_laboratories(stem, barcode, well):
    found = compile_names("marco").read(Path(f"train/{stem}.jpg"))
    assert found is not None
    place = found.place
    where = place if isinstance(place, Well) else PlateFormat(32, place.columns or 12).well(*place[:2])
    assert (found.barcode, str(where)) == (barcode, well)


def test_marcos_names_are_read_as_they_really_are(shared):
    with (shared / "real" / "marco_boxes_2600_images.csv").open() as stream:
        stems = {row["marco_file_stem"] for row in csv.DictReader(stream)}
    names = compile_names("marco")
    unread = [stem for stem in stems if names.read(Path(f"marco/{stem}.jpg")) is None]
    assert len(stems) > 2000
    assert unread == []


def test_a_labs_own_pattern_takes_letters_defaults_and_folders():
    names = compile_names(r"(?P<date>\d{8})-(?P<row>[A-H])(?P<column>\d+)")
    found = names.read(Path("my plate 7/20240229-C11.png"))
    assert found is not None
    assert (found.barcode, found.inspection, found.place, found.date) == (
        "",
        None,
        Well(3, 11, 1),
        datetime(2024, 2, 29),
    )
    names = compile_names(r"(?P<barcode>\w+)/day(?P<inspection>\d+)/(?P<well>\d+)")
    path = Path("x/P7/day3/14.tif")
    found = names.read(path)
    assert found is not None
    assert (found.barcode, found.inspection, found.place) == ("P7", 3, NumberedWell(14, 1))
    assert names.image_name(path) == "P7_day3_14.tif"
    assert names.read(Path("14.tif")) is None


@pytest.mark.parametrize(
    "names",
    [
        r"[^/]+/(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)",
        r".*/(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)",
        r"(?:[^/]+/){1}(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)",
        r"*/(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)",
        r"**/(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)",
        r"{folder}/(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)\.jpg",
        r"(?P<barcode>\w+)_(?P<row>[A-H])(?P<column>\d+)\.(jpg|png)",
        "{barcode}_{row}{column}",
        "{folder}/{barcode}_{row}{column}.jpg",
        "*/{barcode}_{row}{column}.*",
        "**/{barcode}_{well}",
        "./*/{barcode}_{row}{column}",
    ],
)
def test_a_pattern_may_name_a_folder_in_any_way(names):
    found = compile_names(names).read(Path("/data/some folder/P_7_C11.jpg"))
    assert found is not None
    assert (found.barcode, found.place) == ("P_7", Well(3, 11, 1))


def test_a_date_is_told_from_a_barcode():
    for form in ("20240301", "2024-03-01", "240301", "01-Mar-2024", "Mar-01-2024", "01.03.2024", "20240301_000000"):
        found = compile_names("{barcode}_{date}/{row}{column}").read(Path(f"/data/my_plate_7_{form}/B12.png"))
        assert found is not None, form
        assert (found.barcode, found.date, found.inspection) == ("my_plate_7", datetime(2024, 3, 1), None)


def test_a_pattern_with_a_barcode_in_a_folder_and_in_the_name():
    for names in ("{barcode}/{barcode}_{well}", r"(?P<barcode>[^/]+)/(?P=barcode)_(?P<row>[A-H])(?P<column>\d+)"):
        assert compile_names(names).read(Path("/data/P7/P7_C11.jpg")) is not None
        assert compile_names(names).read(Path("/data/P8/P7_C11.jpg")) is None
    with pytest.raises(ConfigError, match=r"write \(\?P=barcode\)"):
        compile_names(r"(?P<barcode>\w+)/(?P<barcode>\w+)_(?P<well>\d+)")
    with pytest.raises(ConfigError, match=r"unknown \{colour\}"):
        compile_names("{barcode}_{colour}_{well}")


@pytest.mark.parametrize("names", ["(", r"(?P<row>.)", r"(?P<row>.)(?P<column>.)(?P<colour>.)"])
def test_a_pattern_that_cannot_work_is_refused(names):
    with pytest.raises(ConfigError, match=r"import\.names"):
        compile_names(names)


def test_a_misspelt_convention_is_recognized():
    with pytest.raises(ConfigError, match="did you mean rockimager"):
        compile_names("RockImager_")


def test_well_names():
    assert str(Well(1, 1, 1)) == "A1a"
    assert str(Well(8, 12, 4)) == "H12d"
