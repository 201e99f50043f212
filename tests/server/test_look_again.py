"""Crystals are compared with the drop's first inspection: what is recorded, ranked, exported and shown."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from PIL import Image
from pyarrow import parquet
from starlette.testclient import TestClient

from tests.server.conftest import answer, result_of
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.database import now
from xtalgrid_server.ledger.looks import Look
from xtalgrid_server.ledger.shapes import DropImage
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.alerts import describe
from xtalgrid_server.steps.look_again import look_again
from xtalgrid_server.steps.new_crystals import new_crystals
from xtalgrid_server.steps.pack import image_path
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_synth.plate import image_name
from xtalgrid_synth.time_course import Growth, render_course

UM, SIDE = 4.5, 64
DAYS = {1: datetime(2024, 3, 3), 2: datetime(2024, 3, 10)}
UV = "drop_UV.jpg"


def save(config: Config, image: ImageRow, picture: np.ndarray) -> str:
    """Write an image's file; return its hash."""
    path = image_path(config, image)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, "JPEG", quality=88)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def enter(system: System, inspection: int, pictures: list[np.ndarray], boxes: list[wire.PixelBox]) -> list[ImageRow]:
    """Enter drops A1a, A1b, … of plate CI1, and scores that call them crystals in these boxes; clear without boxes."""
    config, places, entries = system.config, [], []
    for number, picture in enumerate(pictures):
        name = image_name("CI1", inspection, DAYS[inspection], 1, 1, number + 1)
        row = ImageRow(0, "CI1", inspection, DAYS[inspection], Well(1, 1, number + 1), name)
        (image,) = system.imager.register([row])
        entry = {"inspect_id": image.inspect_id, "sha256": save(config, image, picture)}
        entries.append(wire.ImageEntry(number=number, file=f"{number:03d}.jpg", **entry))
        places.append(image)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    unit = f"xg_{inspection:020d}"
    manifest = wire.Manifest(schema=1, unit=unit, min_worker="0.1.0", options=options, images=tuple(entries))
    system.ledger.units.add(
        manifest, [PlannedImage(*pair) for pair in zip(places, (entry.sha256 for entry in entries), strict=True)]
    )
    chops = tuple(wire.BestChop(box=box, outcome=Outcome.HARVESTABLE, probability=0.9) for box in boxes)
    answers = [
        msgspec.structs.replace(
            answer(
                number, Outcome.HARVESTABLE if boxes else Outcome.CLEAR, p_crystal=0.7 + number / 10 if boxes else 0.1
            ),
            boxes=chops,
            width=640,
            height=480,
            pixel_size_um=UM,
        )
        for number in range(len(pictures))
    ]
    system.ledger.scores.accept_result(
        system.ledger.units.named(unit), "f" * 64, result_of(manifest, answers), manifest
    )
    return places


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two inspections of three drops: A1a's crystals appear, A1b's stand, and of A1c another field was photographed."""
    config = from_string(
        f"[imager]\npixel_size_um = {UM}\n[alerts]\ndays = 3000", home=tmp_path_factory.mktemp("looks") / "home"
    )
    drawn = {
        grows: render_course(
            Outcome.HARVESTABLE, seed=92, growth=grows, inspections=2, width=640, height=480, pixel_size_um=UM
        )
        for grows in (Growth.APPEAR, Growth.STAND)
    }
    appears, stands = drawn[Growth.APPEAR], drawn[Growth.STAND]
    boxes = [
        (box.row + box.height // 2 - SIDE // 2, box.col + box.width // 2 - SIDE // 2, SIDE, SIDE)
        for box in (one.box for one in appears.crystals)
    ]
    with System(config) as system:
        before = [appears.images[0], stands.images[0], np.flipud(np.fliplr(appears.images[0]))]
        enter(system, 1, before, [])
        images = enter(system, 2, [appears.images[1], stands.images[1], appears.images[1]], boxes)
        dim = np.linspace(6, 20, 640).astype(np.uint8)
        save(config, dataclasses.replace(images[0], image_name=UV), np.tile(dim[:, None], (480, 1, 3)))
        system.ledger.passed_over.add({(images[0].inspect_id, UV): "uv"})
        done = system.look_again(everything=True)
    assert (done.looked, done.new, done.standing, done.unsaid) == (3, 1, 1, 1)
    return config


def run(config: Config, *words: str) -> str:
    result = CliRunner().invoke(main, ["--home", str(config.home), *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def of_wells(config: Config, inspection: int) -> dict[str, DropImage]:
    with System(config) as system:
        return {str(image.well): image for image in system.ledger.images.of_plate("CI1", [inspection])}


def test_what_appeared_is_new_and_what_stood_is_not(config: Config) -> None:
    images = of_wells(config, 2)
    assert {image.outcome.group for image in images.values()} == {Group.CRYSTAL}, "what stood before stays a crystal"
    assert images["A1a"].p_new > 0.9 > 0.2 > images["A1b"].p_new
    assert images["A1a"].since == DAYS[1]
    with System(config) as system:
        look = system.ledger.looks.of([images["A1c"].score_id])[images["A1c"].score_id]
    assert (look.p_new, look.why) == (None, "the pictures have too little in common")
    assert of_wells(config, 1)["A1b"].p_new is None, "the first inspection has nothing before it"


def test_a_second_run_has_nothing_to_do_and_one_that_was_stopped_goes_on(config: Config) -> None:
    score = of_wells(config, 2)["A1a"].score_id
    with System(config) as system:
        ledger = system.ledger
        look = ledger.looks.of([score])[score]
        assert "besides  3 known" in run(config, "look_again", "--all")
        ledger.looks.record(Look(score))  # as if the first inspection had come in since
        stopped = look_again(config, ledger, minutes=0)
        assert (stopped.waiting, stopped.looked, stopped.known) == (1, 0, 2)
        assert look_again(config, ledger).new == 1
        assert ledger.looks.of([score])[score] == look


@pytest.fixture
def afresh(config: Config) -> Iterator[Callable[[str], DropImage]]:
    """``afresh(well)``: a drop's image at the second inspection, as if it had not been looked at; later all is as before."""
    known: dict[int, Look] = {}
    with System(config) as system:

        def forget(well: str) -> DropImage:
            image = of_wells(config, 2)[well]
            known.update(system.ledger.looks.of([image.score_id]))
            system.ledger.looks.record(Look(image.score_id))
            return image

        yield forget
        for look in known.values():
            system.ledger.looks.record(look)


