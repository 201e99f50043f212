"""Whatever stands in a vendor's rows, clocks and CSV lines: nothing else is lost, and what is passed over is named.

The vendor's tables are written by sqlite3 directly; what to expect is worked out here, without the product's code.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow, ScoreRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.steps.framed import framed_path
from xtalgrid_server.steps.score_rules import score_date
from xtalgrid_server.steps.system import System

from .conftest import draw_well

_TABLES = """
    create table i_inspections(inspectid, barcodeid, inspectnumber, inspectdate, col, i_row, subwell);
    create table i_images(inspectid, imagename);
    create table i_scores(scoreid integer primary key, inspectid, score, scoredate, imagename, scoredby);
"""
_GOOD = ("P1", 1, "2026-11-26 10:00:00.000000", 1, 2, 1, "well.jpg")
_COLUMNS = ("barcodeid", "inspectnumber", "inspectdate", "col", "i_row", "subwell", "imagename")


def vendors(folder: Path, rows: list[tuple[Any, ...]]) -> ImagerDatabase:
    """The imager database of a lab whose SQLite columns have no types; inspections have the ids 1, 2, 3, …"""
    with sqlite3.connect(folder / "ct.db") as connection:
        connection.executescript(_TABLES)
        for inspect_id, (*inspection, name) in enumerate(rows, 1):
            connection.execute("insert into i_inspections values (?, ?, ?, ?, ?, ?, ?)", (inspect_id, *inspection))
            connection.execute("insert into i_images values (?, ?)", (inspect_id, name))
    connection.close()
    return ImagerDatabase(from_string(f'[imager]\nurl = "sqlite:///{folder}/ct.db"\n', home=folder / "home"))


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.integers(1, 40).map(str),
    st.sampled_from(["1,000", "1e3", "NaN", "inf", "", " 7 ", "٣", "0x1", "A", b"7", None, "1" * 400]),
)
texts = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs"])), st.integers(-9, 9), st.sampled_from([None, b"P1", "x" * 5000])
)
odd_values = st.one_of(
    st.tuples(st.sampled_from(["col", "i_row", "subwell", "inspectnumber"]), numbers),
    st.tuples(st.sampled_from(["barcodeid", "imagename"]), texts),
)


def is_whole(value: object) -> bool:
    """Tell whether SQLite's value is a whole number that 64 bits hold, as a number or as digits."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**63
    if isinstance(value, str):
        return value.strip().isdecimal() and abs(int(value)) < 2**63
    return isinstance(value, int)


def is_usable(column: str, value: object) -> bool:
    if column in ("barcodeid", "imagename"):  # blanks at the end are no part of it
        text = value.rstrip(" ") if isinstance(value, str) else ""
        fits = len(text.encode()) <= (30 if column == "barcodeid" else 255) and "\0" not in text
        return isinstance(value, int) or (fits and text != "")
    number = int(value) if is_whole(value) else None  # type: ignore[call-overload]
    first = {"inspectnumber": None, "subwell": 0}.get(column, 1)
    return number is not None and (abs(number) < 2**31 if first is None else first <= number <= 99)


@settings(max_examples=12)
@given(st.lists(odd_values, min_size=4, max_size=10))
def test_one_odd_value_costs_its_own_row_only(odd):
    rows = [_GOOD]
    for column, value in odd:
        row = list(_GOOD)
        row[_COLUMNS.index(column)] = value
        rows.append(tuple(row))
    with tempfile.TemporaryDirectory() as name:
        database = vendors(Path(name), [*rows, _GOOD])
        ids = {image.inspect_id for group in database.newest_first(None, None) for image in group}
        entered = {image.inspect_id for group in database.entered_after(0) for image in group}
        unusable = {(row.key, row.column) for row in database.unusable}
        database.close()
    usable = {number for number, (column, value) in enumerate(odd, 2) if is_usable(column, value)}
    assert ids == entered == usable | {1, len(odd) + 2}
    assert unusable == {
        (f"INSPECTID {number}", column.upper()) for number, (column, _) in enumerate(odd, 2) if number not in usable
    }


