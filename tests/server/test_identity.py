"""Plates, wells and inspections come out of folders as they went in, whichever program named the files."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from xtalgrid_core.wire import ImageEntry, Manifest, Options
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string, load
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well, parse_well
from xtalgrid_server.exchange.foreign import Place
from xtalgrid_server.exchange.places import Places
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.imager.folder.entering import Imported, import_folder
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.reports.drop import images_of
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.query_parameters import plate_address, well_address

from .conftest import draw_well, rigaku_name

ROW_NAMES = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U",
             "V", "W", "X", "Y", "Z", "AA", "AB", "AC", "AD", "AE", "AF"]  # fmt: skip

Drop = tuple[str, datetime, int, int, int]
"""Plate, inspection's date, row, column, drop: what the generated tree is made of."""

LETTERS = st.text(st.characters(categories=("Lu", "Ll", "Lo", "Nd")), min_size=1, max_size=7).filter(
    lambda name: unicodedata.is_normalized("NFC", name)
)
"""Names in any alphabet, of at most 30 bytes."""

DAY = datetime(2024, 3, 1)
FAST = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: an example writes and imports a tree of files."""


class NoFailures:
    def add(self, file: str, step: str, reason: str, detail: str) -> None:
        raise AssertionError(f"{file}: {detail}")

    def close(self, files: Sequence[str], step: str) -> None:
        """There are none to close."""

    def open_files(self, step: str) -> list[str]:
        return []


def drops(
    plates: st.SearchStrategy[str], rows: int = 8, columns: int = 12, subwells: int = 3, time: timedelta = timedelta(0)
) -> st.SearchStrategy[list[Drop]]:
    """Some plates with some inspections, days apart, of the same drops or others."""
    moments = st.integers(0, 600).map(lambda days: DAY + timedelta(days=days) + time)
    places = st.tuples(st.integers(1, rows), st.integers(1, columns), st.integers(1, subwells))

    def of(names: list[str]) -> st.SearchStrategy[list[Drop]]:
        drop = st.tuples(st.sampled_from(names), moments, places).map(lambda parts: (parts[0], parts[1], *parts[2]))
        return st.lists(drop, min_size=1, max_size=15, unique=True)

    return st.lists(plates, min_size=1, max_size=4, unique=True).flatmap(of)


def imported(names: str, paths: dict[str, Drop], settings_toml: str = "") -> list[tuple[str, int, datetime, str, str]]:
    """Write an empty file at each path and import them; return (plate, inspection, date, well, file) of each image."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            file = Path(folder, "in", path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
        config = from_string(settings_toml, home=Path(folder, "home"))
        database = ImagerDatabase(config)
        result = import_folder(config, database, NoFailures(), Path(folder, "in"), recursive=True, names=names)
        again = import_folder(config, database, NoFailures(), Path(folder, "in"), recursive=True, names=names)
        assert again.entered == result.entered
        stored = [
            (row.barcode, row.inspection, row.inspected, str(row.well), database.path(row).read_text())
            for row in result.entered
        ]
        database.close()
    assert len(stored) == len(paths)
    return stored


def check(
    names: str, name: Callable[[Drop], str], there: list[Drop], *, has_number: bool, one_drop: bool = False
) -> None:
    """Import a tree, and compare each file's plate, inspection and well with what it was made from."""
    paths = {name(drop): drop for drop in there}
    for barcode, number, date, well, file in imported(names, paths):
        plate, moment, row, column, subwell = paths[file]
        moments = sorted({other[1] for other in paths.values() if other[0] == plate})
        assert barcode == plate
        assert number == (number_of(moment) if has_number else moments.index(moment) + 1), paths
        assert has_number or date == moment
        assert well == f"{ROW_NAMES[row - 1]}{column}{'a' if one_drop else 'abcd'[subwell - 1]}"


def number_of(moment: datetime) -> int:
    return (moment - DAY).days + 1


@given(drops(LETTERS.filter(lambda name: not name.startswith("0")), columns=24, rows=16))
@settings(max_examples=5, deadline=None, phases=FAST)
def test_rigaku(there):
    def name(drop: Drop) -> str:
        plate, moment, row, column, subwell = drop
        return (
            f"RMM3_01_222_ROBO_Test1_Clon1_CI_{plate:0>12}_{number_of(moment):03d}_{moment:%y%m%d}_{column:02d}_{row:02d}"
            f"_{subwell:02d}_HF_99_030_001_RDI.jpg"
        )

    check("rigaku", name, there, has_number=True)


