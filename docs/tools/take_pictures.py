"""Take the pictures of the viewer in docs/pictures: a plate, its review, and a drop.

    python docs/tools/take_pictures.py [FOLDER]

Renders and scores a plate of 48 drops at two inspections in FOLDER (default: a new one), signs somebody in, scores a
few drops by keyboard, and photographs the pages in Chromium. Takes a few minutes; a FOLDER that has the plate is used
again. Needs the extra ``dev`` and a Chromium.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_synth import render_uv, render_well
from xtalgrid_synth.plate import image_name

PICTURES = Path(__file__).parents[1] / "pictures"
PLATE, PASSWORD = "KD000017", "a long password"

CONFIG = """
[imager]
patterns = ["*_HF_99_*"]
pixel_size_um = 2.262
[viewer]
sign_in = "users"
uv = ["*_UV_*"]
"""

LAYOUT = "well,sample,condition,project\n" + "".join(
    f'{row}{column},CDK9 kinase domain,"0.1 M {buffer}, {5 + 5 * column} % PEG 3350",Kinases\n'
    for row, buffer in zip(
        "ABCD", ("imidazole pH 8.0", "HEPES pH 7.5", "Bis-Tris pH 6.5", "acetate pH 4.6"), strict=True
    )
    for column in range(1, 5)
)

COUNTS = {
    Outcome.HARVESTABLE: 5,
    Outcome.BAD_FORM: 3,
    Outcome.OVERNUCLEATED: 2,
    Outcome.PRECIPITATE: 8,
    Outcome.PRECIPITATE_BAD: 2,
    Outcome.PRECIPITATE_GOOD: 5,
    Outcome.NULL_EXPERIMENT: 4,
    Outcome.OTHER: 2,
    Outcome.SPHERULITES: 2,
    Outcome.PHASE_SEPARATION: 4,
    Outcome.CLEAR: 10,
    Outcome.CLEAR_WITH_FEATURES: 1,
}


def render(folder: Path) -> list[Path]:
    """Render 16 wells of three drops at two inspections, a week apart; crystals appear at the second."""
    drops = [outcome for outcome, count in COUNTS.items() for _ in range(count)]
    order = np.random.default_rng(17).permutation(len(drops))
    folders = [folder / PLATE / str(inspection) for inspection in (1, 2)]
    for inspection, target in enumerate(folders, start=1):
        target.mkdir(parents=True, exist_ok=True)
        for index, which in enumerate(order):
            outcome = drops[which]
            if inspection == 1 and outcome.group is Group.CRYSTAL:
                outcome = Outcome.CLEAR
            well, subwell = divmod(index, 3)
            place = (PLATE, inspection, date(2026, 1, 7 * inspection - 2), well // 4 + 1, well % 4 + 1, subwell + 1)
            if (target / image_name(*place)).is_file():
                continue
            rendered = render_well(
                outcome, seed=17_000 + index, width=1226, height=1028, pixel_size_um=2.262, plate_type="bevel"
            )
            Image.fromarray(render_uv(rendered, seed=index).image).save(target / image_name(*place, profile="UV"))
            Image.fromarray(rendered.image).save(target / image_name(*place), quality=92)
    return folders


@contextmanager
def viewer(home: Path) -> Iterator[str]:
    """Serve the viewer on a free port; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([*_xtalgrid(home), "serve", "--port", str(port)])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def photograph(page: Page) -> None:
    """Sign in, score some drops, and save the pictures."""
    page.goto("/sign-in")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    plate = f"/plate/{PLATE}/2"
    page.goto(plate)
    with page.expect_navigation():
        page.get_by_role("link", name="Review").click()
    _save(page, "viewer_review")
    with page.expect_navigation():
        page.locator(".review a[href*='/well/']").nth(1).click()
    page.keyboard.press("h")
    page.locator("#map img").first.wait_for(state="visible", timeout=60_000)  # the first class map starts a process
    _save(page, "viewer_well")
    page.keyboard.press("h")
    for drop in ("A1a", "A2c", "A4b", "B1a", "B1b", "B3c", "B4b"):
        page.goto(f"/well/{PLATE}/2/{drop}")
        with page.expect_navigation():
            page.keyboard.press("a")
    page.goto(f"/well/{PLATE}/2/B2b")
    with page.expect_navigation():
        page.keyboard.type("33")
    page.goto(plate)
    _save(page, "viewer_plate")


def _save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    with Image.open(BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(PICTURES / f"{name}.jpg", quality=85, optimize=True)


def _xtalgrid(home: Path) -> list[str]:
    command = [sys.executable, "-c", "from xtalgrid_server.cli.main import main; main()"]
    return [*command, "--config", str(home / "xtalgrid.toml"), "--home", str(home)]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "xtalgrid.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "layout.csv").write_text(LAYOUT, encoding="utf-8")
    xtalgrid = _xtalgrid(folder)
    for images in render(folder / "plates"):
        subprocess.run([*xtalgrid, "run", str(images)], check=True)
    subprocess.run([*xtalgrid, "layout", str(folder / "layout.csv"), "--barcode", PLATE], check=True)
    subprocess.run([*xtalgrid, "user", "add", "anna", "--stdin"], input=f"{PASSWORD}\n", text=True, check=True)
    with viewer(folder) as address, sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        photograph(browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address).new_page())
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(tempfile.mkdtemp()))
