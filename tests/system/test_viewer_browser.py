"""The viewer in a real browser: a person opens a plate, goes to a drop, sees its boxes and walks on with the arrow keys."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from tests.conftest import missing
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.database import ImageRow
from xtalgrid_server.ledger.records import PlannedImage
from xtalgrid_server.system import System
from xtalgrid_server.viewer.app import create_app
from xtalgrid_server.wells import Well

from ..server.conftest import answer, draw_well, result_of

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
OUTCOMES = [Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.UNDECIDED]
CHANCES = [0.01, 0.97, 0.2, 0.6]


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        missing("no chromium on this machine; Debian: apt-get install chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
            ],
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A viewer over four drops of a plate, on a port of its own."""
    config = from_string("", home=tmp_path_factory.mktemp("home"))
    with System(config) as system:
        _fill(system)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(config), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the viewer did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)
    listening.close()


@pytest.fixture
def page(browser, address):
    """A page that fails its test when the browser complains or asks another host for something."""
    context = browser.new_context(viewport={"width": 1300, "height": 850}, base_url=address)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(address) or trouble.append(request.url))
    yield opened
    context.close()
    assert trouble == []


def test_from_the_plate_to_a_drop_and_on_with_the_arrow_keys(page):
    page.goto("/")
    page.get_by_role("link", name="BROWSER1").click()
    expect(page.locator("a.tile")).to_have_count(4)
    for tile in page.locator("a.tile img").all():
        tile.evaluate("image => image.decode()")  # an error where the picture does not come
    page.locator("a.tile.o-harvestable").click()
    page.wait_for_url("**/well/BROWSER1/1/A2a")
    assert page.get_by_role("heading", level=1).inner_text().split("\n")[-1].endswith("crystals harvestable")
    box = page.locator(".overlay .box .line").first
    assert box.is_visible()
    picture = page.locator("img.original").bounding_box()
    drawn = box.bounding_box()
    assert abs((drawn["x"] - picture["x"]) / picture["width"] - 106 / 320) < 0.01  # where the worker said it is
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/A3a")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/A2a")
    page.keyboard.press("Escape")
    page.wait_for_url("**/plate/BROWSER1/1")


def test_boxes_are_switched_off_and_stay_off(page):
    page.goto("/well/BROWSER1/1/A2a")
    boxes = page.locator(".overlay .boxes")
    assert boxes.is_visible()
    page.keyboard.press("b")
    assert not boxes.is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/A3a")
    assert not page.locator(".overlay .boxes").is_visible()
    page.get_by_label("Boxes").check()
    assert page.locator(".overlay .boxes").is_visible()


def test_full_size_and_back(page):
    page.goto("/well/BROWSER1/1/A2a")
    page.get_by_role("button", name="Full size").click()
    assert page.locator("img.original").bounding_box()["width"] == pytest.approx(320, abs=1)
    assert page.locator(".overlay").bounding_box()["width"] == pytest.approx(320, abs=1)  # the boxes stay in place
    page.keyboard.press("z")
    assert page.get_by_role("button", name="Full size").get_attribute("aria-pressed") == "false"


def test_the_best_drops_first_and_by_outcome(page):
    page.goto("/plate/BROWSER1/1")
    page.get_by_role("link", name="Best first").click()
    expect(page.locator(".tile .name")).to_have_text(["A2a", "A4a", "A3a", "A1a"])
    page.locator(".legend a.o-undecided").click()
    expect(page.locator(".tile .name")).to_have_text(["A4a"])
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(".tile")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(browser, address, scheme):
    context = browser.new_context(color_scheme=scheme, base_url=address)
    page = context.new_page()
    page.goto("/plate/BROWSER1/1")
    text, ground = (
        [int(part) for part in page.evaluate(f"getComputedStyle(document.body).{what}").strip("rgb()").split(",")]
        for what in ("color", "backgroundColor")
    )
    assert abs(sum(text) - sum(ground)) > 500
    assert (sum(ground) < 200) is (scheme == "dark")
    context.close()


def test_the_frame_is_dashed_where_it_is_not_a_crystal(page):
    page.goto("/plate/BROWSER1/1")
    dashes = [
        page.locator(f"a.tile.o-{kind} .frame .line").evaluate("line => getComputedStyle(line).strokeDasharray")
        for kind in ("harvestable", "precipitate", "clear", "undecided")
    ]
    assert dashes[0] == "none"
    assert len(set(dashes)) == 4


def _fill(system: System) -> None:
    places = [
        ImageRow(0, "BROWSER1", 1, datetime(2024, 1, 1), Well(1, n + 1, 1), f"{n}.jpg") for n in range(len(OUTCOMES))
    ]
    for n, place in enumerate(places):
        draw_well(_path(system, place), shade=40 * n)
    rows = system.imager.register(places)
    entries = tuple(
        wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
        for n, row in enumerate(rows)
    )
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    manifest = wire.Manifest(schema=1, unit="xg_browser", min_worker="0.1.0", options=options, images=entries)
    system.ledger.work.add_unit(manifest, [PlannedImage(row, "d" * 64) for row in rows])
    unit = system.ledger.work.unit("xg_browser")
    assert unit is not None
    answers = [answer(n, outcome, p_crystal=CHANCES[n]) for n, outcome in enumerate(OUTCOMES)]
    system.ledger.work.accept_result(unit, "f" * 64, result_of(manifest, answers), options)


def _path(system: System, row: ImageRow) -> Path:
    return system.config.image_root / row.barcode / str(row.inspection) / row.image_name
