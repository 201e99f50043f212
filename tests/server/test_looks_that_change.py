"""What a second look told changes with what it was told by: other files, another configuration, undecided wells."""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.server.conftest import answer, result_of
from tests.server.test_look_again import UM, gone, save
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.image_names import first_whole
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.looks import Look
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.look_again import LookedAgain, look_again
from xtalgrid_server.steps.pack import image_path
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

FIRST, SECOND = datetime(2024, 3, 3), datetime(2024, 3, 10)
VISIBLE, SEEN_IN_UV = "d1_profileID_1_d1_r1_ef.jpg", "d1_profileID_4_d1_r1_ef.jpg"
BOXES = ((200, 200, 100, 100), (100, 400, 100, 100))
A1A = Well(1, 1, 1)
UNITS = iter(range(1000))


def texture(seed: int) -> np.ndarray:
    squares = np.random.default_rng(seed).integers(60, 200, (48, 64))
    return np.repeat(np.kron(squares, np.ones((10, 10)))[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return from_string(f"[imager]\npixel_size_um = {UM}\n[alerts]\ndays = 30000", home=tmp_path / "home")


def changed(config: Config, more: str) -> Config:
    return from_string(f"[imager]\npixel_size_um = {UM}\n{more}\n[alerts]\ndays = 30000", home=config.home)


def add(
    system: System,
    inspection: int,
    date: datetime,
    picture: np.ndarray,
    outcome: Outcome = Outcome.HARVESTABLE,
    name: str = VISIBLE,
    well: Well = A1A,
    **given: object,
) -> ImageRow:
    """Enter a drop of plate CI1 at an inspection, with a score that has boxes of crystals."""
    row = ImageRow(0, "CI1", inspection, date, well, name)
    (image,) = system.imager.register([row])
    entry = {"inspect_id": image.inspect_id, "sha256": save(system.config, image, picture)}
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    manifest = wire.Manifest(
        schema=1,
        unit=f"xg_{next(UNITS):020d}",
        min_worker="0.1.0",
        options=options,
        images=(wire.ImageEntry(number=0, file="000.jpg", **entry),),
    )
    system.ledger.units.add(manifest, [PlannedImage(image, entry["sha256"])])
    chops = tuple(wire.BestChop(box=box, outcome=Outcome.HARVESTABLE, probability=0.9) for box in BOXES)
    said: wire.Answer = wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="it ends early")
    if outcome is not Outcome.FAILED:
        scored = answer(0, outcome, p_crystal=0.7)
        of_picture = {"boxes": chops, "width": 640, "height": 480, "pixel_size_um": UM}
        said = msgspec.structs.replace(scored, **of_picture | given)
    result = result_of(manifest, [said])
    system.ledger.scores.accept_result(system.ledger.units.named(manifest.unit), "f" * 64, result, manifest)
    return image


def look(config: Config, inspection: int = 2) -> tuple[LookedAgain, Look]:
    """Look again; return what was done, and the look at the drop's newest score."""
    with System(config) as system:
        done = look_again(config, system.ledger)
        (image,) = (one for one in system.ledger.images.of_plate("CI1", [inspection]) if one.score_id)
        return done, system.ledger.looks.of([image.score_id])[image.score_id]


def test_an_undecided_well_that_may_show_crystals_is_compared_too(config: Config) -> None:
    """Only the outcome changes with `work.undecided`, not the order of inbox and alerts."""
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR)
        add(system, 2, SECOND, texture(1), Outcome.UNDECIDED)
    done, told = look(config)
    assert (done.standing, done.alone) == (1, 0)
    assert told.p_new is not None and told.p_new < 0.2


def test_a_first_image_that_was_replaced_is_compared_again(config: Config) -> None:
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR)
        add(system, 2, SECOND, texture(1))
    assert look(config)[1].p_new is not None
    with System(config) as system:
        add(system, 1, FIRST, texture(2), Outcome.CLEAR)
    done, told = look(config)
    assert (done.unsaid, told.why) == (1, "the pictures have too little in common")
    assert look(config)[0].known == 1
    with System(config) as system:
        add(system, 1, FIRST, texture(2), Outcome.CLEAR)  # the same file scored again, as by other weights
    assert look(config)[0].known == 1


def test_what_is_in_uv_light_after_all_was_nothing_to_compare_with(config: Config) -> None:
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR, name="first.jpg")
        add(system, 2, SECOND, texture(1), name="second.jpg")
    assert look(config)[1].p_new is not None
    in_uv = changed(config, 'light.uv = ["first*"]')
    done, told = look(in_uv)
    assert done.alone == 1
    assert told == Look(told.score_id)


def test_a_first_image_that_cannot_be_scored_any_more_takes_nothing_back(config: Config) -> None:
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR)
        add(system, 2, SECOND, texture(1))
    compared = look(config)[1]
    with System(config) as system:
        add(system, 1, FIRST, texture(2), Outcome.FAILED)
        assert not any(image.is_scored for image in system.ledger.images.of_plate("CI1", [1]))
    done, told = look(config)
    assert (done.alone, told) == (1, compared)


def test_the_first_image_is_one_taken_alike_and_not_a_dark_one(config: Config) -> None:
    with System(config) as system:
        dark = {"probability": 0.0, "p_crystal": 0.0, "groups": None, "boxes": ()}
        add(system, 1, datetime(2024, 3, 1), texture(3), Outcome.UNDECIDED, **dark)
        add(system, 2, FIRST, texture(4), Outcome.CLEAR, name="d1_profileID_0_d1_r1_ef.jpg")
        add(system, 2, FIRST, texture(1), Outcome.CLEAR)
        add(system, 3, SECOND, texture(1))
    only = changed(config, 'light.visible = ["*profileID_0*"]')
    done, told = look(only, 3)
    assert (done.standing, told.since) == (1, FIRST)


