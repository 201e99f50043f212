"""A drop's pictures in a real browser: zoom that is kept, UV over the visible picture, time lapse, tone, class map.

All pictures are cut out of rendered ones, so that it is known how they lie on each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_scoring.map_files import map_pngs
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.step import user
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_synth.uv import Nature, render_uv
from xtalgrid_synth.well import render_well

from ..server.web.conftest import link
from .viewer import chromium, fill_plate, serving

WIDTH, HEIGHT = 640, 480
RIGHT, DOWN = 24, -9  # pixels by which the first inspection's pictures must be moved to lie on the second's
SLOW = 20_000  # milliseconds: what the viewer works out may take longer than a page
WELL = "/well/PICTURES/2/A1a"


def save(path: Path, pixels: Any, row: int, col: int, part: float = 1.0) -> None:
    """Save a picture whose upper left corner lies at (row, col) of a larger one."""
    cut = Image.fromarray(np.ascontiguousarray(pixels[row : row + HEIGHT, col : col + WIDTH]))
    cut.resize((round(WIDTH * part), round(HEIGHT * part))).save(path, quality=92)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """Two drops at two inspections, with UV images at the second, and one drop of another plate that has one."""
    home = tmp_path_factory.mktemp("home")
    config = from_string('[imager]\npatterns = ["*_HF.jpg"]\n[viewer]\nuv = ["*_UV.jpg"]', home=home)
    field = render_well(Outcome.BAD_FORM, seed=56, width=700, height=540, pixel_size_um=4.5)
    uv = render_uv(field, seed=56, nature=Nature.PROTEIN).image
    with System(config) as system:
        early, late = [Outcome.CLEAR] * 2, [Outcome.HARVESTABLE, Outcome.PRECIPITATE]
        fill_plate(system, "PICTURES", early, [0.01, 0.02], at=datetime(2024, 1, 1, 9))
        fill_plate(system, "PICTURES", late, [0.9, 0.1], inspection=2, at=datetime(2024, 1, 8, 12), uv=True)
        fill_plate(system, "ALONE", early[:1], [0.01])
    folder = config.image_root / "PICTURES"
    for n in (0, 1):
        save(folder / "1" / f"{n}_HF.jpg", field.image, 30 + DOWN, 20 + RIGHT)
        save(folder / "2" / f"{n}_HF.jpg", field.image, 30, 20, part=1.5)
    save(folder / "2" / "0_UV.jpg", uv, 36, 14, part=0.8)
    Image.new("RGB", (480, 480), (20, 20, 20)).save(folder / "2" / "1_UV.jpg")
    crystal, clear = np.zeros((2, 120, 160), np.float32)
    crystal[:, :40], clear[:, 40:] = 0.9, 0.8  # a quarter of the drop, and the rest
    none = np.zeros_like(clear)
    maps = {Group.CRYSTAL: crystal, Group.PRECIPITATE: none, Group.OTHER: none, Group.CLEAR: clear}
    app = create_app(config)
    with System(config) as system:
        name = app.state.site.maps.name(system.ledger.scores.by_id([3])[0])
    (home / "maps" / name[:2]).mkdir(parents=True)
    for group, png in map_pngs(maps).items():  # as if they had been drawn before
        (home / "maps" / name[:2] / f"{name}-{group}.png").write_bytes(png)
    with serving(app) as served:
        yield served, app


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def signed_in(browser, address):
    """``signed_in(**options)``: a page of a new context of the browser; it fails its test if a script does."""
    trouble: list[str] = []
    contexts = []

    def open_one(**options: Any) -> Page:
        served, app = address
        context = browser.new_context(base_url=served, viewport={"width": 1300, "height": 850}, **options)
        contexts.append(context)
        assert context.request.get(link(app, user())).ok
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and "503" not in message.text and trouble.append(message.text),
        )
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert trouble == []


def seen(page: Page) -> tuple[float, float, float]:
    """How large the picture is, as a multiple of the stage, and which point of it, 0..1, lies in the stage's middle."""
    picture, stage = page.locator("#original").bounding_box(), page.locator("#stage").bounding_box()
    assert picture and stage
    right = (stage["x"] + stage["width"] / 2 - picture["x"]) / picture["width"]
    down = (stage["y"] + stage["height"] / 2 - picture["y"]) / picture["height"]
    return picture["width"] / stage["width"], right, down