@given(drops(LETTERS))
@settings(max_examples=5, deadline=None, phases=FAST)
def test_xchem(there):
    def name(drop: Drop) -> str:
        plate, moment, row, column, subwell = drop
        return f"{plate}_{moment:%Y-%m-%d}_RI1000-0081-3drop/{plate}_{column:02d}{ROW_NAMES[row - 1]}_{subwell}.jpg"

    check("xchem", name, there, has_number=False)


@given(drops(st.from_regex(r"X[0-9]{9}", fullmatch=True), rows=32, columns=48, time=timedelta(hours=12)), st.booleans())
@settings(max_examples=5, deadline=None, phases=FAST)
def test_hwi(there, in_folders):
    def name(drop: Drop) -> str:
        plate, moment, row, column, _ = drop
        folder = f"{plate}{moment:%Y%m%d%H%M}-jpg/" if in_folders else ""
        return f"{folder}{plate}{(row - 1) * 48 + column:04d}{moment:%Y%m%d%H%M}.jpg"

    check("hwi", name, there, has_number=False, one_drop=True)


@given(drops(LETTERS))
@settings(max_examples=5, deadline=None, phases=FAST)
def test_rockmaker_export(there):
    def name(drop: Drop) -> str:
        plate, moment, row, column, subwell = drop
        score = ("Clear", "Crystal", "Phase separation")[subwell - 1]
        return f"{plate}/{score}/{plate}_{ROW_NAMES[row - 1]}{column}_Default_{subwell}_{number_of(moment)}.jpg"

    check("rockmaker-export", name, there, has_number=True, one_drop=True)


@given(drops(LETTERS, time=timedelta(hours=15, minutes=10, seconds=23)))
@settings(max_examples=5, deadline=None, phases=FAST)
def test_ami(there):
    def name(drop: Drop) -> str:
        plate, moment, row, column, subwell = drop
        return f"project/{plate}/{moment:%Y%m%d_%H%M%S}/{ROW_NAMES[row - 1]}{column}{'abcd'[subwell - 1]}.jpg"

    check("ami", name, there, has_number=False)


FOLDER_DATES = ("%Y-%m-%d", "%Y%m%d", "%d-%b-%Y", "%Y_%m_%d", "%d.%m.%Y", "day of %B %d, %Y", "%Y-%m-%d run 2")


@given(drops(LETTERS, subwells=1), st.sampled_from(FOLDER_DATES))
@settings(max_examples=5, deadline=None, phases=FAST)
def test_a_labs_own_names_with_the_date_in_a_folder(there, form):
    def name(drop: Drop) -> str:
        plate, moment, row, column, _ = drop
        return f"{plate}/{moment:{form}}/{ROW_NAMES[row - 1]}{column}.jpg"

    check("{barcode}/{folder}/{row}{column}", name, there, has_number=False)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.sampled_from([24, 48, 96, 384, 1536])), min_size=1, max_size=4,
             unique_by=lambda plate: plate[0]),
    st.data(),
)  # fmt: skip
@settings(max_examples=5, deadline=None, phases=FAST)
def test_rockimager_with_plates_of_several_formats(plates, data):
    columns = {24: 6, 48: 6, 96: 12, 384: 24, 1536: 48}
    wells: dict[str, str] = {}
    for plate, wells_there in plates:
        numbers = data.draw(st.sets(st.integers(1, wells_there), max_size=8)) | {wells_there}
        for number in numbers:
            path = (
                f"{plate % 1000}/plateID_{plate}/batchID_{plate + 7}/wellNum_{number}/profileID_1/d2_r{number}_ef.jpg"
            )
            row, column = (number - 1) // columns[wells_there], (number - 1) % columns[wells_there]
            wells[path] = f"{plate} {ROW_NAMES[row]}{column + 1}b"
    for barcode, number, _, well, path in imported("rockimager", dict.fromkeys(wells, ("", DAY, 1, 1, 1))):
        assert f"{barcode} {well}" == wells[path]
        assert number == int(barcode) + 7


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=20).filter(
    lambda name: not name.startswith(".")
)  # hidden folders don't count


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6, unique_by=tuple))
@settings(max_examples=7, deadline=None, phases=FAST)
def test_two_folders_are_never_one_plate(folders):
    """Unless they are a plate's folders by date: then they are its inspections."""
    paths = {
        "/".join(["x", *(f"{name}!" for name in folder), f"{n}.jpg"]): folder for folder in folders for n in (1, 2)
    }
    plates: dict[str, set[str]] = {}
    for barcode, number, _, _, path in imported("any", dict.fromkeys(paths, ("", DAY, 1, 1, 1))):
        assert number == 1
        plates.setdefault(barcode, set()).add(path.rpartition("/")[0])
    assert all(len(folders_of) == 1 for folders_of in plates.values())
    assert len(plates) == len(folders)


