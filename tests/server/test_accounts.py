"""Folders and an imager database over several rounds: the account adds up, and each content is scored exactly once."""

from __future__ import annotations

import collections
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.account import account, account_lines
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

from .conftest import INSPECTED, answer, result_of, rigaku_name

SUFFIXES = ("png", "bmp", "jpg")
TOML = """
[imager]
{folder}
[import]
names = 'P_(?P<row>[A-H])(?P<column>\\d+)'
settle_s = 0
"""


def picture(number: int, suffix: str) -> bytes:
    """A small picture; other numbers are other bytes."""
    pixels = Image.effect_noise((96, 80), 60)
    pixels.putpixel((0, 0), number)
    pixels.paste(number % 200 + 20, (20, 20, 60, 60))
    stream = io.BytesIO()
    pixels.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return stream.getvalue()


PICTURES = {(number, suffix): picture(number, suffix) for number in range(3) for suffix in SUFFIXES}


class Lab:
    """A lab with one door for its images, and what it should find, kept without the product's code."""

    def __init__(self, place: Path, door: str) -> None:
        self.folder = place / "share"
        self.folder.mkdir(parents=True)
        watched = f'folder = "{self.folder}"' if door == "watched" else ""
        self.system = System(from_string(TOML.format(folder=watched), home=place / "home"))
        self.door = door
        self.now: dict[str, str] = {}
        self.wanted: set[tuple[str, str]] = set()
        self.scored: collections.Counter[tuple[str, str]] = collections.Counter()
        self._wells: dict[int, str] = {}

    def path(self, name: str) -> Path:
        if self.door != "database":
            return self.folder / name
        return self.system.config.image_root / "P" / "1" / name

    def put(self, name: str, kind: str, data: bytes, seconds: float | None) -> None:
        """Write a file as `kind`, with a time so many seconds ago, or its natural one."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if seconds is not None:
            os.utime(path, (time.time() - seconds,) * 2)
        if self.door == "database" and name not in self.now:
            well = Well(1, len(self.now) + 1, 1)
            self.system.imager.register([ImageRow(0, "P", 1, INSPECTED, well, name)])
        self.now[name] = kind

    def round(self) -> None:
        """Import, plan, score and record, as `run` or a day's services do."""
        if self.door == "run":
            self.system.import_folder(self.folder, recursive=True)
        self.system.create_work(retry=self.door == "run")
        for name in self.system.grid.waiting():
            with zipfile.ZipFile(self.system.config.spool / "units" / name / "unit.zip") as archive:
                manifest = wire.decode_manifest(archive.read("manifest.json"))
                contents = [hashlib.sha256(archive.read(entry.file)).hexdigest() for entry in manifest.images]
            unit = self.system.ledger.units.named(name)
            images = self.system.ledger.units.images(unit)
            self.scored.update((image.image_name, content) for image, content in zip(images, contents, strict=True))
            answers = [answer(number, Outcome.CLEAR) for number in range(len(images))]
            self.system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)
            self.system.grid.discard(name)

    def check(self) -> None:
        self.wanted |= {
            (name, hashlib.sha256(self.path(name).read_bytes()).hexdigest())
            for name, kind in self.now.items()
            if kind == "whole"
        }
        assert self.scored == collections.Counter(self.wanted)
        kinds = collections.Counter(self.now.values())
        found = account(self.system.config, self.system.ledger, self.system.imager)
        counted = (found.there, found.scored, found.waiting, found.failed, sum(found.passed_over.values()))
        assert counted == (len(self.now), kinds["whole"], kinds["growing"], kinds["broken"], kinds["foreign"])
        newest = self.system.ledger.images.of_plate("P" if self.door == "database" else "share")
        assert len(newest) >= kinds["whole"]
        for image in newest:
            if self.now[image.image_name] == "whole":
                assert image.sha256 == hashlib.sha256(self.path(image.image_name).read_bytes()).hexdigest()


