"""No keystroke is lost: scores typed fast, over bad lines, without a session, in two tabs, are on their drops, once."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from xtalgrid_core.outcomes import Outcome

from .typists import BARCODE, PASSWORD, differences, lab, sign_in, type_all, typist
from .viewer import chromium, saved


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def plate(tmp_path):
    with lab(tmp_path, 12) as opened:
        yield opened


def test_two_people_type_fast_over_a_bad_line_while_their_sessions_end(browser, tmp_path):
    with lab(tmp_path, 20) as opened:
        meant, given = type_all(
            browser, opened, key_ms=60, delay_s=0.15, failing=0.1, expiring=True, people=("ann", "ben")
        )
    assert differences(meant, given) == []


def test_a_left_over_digit_is_never_part_of_the_next_drops_score(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    page.keyboard.type("13")
    page.keyboard.press("0")
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("01")
    saved(page)
    assert plate.given() == {("ann", "A2a", Outcome.PRECIPITATE): 1, ("ann", "A2a", Outcome.CLEAR): 1}
    page.context.close()


def test_a_key_held_down_is_one_key(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.keyboard.down("1")
    page.keyboard.down("1")  # the repetition that a keyboard sends
    page.keyboard.up("1")
    page.keyboard.press("3")
    saved(page)
    assert plate.given() == {("ann", "A1a", Outcome.PRECIPITATE): 1}
    page.context.close()


def test_a_double_click_is_one_score(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.get_by_role("button", name="clear x 01", exact=True).dblclick()
    expect(page.locator(".well-name")).to_have_text("A2a")
    page.wait_for_timeout(300)
    page.get_by_label("Stay on this drop").press("Enter")
    saved(page)
    assert plate.given() == {("ann", "A1a", Outcome.CLEAR): 1}
    page.context.close()


def test_undo_is_one_undo_by_a_double_click_and_by_a_key_held_down(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.keyboard.type("010101", delay=400)
    saved(page)
    page.evaluate(
        """() => new Promise((resolve) => {
            const button = () => document.querySelector("#undo-form button"), first = button();
            first.click();
            const again = () => { if (button() && button() !== first) { button().click(); resolve(); } else setTimeout(again); };
            again();
        })"""
    )
    saved(page)
    assert plate.given()[("ann", "A3a", None)] == 1
    assert ("ann", "A2a", None) not in plate.given()
    page.goto(f"/plate/{BARCODE}/1")
    page.keyboard.press("s")
    for well in ("A5a", "A6a"):
        page.locator(f"a.tile[data-well={well}]").click()
        page.keyboard.type("13")
    page.locator("#undo-selected").focus()
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # the repetition that a keyboard sends
    page.keyboard.up("Enter")
    expect(page.locator("#selected-said")).to_contain_text("Undone")
    saved(page)
    assert plate.given()[("ann", "A6a", None)] == 1
    assert ("ann", "A5a", None) not in plate.given()
    page.context.close()


def test_scores_wait_for_a_line_that_broke_also_in_a_closed_tab(browser, plate):
    context, page = typist(browser, plate, "ann")
    plate.line.cut = True
    page.keyboard.type("131101", delay=20)
    expect(page.locator("#waiting")).to_contain_text("3 scores waiting: The viewer")
    expect(page.locator(".strip .by-me.waiting")).to_have_count(3)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#loading-problem")).to_contain_text("trying again")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]
    assert not plate.given()
    plate.line.cut = False
    returned = context.new_page()
    returned.goto("/")
    saved(returned)
    assert plate.given() == {
        ("ann", "A1a", Outcome.PRECIPITATE): 1,
        ("ann", "A2a", Outcome.PRECIPITATE_GOOD): 1,
        ("ann", "A3a", Outcome.CLEAR): 1,
    }
    context.close()


def test_what_waits_is_read_once_however_many_drops_a_page_has(browser, plate):
    """Reading it for each drop took seconds for each key, on a plate of 1,536 drops with hundreds of scores waiting."""
    _, page = typist(browser, plate, "ann")
    plate.line.cut = True
    page.keyboard.type("01010101", delay=20)
    page.wait_for_timeout(300)
    page.evaluate(
        """() => {
            const get = Storage.prototype.getItem;
            window.readings = 0;
            Storage.prototype.getItem = function (key) { window.readings += key.startsWith("xtalgrid-waiting"); return get.call(this, key); };
            window.dispatchEvent(new StorageEvent("storage", {key: `xtalgrid-waiting ${new URL(document.querySelector(".brand").href).pathname} x`}));
        }"""
    )
    assert 4 <= page.evaluate("window.readings") <= 8  # of four that wait: once to paint, once for the line in the head
    page.context.close()


def test_two_tabs_of_one_person(browser, plate):
    context, page = typist(browser, plate, "ann")
    second = context.new_page()
    second.goto(f"/well/{BARCODE}/1/A7a")
    plate.line.delay = 0.2
    for one, two in zip("131313", "010101", strict=True):
        page.keyboard.press(one)
        second.keyboard.press(two)
    saved(page)
    saved(second)
    for each, last in ((page, "A3a"), (second, "A9a")):
        expect(each.locator(f".strip a[href$='{last}'] .by-me.waiting")).to_have_count(0)
    wells = {Outcome.PRECIPITATE: ("A1a", "A2a", "A3a"), Outcome.CLEAR: ("A7a", "A8a", "A9a")}
    assert plate.given() == {("ann", well, outcome): 1 for outcome, these in wells.items() for well in these}
    context.close()


def test_a_score_is_undone_before_the_viewer_has_it(browser, plate):
    _, page = typist(browser, plate, "ann")
    plate.line.delay = 0.5
    page.keyboard.type("1301", delay=20)
    page.keyboard.press("u")
    page.wait_for_url("**/A2a")
    saved(page)
    kept = plate.system.ledger.person_scores.of(plate.system.ledger.images.of_plate(BARCODE))
    assert [(one.outcome, one.who) for each in kept.values() for one in each] == [(Outcome.PRECIPITATE, "ann")]
    page.context.close()


def test_undo_goes_back_to_the_first_score_and_says_what_it_undid(browser, plate):
    context, page = typist(browser, plate, "ann")
    other = typist(browser, plate, "ann")[1]
    other.goto(f"/well/{BARCODE}/1/A9a")
    page.keyboard.type("1301", delay=20)
    other.keyboard.type("13")  # the same person at another computer
    saved(other)
    page.keyboard.type("11", delay=20)
    saved(page)
    for well, outcome in (("A3a", "precipitate good"), ("A2a", "clear"), ("A1a", "precipitate")):
        page.keyboard.press("u")
        expect(page.locator(".well-name")).to_have_text(well)
        expect(page.locator("#undone")).to_have_text(f"Undone: {well}, {outcome}")
        saved(page)
        if well == "A2a":
            page.reload()
            expect(page.locator("#last-score")).to_have_text("Last: A1a, precipitate")
            expect(page.locator("#undone")).to_have_text("Undone: A2a, clear")
    page.keyboard.press("u")  # there is nothing left
    expect(page.locator("#undo-form")).to_be_hidden()
    saved(page)
    kept = plate.system.ledger.person_scores.of(plate.system.ledger.images.of_plate(BARCODE))
    assert [(one.outcome, one.who) for each in kept.values() for one in each] == [(Outcome.PRECIPITATE, "ann")]
    assert plate.given()["ann", "A9a", Outcome.PRECIPITATE] == 1
    other.context.close()
    context.close()


def test_the_later_score_counts_also_if_the_clock_was_set_back_before_it(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.get_by_label("Stay on this drop").check()
    plate.line.cut = True  # so that both wait, and are sent in their order
    page.keyboard.type("13", delay=20)
    page.evaluate("() => { const now = Date.now; Date.now = () => now() - 60_000; }")
    page.keyboard.type("01", delay=20)
    expect(page.locator("#waiting")).to_contain_text("2 scores waiting")
    plate.line.cut = False
    saved(page)
    kept = plate.system.ledger.person_scores.of(plate.system.ledger.images.of_plate(BARCODE))
    assert [(one.outcome, one.who) for each in kept.values() for one in each] == [(Outcome.CLEAR, "ann")]
    page.context.close()


def test_one_key_scores_a_group_also_between_digits(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.keyboard.type("cpox1313c", delay=20)
    page.keyboard.type("1x", delay=20)  # the digit is forgotten
    saved(page)
    meant = [Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.OTHER, Outcome.CLEAR, Outcome.PRECIPITATE]
    meant += [Outcome.PRECIPITATE, Outcome.HARVESTABLE, Outcome.CLEAR]
    assert plate.given() == {("ann", f"A{n}a", outcome): 1 for n, outcome in enumerate(meant, 1)}
    page.context.close()


def test_several_wells_are_scored_and_undone_at_once(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.goto(f"/plate/{BARCODE}/1")
    tile = {well: page.locator(f"a.tile[data-well={well}]") for well in plate.wells}
    page.keyboard.press("s")
    tile["A1a"].click()
    tile["A4a"].click(modifiers=["Shift"])
    expect(page.locator("#selected-number")).to_have_text("4 selected")
    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"][:3]]) for each in found] == []
    plate.line.failing = 0.3
    page.keyboard.press("c")
    tile["A6a"].click()
    tile["A7a"].click()
    tile["A6a"].click()
    page.keyboard.type("01")
    expect(page.locator(".by-me")).to_have_count(5)
    saved(page)
    meant = {("ann", f"A{n}a", Outcome.HARVESTABLE): 1 for n in range(1, 5)} | {("ann", "A7a", Outcome.CLEAR): 1}
    assert plate.given() == meant
    plate.line.failing = 0
    page.reload()
    page.keyboard.press("s")
    page.keyboard.press("u")
    expect(page.locator("#selected-said")).to_have_text("Undone: clear of 1 well")
    page.keyboard.press("u")
    expect(page.locator("#selected-said")).to_have_text("Undone: crystals harvestable of 4 wells")
    saved(page)
    assert plate.given() == meant | {("ann", f"A{n}a", None): 1 for n in (1, 2, 3, 4, 7)}
    page.keyboard.press("Escape")
    tile["A2a"].click()
    page.wait_for_url("**/A2a")
    page.context.close()


def test_a_range_of_wells_leaves_out_those_that_the_filter_hides(browser, plate):
    context, page = typist(browser, plate, "ann")
    page.keyboard.type("2301", delay=400)  # A1 a crystal, A2 clear, as all others are
    saved(page)
    page.goto(f"/plate/{BARCODE}/1?only=clear")
    page.keyboard.press("s")
    page.locator("a.tile[data-well=A3a]").click()
    page.locator("a.tile[data-well=A1a]").focus()
    page.locator("a.tile[data-well=A5a]").click(modifiers=["Shift"])
    expect(page.locator("#selected-number")).to_have_text("3 selected")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.locator("a.tile[data-well=A2a]").click()
    page.locator("a.tile[data-well=A12a]").click(modifiers=["Shift"])
    expect(page.locator("#selected-number")).to_have_text("11 selected")
    page.keyboard.press("Escape")
    page.goto(f"/plate/{BARCODE}/1?only=harvestable")
    page.keyboard.press("s")
    page.locator("a.tile[data-well=A1a]").click()
    page.locator("a.tile[data-well=A12a]").click(modifiers=["Shift"])
    expect(page.locator("#selected-number")).to_have_text("2 selected")  # A1, and the one that was clicked
    context.close()


def test_a_drop_comes_although_its_picture_does_not(browser, plate):
    context, page = typist(browser, plate, "ann")
    page.route("**/image/*.jpg", lambda route: None)  # no answer, as from a share that went away
    page.goto(f"/well/{BARCODE}/1/A1a", wait_until="domcontentloaded")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".well-name")).to_have_text("A2a", timeout=15_000)
    page.keyboard.press("x")
    saved(page)
    assert plate.given() == {("ann", "A2a", Outcome.CLEAR): 1}
    context.close()


def test_after_an_upgrade_of_the_viewer_the_next_drop_comes_with_its_scripts(browser, plate):
    context, page = typist(browser, plate, "ann")

    def upgraded(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r'data-version="\w+"', 'data-version="next"', answer.text()))

    page.route(f"**/well/{BARCODE}/1/A8a", upgraded)
    page.goto(f"/well/{BARCODE}/1/A6a", wait_until="networkidle")
    page.evaluate("window.old = true")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".well-name")).to_have_text("A7a")
    assert page.evaluate("window.old") is True
    page.keyboard.press("x")  # given on the old page, and on to the new one
    expect(page.locator(".well-name")).to_have_text("A8a", timeout=20_000)
    page.wait_for_function("window.old === undefined", timeout=20_000)
    saved(page)
    assert plate.given() == {("ann", "A7a", Outcome.CLEAR): 1}
    context.close()


def test_back_and_forward_and_the_end_of_the_plate(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.keyboard.type("13" * 3, delay=20)
    page.go_back()
    page.wait_for_url("**/A3a")
    expect(page.locator(".well-name")).to_have_text("A3a")
    expect(page.get_by_role("button", name="precipitate p 13", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.type("01")
    page.go_back()
    page.go_back()
    expect(page.locator(".well-name")).to_have_text("A2a")
    page.go_forward()
    expect(page.locator(".well-name")).to_have_text("A3a")
    page.goto(f"/well/{BARCODE}/1/A12a")
    page.keyboard.type("130111", delay=20)  # the last drop's score, and keys for drops that are not there
    expect(page.get_by_role("heading", name="That was the last drop")).to_be_visible()
    saved(page)
    wells = [("A1a", Outcome.PRECIPITATE), ("A2a", Outcome.PRECIPITATE), ("A3a", Outcome.PRECIPITATE)]
    wells += [("A3a", Outcome.CLEAR), ("A12a", Outcome.PRECIPITATE)]
    assert plate.given() == {("ann", *each): 1 for each in wells}
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".well-name")).to_have_text("A12a")
    page.context.close()


@pytest.mark.parametrize("status", [409, 413, 422])
def test_a_refused_score_is_said_on_its_drop_until_the_person_decides(browser, plate, status):
    _, page = typist(browser, plate, "ann")
    page.route("**/corrections/typed", lambda route: route.fulfill(status=status, json={"text": "Not this one."}))
    page.keyboard.type("1301", delay=20)
    expect(page.locator("#waiting")).to_have_text("2 scores refused: A1a, A2a")
    expect(page.locator(".strip .by-me.refused")).to_have_count(2)
    page.reload()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#own-score")).to_contain_text("clear: not saved: Not this one.")
    page.unroute("**/corrections/typed")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#own-score")).to_have_text("clear: saved")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#own-score")).to_contain_text("precipitate: not saved")
    page.get_by_role("button", name="Discard").click()
    saved(page)
    assert plate.given() == {("ann", "A2a", Outcome.CLEAR): 1}
    page.context.close()


def test_the_order_stays_while_scores_change_it(browser, plate):
    """The list is of drops that nobody has scored, so that each score shortens it."""
    _, page = typist(browser, plate, "ann")
    page.goto(f"/well/{BARCODE}/1/A1a?show=people&only=unsaid")
    for _ in range(4):
        page.keyboard.type("13")
        page.wait_for_timeout(300)
    saved(page)
    assert sorted(well for _, well, _ in plate.given()) == ["A1a", "A2a", "A3a", "A4a"]
    page.context.close()


# ---- an expired sign-in


def test_signing_in_in_place_sends_what_waits(browser, plate):
    context, page = typist(browser, plate, "ann")
    context.clear_cookies(name="xtalgrid_session")
    page.keyboard.type("1301", delay=20)
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_contain_text("You are no longer signed in. Your scores are kept here")
    page.keyboard.type("11")  # the dialog takes no key that is a score
    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"][:3]]) for each in found] == []
    expect(dialog.get_by_label("Name")).to_have_value("ann")
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert").last).to_have_text("Wrong name or password.")
    assert not plate.given()
    sign_in(page, "ann")
    saved(page)
    expect(dialog).to_be_hidden()
    expect(page.locator(".well-name")).to_have_text("A4a")
    assert plate.given() == {
        ("ann", "A1a", Outcome.PRECIPITATE): 1,
        ("ann", "A2a", Outcome.CLEAR): 1,
        ("ann", "A3a", Outcome.PRECIPITATE_GOOD): 1,
    }
    context.close()


def test_signing_in_in_place_on_a_plate(browser, plate):
    context, page = typist(browser, plate, "ann")
    page.goto(f"/plate/{BARCODE}/1")
    page.keyboard.press("s")
    page.locator("a.tile[data-well=A3a]").click()
    context.clear_cookies(name="xtalgrid_session")
    page.keyboard.press("c")
    expect(page.get_by_role("dialog", name="Sign in")).to_contain_text("Your scores are kept here")
    expect(page.locator("#waiting")).to_have_text("1 score waiting: sign in to save them")
    sign_in(page, "ann")
    saved(page)
    assert plate.given() == {("ann", "A3a", Outcome.HARVESTABLE): 1}
    context.close()


def test_what_cannot_be_read_of_the_kept_scores_is_said_and_costs_no_other(browser, plate):
    context, page = typist(browser, plate, "ann")
    spoilt = {"0": "{", "ann 1": "null", "ann 2": '{"who":"ann","place":"other","key":"k"}'}
    keep = "spoilt => Object.entries(spoilt).forEach(([name, text]) => localStorage.setItem(name, text))"
    page.evaluate(keep, {f"xtalgrid-waiting / {name}": text for name, text in spoilt.items()})
    page.keyboard.type("1301", delay=20)
    said = "3 that this browser kept cannot be read: look whether your last scores are there"
    expect(page.locator("#waiting")).to_have_text(said)
    page.reload()
    expect(page.locator("#waiting")).to_have_text(said)
    assert plate.given() == {("ann", "A1a", Outcome.PRECIPITATE): 1, ("ann", "A2a", Outcome.CLEAR): 1}
    kept = page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('xtalgrid-waiting'))")
    assert sorted(kept) == sorted(f"xtalgrid-waiting / {name}" for name in spoilt)
    context.close()


def test_waiting_scores_are_never_sent_under_another_name(browser, plate):
    context, page = typist(browser, plate, "ann")
    context.clear_cookies(name="xtalgrid_session")
    page.keyboard.type("13")
    dialog = page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("Password").wait_for()
    sign_in(page, "ben")
    expect(dialog).to_contain_text("This browser is now signed in as ben. The scores of ann are kept")
    page.goto(f"/well/{BARCODE}/1/A5a")
    expect(page.locator("#waiting")).to_have_text("scores of ann wait for them to sign in")
    page.keyboard.type("01")
    expect(page.locator("#own-score, .strip .by-me.stored").first).to_be_attached()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"/sign-in?then=/well/{BARCODE}/1/A9a")
    sign_in(page, "ann")
    saved(page)
    assert plate.given() == {("ann", "A1a", Outcome.PRECIPITATE): 1, ("ben", "A5a", Outcome.CLEAR): 1}
    context.close()


def test_without_scripts_signing_in_again_leads_back_to_the_drop(browser, plate):
    context = browser.new_context(base_url=plate.address, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/sign-in?then=/well/{BARCODE}/1/A2a")
    sign_in(page, "ann")
    context.clear_cookies(name="xtalgrid_session")
    page.get_by_role("button", name="crystals harvestable").click()
    page.get_by_role("link", name="Sign in").click()
    sign_in(page, "ann")
    assert page.url.endswith(f"/well/{BARCODE}/1/A2a")
    expect(page.locator("#score-form")).to_be_visible()
    assert PASSWORD not in page.content()
    context.close()