def moved(page: Page, which: str) -> tuple[float, float]:
    """By how many pixels of the first inspection's size a picture is moved from where it would lie on the original."""
    picture, original = page.locator(which).bounding_box(), page.locator("#original").bounding_box()
    assert picture and original
    part = WIDTH / original["width"]
    return (picture["x"] - original["x"]) * part, (picture["y"] - original["y"]) * part


def test_zoom_is_kept_from_drop_to_drop_and_inspection_to_inspection_also_on_the_whole_screen(signed_in):
    page = signed_in()
    page.goto(WELL)
    page.keyboard.press("g")
    page.wait_for_function("document.fullscreenElement")
    expect(page.locator(".verdict h1")).to_be_in_viewport()
    stage = page.locator("#stage").bounding_box()
    page.mouse.move(stage["x"] + 0.75 * stage["width"], stage["y"] + 0.25 * stage["height"])
    page.mouse.wheel(0, -600)
    page.wait_for_function("document.querySelector('#zoom-now').textContent")
    before = seen(page)
    assert before[0] > 2 and before[1] > 0.55 and before[2] < 0.45
    for key, url in (("ArrowRight", "2/A2a"), ("ArrowUp", "1/A2a"), ("ArrowLeft", "1/A1a"), ("ArrowDown", "2/A1a")):
        page.keyboard.press(key)
        page.wait_for_url(f"**/well/PICTURES/{url}")
        expect(page.locator(".well-name")).to_have_text(url[2:])
        expect(page.locator("#up")).to_have_text(f"PICTURES · {url[0]}")
        assert seen(page) == pytest.approx(before, abs=0.01), url  # also of a picture of another size
        assert page.evaluate("document.fullscreenElement !== null")
    page.reload()
    expect(page.locator("#zoom-now")).not_to_be_empty()
    assert seen(page) == pytest.approx(before, abs=0.01)
    page.keyboard.press("f")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/2/A2a")
    assert seen(page) == pytest.approx((1, 0.5, 0.5), abs=0.01)


def test_uv_lies_over_the_visible_picture_and_the_inspections_play_at_one_place(signed_in):
    page = signed_in()
    page.goto(WELL)
    page.keyboard.press("+")
    page.keyboard.press("v")
    expect(page.locator("#uv-status")).to_have_text("aligned", timeout=SLOW)
    assert moved(page, "#uv") == pytest.approx((-6, 6), abs=3)
    page.keyboard.press("v")  # in turn with the visible picture
    for opacity in ("0", "1"):
        expect(page.locator("#uv")).to_have_css("opacity", opacity)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#uv-status")).to_have_text("not aligned: the pictures show different fields", timeout=SLOW)
    page.keyboard.press("v")
    expect(page.locator("#uv")).to_be_hidden()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".well-name")).to_have_text("A1a")
    page.keyboard.press(",")
    words = page.locator("#lapse-words")
    expect(words).to_have_text(
        "2024-01-01 09:00 · 0 h after the first inspection · inspection 1 · clear · scores go to inspection 2",
        timeout=SLOW,
    )
    assert moved(page, "#lapse img") == pytest.approx((RIGHT, DOWN), abs=1)
    frame = page.locator("#stage > .frame .line")
    colours = [frame.evaluate("line => getComputedStyle(line).stroke")]
    page.keyboard.press(".")
    expect(words).to_have_text(
        "2024-01-08 12:00 · 171 h after the first inspection · inspection 2 · crystals harvestable"
    )
    colours.append(frame.evaluate("line => getComputedStyle(line).stroke"))
    assert len(set(colours)) == 2
    page.locator("#lapse-speed").select_option("2")
    page.locator("#stage").focus()
    page.keyboard.press(" ")
    for inspection in ("inspection 1 ·", "inspection 2 ·", "inspection 1 ·"):
        expect(words).to_contain_text(inspection)
    page.keyboard.press(" ")
    expect(page.locator("#lapse-play")).to_contain_text("Play")
    page.keyboard.press("Escape")  # the time lapse ends, and the page stays
    expect(page.locator("#lapse-label")).to_be_hidden()
    assert page.url.endswith(WELL)
    page.goto("/well/ALONE/1/A1a")
    expect(page.locator("#lapse-tools")).to_have_count(0)
    page.keyboard.press(".")
    expect(page.locator("#original")).to_be_visible()
    still = signed_in(reduced_motion="reduce")
    still.goto(WELL)
    still.keyboard.press(" ")
    expect(still.locator("#lapse-words")).to_contain_text("inspection 1")
    still.wait_for_timeout(1100)
    expect(still.locator("#lapse-words")).to_contain_text("inspection 1")