def places(imported: Imported) -> list[tuple[str, int, str]]:
    return [(row.barcode, row.inspection, str(row.well)) for row in imported.entered]


@pytest.mark.parametrize(
    "names",
    [
        r"(?P<barcode>\w+)_(?P<column>\d\d)(?P<row>[A-H])_(?P<subwell>\d)",
        r"\w+_(?P<date>\d{4}-\d\d-\d\d)_.*/(?P<barcode>[a-z0-9]+)_(?P<column>\d\d)(?P<row>[A-H])_(?P<subwell>\d)",
        "xchem",
    ],
)
def test_two_imagings_a_week_apart_are_two_inspections(system, tmp_path, names):
    for number, day in enumerate(("11", "18")):
        draw_well(tmp_path / "in" / f"90j8_2018-04-{day}_RI1000-0081-2drop" / "90j8_01A_1.jpg", shade=40 * number)
    imported = system.import_folder(tmp_path / "in", recursive=True, names=names)
    assert places(imported) == [("90j8", 1, "A1a"), ("90j8", 2, "A1a")]
    assert [row.inspected for row in imported.entered] == [datetime(2018, 4, 11), datetime(2018, 4, 18)]
    assert imported.notes == ["plate 90j8: inspection 2 is that of 2018-04-18"]


@pytest.mark.parametrize("days", [("01-02-2026", "13-02-2026"), ("week 1", "week 2")])
def test_folders_of_days_that_nothing_tells_are_kept_apart_and_said(system, tmp_path, days):
    names = "{barcode}/{folder}/{well}"
    for day in days:
        for well in ("A1", "A2"):
            draw_well(tmp_path / "share" / "P1" / day / f"{well}.jpg")
            draw_well(tmp_path / "share" / "P1" / day / f"{well}_UV.jpg")
        imported = system.import_folder(tmp_path / "share", recursive=True, names=names.replace("{well}", "{well}*"))
    found = {row.image_name: row.inspection for row in imported.entered}
    assert found == {
        f"P1_{day}_{well}{light}.jpg": number
        for number, day in enumerate(days, 1)
        for well in ("A1", "A2")
        for light in ("", "_UV")
    }
    assert f"inspection 2 is that of {tmp_path / 'share' / 'P1' / days[1]}" in imported.notes[0]
    hint = f"; {days[1]} may be two dates: set import.dashed_dates"
    assert imported.notes[0].endswith(hint) == days[0].startswith("01")


@pytest.mark.parametrize(
    ("order", "days", "dates"),
    [
        ("day first", ("13-02-2026", "01-03-2026"), [datetime(2026, 2, 13), datetime(2026, 3, 1)]),
        ("month first", ("P1_02_13_2026", "P1_12_01_2026"), [datetime(2026, 2, 13), datetime(2026, 12, 1)]),
        ("day first", ("5_13-2-2026 10-15", "6_1-3-2026 9-15"), [datetime(2026, 2, 13, 10, 15), datetime(2026, 3, 1)]),
    ],
)
@pytest.mark.parametrize("names", ["{barcode}/{folder}/{well}", "any"])
def test_dates_are_read_in_the_order_that_the_lab_says(tmp_path, order, days, dates, names):
    for number, day in enumerate(days):
        draw_well(tmp_path / "share" / "P1" / day / "A1.jpg", shade=40 * number)
    with System(from_string(f'[import]\ndashed_dates = "{order}"\n', home=tmp_path / "home")) as system:
        imported = system.import_folder(tmp_path / "share", recursive=True, names=names)
    assert [row.inspected for row in imported.entered] == dates
    if names != "any" or days[0] == "13-02-2026":
        assert places(imported) == [("P1", 1, "A1a"), ("P1", 2, "A1a")]


