"""The viewer in a real browser: a person reviews a plate by keyboard, and the ledger has what they said.

Also that nothing leaves the lab's network, that axe-core finds nothing serious, and that the pages work without scripts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import expect

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.step import user
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

from ..server.web.conftest import link
from .viewer import chromium, fill_plate, saved, serving

OUTCOMES = [Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.UNDECIDED] * 3
CHANCES = [0.01, 0.97, 0.2, 0.6, 0.02, 0.9, 0.15, 0.5, 0.03, 0.8, 0.1, 0.4]
BEST_FIRST = ["A2a", "A6a", "A10a", "A4a", "A8a", "A12a", "A3a", "A7a", "A11a", "A9a", "A5a", "A1a"]
PLATE = "/plate/BROWSER1/2"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = from_string(
        '[imager]\npatterns = ["*_HF.jpg"]\n[viewer]\nuv = ["*_UV.jpg"]', home=tmp_path_factory.mktemp("home")
    )
    with System(config) as opened:
        clear, none = [Outcome.CLEAR] * len(OUTCOMES), [0.01] * len(OUTCOMES)
        fill_plate(opened, "BROWSER1", clear, none, uv=True)
        fill_plate(opened, "BROWSER1", OUTCOMES, CHANCES, inspection=2, at=datetime(2024, 1, 8), uv=True)
        yield opened


@pytest.fixture(scope="module")
def app(system: System) -> FastAPI:
    return create_app(system.config)


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    """A viewer over twelve drops of a plate at two inspections, on a port of its own."""
    with serving(app) as address:
        yield address


@pytest.fixture
def signed_in(browser, app, address):
    """``signed_in(**options)``: a new context of the browser, in which who runs the viewer has opened its link."""

    def open_one(**options):
        context = browser.new_context(base_url=address, **options)
        assert context.request.get(link(app, user())).ok
        return context

    return open_one


@pytest.fixture
def page(signed_in, address):
    """A page that fails its test when the browser complains or asks another host for something."""
    context = signed_in(viewport={"width": 1300, "height": 850})
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(address) or trouble.append(request.url))
    yield opened
    context.close()
    assert trouble == []


def said(system: System, well: str) -> list[Outcome | None]:
    """What the viewer's user said of a drop at the second inspection, in order."""
    images = {str(image.well): image.image_id for image in system.ledger.images.of_plate("BROWSER1", [2])}
    made = system.ledger.corrections.of_images([images[well]])[images[well]]
    assert all(one.who == user() and one.score_id is not None for one in made)
    return [one.outcome for one in made]


def test_a_person_reviews_ten_drops_by_keyboard_corrects_two_and_undoes_one(page, system):
    page.goto("/")
    page.get_by_role("link", name="BROWSER1").click()
    expect(page.locator("a.tile")).to_have_count(12)
    for tile in page.locator("a.tile img").all():
        tile.evaluate("image => image.decode()")  # an error where the picture does not come
    page.get_by_role("link", name="Review").click()
    expect(page.locator(".tile .well")).to_have_text(BEST_FIRST)
    expect(page.locator(".review .stop")).to_contain_text("a drop's chance of a crystal is under 5 %. 0.1 crystals")
    page.locator("a.tile").first.click()
    for place, well in enumerate(BEST_FIRST[:10]):
        page.wait_for_url(f"**/well/BROWSER1/2/{well}?order=best")
        expect(page.locator(".well-name")).to_have_text(well)
        if place == 3:  # undecided: a crystal, they say
            page.keyboard.type("22")
        elif place == 6:
            page.keyboard.press("0")
            expect(page.locator("#digits")).to_have_text("0_")
            page.keyboard.press("1")
        else:
            page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{BEST_FIRST[10]}?order=best")
    saved(page)
    assert said(system, "A4a") == [Outcome.BAD_FORM]
    assert said(system, "A3a") == [Outcome.CLEAR]
    page.keyboard.press("u")
    page.wait_for_url("**/A3a?order=best")  # where it was
    saved(page)
    assert said(system, "A3a") == [Outcome.CLEAR, None]
    assert said(system, "A4a") == [Outcome.BAD_FORM]
    page.keyboard.press("Escape")
    page.wait_for_url(f"**{PLATE}?order=best")
    page.get_by_role("link", name="People").click()
    expect(page.locator("a.tile.o-bad-form")).to_have_count(1)