@pytest.mark.parametrize(
    "sql",
    [
        "update i_inspections set inspectid = '2x' where inspectid = 2",
        "update i_inspections set inspectid = '1180591620717411303424' where inspectid = 2",
        "update i_inspections set inspectdate = '2026-11-26 10:00:00+00:00' where inspectid = 2",
        "update i_inspections set inspectdate = '26.11.2026' where inspectid = 2",
        "update i_inspections set barcodeid = cast(x'4349ff' as text) where inspectid = 2",
        "update i_images set imagename = cast(x'ff2e6a7067' as text) where inspectid = 2",
    ],
)
def test_no_id_date_or_bytes_stop_the_others(tmp_path, sql):
    database = vendors(tmp_path, [_GOOD] * 3)
    with sqlite3.connect(tmp_path / "ct.db") as connection:
        connection.execute(sql)
    connection.close()
    ids = {image.inspect_id for group in database.newest_first(None, None) for image in group}
    assert database.highest_ids(1) == [3]
    database.close()
    assert ids - {2} == {1, 3}


@pytest.mark.parametrize("highest", [2**62, 2**63 - 1])
def test_the_highest_id_is_the_highest_that_is_read(tmp_path, highest):
    """Otherwise the next run takes the imager database for one that was restored."""
    database = vendors(tmp_path, [_GOOD] * 2)
    with sqlite3.connect(tmp_path / "ct.db") as connection:
        for table in ("i_inspections", "i_images"):
            connection.execute(f"update {table} set inspectid = ? where inspectid = 2", (highest,))
    connection.close()
    entered = [image.inspect_id for group in database.entered_after(0) for image in group]
    assert (entered, database.highest_ids(1)) == ([1, highest], [highest])
    database.close()


@pytest.mark.parametrize("highest", [2**63 - 1, 2**62])
def test_the_highest_id_that_a_database_has_stops_no_run(open_lab, highest):
    lab = open_lab()
    lab.enter([datetime(2026, 1, 1), datetime(2026, 1, 2)])
    lab.renumber(2, highest)
    assert lab.create_work() == {1, highest}
    assert lab.create_work() == set()


# ---- clocks ----------------------------------------------------------------------------------------------------

ZONES = ["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Kiritimati"]


@settings(max_examples=300)
@given(
    inspected=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 30)),
    seconds=st.integers(0, 4_000_000_000),
    zone=st.sampled_from(ZONES),
    people=st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1)), max_size=3),
)
def test_no_artscore_is_dated_after_a_persons_or_after_now(inspected, seconds, zone, people):
    """In whatever zone, also in the hour that a summer time's end repeats."""
    imager = from_string(f'[imager]\ntime_zone = "{zone}"\n', home=Path()).imager
    now = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone))
    local = imager.local(seconds)
    assert local == now.replace(tzinfo=None)
    scores = [ScoreRow(1, 1, "23", date, "jdoe", None) for date in people]
    dated = score_date(inspected, local, scores)
    assert dated <= min(inspected, local)
    assert all(dated < date for date in people)


dates = st.one_of(
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)),
    st.sampled_from(
        [
            datetime(1, 1, 1),
            datetime(1904, 1, 1),
            datetime(1970, 1, 1),
            datetime(2000, 2, 29),
            datetime(2026, 10, 25, 2, 30),
            datetime(2035, 1, 1),
            datetime(9999, 12, 31, 23, 59, 59),
        ]
    ),
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(dates, min_size=1, max_size=4), min_size=2, max_size=4))
@example(batches=[[datetime(2025, 1, 1)], [datetime(1, 1, 1)]])
def test_whatever_clocks_say_what_is_entered_is_planned_once(open_lab, batches):
    """Rows of several imagers, in the order in which they are entered; the first batch is the archive's."""
    lab = open_lab()
    lab.enter([datetime(2026, 1, 1)])
    planned = lab.create_work()
    for number, batch in enumerate(batches):
        entered = lab.enter(batch)
        assert lab.create_work() == entered, (number, batch)
        planned |= entered
    assert lab.create_work() == set()
    assert planned == set(range(1, lab.count + 1))


@pytest.mark.parametrize("name", [None, b"a.png"])
def test_an_image_whose_name_is_no_text_is_recorded_and_taken_when_it_is_named(open_lab, name):
    lab = open_lab()
    lab.enter([datetime(2026, 1, 1), datetime(2026, 1, 2)])
    for value, planned, failures in ((name, {1}, 1), (name, set(), 1), ("a.png", {2}, 0)):
        lab.name(2, value)
        assert lab.create_work() == planned
        assert len(lab.failures()) == failures
        assert all(one.startswith("I_IMAGES, INSPECTID 2") for one, *_ in lab.failures())