def test_a_date_in_the_pattern_is_read_in_the_order_that_the_lab_says(tmp_path):
    file = draw_well(tmp_path / "share" / "P1_13-02-2026_A1.jpg")
    with System(from_string("", home=tmp_path / "home")) as system:
        imported = system.import_folder(tmp_path / "share", names="{barcode}_{date}_{well}")
        assert imported.rejected[file] == "'13-02-2026' may be two dates; set import.dashed_dates"
    with System(from_string('[import]\ndashed_dates = "day first"\n', home=tmp_path / "home")) as system:
        imported = system.import_folder(tmp_path / "share", names="{barcode}_{date}_{well}")
    assert [row.inspected for row in imported.entered] == [datetime(2026, 2, 13)]


def test_inspections_from_before_the_setting_keep_their_numbers(tmp_path):
    for number, day in enumerate(("01-03-2026", "13-02-2026")):
        draw_well(tmp_path / "share" / "P1" / day / "A1.jpg", shade=40 * number)
    entered = []
    for toml in ("", '[import]\ndashed_dates = "day first"\n'):
        with System(from_string(toml, home=tmp_path / "home")) as system:
            system.import_folder(tmp_path / "share", recursive=True, names="{barcode}/{folder}/{well}")
            entered.append([(row.inspect_id, row.inspection, row.image_name) for row in system.imager.entered("P1")])
    assert entered[0] == entered[1]


def test_folders_of_lights_are_one_inspection(system, tmp_path):
    for folder in ("BF", "DIC", "UV"):
        draw_well(tmp_path / "P1" / folder / "A1.jpg")
    imported = system.import_folder(tmp_path, recursive=True, names="{barcode}/{folder}/{well}")
    assert [row.inspection for row in imported.entered] == [1, 1, 1]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("names", ["any", "{barcode}/{well}"])
def test_a_plate_has_one_name_however_its_letters_are_written(tmp_path, form, names):
    """macOS writes names of files with letters and marks apart; people type them, and tables hold them, as one."""
    draw_well(tmp_path / "in" / unicodedata.normalize(form, "Müller ガ1") / "7.jpg")
    plates = '[import.plates]\n"Müller*" = { rows = 8, columns = 6 }\n'
    with System(from_string(plates, home=tmp_path / "home")) as system:
        imported = system.import_folder(tmp_path / "in", recursive=True, names=names)
        expected = ("Müller-ガ1", 1, "A1a") if names == "any" else ("Müller ガ1", 1, "B1a")
        assert places(imported) == [expected]
        again = system.import_folder(tmp_path / "in", recursive=True, names=names)
        assert places(again) == [expected]
        system.create_work()
        known = Places(system.config, system.imager, system.ledger)
        for spelling in ("NFC", "NFD"):
            place = Place(barcode=unicodedata.normalize(spelling, expected[0]), well=parse_well(expected[2]))
            assert known.find(place).barcode == expected[0]


def test_numbered_files_are_wells_in_the_order_of_their_numbers(system, tmp_path):
    numbers = [10, 1, 2, 12, 13]
    for number in numbers:
        draw_well(tmp_path / "P1" / f"well {number} d1.jpg", shade=10 * number)
    imported = system.import_folder(tmp_path / "P1", names="any")
    wells = {row.image_name: str(row.well) for row in imported.entered}
    assert [wells[f"well {number} d1.jpg"] for number in sorted(numbers)] == ["A1a", "A2a", "A3a", "A4a", "A5a"]
    draw_well(tmp_path / "P1" / "well 3 d1.jpg")
    again = system.import_folder(tmp_path / "P1", names="any")
    assert wells.items() < {row.image_name: str(row.well) for row in again.entered}.items()


def test_a_barcode_used_again_years_later_is_kept_apart_and_said(system, tmp_path):
    for n, (inspection, date) in enumerate([(1, "121121"), (2, "121128"), (1, "240305"), (2, "240312")]):
        draw_well(tmp_path / "in" / rigaku_name(1, inspection=inspection, date=date), shade=20 * n)
    imported = system.import_folder(tmp_path / "in")
    assert places(imported) == [("CI022987", number, "A1a") for number in (1, 2, 3, 4)]
    assert "inspection 1 of 2024-03-05 is kept apart as inspection 3" in imported.notes[0]
    draw_well(tmp_path / "in" / rigaku_name(2, inspection=1, date="240305"))
    assert places(system.import_folder(tmp_path / "in"))[-1] in {("CI022987", 3, "A2a"), ("CI022987", 4, "A1a")}
    assert len({(row.inspection, row.well) for row in system.imager.entered("CI022987")}) == 5