@contextmanager
def gone(path: Path) -> Iterator[None]:
    """Move a file away and, in the end, back."""
    away = path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        away.rename(path)


def look_of(system: System, image: DropImage) -> Look:
    return system.ledger.looks.of([image.score_id])[image.score_id]


def test_a_picture_that_cannot_be_read_costs_only_its_own_look(config, afresh):
    image, _ = afresh("A1a"), afresh("A1b")
    path = image_path(config, of_wells(config, 1)["A1a"])
    data = path.read_bytes()
    with System(config) as system:
        path.write_bytes(data[:200])
        done = look_again(config, system.ledger)
        assert (done.unreadable, done.standing, done.known) == ({"truncated image": 1}, 1, 1)
        path.write_bytes(data)
        assert look_again(config, system.ledger).new == 1
        assert look_of(system, image).p_new > 0.9


def test_an_original_that_is_gone_is_tried_again_when_it_is_back_or_after_some_hours(config, afresh):
    image = afresh("A1a")
    path = image_path(config, of_wells(config, 1)["A1a"])

    def tries(*barcodes: str) -> bool:
        """Look again; return whether the picture was tried."""
        before = look_of(system, image).at
        done = look_again(config, system.ledger, barcodes=barcodes or None)
        assert (done.looked, done.known, done.unreadable) == (0, 2, {"missing file": 1})
        return look_of(system, image).at != before

    with System(config) as system:
        with gone(path), TestClient(create_app(config), base_url="http://127.0.0.1") as client:
            assert [tries(), tries()] == [True, False], "remembered, and counted"
            system.ledger.looks.record(dataclasses.replace(look_of(system, image), at=now() - timedelta(hours=7)))
            assert [tries(), tries()] == [True, False], "hours later"
            system.ledger.looks.record(dataclasses.replace(look_of(system, image), at=now() + timedelta(days=300)))
            assert [tries(), tries()] == [True, False], "the clock was set back"
            assert tries("CI1"), "when somebody asks for the plate"
            assert "besides  2 known, 1 unreadable (1 missing file)" in run(config, "look_again", "--all")
            assert "1 crystal is not compared, since a picture can't be read: 1 missing file" in run(config, "status")
            assert "missing file" in client.get("/well/CI1/2/A1a").text
        assert look_again(config, system.ledger).new == 1, "its file is back, as old as ever"
        assert system.ledger.looks.unread() == {}


def test_a_uv_image_that_is_gone_costs_no_comparison(config, afresh):
    image = afresh("A1a")
    with System(config) as system:
        with gone(image_path(config, dataclasses.replace(image, image_name=UV))):
            assert look_again(config, system.ledger).unreadable == {"missing file": 1}
        assert (look_of(system, image).p_new > 0.9, look_of(system, image).uv) == (True, None)
        assert look_again(config, system.ledger).new == 1
        assert look_of(system, image).uv == "dark"