def test_to_the_next_drop_that_nobody_scored_and_how_far_one_is(page, system):
    images = {str(image.well): image for image in system.ledger.images.of_plate("BROWSER1", [2])}
    system.ledger.corrections.add(images["A6a"].image_id, Outcome.CLEAR, "ben")
    page.goto(f"{PLATE}?order=best")
    page.get_by_role("link", name="10 %", exact=True).click()
    page.goto("/well/BROWSER1/2/A10a?order=best")  # A6a went to the end
    before = int(page.locator("#progress").text_content().split(" of ")[0])
    page.keyboard.type("13")
    page.wait_for_url("**/A8a?order=best")
    expect(page.locator("#progress")).to_have_text(f"{before + 1} of 9")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("n")
    page.wait_for_url("**/A8a?order=best")  # not A4a or A10a
    saved(page)
    page.goto(f"{PLATE}?order=best")
    expect(page.get_by_role("link", name="10 %", exact=True)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")


def test_agreeing_staying_and_taking_back(page, system):
    page.goto("/well/BROWSER1/2/A2a")
    page.get_by_label("Stay on this drop").check()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="crystals harvestable")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)
    saved(page)
    assert said(system, "A2a") == [Outcome.HARVESTABLE, None]


def test_keys_that_are_no_score_score_nothing(page, system):
    page.goto("/well/BROWSER1/2/A1a")
    for key in ("9", "Control+1", "k"):
        page.keyboard.press(key)
    page.locator("#map-group").press("0")  # in a field keys are the field's
    page.locator("#stage").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.type("23")  # the help is open
    page.keyboard.press("Escape")
    assert page.url.endswith("/A1a")
    assert said(system, "A1a") == []


def test_enter_in_a_checkbox_approves_nothing(page):
    page.goto("/operations")
    page.evaluate(
        """() => {
            document.body.insertAdjacentHTML("beforeend", `<form id="review"><button>Approve</button><input type="checkbox"></form>`);
            window.sent = 0;
            document.getElementById("review").addEventListener("submit", (event) => { event.preventDefault(); window.sent++; });
        }"""
    )
    page.locator("#review input").press("Space")
    page.locator("#review input").press("Enter")
    assert page.evaluate("[window.sent, document.querySelector('#review input').checked]") == [0, True]
    page.locator("#review button").press("Enter")
    assert page.evaluate("window.sent") == 1


def test_boxes_lie_where_the_worker_said_also_when_zoomed_in(page):
    page.goto("/well/BROWSER1/2/A2a")
    box, picture = page.locator(".overlay .box .line").first, page.locator("img.original")
    for zoom in (1, 1.5, 2.25):
        drawn, whole = box.bounding_box(), picture.bounding_box()
        assert abs((drawn["x"] - whole["x"]) / whole["width"] - 106 / 320) < 0.01
        assert abs((drawn["y"] - whole["y"]) / whole["height"] - 80 / 240) < 0.01
        assert whole["width"] == pytest.approx(zoom * page.locator("#stage").bounding_box()["width"], abs=2)
        page.keyboard.press("+")
    before = picture.bounding_box()
    middle = page.locator("#stage").bounding_box()
    page.mouse.move(middle["x"] + 100, middle["y"] + 100)
    page.mouse.down()
    page.mouse.move(middle["x"] + 60, middle["y"] + 70)
    page.mouse.up()
    after = picture.bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-40, -30), abs=1)
    page.keyboard.press("Escape")  # first back to the whole picture, then to the plate
    assert picture.bounding_box()["width"] == pytest.approx(middle["width"], abs=2)
    page.keyboard.press("Escape")
    page.wait_for_url(f"**{PLATE}")


def test_a_picture_that_says_it_lies_on_its_side_is_shown_as_it_was_scored(page, system):
    """Its EXIF data ask for a quarter turn. The worker's box (80, 106, 80, 107) is blue in the file as it is stored."""
    (file,) = system.config.image_root.glob("BROWSER1/2/5_HF.jpg")
    picture, turned = Image.new("RGB", (320, 240), (200, 200, 190)), Image.Exif()
    picture.paste((20, 20, 230), (106, 80, 213, 160))
    turned[274] = 6
    picture.save(file, quality=95, exif=turned)
    page.goto("/well/BROWSER1/2/A6a", wait_until="load")
    for place in (".crop", ".overlay .box .line"):
        drawn = page.locator(place).first.bounding_box()
        shot = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=drawn))).convert("RGB")).astype(int)
        blue = (shot[..., 2] > 150) & (shot[..., 0] < 80)
        assert blue[blue.shape[0] // 2].mean() > 0.9, place  # from its left to its right

    def without_score(route):  # of such a picture the page does not know the size
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r' (data-)?(width|height)="(320|240)"', "", answer.text()))

    page.route("**/well/BROWSER1/2/A6a", without_score)
    page.reload(wait_until="load")
    shown = page.locator("#original").bounding_box()
    assert shown["width"] / shown["height"] == pytest.approx(4 / 3, abs=0.01)
    page.keyboard.press("m")
    page.mouse.click(shown["x"] + 0.75 * shown["width"], shown["y"] + 0.25 * shown["height"])
    saved(page)
    (image,) = [one.image_id for one in system.ledger.images.of_plate("BROWSER1", [2]) if str(one.well) == "A6a"]
    (mark,) = system.ledger.marks.of_image(image).standing
    assert (mark.x, mark.y) == pytest.approx((240, 60), abs=1)
    page.unroute_all(behavior="ignoreErrors")  # the page may be asked for again as it is left