def test_an_inspection_may_go_on_past_midnight(system, tmp_path):
    draw_well(tmp_path / "in" / rigaku_name(1, inspection=1, date="240305"))
    draw_well(tmp_path / "in" / rigaku_name(2, inspection=1, date="240306"))
    assert {row.inspection for row in system.import_folder(tmp_path / "in").entered} == {1}


def test_times_of_single_images_do_not_make_inspections(system, tmp_path):
    times = ["20240301_101500", "20240301_101510", "20240301_174500", "20240301_174510"]
    for n, time in enumerate(times):
        draw_well(tmp_path / "in" / f"P1_A{n % 2 + 1}_{time}.jpg", shade=30 * n)
    imported = system.import_folder(tmp_path / "in", names=r"(?P<barcode>\w+?)_(?P<row>[A-H])(?P<column>\d+)_.*")
    assert places(imported) == [("P1", 1, "A1a"), ("P1", 1, "A2a"), ("P1", 2, "A1a"), ("P1", 2, "A2a")]


def test_a_folder_for_each_day_of_a_plate_has_its_inspections(system, tmp_path):
    for plate in ("A", "B"):
        for day in ("2024-03-01", "2024-03-08"):
            for well in (1, 2):
                draw_well(tmp_path / "in" / plate / day / f"{well}.jpg", shade=ord(plate) * well % 200 + int(day[-1]))
    imported = system.import_folder(tmp_path / "in", recursive=True, names="any")
    assert sorted(places(imported)) == [(p, i, w) for p in "AB" for i in (1, 2) for w in ("A1a", "A2a")]


def rockimager(plate: int, well: int) -> str:
    return f"{plate % 1000}/plateID_{plate}/batchID_1/wellNum_{well}/profileID_1/d1_r{plate}{well}_ef.jpg"


def test_plates_of_several_formats(system, tmp_path):
    for plate, wells in ((3100, (1, 7, 13)), (3101, (1, 7, 48))):
        for well in wells:
            draw_well(tmp_path / "in" / rockimager(plate, well), shade=well)
    imported = system.import_folder(tmp_path / "in", recursive=True, names="rockimager")
    wells = {
        row.image_name.split("wellNum_")[1].split("_")[0] + " of " + row.barcode: str(row.well)
        for row in imported.entered
    }
    assert wells == {
        "1 of 3100": "A1a", "7 of 3100": "A7a", "13 of 3100": "B1a", "1 of 3101": "A1a", "7 of 3101": "B1a", "48 of 3101": "H6a",
    }  # fmt: skip
    assert any("plate 3101: 48 wells, 8 rows × 6 columns, inferred" in note for note in imported.notes)


def test_a_plate_whose_images_contradict_its_format_is_said(system, tmp_path):
    draw_well(tmp_path / "in" / rockimager(5, 48))
    system.import_folder(tmp_path / "in", recursive=True, names="rockimager")
    other = draw_well(tmp_path / "in" / rockimager(5, 49))
    imported = system.import_folder(tmp_path / "in", recursive=True, names="rockimager")
    assert "well number 49 is not on plate 5, which was imported with 48 wells" in imported.rejected[other]


