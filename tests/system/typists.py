"""People who type scores as fast as they can, over a bad line, and the ledger's word on what arrived."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth.cookies import SESSION
from xtalgrid_server.web.auth.passwords import hash_password
from xtalgrid_server.web.pages.scoring import score_keys

from .viewer import Line, fill_plate, saved, serving

PASSWORD = "drops and salts"
BARCODE = "TYPED1"

Given = Counter[tuple[str, str, Outcome | None]]
"""How often the ledger has (person, well, outcome)."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A viewer with a plate that nobody has scored; `line` is between it and the browsers."""

    system: System
    line: Line
    address: str

    @property
    def wells(self) -> list[str]:
        """The plate's wells in the order of the page."""
        images = self.system.ledger.images.of_plate(BARCODE)
        return [str(image.well) for image in sorted(images, key=lambda image: image.well)]

    def given(self) -> Given:
        """Count what people gave."""
        images = {image.image_id: str(image.well) for image in self.system.ledger.images.of_plate(BARCODE)}
        made = self.system.ledger.corrections.of_images(list(images))
        return Counter((one.who, images[one.image_id], one.outcome) for each in made.values() for one in each)


@contextmanager
def lab(home: Path, drops: int, people: Sequence[str] = ("ann", "ben")) -> Iterator[Lab]:
    """A viewer that these people sign in to."""
    config = from_string('[viewer]\nsign_in = "users"', home=home)
    with System(config) as system:
        for name in people:
            system.ledger.users.set_password(name, hash_password(PASSWORD), "test")
        fill_plate(system, BARCODE, [Outcome.CLEAR] * drops, [0.1] * drops)
        line = Line(create_app(config))
        with serving(line) as address:
            yield Lab(system, line, address)


def sign_in(page: Page, name: str) -> None:
    """Sign in by the form that is on the page."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def typist(browser: Browser, lab: Lab, name: str) -> tuple[BrowserContext, Page]:
    """Somebody who has signed in and opened the plate's first drop."""
    context = browser.new_context(viewport={"width": 1300, "height": 850}, base_url=lab.address)
    page = context.new_page()
    page.goto(f"/sign-in?then=/well/{BARCODE}/1/{lab.wells[0]}")
    sign_in(page, name)
    page.locator("#score-form").wait_for()
    page.wait_for_load_state("networkidle")
    return context, page


def type_all(
    browser: Browser,
    lab: Lab,
    *,
    key_ms: float,
    delay_s: float = 0.0,
    failing: float = 0.0,
    expiring: bool = False,
    people: Sequence[str] = ("ann",),
) -> tuple[Given, Given]:
    """Let people score all drops at once, each with scores of their own.

    Parameters
    ----------
    key_ms
        Milliseconds from one key to the next.
    expiring
        End the sessions in the middle; people sign in again, in place, when they have typed everything.

    Returns
    -------
    What they meant, and what the ledger has.
    """
    codes = score_keys(lab.system.config)
    meant: Given = Counter()
    texts, opened = [], []
    for n, name in enumerate(people):
        chosen = random.Random(n).choices(codes, k=len(lab.wells))
        meant.update((name, well, key.outcome) for well, key in zip(lab.wells, chosen, strict=True))
        texts.append("".join(key.digits for key in chosen))
        opened.append(typist(browser, lab, name))
    lab.line.delay, lab.line.failing = delay_s, failing
    due = time.monotonic()
    for n, digits in enumerate(zip(*texts, strict=True)):
        for (_, page), digit in zip(opened, digits, strict=True):
            page.keyboard.press(digit)
        if expiring and n == len(texts[0]) // 2:
            for context, _ in opened:
                context.clear_cookies(name=SESSION)
        due += key_ms / 1000
        opened[0][1].wait_for_timeout(max(1000 * (due - time.monotonic()), 0))
    for (context, page), name in zip(opened, people, strict=True):
        if expiring:
            page.get_by_label("Password").wait_for()
            lab.line.failing = 0.0  # who signs in sees that it failed, and tries again
            sign_in(page, name)
        saved(page, 60)
        context.close()
    lab.line.delay = lab.line.failing = 0.0
    return meant, lab.given()


def differences(meant: Given, given: Given) -> list[str]:
    """Say what the ledger has too little or too much of."""
    lost, wrong = meant - given, given - meant
    return [
        f"{what}: {who} {well} {outcome}"
        for what, these in (("lost", lost), ("wrong", wrong))
        for who, well, outcome in itertools.islice(these.elements(), 20)
    ]