def test_no_mark_is_put_on_the_picture_of_another_inspection(signed_in, address):
    page = signed_in()
    page.goto(WELL)
    page.keyboard.press(",")
    expect(page.locator("#lapse-words")).to_contain_text("scores go to inspection 2", timeout=SLOW)
    page.keyboard.press("m")
    page.locator("#stage").click(position={"x": 200, "y": 150})
    expect(page.locator("#ruler-said")).to_contain_text("end the time lapse")
    page.keyboard.press("Escape")  # marking
    page.keyboard.press("Escape")  # the time lapse
    page.keyboard.press("m")
    page.locator("#stage").click(position={"x": 300, "y": 200})
    expect(page.locator("#marks-list li")).to_have_count(1)
    marks = [address[1].state.site.ledger.marks.of_image(image).standing for image in (1, 3)]
    assert list(map(len, marks)) == [0, 1]


def test_tone_by_keys_and_the_map_s_legend(signed_in):
    page = signed_in(color_scheme="dark")
    page.goto(WELL)
    page.get_by_text("Brightness, contrast").press(" ")
    contrast = page.get_by_role("slider", name="Contrast")
    for _ in range(25):
        contrast.press("ArrowRight")
    expect(contrast).to_have_attribute("aria-valuetext", "2.00×")
    picture = page.locator("#original")
    expect(picture).to_have_css("filter", 'url("#tone-filter")')
    assert page.url.endswith(WELL)  # the arrow keys were the slider's
    page.locator("#stage").focus()
    page.keyboard.press(",")
    expect(page.locator("#lapse-label")).to_be_visible()
    assert [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")] == []
    page.get_by_role("slider", name="Gamma").click(position={"x": 90, "y": 8})
    page.keyboard.press("ArrowRight")  # used with the mouse, a slider leaves the keys to the drop
    page.wait_for_url("**/2/A2a")
    expect(picture).to_have_css("filter", 'url("#tone-filter")')
    page.get_by_role("button", name="Reset").click()
    expect(picture).to_have_css("filter", "none")
    page.locator("#stage").focus()
    page.keyboard.press("h")
    expect(page.locator("#map-status")).to_contain_text("unknown model", timeout=SLOW)  # this drop's are not here
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".well-name")).to_have_text("A1a")
    legend = page.locator("#map-legend li")
    expect(legend).to_have_text(["crystal 25 % of the drop"])
    expect(page.locator("#map-status")).to_have_text("clear 75 %, not coloured")
    expect(legend.locator("i")).to_have_css("background-color", "rgb(224, 32, 27)")
    page.get_by_label("of", exact=True).select_option("precipitate")
    expect(page.locator("#map-status")).to_have_text("nothing seen: no precipitate in this drop")
    expect(legend).to_have_count(0)