def test_several_images_of_an_inspection_without_a_usable_name_are_recorded_once(open_lab):
    lab = open_lab()
    lab.enter([datetime(2026, 1, 1), datetime(2026, 1, 2)])
    lab.name(2, "")
    lab.add_image(2, "x" * 300)
    for planned in ({1}, set(), set()):
        assert lab.create_work() == planned
        ((name, reason, detail),) = lab.failures()
        assert (name, reason) == ("I_IMAGES, INSPECTID 2", "unusable row")
        assert detail.startswith("IMAGENAME is '', not a text; IMAGENAME is 'xxx")
        assert lab.count_failures() == 1


class Lab:
    """A vendor's database on SQLite, with an image for each inspection, and a chain over it."""

    def __init__(self, folder: Path, picture: Path) -> None:
        self.count, self._folder, self._picture = 0, folder, picture
        vendors(folder, []).close()
        toml = f'[imager]\nurl = "sqlite:///{folder}/ct.db"\nimage_root = "{folder}/images"\n'
        self._system = System(from_string(toml, home=folder / "home"))

    def name(self, inspect_id: int, name: object) -> None:
        with sqlite3.connect(self._folder / "ct.db") as connection:
            connection.execute("update i_images set imagename = ? where inspectid = ?", (name, inspect_id))
        connection.close()

    def add_image(self, inspect_id: int, name: str) -> None:
        with sqlite3.connect(self._folder / "ct.db") as connection:
            connection.execute("insert into i_images values (?, ?)", (inspect_id, name))
        connection.close()

    def count_failures(self) -> int:
        with sqlite3.connect(self._folder / "home" / "ledger.db") as connection:
            (number,) = connection.execute("select count(*) from failures").fetchone()
        connection.close()
        return number

    def renumber(self, inspect_id: int, number: int) -> None:
        with sqlite3.connect(self._folder / "ct.db") as connection:
            for table in ("i_inspections", "i_images"):
                connection.execute(f"update {table} set inspectid = ? where inspectid = ?", (number, inspect_id))
        connection.close()

    def failures(self) -> list[tuple[str, str, str]]:
        return self._system.ledger.failures.of_files()

    def enter(self, dates: list[datetime]) -> set[int]:
        with sqlite3.connect(self._folder / "ct.db") as connection:
            for date in dates:
                self.count += 1
                row = (self.count, "P1", self.count, f"{date.isoformat(' ', 'microseconds')}", 1, 1, 1)
                connection.execute("insert into i_inspections values (?, ?, ?, ?, ?, ?, ?)", row)
                connection.execute("insert into i_images values (?, 'a.png')", (self.count,))
                folder = self._folder / "images" / "P1" / str(self.count)
                folder.mkdir(parents=True)
                shutil.copy(self._picture, folder / "a.png")
        connection.close()
        return set(range(self.count - len(dates) + 1, self.count + 1))

    def create_work(self) -> set[int]:
        before = self._planned()
        self._system.create_work()
        return self._planned() - before

    def _planned(self) -> set[int]:
        units = self._system.ledger.units
        return {image.inspect_id for unit in units.in_states("sent", "planned") for image in units.images(unit)}

    def close(self) -> None:
        self._system.__exit__(None, None, None)