def test_what_was_compared_stays_when_a_uv_image_comes_and_the_original_is_gone(config, afresh):
    image = of_wells(config, 2)["A1a"]
    with System(config) as system:
        compared = look_of(system, image)
        afresh("A1a")
        system.ledger.looks.record(dataclasses.replace(compared, uv_image="", uv=None))
        with gone(image_path(config, of_wells(config, 1)["A1a"])):
            assert look_again(config, system.ledger).new == 1
        assert look_of(system, image) == compared


def test_what_cannot_be_read_comes_after_all_that_was_never_tried(config, afresh, monkeypatch):
    first, other = afresh("A1b"), afresh("A1a")
    with System(config) as system:
        system.ledger.looks.record(Look(first.score_id, why="missing file", at=now() - timedelta(days=1)))
        order: list[int] = []
        monkeypatch.setattr(system.ledger.looks, "record", lambda look: order.append(look.score_id))
        look_again(config, system.ledger)
    assert order == [other.score_id, first.score_id]


def test_a_file_that_changed_since_it_was_scored_is_not_compared(config, afresh):
    path = image_path(config, afresh("A1b"))
    data = path.read_bytes()
    with System(config) as system:
        path.write_bytes(data + b"\0")
        assert look_again(config, system.ledger).unreadable == {"content differs from manifest": 1}
        path.write_bytes(data)
        assert look_again(config, system.ledger).standing == 1


def test_what_is_new_comes_first_in_inbox_and_alerts_whatever_its_p_crystal(config: Config) -> None:
    """Of one inspection, A1b has the larger p_crystal, and A1c, which can't be compared, the largest."""
    told: list[str] = []
    with System(config) as system:
        crystals = new_crystals(system.ledger, 0.2)
        system.send_alerts(lambda alerts: told.extend(str(each.crystal.image.well) for each in alerts))
    assert [str(each.image.well) for each in crystals] == told == ["A1c", "A1a", "A1b"]
    assert crystals[0].chance_of_new == crystals[0].image.p_crystal
    assert ", 10 % at most before, new since 2024-03-03: " in describe(crystals[1])
    assert describe(crystals[0]).endswith("10 % at most before")
    with TestClient(create_app(config), base_url="http://127.0.0.1") as client:
        page = client.get("/inbox").text
    assert [page.index(f"/well/CI1/2/{well}") for well in ("A1c", "A1a", "A1b")] == sorted(
        page.index(f"/well/CI1/2/{well}") for well in ("A1a", "A1b", "A1c")
    )
    assert page.count("new since 2024-03-03: ") == 2


def test_exports_programs_and_pages_say_it(config: Config) -> None:
    out = config.home.parent / "out"
    run(config, "export", "csv", f"{out}.csv")
    rows = {
        (row["well"], row["inspection"]): row for row in csv.DictReader(io.StringIO(Path(f"{out}.csv").read_text()))
    }
    assert float(rows["A1a", "2"]["p_new"]) > 0.9
    assert rows["A1a", "2"]["new_since"] == "2024-03-03 00:00:00"
    assert rows["A1a", "2"]["uv"] == "dark"
    assert rows["A1c", "2"]["p_new"] == rows["A1a", "1"]["p_new"] == rows["A1b", "2"]["uv"] == ""
    run(config, "export", "jsonl", f"{out}.jsonl")
    lines = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    assert sorted(line["p_new"] is not None for line in lines) == [False] * 4 + [True] * 2
    run(config, "export", "xlsx", f"{out}.xlsx")
    head, *cells = load_workbook(f"{out}.xlsx")["Scores"].values
    since = {
        row[head.index("well")]: row[head.index("new_since")] for row in cells if row[head.index("inspection")] == 2
    }
    assert since["A1a"] == DAYS[1]
    run(config, "export", "parquet", f"{out}.parquet")
    read = parquet.read_table(f"{out}.parquet").to_pylist()
    assert {(row["well"], row["uv"]) for row in read if row["uv"]} == {("A1a", "dark")}
    with TestClient(create_app(config), base_url="http://127.0.0.1") as client:
        pages = {well: client.get(f"/well/CI1/2/{well}").text for well in ("A1a", "A1b", "A1c")}
        api = {drop["well"]: drop for drop in client.get("/api/plates/CI1/2").json()["drops"]}
        table = client.get("/plate/CI1/2/scores.csv").text
    assert "New since 2024-03-03: " in pages["A1a"]
    assert "stood there before" not in pages["A1a"]
    assert "it stood there before, as dirt, salt or an old crystal does" in pages["A1b"]
    assert "be said whether the crystals are new since 2024-03-03: the pictures have too little" in pages["A1c"]
    assert api["A1a"]["p_new"] > 0.9
    assert (api["A1a"]["new_since"], api["A1a"]["uv"]) == ("2024-03-03T00:00:00", "dark")
    assert {row["well"]: row["uv"] for row in csv.DictReader(io.StringIO(table.lstrip("\ufeff")))}["A1a"] == "dark"
