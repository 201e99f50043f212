"""Scores typed on keyboards other than the American one, and pages that the browser kept while others were open."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from xtalgrid_core.outcomes import Outcome

from .typists import BARCODE, lab, typist
from .viewer import chromium, saved

DOWN = "key => document.body.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...key}))"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def plate(tmp_path):
    with lab(tmp_path, 12) as opened:
        yield opened


def press(page: Page, *keys: tuple[str, str], shift: bool = False) -> None:
    """Press keys: what is written on each, and its place by the name of the American key there."""
    for key, code in keys:
        page.evaluate(DOWN, {"key": key, "code": code, "shiftKey": shift})


def test_a_score_is_the_same_key_with_caps_lock_in_another_alphabet_and_where_digits_need_shift(browser, plate):
    _, page = typist(browser, plate, "ann")
    press(page, ("C", "KeyC"))  # Caps Lock
    press(page, ("з", "KeyP"))  # Russian
    press(page, ("χ", "KeyX"))  # Greek
    press(page, ("é", "Digit2"), ('"', "Digit3"))  # French
    press(page, ("2", "Digit2"), ("1", "Digit1"), shift=True)
    press(page, ("+", "Digit1"), ("ě", "Digit2"))  # Czech
    press(page, ("o", "KeyR"))  # Dvorak: what is written on it counts
    press(page, ("۰", "Numpad0"), ("۱", "Numpad1"))  # Persian
    saved(page)
    meant = [Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.CLEAR, Outcome.HARVESTABLE]
    meant += [Outcome.OVERNUCLEATED, Outcome.PRECIPITATE_BAD, Outcome.OTHER, Outcome.CLEAR]
    assert plate.given() == {("ann", f"A{n}a", outcome): 1 for n, outcome in enumerate(meant, 1)}
    page.context.close()


def test_signs_on_the_keys_of_digits_keep_their_meaning(browser, plate):
    _, page = typist(browser, plate, "ann")
    press(page, ("=", "Equal"))
    expect(page.locator("#zoom-now")).to_have_text("zoomed 1.5×")
    press(page, ("-", "Digit6"))  # French; no score has a 6
    expect(page.locator("#zoom-now")).to_have_text("")
    press(page, ("*", "Digit8"), shift=True)  # American
    expect(page.locator("#favourite")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#digits")).to_have_text("")
    page.context.close()


def test_several_wells_are_scored_by_the_same_keys(browser, plate):
    _, page = typist(browser, plate, "ann")
    page.goto(f"/plate/{BARCODE}/1")
    press(page, ("Ы", "KeyS"))
    page.locator("a.tile[data-well=A2a]").click()
    press(page, ("à", "Digit0"), ("&", "Digit1"))
    saved(page)
    assert plate.given() == {("ann", "A2a", Outcome.CLEAR): 1}
    page.context.close()


def test_a_page_that_the_browser_kept_knows_what_was_given_since(browser, plate):
    """Back may show a page as it was left, without loading it; undo on it must not undo what was given before."""
    _, page = typist(browser, plate, "ann")
    page.keyboard.type("13")
    saved(page)
    given = page.evaluate("JSON.parse(sessionStorage[Object.keys(sessionStorage).find(k => k.includes('given'))])")
    given["given"].append(dict(given["given"][0], key="f" * 32, drop="A7a"))
    page.evaluate(
        "given => { sessionStorage[Object.keys(sessionStorage).find(k => k.includes('given'))] = JSON.stringify(given) }",
        given,
    )
    with page.expect_navigation():
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("#last-score")).to_have_text("Last: A7a, precipitate")
    page.context.close()