def test_what_to_do_about_a_wrong_format_works_as_it_is_said(tmp_path):
    for well in (7, 48):
        draw_well(tmp_path / "in" / rockimager(5, well), shade=well)
    toml = tmp_path / "xtalgrid.toml"
    toml.write_text(f'home = "{tmp_path / "home"}"\n[import]\nnames = "rockimager"\n')

    def run(*home):
        command = ("import-folder", "--recursive", str(tmp_path / "in"))
        return CliRunner().invoke(main, ["--config", str(toml), *home, *command]).output

    run()
    draw_well(tmp_path / "in" / rockimager(5, 50), shade=50)
    said = run()
    line = re.search(r'write ("5" = \{.*?\}) under \[import.plates\], and import .*`xtalgrid --home NEW …`', said)
    toml.write_text(f"{toml.read_text()}[import.plates]\n{line[1]}\n")
    run("--home", str(tmp_path / "NEW"))
    with System(load(toml, tmp_path / "NEW")) as system:
        assert sorted(str(row.well) for row in system.imager.entered("5")) == ["A7a", "D12a", "E2a"]
    with System(load(toml, None)) as system:
        assert sorted(str(row.well) for row in system.imager.entered("5")) == ["B1a", "H6a"]
    assert "import.plates says 96 wells" in run()
    assert "`xtalgrid --home NEW …`" in run()


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("first", ["any", "{barcode}/{row}{subwell}_{column}"])
def test_a_file_is_not_entered_as_a_second_well_when_names_are_read_otherwise(tmp_path, first, copy):
    """Each would be scored twice, and the plate would show both wells."""
    files = [draw_well(tmp_path / "in" / "P1" / name, shade=20 * n) for n, name in enumerate(("B3_7.jpg", "C4_1.jpg"))]
    with System(from_string("", home=tmp_path / "home")) as system:
        before = system.import_folder(tmp_path / "in", recursive=True, names=first, copy=copy).entered
        now = system.import_folder(
            tmp_path / "in", recursive=True, names="{barcode}/{row}{column}_{subwell}", copy=copy
        )
        assert now.entered == []
        for file, well in zip(files, ("B3g", "C4a"), strict=True):
            assert f"and is read as {well} now. If {well} is right, import the plate's whole" in now.rejected[file]
        assert [row.well for row in system.imager.entered("P1")] == [row.well for row in before]


def test_a_plate_keeps_its_format_when_the_columns_change_and_that_is_said(tmp_path):
    draw_well(tmp_path / "in" / rockimager(5, 48))
    for columns, notes in ((12, []), (24, ["plate 5 keeps the format with which it was imported, 96 wells"]), (12, [])):
        with System(from_string(f"[import]\nplate_columns = {columns}\n", home=tmp_path / "home")) as system:
            imported = system.import_folder(tmp_path / "in", recursive=True, names="rockimager")
            assert [note.split(", 8")[0] for note in imported.notes] == notes
            assert [str(row.well) for row in system.imager.entered("5")] == ["D12a"]
            assert all("import.plate_columns is 24 now" in n and "`xtalgrid --home NEW …`" in n for n in imported.notes)


def test_formats_by_barcode(tmp_path):
    plates = '[import.plates]\n"MAXI*" = { rows = 8, columns = 6, drops = 1 }\n'
    config = from_string(plates, home=tmp_path / "home")
    for name in ("MAXI1_7.jpg", "MAXI1_49.jpg", "P1_7.jpg"):
        draw_well(tmp_path / "in" / name)
    for name in ("MAXI2_H7.jpg", "MAXI2_H6.jpg"):
        draw_well(tmp_path / "letters" / name)
    with System(config) as system:
        imported = system.import_folder(tmp_path / "in", names="{barcode}_{well}")
        assert sorted(places(imported)) == [("MAXI1", 1, "B1a"), ("P1", 1, "A7a")]
        assert [path.name for path in imported.rejected] == ["MAXI1_49.jpg"]
        imported = system.import_folder(tmp_path / "letters", names="{barcode}_{row}{column}")
        assert places(imported) == [("MAXI2", 1, "H6a")]
        assert "well H7a is not on plate MAXI2" in next(iter(imported.rejected.values()))


@pytest.mark.parametrize(
    ("files", "names", "said"),
    [
        (
            ["90j8_01A_1.jpg", "90j8_01B_1.jpg", "overview.jpg"],
            "rigaku",
            "2 of 3 such files match xchem: use --names xchem",
        ),
        (["X0000015150049200801011231.jpg"], "rigaku", "1 of 1 such files match hwi"),
        ([rigaku_name().replace("_121121_", "_20121121_")], "rigaku", "then _ is expected, not '21_01_01_01_HF"),
        (
            [rigaku_name().replace("_121121_", "_121399_")],
            "rigaku",
            "'121399' is not a date",
        ),
        (["P1-A1.jpg"], "{barcode}_{row}{column}", "P1-A1.jpg fits it as far as"),
        (["P1_A1.jpg", "P1_Z0.jpg"], "{barcode}_{row}{column}", "column 0: it must be from 1 to 99"),
    ],
)
def test_where_names_do_not_fit_it_is_said_which_convention_would_and_what_differs(
    system, tmp_path, files, names, said
):
    for n, file in enumerate(files):
        draw_well(tmp_path / "in" / file, shade=n)
    imported = system.import_folder(tmp_path / "in", names=names)
    assert re.search(said, next(iter(imported.rejected.values())))


