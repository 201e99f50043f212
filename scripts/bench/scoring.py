"""Measure how long a person waits for the next drop after scoring one: with a page load, and without.

    python scripts/bench/scoring.py --home /tmp/bench [--drops 30] [--delay-ms 0]

Chromium scores the drops of a plate of 288 wells in turn by the page's form, as the viewer did until its script kept
scores, and by that script. The time is from the last key until the next drop's picture can be drawn.
"""

import argparse
import asyncio
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import viewer
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.system import System

WELLS = "/well/WELLS288/5/"
DRAWN = """(image) => {
    const picture = document.getElementById('original');
    return picture && picture.dataset.image !== image && picture.complete && picture.naturalWidth > 0;
}"""


def main() -> None:
    """Fill the ledger, score, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder for the ledger")
    parser.add_argument("--drops", type=int, default=30)
    parser.add_argument("--delay-ms", type=float, default=0, help="how much longer each answer takes")
    options = parser.parse_args()
    config = from_string("", home=options.home)
    with System(config) as system:
        viewer.fill(config, system.ledger._db._engine, "WELLS288", 8, 12, 3, 5)
    program = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
    with (
        viewer.Running(config, lambda app: slow_line(app, options.delay_ms / 1000)) as address,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        ways = {"page load": open_page(browser, address, False), "script": open_page(browser, address, True)}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.drops):
            for name, page in ways.items():
                page.wait_for_timeout(400)  # the person looks
                times[name].append(score(page, by_script=name == "script"))
        browser.close()
    for name, seconds in times.items():
        print(f"{name:10} median {statistics.median(seconds) * 1000:5.0f} ms, slowest {max(seconds) * 1000:5.0f} ms")
    print(f"ratio {statistics.median(times['script']) / statistics.median(times['page load']):.2f}")


def open_page(browser: Browser, address: str, with_script: bool) -> Page:
    """Open the plate's first drop, with or without the script of the well page."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    if not with_script:
        page.route("**/static/*.js", lambda route: route.abort())
    page.goto(f"{address}{WELLS}A1a", wait_until="networkidle")
    return page


def score(page: Page, by_script: bool) -> float:
    """Score the drop on the screen, and return the seconds until the next one can be drawn."""
    image = page.locator("#original").get_attribute("data-image")
    if by_script:
        page.keyboard.press("1")
    began = time.perf_counter()
    if by_script:
        page.keyboard.press("3")
    else:
        page.locator("#score-form").evaluate("form => form.requestSubmit(form.querySelector('[data-digits=\"13\"]'))")
    page.wait_for_function(DRAWN, arg=image)
    return time.perf_counter() - began


def slow_line(app: Any, seconds: float) -> Any:
    """Let each answer of a viewer take so much longer."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(seconds)
        await app(scope, receive, send)

    return answer


if __name__ == "__main__":
    main()