def test_the_drop_over_time_and_its_uv_mate(page):
    page.goto("/well/BROWSER1/2/A2a")
    assert page.get_by_alt_text("UV image 1 of A2a").evaluate("image => image.decode().then(() => image.naturalWidth)")
    expect(page.locator(".strip .caption b", has_text="+7 d")).to_have_count(1)
    page.keyboard.press("ArrowUp")
    page.wait_for_url("**/well/BROWSER1/1/A2a")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**/well/BROWSER1/2/A2a")


def test_what_is_switched_off_stays_off(page):
    page.goto("/well/BROWSER1/2/A2a")
    boxes = page.locator(".overlay .boxes")
    assert boxes.is_visible()
    page.keyboard.press("b")
    assert not boxes.is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/A3a")
    assert not page.locator(".overlay .boxes").is_visible()
    page.get_by_label("Boxes").check()
    assert page.locator(".overlay .boxes").is_visible()


PAGES = (
    "/",
    PLATE,
    f"{PLATE}?order=best",
    f"{PLATE}?show=heat",
    f"{PLATE}?show=ever",
    "/conditions",
    "/conditions/grid?condition=0.1 M HEPES pH 7.5, 25 %25 w/v PEG 3350, a secret",
    f"{PLATE}?show=disagreement",
    "/well/BROWSER1/2/A2a",
    "/inbox",
    "/tokens",
    "/operations",
    "/sign-in",
    "/nothing",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_either_theme(signed_in, scheme):
    context = signed_in(color_scheme=scheme, viewport={"width": 1300, "height": 850})
    page = context.new_page()
    for each in PAGES:
        page.goto(each)
        found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [node["html"] for node in v["nodes"][:3]]) for v in found] == [], each
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
    assert (sum(int(part) for part in ground) < 200) is (scheme == "dark")
    context.close()


def test_the_menu_of_downloads_by_keyboard(page):
    page.goto(PLATE)
    button, excel = page.locator("#downloads summary"), page.locator("#downloads a", has_text="Excel")
    button.press("Enter")
    expect(excel).to_be_visible()
    assert [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")] == []
    excel.press("Escape")
    expect(excel).to_be_hidden()
    expect(button).to_be_focused()
    button.press("Enter")
    with page.expect_download() as got:
        excel.press("Enter")
    assert got.value.suggested_filename == "BROWSER1_2_xlsx.xlsx"
    expect(excel).to_be_hidden()
    for width in range(360, 1500, 60):  # wherever the button is, the menu is in the window
        page.set_viewport_size({"width": width, "height": 800})
        button.press("Enter")
        menu = page.locator("#downloads .menu").bounding_box()
        assert menu["x"] >= 0 and menu["x"] + menu["width"] <= width, (width, menu)
        excel.press("Escape")


def test_every_page_fits_a_tablet(signed_in):
    context = signed_in(viewport={"width": 768, "height": 1024}, has_touch=True)
    page = context.new_page()
    for each in PAGES:
        page.goto(each)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), each
    page.goto("/well/BROWSER1/2/A2a")
    assert min(button.bounding_box()["height"] for button in page.locator(".scores button").all()) >= 38
    context.close()


def test_without_scripts_people_score_all_the_same(signed_in, system):
    context = signed_in(java_script_enabled=False)
    page = context.new_page()
    page.goto("/well/BROWSER1/2/A12a")
    page.get_by_role("button", name="precipitate bad").click()
    page.goto("/well/BROWSER1/2/A12a")
    page.get_by_role("button", name="Undo").click()
    assert said(system, "A12a") == [Outcome.PRECIPITATE_BAD, None]
    context.close()


def test_a_printed_drop_names_its_plate_and_has_nothing_to_click(page):
    page.goto("/well/BROWSER1/2/A2a")
    expect(page.locator(".on-paper")).to_be_hidden()
    page.emulate_media(media="print")
    expect(page.locator(".on-paper")).to_have_text("Plate BROWSER1 · 2024-01-08 00:00")
    assert page.locator("form:visible, button:visible, select:visible").count() == 0
    page.emulate_media(media="screen")
    page.goto(PLATE)
    page.keyboard.press("s")
    expect(page.locator("#selected")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator("#selected")).to_be_hidden()
    assert page.locator("button:visible").count() == 0


def test_the_frame_is_dashed_where_it_is_not_a_crystal(page):
    page.goto(PLATE)
    dashes = [
        page.locator(f"a.tile.o-{kind} .frame .line").first.evaluate("line => getComputedStyle(line).strokeDasharray")
        for kind in ("harvestable", "precipitate", "clear", "undecided")
    ]
    assert dashes[0] == "none"
    assert len(set(dashes)) == 4