def test_the_configuration_of_today_tells_which_images_are_in_uv_light(config: Config) -> None:
    """A capture profile that was passed over as unknown was not looked at, once the lab had named it."""
    with System(config) as system:
        image = add(system, 1, FIRST, texture(1))
        dim = np.tile(np.linspace(6, 20, 640).astype(np.uint8)[:, None], (480, 1, 3))
        save(config, dataclasses.replace(image, image_name=SEEN_IN_UV), dim)
        system.imager.register([dataclasses.replace(image, image_name=SEEN_IN_UV)])
        system.ledger.passed_over.add({(image.inspect_id, SEEN_IN_UV): "profile 4"})
        assert look_again(config, system.ledger).alone == 1
    named = changed(config, 'light.uv = ["*profileID_4*"]')
    told = look(named, 1)[1]
    assert (told.uv_image, told.uv) == (SEEN_IN_UV, "dark")
    done, told = look(config, 1)
    assert (done.alone, told) == (1, Look(told.score_id)), "named wrongly, after all"
    with TestClient(create_app(named), base_url="http://127.0.0.1") as client:
        with gone(image_path(config, dataclasses.replace(image, image_name=SEEN_IN_UV))):
            assert "whether the crystals fluoresce: missing file" in client.get("/well/CI1/1/A1a").text
        assert "In UV light: the crystals are dark" in client.get("/well/CI1/1/A1a").text, "it is back"
        path = image_path(config, image)
        path.write_bytes(path.read_bytes() + b"\0")
    with TestClient(create_app(named), base_url="http://127.0.0.1") as client:
        page = client.get("/well/CI1/1/A1a").text
    assert "whether the crystals fluoresce: content differs from manifest" in page, "its boxes are of another file"


def test_a_uv_image_that_is_replaced_under_its_name_is_looked_at_again(config: Config) -> None:
    named = changed(config, 'light.uv = ["*profileID_4*"]')
    dim = np.tile(np.linspace(6, 20, 640).astype(np.uint8)[:, None], (480, 1, 3))
    with System(named) as system:
        image = add(system, 1, FIRST, texture(1))
        uv = dataclasses.replace(image, image_name=SEEN_IN_UV)
        save(named, uv, dim)
        system.ledger.passed_over.add({(image.inspect_id, SEEN_IN_UV): "uv"})
    assert look(named, 1)[1].uv == "dark"
    assert look(named, 1)[0].known == 1
    path = image_path(named, uv)
    ahead = time.time() + 3e8
    os.utime(path, (ahead, ahead))  # a clock that is ahead would have it looked at for ever
    assert look(named, 1)[0].known == 1
    save(named, uv, texture(2))
    done, told = look(named, 1)
    assert (done.looked, told.uv) == (1, "can't be said")
    assert look(named, 1)[0].known == 1


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], ""),
        (["b_UV.jpg", "a_UV.jpg"], "a_UV.jpg"),
        (["x_profileID_4_d1_r1_001.jpg", "x_profileID_4_d1_r1_ef.jpg"], "x_profileID_4_d1_r1_ef.jpg"),
    ],
)
def test_of_several_uv_images_the_sharp_one_is_looked_at(names: list[str], chosen: str) -> None:
    assert first_whole(names) == chosen


def test_an_inspection_of_a_clock_that_begins_at_1970_is_not_the_first(config: Config) -> None:
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR)
        add(system, 2, datetime(1970, 1, 1), texture(2))
        add(system, 3, SECOND, texture(2))
    done, third = look(config, 3)
    assert third.since == FIRST
    assert (done.looked, done.alone) == (2, 0)  # the second is compared too
    assert look(config, 2)[1].since == FIRST


def test_the_inbox_shows_the_image_before_of_the_drop(config: Config) -> None:
    """Its plate's inspection before may not have this drop: it was called the drop's first inspection."""
    with System(config) as system:
        add(system, 1, FIRST, texture(1), Outcome.CLEAR, p_crystal=0.01)
        add(system, 2, datetime(2024, 3, 7), texture(1), Outcome.CLEAR, well=Well(2, 1, 1), p_crystal=0.01)
        add(system, 3, SECOND, texture(1))
    with TestClient(create_app(config), base_url="http://127.0.0.1") as client:
        page = client.get("/inbox").text
    assert "before: inspection 1" in page
    assert "+7 d: inspection 3" in page


def test_an_alert_of_what_stood_there_comes_last_though_its_p_crystal_is_far_larger(config: Config) -> None:
    told: list[str] = []
    with System(config) as system:
        for number, p_crystal, p_new in ((1, 0.99, 0.19), (2, 0.2, 0.9)):
            add(system, 1, FIRST, texture(number), well=Well(number, 1, 1), p_crystal=p_crystal)
            (image,) = system.ledger.images.of_plate("CI1", well=Well(number, 1, 1))
            assert image.score_id is not None
            system.ledger.looks.record(Look(image.score_id, p_new=p_new, since=FIRST))
        system.send_alerts(lambda alerts: told.extend(str(each.crystal.image.well) for each in alerts))
    assert told == ["B1a", "A1a"]