WELLS = st.sampled_from([(1, "png"), (2, "bmp"), (3, "jpg")])
AGES = st.sampled_from([None, 10.0, 500.0, 3600.0])
DEEDS = st.one_of(
    st.tuples(st.just("whole"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("growing"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("broken"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("touch"), WELLS, st.just(0), AGES),
    st.tuples(
        st.just("foreign"), st.tuples(st.integers(1, 3), st.sampled_from(["txt", "czi", "db"])), st.just(0), AGES
    ),
)


@pytest.mark.parametrize("door", ["run", "watched", "database"])
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    rounds=[
        [("whole", (1, "png"), 0, 3600.0), ("whole", (2, "bmp"), 0, None), ("foreign", (1, "czi"), 0, None)],
        [("whole", (1, "png"), 1, 500.0), ("growing", (2, "bmp"), 1, 10.0), ("touch", (1, "png"), 0, 9.0)],
        [("whole", (1, "png"), 0, 10.0), ("whole", (2, "bmp"), 1, 10.0), ("growing", (3, "jpg"), 2, None)],
        [("broken", (1, "png"), 1, 10.0), ("whole", (3, "jpg"), 2, None), ("touch", (2, "bmp"), 0, 500.0)],
        [("whole", (1, "png"), 1, 10.0), ("whole", (1, "png"), 1, 500.0)],
    ]
)
@given(rounds=st.lists(st.lists(DEEDS, min_size=2, max_size=6), min_size=3, max_size=4))
def test_over_several_rounds_the_account_adds_up_and_each_content_is_scored_once(door, rounds):
    place = Path(tempfile.mkdtemp())
    lab = Lab(place, door)
    try:
        for deeds in rounds:
            for deed, (column, suffix), number, age in deeds:
                name = f"P_A{column}.{suffix}"
                if deed == "touch":
                    if name in lab.now:
                        os.utime(lab.path(name), (time.time() - (age or 0),) * 2)
                elif deed == "foreign":
                    if door != "database":
                        lab.put(name, "foreign", b"notes", age)
                else:
                    data = PICTURES[number, suffix]
                    data = {"whole": data, "growing": data[: len(data) * 2 // 3], "broken": b"no image" * 9}[deed]
                    lab.put(name, deed, data, age)
            lab.round()
            lab.check()
    finally:
        lab.system.__exit__(None, None, None)
        shutil.rmtree(place)


@pytest.fixture
def folder(tmp_path):
    """A folder with the wells P_A1.png, P_A2.png …, as `put` writes them."""
    place = tmp_path / "in"
    place.mkdir()
    return place


@pytest.fixture
def config(tmp_path):
    return from_string(TOML.format(folder=""), home=tmp_path / "home")


def put(folder, column, number, seconds=500.0):
    path = folder / f"P_A{column}.png"
    path.write_bytes(PICTURES[number, "png"])
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def through(system, outcome):
    """Plan, and score all that waits as `outcome`, then decide and publish."""
    system.create_work()
    for name in system.grid.waiting():
        unit = system.ledger.units.named(name)
        manifest = wire.decode_manifest(unit.manifest)
        said = result_of(manifest, [answer(entry.number, outcome) for entry in manifest.images])
        system.ledger.scores.accept_result(unit, "f" * 64, said, manifest)
        system.grid.discard(name)
    system.finalize(frames="none")
    system.publish()


def test_a_file_that_is_put_back_has_its_score_again_also_in_the_score_table(system, folder, score_table):
    published = []
    for number, outcome in ((0, Outcome.CLEAR), (1, Outcome.PRECIPITATE_BAD), (0, Outcome.NULL_EXPERIMENT)):
        put(folder, 1, number, 500.0 - number)
        system.import_folder(folder)
        through(system, outcome)
        published.append([row[1] for row in score_table()])
    clear, precipitate = (system.config.score_code(one) for one in (Outcome.CLEAR, Outcome.PRECIPITATE_BAD))
    assert published == [[clear], [precipitate], [clear]]
    assert len(system.ledger.scores.of_images([1])) == 2, "both stay in the history"


def test_a_copy_follows_its_file_and_no_other(system, folder, tmp_path):
    path = put(folder, 1, 0)
    system.import_folder(folder, copy=True)
    put(folder, 1, 1)
    (row,) = system.import_folder(folder, copy=True).entered
    assert system.source.path(row).read_bytes() == path.read_bytes()
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved / "in")
    put(moved / "in", 1, 2)
    (stored,) = (system.config.image_root / row.barcode).rglob("*.png")
    assert stored.read_bytes() == PICTURES[1, "png"]


def test_an_archive_that_was_copied_or_moved_plans_nothing(system, folder, tmp_path):
    for column in (1, 2, 3):
        put(folder, column, column - 1)
    system.import_folder(folder)
    through(system, Outcome.CLEAR)
    moved = folder.rename(tmp_path / "moved") / "in"
    moved.mkdir()
    for path in moved.parent.glob("*.png"):
        shutil.copy(path, moved / path.name)  # with new times
    (tmp_path / "in").symlink_to(moved)
    assert system.create_work().planned == 0
    assert account(system.config, system.ledger, system.imager).scored == 3


def test_what_an_earlier_version_planned_is_looked_at_and_not_read(system, folder, monkeypatch):
    """Its ledger has neither size nor time; a file older than its planning is taken as it is, a younger one is read."""
    put(folder, 1, 0), put(folder, 2, 1)
    system.import_folder(folder)
    through(system, Outcome.CLEAR)
    with system.ledger._db.writing() as connection:
        connection.execute(sa.text("UPDATE images SET size = NULL, modified = NULL"))
    put(folder, 2, 2, seconds=-60.0)
    assert system.create_work().planned == 1
    assert system.create_work().planned == 0


def test_failures_that_were_mended_are_closed(system, folder):
    path = put(folder, 1, 0)
    odd = folder / "holiday.png"
    path.rename(odd)
    assert list(system.import_folder(folder).rejected) == [odd]
    assert account(system.config, system.ledger, system.imager).failed == 1
    odd.rename(path)
    system.import_folder(folder)
    through(system, Outcome.CLEAR)
    mended = account(system.config, system.ledger, system.imager)
    assert (mended.there, mended.scored, mended.failed) == (1, 1, 0)
    path.write_text("no image")
    through(system, Outcome.CLEAR)
    broken = account(system.config, system.ledger, system.imager)
    assert (broken.failed, broken.differing) == (1, 1)
    assert "changed     1 files are not" in "\n".join(status_lines(status(system.config, system.ledger, system.imager)))
    put(folder, 1, 0, seconds=400.0)
    through(system, Outcome.CLEAR)
    assert account(system.config, system.ledger, system.imager).scored == 1


def test_a_row_that_was_corrected_is_planned_and_its_failure_closed(system):
    columns = system.imager.tables.inspections.c
    rows = [ImageRow(0, "P", number, INSPECTED, Well(1, number, 1), f"{number}.png") for number in (1, 2)]
    for row in system.imager.register(rows):
        path = system.source.path(row)
        path.parent.mkdir(parents=True)
        path.write_bytes(PICTURES[row.inspection, "png"])
    change = columns.inspectid.table.update().where(columns.inspectid == 1)
    with system.imager.transaction() as connection:
        connection.execute(sa.text("UPDATE i_inspections SET barcodeid = '' WHERE inspectid = 1"))
    created = system.create_work()
    assert (created.planned, len(created.unusable)) == (1, 1)
    counted = account(system.config, system.ledger, system.imager)
    assert (counted.there, counted.waiting, counted.failed) == (2, 1, 1)
    with system.imager.transaction() as connection:
        connection.execute(change.values(barcodeid="P"))
    assert system.create_work().planned == 1
    assert account(system.config, system.ledger, system.imager).failed == 0


def test_a_file_that_is_not_complete_waits_everywhere_until_it_is_given_up(system, folder):
    path = put(folder, 1, 0)
    (row,) = system.import_folder(folder).entered
    place = row.barcode, row.inspection

    def seen() -> tuple[object, ...]:
        """What create_work, status and the two pages of plates count: waiting and failed."""
        created = system.create_work()
        counted = account(system.config, system.ledger, system.imager)
        (drop,) = system.ledger.images.of_plate(row.barcode)
        counts = system.ledger.plates.counts([place])[place]
        page = drop.outcome is None, drop.failure is not None
        index = counts.waiting, counts.outcomes.get(Outcome.FAILED, 0)
        return (len(created.waiting), len(created.failed)), (counted.waiting, counted.failed), page, index

    path.write_bytes(PICTURES[0, "png"][:300])
    assert seen() == ((1, 0),) * 4
    with system.ledger._db.writing() as connection:  # as if it had been so for two days
        connection.execute(sa.text("UPDATE failures SET at = '2026-01-01 00:00:00.000000'"))
    assert seen() == ((0, 1),) * 4


def test_what_waits_is_counted_though_others_were_scored_by_other_patterns(system, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    score({(3, 1): Outcome.CLEAR}, image="HG")
    imager = msgspec.structs.replace(system.config.imager, patterns=("*_hg_*",))
    with System(msgspec.structs.replace(system.config, imager=imager)) as narrowed:
        for col, image in ((4, "HG"), (5, "HF")):
            name = rigaku_name(col).replace("_HF_", f"_{image}_")
            narrowed.imager.register([ImageRow(0, "CI022987", 3, INSPECTED, Well(1, col, 1), name)])
        counted = account(narrowed.config, narrowed.ledger, narrowed.imager)
    assert (counted.there, counted.scored, counted.waiting) == (4, 3, 1)


def test_other_kinds_of_files_are_named_by_suffix_and_number(system, folder):
    put(folder, 1, 0)
    for name in ("a.czi", "b.CZI", "Thumbs.db", "README", ".hidden", "P_A1.tif"):
        (folder / name).write_bytes(b"x")
    (folder / "deeper").mkdir()
    counted = account(system.config, system.ledger, system.imager, system.import_folder(folder))
    assert counted.passed_over == {
        ".czi": 2,
        ".db": 1,
        "file without suffix": 1,
        "another format of an image": 1,
        "subfolder (--recursive includes it)": 1,
    }
    assert (counted.there, counted.waiting) == (7, 1)
    assert account(system.config, system.ledger, system.imager) == counted


def test_of_many_kinds_the_most_frequent_are_named(system, folder):
    for number in range(300):
        (folder / f"a.x{number}").write_bytes(b"x")
    (folder / "b.x200").write_bytes(b"x")
    counted = account(system.config, system.ledger, system.imager, system.import_folder(folder))
    assert (counted.there, len(counted.passed_over)) == (301, 300)
    (line,) = (line for line in account_lines(counted) if line.startswith("passed over"))
    assert "2 .x200" in line
    assert line.endswith("288 of 288 other kinds (all with status --json)")
    assert len(line) < 200


def test_a_file_that_could_not_be_used_is_looked_at_however_old_its_inspection_is(system, folder, monkeypatch):
    """Half of a new picture, then the earlier one again; another inspection is a month newer meanwhile."""
    path = put(folder, 1, 0)
    system.import_folder(folder)
    through(system, Outcome.CLEAR)
    path.write_bytes(PICTURES[1, "png"][:300])
    assert len(system.create_work().waiting) == 1
    for row in system.imager.register(
        [ImageRow(0, "Q", 1, INSPECTED + timedelta(days=9000), Well(1, 1, 1), "new.png")]
    ):
        target = system.source.path(row)
        target.parent.mkdir(parents=True)
        target.write_bytes(PICTURES[2, "png"])
    through(system, Outcome.CLEAR)
    monkeypatch.setattr("xtalgrid_server.steps.create_work._Run._look_at_older", lambda *_: None)
    put(folder, 1, 0, seconds=300.0)
    assert system.create_work().planned == 0
    assert account(system.config, system.ledger, system.imager).scored == 2


def test_a_copy_in_a_subfolder_is_the_same_image(system, folder):
    (folder / "plate" / "copy" / "plate").mkdir(parents=True)
    names = r"(?P<barcode>P)_(?P<row>A)(?P<column>\d)"
    for place in ("plate", "plate/copy"):
        put(folder / place, 1, 0)
    imported = system.import_folder(folder, recursive=True, names=names)
    through(system, Outcome.CLEAR)
    counted = account(system.config, system.ledger, system.imager, imported)
    assert (counted.there, counted.scored, counted.passed_over) == (2, 1, {"copy of another file": 1})


def test_operations_and_status_say_the_same(system, folder):
    put(folder, 1, 0), (folder / "notes.txt").write_text("x")
    put(folder, 2, 1).write_bytes(PICTURES[1, "png"][:500])
    (folder / "P_A3.png").write_text("no image")
    system.import_folder(folder)
    through(system, Outcome.CLEAR)
    line = "4 there = 1 scored + 1 waiting + 1 failed + 1 passed over"
    lines = list(status_lines(status(system.config, system.ledger, system.imager)))
    assert lines[1] == f"account     {line}"
    app = create_app(system.config)
    token = {"Authorization": f"Bearer {app.state.site.authentication.signer.metrics_token()}"}
    with TestClient(app, base_url="http://127.0.0.1:8765", headers=token) as client:
        page = client.get("/operations").text
        assert line in page
        assert "P_A2.png, since 20" in page
        assert 'xtalgrid_images{state="passed over"} 1.0' in client.get("/metrics").text


def test_import_folder_fails_where_nothing_fits_and_prints_its_account_for_programs(folder, tmp_path):
    def call():
        done = CliRunner().invoke(main, ["--home", str(tmp_path / "home"), "import-folder", str(folder), "--json"])
        document = json.loads(done.stdout)
        return done.exit_code, document["there"], document["waiting"], document["failed"], document["passed_over"]

    assert call() == (0, 0, 0, 0, {})
    put(folder, 1, 0), (folder / "a.czi").write_bytes(b"x")
    assert call() == (1, 2, 0, 1, {".czi": 1})
    (folder / "P_A1.png").rename(folder / rigaku_name().replace(".jpg", ".png"))
    assert call() == (0, 2, 1, 0, {".czi": 1})
