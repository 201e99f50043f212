"""Marks in a real browser: a click lands where the crystal is in the picture, and nothing is lost while the viewer is away."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.step import user
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

from ..server.web.conftest import link
from .viewer import Line, chromium, fill_plate, saved, serving

CRYSTAL = (71.0, 181.0)
"""Centre of the blue disk in the picture of A1a, in pixels from the top left corner."""

DISK = 6


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = from_string('[imager]\npatterns = ["*_HF.jpg"]', home=tmp_path_factory.mktemp("home"))
    with System(config) as opened:
        fill_plate(opened, "MARKS1", [Outcome.HARVESTABLE] * 4, [0.9, 0.8, 0.7, 0.6], at=datetime(2024, 1, 1))
        (file,) = opened.config.image_root.glob("MARKS1/*/0_HF.jpg")
        with Image.open(file) as picture:
            left, top = (int(place) - DISK for place in CRYSTAL)  # Pillow's corners are pixels, and inside
            ImageDraw.Draw(picture).ellipse((left, top, left + 2 * DISK - 1, top + 2 * DISK - 1), fill=(20, 20, 230))
            picture.save(file, quality=95, subsampling=0)
        yield opened


@pytest.fixture(scope="module")
def app(system: System) -> FastAPI:
    return create_app(system.config)


@pytest.fixture(scope="module")
def line(app: FastAPI) -> Line:
    return Line(app)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(line: Line) -> Iterator[str]:
    with serving(line) as address:
        yield address


@pytest.fixture
def page(app: FastAPI, address: str, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 850})
    assert context.request.get(link(app, user())).ok
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    yield opened
    context.close()
    assert trouble == []


def crystal_on_screen(page: Page) -> tuple[float, float]:
    """The centre of what is blue on the screen."""
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    stage = page.locator("#stage").bounding_box()
    left, top = int(stage["x"]), int(stage["y"])
    part = pixels[top : int(top + stage["height"]), left : int(left + stage["width"])]
    rows, cols = np.nonzero((part[..., 2] > 170) & (part[..., 1] < 70) & (part[..., 0] < 70))
    return left + cols.mean() + 0.5, top + rows.mean() + 0.5


def places(system: System, image: int = 1) -> list[tuple[float, float]]:
    return [(mark.x, mark.y) for mark in system.ledger.marks.of_image(image).standing]


def test_a_click_lands_on_the_crystal_at_two_zooms_and_a_drag_gives_its_size(page, system):
    page.goto("/well/MARKS1/1/A1a")
    page.locator("#original").evaluate("image => image.decode()")
    for zoom in (1, 3):
        x, y = crystal_on_screen(page)
        if zoom > 1:
            page.mouse.move(x, y)
            page.mouse.wheel(0, -900)
            page.wait_for_function("document.querySelector('.stage.zoomed')")
            x, y = crystal_on_screen(page)
        page.keyboard.press("m")
        page.mouse.click(x, y)
        page.keyboard.press("m")
        saved(page)
    assert places(system) == [pytest.approx(CRYSTAL, abs=1)] * 2
    magnified = page.locator("#original").bounding_box()["width"] / 320
    page.keyboard.press("m")
    page.mouse.move(x - DISK * magnified, y - DISK * magnified)
    page.mouse.down()
    page.mouse.move(x, y)
    page.mouse.move(x + DISK * magnified, y + DISK * magnified)
    page.mouse.up()
    saved(page)
    box = system.ledger.marks.of_image(1).standing[2]
    assert (box.x, box.y, box.width, box.height) == pytest.approx((*CRYSTAL, 2 * DISK, 2 * DISK), abs=1)
    expect(page.locator("#marks-list li")).to_have_count(3)
    expect(page.locator("#marks-list li").last).to_contain_text(
        re.compile("10[0-2] µm left, (68|69) µm down · 1[345] × 1[345] µm")
    )
    drawn = page.locator("#marks-layer .mark rect.over").bounding_box()
    assert (drawn["x"] + drawn["width"] / 2, drawn["y"] + drawn["height"] / 2) == pytest.approx((x, y), abs=magnified)
    page.keyboard.press("r")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20 * magnified, y)
    page.mouse.up()
    expect(page.locator("#ruler-said")).to_have_text("22.6 µm · 20 px")


def test_marks_given_while_the_viewer_is_away_are_kept_and_undone_in_order(page, system, line):
    page.goto("/well/MARKS1/1/A2a")
    page.locator("#original").evaluate("image => image.decode()")
    stage = page.locator("#stage").bounding_box()
    line.cut = True
    page.keyboard.press("m")
    for step in (0.25, 0.5, 0.75):
        page.mouse.click(stage["x"] + step * stage["width"], stage["y"] + 0.5 * stage["height"])
    expect(page.locator("#marks-waiting li")).to_have_count(3)
    page.keyboard.press("u")
    expect(page.locator("#undone")).to_contain_text("Undone: A2a, mark at 240, 120 px")
    page.keyboard.press("*")
    page.keyboard.type("22")  # a score, and on to the next drop
    assert system.ledger.marks.of_image(2).standing == []
    line.cut = False
    page.wait_for_url("**/A3a")
    saved(page)
    assert places(system, 2) == [pytest.approx((80, 120), abs=0.5), pytest.approx((160, 120), abs=0.5)]
    assert [mark.x for mark, _ in system.ledger.marks.of_image(2).removed] == [pytest.approx(240, abs=0.5)]
    assert [one.outcome for one in system.ledger.corrections.of_images([2])[2]] == [Outcome.BAD_FORM]
    page.goto("/plate/MARKS1/1?favourites=only&order=best")
    expect(page.locator("a.tile .well")).to_have_text(["A2a"])


def test_a_double_click_confirms_a_chop_once_and_removes_it_once(page, system):
    page.goto("/well/MARKS1/1/A3a")
    (image,) = [one.image_id for one in system.ledger.images.of_plate("MARKS1") if str(one.well) == "A3a"]
    page.get_by_role("button", name="Confirm chop 1 as a mark").dblclick()
    expect(page.get_by_text("✓ marked")).to_be_visible()
    saved(page)
    assert len(places(system, image)) == 1
    page.get_by_role("button", name="Remove").dblclick()
    expect(page.get_by_text("Removed (1)")).to_be_visible()
    expect(page.locator("#waiting")).to_have_text("")  # no second removal, which would be refused
    assert places(system, image) == []


def test_marks_and_notes_by_keyboard_and_for_those_who_cannot_see_well(page, system):
    page.goto("/well/MARKS1/1/A4a")
    page.get_by_label("Note", exact=True).first.fill("twinned")
    page.get_by_text("Place by numbers").press("Enter")
    for name, value in (("x", "30"), ("y", "40.5")):
        page.get_by_label(name, exact=True).fill(value)
    page.keyboard.press("Enter")
    expect(page.locator("#marks-list li")).to_contain_text("twinned")
    page.locator("#drop-note").fill("m r 22 *")  # letters, not keys
    page.keyboard.press("Enter")
    expect(page.get_by_text("m r 22 *")).to_be_visible()
    page.locator("#drop-note").fill("still typing")
    page.get_by_role("button", name="Confirm chop 1 as a mark").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("✓ marked")).to_be_visible()
    assert page.locator("#drop-note").input_value() == "still typing"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [node["html"] for node in v["nodes"][:3]]) for v in found] == []
    page.get_by_role("button", name="Remove").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#marks-list li")).to_have_count(1)
    saved(page)
    assert [mark.kind for mark in system.ledger.marks.of_image(4).standing] == ["box"]