@pytest.fixture
def open_lab(tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    picture = draw_well(tmp_path / "well.png")
    labs: list[Lab] = []

    def opened() -> Lab:
        folder = tmp_path / str(len(labs))
        folder.mkdir()
        labs.append(Lab(folder, picture))
        return labs[-1]

    yield opened
    for lab in labs:
        lab.close()


# ---- file names ------------------------------------------------------------------------------------------------

stems = st.one_of(
    st.binary(min_size=1, max_size=251),
    st.text(min_size=1, max_size=60).map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from(["é", "e\u0301", "-rf", "%2F", "a\\b", "a:b", "x.", "x ", "\n", "\u202egpj", "CON", "A", "a"]).map(
        str.encode
    ),
    st.sampled_from([b"y" * 251, "é".encode() * 125, b"lit\\xe9", b"lit\xe9"]),
).filter(lambda stem: not set(stem) & set(b"/\0") and not stem.startswith(b"."))


@settings(max_examples=6)
@given(st.sets(stems, min_size=1, max_size=15))
def test_a_file_of_any_name_is_taken_or_named(names):
    """Each file has pixels of its own, and is read back under the name that it got."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        contents = set()
        for number, stem in enumerate(sorted(names)):
            content = f"picture {number}".encode()
            (folder / os.fsdecode(stem + b".jpg")).write_bytes(content)
            contents.add(content)
        config = from_string("", home=Path(name, "home"))
        with System(config) as system:
            done = system.import_folder(folder, names="any")
            found = [image for group in system.imager.newest_first(None, None) for image in group]
            stored = {
                (config.image_root / image.barcode / str(image.inspection) / image.image_name).read_bytes()
                for image in found
            }
    assert len(found) + len(done.rejected) == len(names)
    assert len({image.well for image in found}) == len(found)
    assert stored <= contents
    assert len(stored) == len(found)
    for path in done.rejected:
        assert os.fsencode(path.stem) in names


def test_a_name_of_255_bytes_goes_all_the_way(system):
    names = ["y" * 251 + ".jpg", "y" * 250 + "z.jpg"]
    paths = set()
    for number, name in enumerate(names):
        place = ImageRow(0, "P1", 1, datetime(2012, 11, 21), Well(1, number + 1, 1), name)
        draw_well(system.config.image_root / "P1" / "1" / name)
        system.imager.register([place])
        shape = SimpleNamespace(barcode="P1", inspection=1, image_name=name)
        paths.add(framed_path(system.config, shape))  # type: ignore[arg-type]
    assert system.create_work().planned == 2
    assert len(paths) == 2
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, b"framed")


# ---- the finalizer's CSV, edited by people ---------------------------------------------------------------------


@pytest.fixture
def outbox(system, score) -> Callable[[], Path]:
    score({(col, 1): Outcome.PRECIPITATE for col in range(1, 6)})
    return system.finalize(frames="none").csv


def spoiled(lines: list[list[str]], how: str) -> list[list[str]]:
    """Spoil line 3, the second of five that are to be published."""
    head, line = lines[0], list(lines[2])
    other = {
        "score_id": ["1.2E+10", "9" * 20, "-1", "٣", "", "1;2"],
        "inspect_id": ["4.0", ""],
        "artscore": ["=1+1", "13.0"],
    }
    column, _, number = how.partition(" ")
    if column in other:
        line[head.index(column)] = other[column][int(number)]
    elif column == "action":
        line[head.index("action")] = ["Publish", "publish ", "yes"][int(number)]
    elif column == "short":
        line = line[:3]
    return [*lines[:2], line, *lines[3:]]


FAULTS = [
    *(f"score_id {n}" for n in range(6)),
    *(f"inspect_id {n}" for n in range(2)),
    *(f"artscore {n}" for n in range(2)),
    *(f"action {n}" for n in range(3)),
    "short",
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fault=st.sampled_from(FAULTS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    end=st.sampled_from(["\n", "\r\n"]),
    blank=st.booleans(),
    again=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_spoiled_line_is_refused_and_costs_no_other(system, outbox, fault, encoding, end, blank, again, quoting):
    """As Excel and people save the file: with a BOM, Windows line ends, blank lines, the header twice, all quoted."""
    file = outbox.with_name("edited.csv")
    with outbox.open(newline="") as stream:
        lines = spoiled(list(csv.reader(stream)), fault)
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(lines[:1] + lines * again + lines[1:] * (not again))
    whole = text.getvalue().replace(end, end * 2) if blank else text.getvalue()
    file.write_bytes(whole.encode(encoding))
    done = system.publish([file], dry_run=True)
    assert sum(done.actions.values()) == 4
    assert len(done.refused) == 1 + again


def test_a_file_that_is_no_csv_of_ours_blocks_no_other(system, outbox, score_table):
    outbox.with_name("0.csv").write_text("well,score\nA1,23\n")
    outbox.with_name("1.csv").write_bytes(outbox.read_text().encode("utf-16"))
    outbox.with_name("2.csv").write_text(outbox.read_text().replace(",", ";"))
    outbox.with_name("3.csv").write_text(outbox.read_text() + '"a quote that never ends,1\n')
    with pytest.raises(XtalgridError, match="the other 1 files are done"):
        system.publish()
    assert len(score_table()) == 5
    assert [path.name for path in sorted(outbox.parent.glob("*.csv"))] == ["0.csv", "1.csv", "2.csv", "3.csv"]