def test_of_slices_and_their_composite_only_the_composite_is_scored(system, tmp_path):
    whole = rigaku_name()
    for n, kind in enumerate(("99", "01", "02")):
        draw_well(tmp_path / "in" / whole.replace("_HF_99_", f"_HF_{kind}_"), shade=20 * n)
        draw_well(
            tmp_path / "in" / rigaku_name(2).replace("_HF_99_", f"_E0_{kind}_").replace("_E0_99_", "_E0_03_"), shade=n
        )
    system.import_folder(tmp_path / "in")
    assert system.create_work().planned == 1 + 3  # of the second drop there are only slices
    assert system.create_work().planned == 0


@given(st.tuples(st.integers(-2, 800), st.integers(-2, 120), st.integers(-2, 40)))
def test_a_wells_name_is_read_back(place):
    assert parse_well(f" {Well(*place)} ") == Well(*place)


def test_what_is_shown_can_be_asked_for(system):
    wells = [Well(1, 1, 1), Well(32, 48, 2), Well(3, 4, 30), Well(0, 5, 1), Well(7, 8, 0)]
    barcodes = ["1E10", "plate/7", "Пластина А", "-P1", "a?b#c", "100%", "'; drop", "..x", "x y+z"]
    drops = [(barcode, well) for barcode in barcodes for well in wells]
    rows = system.imager.register(
        ImageRow(0, barcode, 4, DAY, well, f"{n}.jpg") for n, (barcode, well) in enumerate(drops)
    )
    options = Options(segmenter="a" * 64, classifier="b" * 64)
    entries = tuple(
        ImageEntry(number=n, file=f"{n}.jpg", inspect_id=row.inspect_id, sha256=f"{n:064x}", height=9, width=9)
        for n, row in enumerate(rows)
    )
    unit = Manifest(schema=1, unit="xg_one", min_worker="0.1.0", options=options, images=entries)
    system.ledger.units.add(unit, [PlannedImage(row, f"{n:064x}") for n, row in enumerate(rows)])
    with TestClient(create_app(system.config), base_url="http://localhost", client=("127.0.0.1", 50000)) as browser:
        for barcode in barcodes:
            plate = browser.get(plate_address(barcode, 4))
            api = browser.get(f"/api/plates/{quote(barcode, safe='')}/4").json()
            assert {drop["well"] for drop in api["drops"]} == {str(well) for well in wells}
            for well in wells:
                address = well_address(barcode, 4, well)
                assert escape(address) in plate.text
                assert browser.get(address).status_code == 200
                assert [image.well for image in images_of(system.ledger, barcode, str(well))] == [well]


def test_what_an_earlier_version_imported_keeps_its_inspections_and_wells(system, tmp_path):
    for number, day in enumerate(("11", "18")):
        draw_well(tmp_path / "in" / f"90j8_2018-04-{day}" / "90j8_01A_1.jpg", shade=40 * number)
        draw_well(tmp_path / "in" / rockimager(5, 40 + 8 * number), shade=number)
    first = [
        places(system.import_folder(tmp_path / "in", recursive=True, names=names)) for names in ("xchem", "rockimager")
    ]
    with system.imager.transaction() as connection:  # it had no tables of inspections and formats
        connection.exec_driver_sql("DELETE FROM xtalgrid_inspections")
        connection.exec_driver_sql("UPDATE i_inspections SET inspectdate = '2020-01-01 10:00:00.000000'")
    again = system.import_folder(tmp_path / "in", recursive=True, names="xchem")
    assert [(row.barcode, row.inspection, str(row.well)) for row in again.entered] == first[0]
    with system.imager.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM xtalgrid_plate_formats")
    draw_well(tmp_path / "in" / rockimager(5, 7))
    again = system.import_folder(tmp_path / "in", recursive=True, names="rockimager")
    assert "plate 5 keeps the format of its earlier images, 96 wells" in again.notes[0]
    assert ("5", 1, "A7a") in places(again)
