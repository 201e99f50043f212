"""The viewer on windows and on paper: plates of every format fit, nothing is cut, and no picture stays blank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

from .viewer import chromium, fill_plate, serving

WINDOWS = (1280, 800), (1440, 900), (820, 1180), (1180, 820)
PAPER = 1047, 719
"""A4 on its side less 10 mm on each side, in points."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with System(from_string("", home=tmp_path_factory.mktemp("home"))) as system:
        for name, wells, across, drops in (("W96", 96, 12, 3), ("W384", 384, 24, 1), ("W1536", 1536, 48, 1)):
            number = wells * drops
            outcomes = [Outcome.CLEAR, Outcome.HARVESTABLE] * (number // 2)
            fill_plate(system, name, outcomes, [0.1] * number, across=across, drops=drops, pictures=False)
        fill_plate(system, "SEEN", [Outcome.CLEAR] * 96, [0.1] * 96)
        with serving(create_app(system.config)) as opened:
            yield opened


@pytest.mark.parametrize("plate", ["W96", "W384", "W1536"])
def test_a_plate_fits_every_window_and_one_sheet_of_paper(browser, address, plate):
    page = browser.new_context(base_url=address).new_page()
    page.route("**/thumbnail/**", lambda route: route.abort())  # only the page's shape matters
    page.goto(f"/plate/{plate}/1", wait_until="domcontentloaded")
    for width, height in WINDOWS:
        page.set_viewport_size({"width": width, "height": height})
        table, region = page.locator("table.plate").bounding_box(), page.locator(".plate-scroll")
        assert table["x"] + table["width"] <= width and table["y"] + table["height"] <= height
        assert region.evaluate(
            "each => [each.scrollWidth > each.clientWidth, each.scrollHeight > each.clientHeight]"
        ) == [
            False,
            False,
        ]
    page.set_viewport_size({"width": PAPER[0], "height": PAPER[1]})
    page.emulate_media(media="print")
    last = page.locator("table.plate a.tile").last.bounding_box()
    assert last["x"] + last["width"] <= PAPER[0]
    assert last["y"] + last["height"] <= PAPER[1]
    assert not page.get_by_role("link", name="Inbox").is_visible()
    page.context.close()


def test_thumbnails_below_the_window_are_loaded_before_anybody_prints(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
    page = context.new_page()
    page.goto("/plate/SEEN/1?order=best")
    page.wait_for_function(
        "() => [...document.images].every((image) => image.complete && image.naturalWidth)", timeout=20_000
    )
    assert page.locator("a.tile img").count() == 96
    context.close()


def test_a_small_picture_fills_its_place_in_its_shape(browser, address):
    """The pictures here are of 320 x 240 pixels."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=address)
    page = context.new_page()
    page.goto("/well/SEEN/1/A1a", wait_until="load")
    box = page.locator("#original").bounding_box()
    assert box["height"] > 600 and box["width"] / box["height"] == pytest.approx(4 / 3, abs=0.01)
    frame = page.locator(".stage > .frame").bounding_box()
    assert frame["width"] == pytest.approx(box["width"], abs=1)
    page.set_viewport_size({"width": 820, "height": 1180})
    box = page.locator("#original").bounding_box()
    assert 700 < box["width"] <= 820 and box["width"] / box["height"] == pytest.approx(4 / 3, abs=0.01)
    context.close()


def test_boxes_lie_on_the_picture_of_a_phone(browser, address):
    """The box that the worker said begins a third from the picture's left and top, and is a third as large."""
    for window in ((360, 740), (740, 360), (320, 480)):
        context = browser.new_context(viewport=dict(zip(("width", "height"), window, strict=True)), base_url=address)
        page = context.new_page()
        page.goto("/well/SEEN/1/A1a", wait_until="load")
        picture, box = page.locator("#original").bounding_box(), page.locator(".box .line").bounding_box()
        assert picture["width"] / picture["height"] == pytest.approx(4 / 3, abs=0.01), window
        for start, side, part in (("x", "width", (106 / 320, 107 / 320)), ("y", "height", (1 / 3, 1 / 3))):
            seen = (box[start] - picture[start]) / picture[side], box[side] / picture[side]
            assert seen == pytest.approx(part, abs=0.02), window
        context.close()


def test_arrow_keys_go_from_well_to_well(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
    page = context.new_page()
    page.route("**/thumbnail/**", lambda route: route.abort())
    page.goto("/plate/W384/1", wait_until="domcontentloaded")
    at = "document.activeElement.dataset.well"
    for key, well in (
        *(("ArrowRight", "A1a"), ("ArrowRight", "A2a"), ("ArrowDown", "B2a"), ("End", "B24a"), ("ArrowRight", "B24a")),
        *(("ArrowUp", "A24a"), ("ArrowUp", "A24a"), ("Home", "A1a"), ("ArrowDown", "B1a")),
    ):
        page.keyboard.press(key)
        assert page.evaluate(at) == well, key
    assert page.locator("a.tile[tabindex='0']").count() == 1  # Tab leaves the plate
    page.keyboard.press("Enter")
    expect(page.locator("#up")).to_be_visible(timeout=20_000)
    page.wait_for_load_state("domcontentloaded")  # its script has run
    page.keyboard.press("Escape")
    expect(page.locator("a.tile[tabindex='0']")).to_have_attribute("data-well", "B1a", timeout=20_000)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(at) == "C1a"  # from the drop that one comes from
    context.close()


def test_of_1536_wells_only_thumbnails_near_the_window_are_loaded(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/thumbnail/" in request.url else None)
    page.goto("/plate/W1536/1", wait_until="load")
    assert page.locator("a.tile").count() == 1536
    page.wait_for_timeout(800)  # longer than a plate of fewer wells waits before it loads the rest
    assert asked == []
    page.keyboard.press("ArrowRight")
    expect(page.locator("#peek figcaption")).to_contain_text("A1a · clear", timeout=20_000)
    expect(page.locator("#peek")).to_be_visible()
    assert len(asked) == 1
    page.goto("/plate/W1536/1?size=large", wait_until="load")
    page.wait_for_timeout(800)
    seen = page.evaluate(
        """() => [...document.images].filter((image) => {
          const box = image.getBoundingClientRect();
          return box.top < innerHeight && box.left < innerWidth;
        }).length"""
    )
    assert 20 < seen < len(asked) < 768
    context.close()
