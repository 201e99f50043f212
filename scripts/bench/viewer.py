"""Measure how long the viewer's pages take.

    python scripts/bench/viewer.py --home /tmp/bench [--images 1000000] [--chromium]

It fills a ledger with a plate of 288 wells, one of 1,536 wells with 20 inspections, and more if asked, with made-up
scores (one rendered picture under many names); the home of an earlier run is used again. Times are medians over the
responses of a server on this machine; on a busy machine the CPU time is more reliable than the clock.
With --chromium a browser opens plates, with and without thumbnails in the cache, and reports when a page can be used
and when all pictures in its window are drawn.
--map IMAGE times class maps of a well image.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memory import peak_mb
from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.pool import Pool
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.database import now
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.connections import viewer_server

START = datetime(2026, 1, 1)  # noqa: DTZ001
MIX = [Outcome.CLEAR] * 10 + [Outcome.PRECIPITATE] * 8 + [Outcome.HARVESTABLE, Outcome.SPHERULITES]


def main() -> None:
    """Fill the ledger, and print how long the pages take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder for the ledger; about 1 kB an image")
    parser.add_argument("--images", type=int, default=0, help="images of further plates, for the lists")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--chromium", action="store_true")
    parser.add_argument("--map", type=Path, metavar="IMAGE")
    options = parser.parse_args()
    config = from_string("", home=options.home)
    with System(config) as system:
        engine = system.ledger._db._engine
        fill(config, engine, "WELLS288", 8, 12, 3, 5)
        fill(config, engine, "WELLS1536", 32, 48, 1, 20)
        for n in range(options.images // (288 * 10)):
            fill(config, engine, f"MANY{n:05d}", 8, 12, 3, 10, pictures=False)
        with engine.connect() as connection:
            total = connection.scalar(sa.select(sa.func.count()).select_from(t.images))
    print(f"{total} images in the ledger ({engine.dialect.name})")
    with Running(config) as address:
        for name, path in (
            ("plates, the first time", "/"),
            ("plates", "/"),
            (
                "plates, the last page",
                "/?page=9999" if not options.images else f"/?page={options.images // (2880 * 50) + 1}",
            ),
            ("plates, searched", "/?q=MANY0001"),
            ("plate of 288 wells", "/plate/WELLS288/5"),
            ("its review strip", "/plate/WELLS288/5?order=best"),
            ("a well of it", "/well/WELLS288/5/D6b?order=best"),
            ("plate of 1,536 wells", "/plate/WELLS1536/20"),
            ("a well of it", "/well/WELLS1536/20/P24a?order=best"),
            ("its heat map", "/plate/WELLS1536/20?show=heat"),
            ("its best inspections", "/plate/WELLS1536/20?show=ever"),
            ("conditions, crystals", "/conditions?outcome=crystal"),
            ("inbox", "/inbox"),
            ("operations", "/operations"),
        ):
            times, cpu, size = timed(address + path, 1 if "first time" in name else options.repeat)
            print(f"{name:26} {times * 1000:7.0f} ms  {cpu * 1000:7.0f} ms of CPU  {size / 1000:6.0f} kB")
        print(f"peak memory {peak_mb():.0f} MB, including what it took to fill a new ledger")
        if options.chromium:
            in_browser(address, options.home, options.repeat)
    if options.map:
        class_maps(options.map, options.repeat)


def fill(
    config: Config,
    engine: sa.Engine,
    barcode: str,
    rows: int,
    cols: int,
    subwells: int,
    inspections: int,
    pictures: bool = True,
) -> None:
    """Add a plate whose drops are scored at each inspection, a week apart."""
    with engine.begin() as connection:
        if connection.scalar(sa.select(t.images.c.id).where(t.images.c.barcode == barcode).limit(1)):
            return
        first = (connection.scalar(sa.select(sa.func.max(t.images.c.id))) or 0) + 1
        places = [
            (i, r, c, s)
            for i in range(1, inspections + 1)
            for c in range(1, cols + 1)
            for r in range(1, rows + 1)
            for s in range(1, subwells + 1)
        ]
        unit = insert(
            connection, t.units, name=f"xg_{barcode}", manifest=manifest_of(f"xg_{barcode}"), options_hash="b",
            state="returned", attempts=0, made_at=START,
        )  # fmt: skip
        result = insert(
            connection, t.results, unit_id=unit, sha256="c" * 64, host="bench", accepted=1, reason="", received_at=now()
        )
        connection.execute(t.images.insert(), [
            {"id": first + n, "source": "crystaltrak", "inspect_id": first + n, "image_name": f"{n:06d}_HF.jpg",
             "barcode": barcode, "inspection": i, "inspected": START + timedelta(days=7 * i, seconds=n % 5000),
             "row": r, "col": c, "subwell": s, "seen_at": START}
            for n, (i, r, c, s) in enumerate(places)
        ])  # fmt: skip
        connection.execute(t.scores.insert(), [
            {"image_id": first + n, "sha256": "d" * 64, "segmenter": "a" * 64, "classifier": "b" * 64,
             "options_hash": "b", "result_id": result, "outcome": str(outcome), "probability": 0.9, "p_crystal": p,
             "answer": answer_of(n, outcome, p), "worker": "bench", "at": START}
            for n in range(len(places)) for outcome, p in [outcome_of(n)]
        ])  # fmt: skip
    if pictures:
        link_pictures(config, barcode, len(places), len(places) // inspections)


def insert(connection: sa.Connection, table: sa.Table, **values: object) -> int:
    """Insert a row, and return its id."""
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def outcome_of(n: int) -> tuple[Outcome, float]:
    """Return an image's made-up outcome and `p_crystal`: one in twenty has crystals."""
    outcome = MIX[(n * 7919) % len(MIX)]
    return outcome, (0.5 + n % 50 / 100) if outcome is Outcome.HARVESTABLE else n % 37 / 1000


def answer_of(number: int, outcome: Outcome, p_crystal: float) -> str:
    """Make a worker's answer with five boxes and an outline."""
    boxes = tuple(
        wire.BestChop(box=(600 + 90 * n, 700 + 70 * n, 256, 256), outcome=outcome, probability=0.9) for n in range(5)
    )
    outline = tuple((1000 + (n * 13) % 300, 900 + (n * 17) % 400) for n in range(60))
    return wire.encode(wire.Scored(
        number=number, outcome=outcome, score=outcome.style.score, probability=0.9, p_crystal=p_crystal,
        probabilities=(0.1,) * len(CLASSES), height=2056, width=2452, pixel_size_um=1.131, pixel_size_origin="known",
        drop=wire.Drop(box=(500, 500, 900, 900), outline=outline, confidence=0.99), boxes=boxes, seconds=0.3,
    )).decode()  # fmt: skip


def manifest_of(name: str) -> bytes:
    """Make a work unit's manifest."""
    entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=1, sha256="d" * 64)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    return wire.encode(wire.Manifest(schema=1, unit=name, min_worker="0.1.0", options=options, images=(entry,)))


def link_pictures(config: Config, barcode: str, number: int, wells: int) -> None:
    """Link one rendered picture to all names of the last inspection."""
    from xtalgrid_synth import render_plate

    source = config.home / "rendered"
    if not any(source.rglob("*.jpg")):
        render_plate(source, barcode="BENCH001", seed=7, wells=1)
    picture = next(source.rglob("*.jpg"))
    folder = config.image_root / barcode / str(number // wells)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(number - wells, number):
        path = folder / f"{n:06d}_HF.jpg"
        if not path.exists():
            try:
                path.hardlink_to(picture)
            except OSError:
                shutil.copy(picture, path)


class Running:
    """A viewer on a port of its own; `around` returns what is served instead of its application."""

    def __init__(self, config: Config, around: Callable[[Any], Any] = lambda app: app) -> None:
        self._config, self._around = config, around

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = viewer_server(self._around(create_app(self._config)), self._config.viewer)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)


def timed(address: str, repeat: int) -> tuple[float, float, int]:
    """Return medians of seconds and of this process's CPU seconds (server and client), and the answer's bytes."""
    times, cpu, size = [], [], 0
    for _ in range(repeat):
        began, spent = time.perf_counter(), time.process_time()
        with urllib.request.urlopen(address, timeout=120) as answer:  # noqa: S310
            size = len(answer.read())
        times.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    return statistics.median(times), statistics.median(cpu), size


def class_maps(image: Path, repeat: int) -> None:
    """Time class maps made by a new process and by one that a pool keeps ready, in turn."""
    segmenter, classifier = default_models()
    options = wire.Options(segmenter=segmenter, classifier=classifier, rule="pooled", mode="dense", step=48)
    times: dict[str, list[float]] = {}

    def time_it(name: str, call: Callable[[], object]) -> None:
        began = time.perf_counter()
        call()
        times.setdefault(name, []).append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        program = [sys.executable, "-m", "xtalgrid_worker.cli", "classmap", str(image), "--out", folder]
        time_it("class map, a pool's first", lambda: pool.class_maps(image.read_bytes(), options))
        for _ in range(repeat):
            time_it("class map, a pool's", lambda: pool.class_maps(image.read_bytes(), options))
            time_it("class map, a process's", lambda: subprocess.run(program, check=True, capture_output=True))
    for name, seconds in times.items():
        print(f"{name:26} {statistics.median(seconds) * 1000:7.0f} ms")


def in_browser(address: str, home: Path, repeat: int) -> None:
    """Open plates in Chromium, and print when they can be used, and when the pictures in the window are drawn.

    Cold is a browser without anything of ours, and a viewer without thumbnails.
    """
    from playwright.sync_api import sync_playwright

    program = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, path in (
            ("288 wells", "/plate/WELLS288/5"),
            ("their heat map", "/plate/WELLS288/5?show=heat"),
            ("best of 5 inspections", "/plate/WELLS288/5?show=ever"),
            ("1,536 wells", "/plate/WELLS1536/20"),
            ("1,536 wells, large", "/plate/WELLS1536/20?size=large"),
        ):
            for temperature, times in (("cold", min(repeat, 3)), ("warm", repeat)):
                visits = []
                for _ in range(times):
                    if temperature == "cold":
                        shutil.rmtree(home / "thumbnails", ignore_errors=True)
                        context = browser.new_context(viewport={"width": 1440, "height": 900})
                    visits.append(visit(context.new_page(), address + path))
                interactive, cpu, drawn, pictures = (statistics.median(column) for column in zip(*visits, strict=True))
                print(
                    f"{name + ', ' + temperature:30} usable {interactive:6.0f} ms ({cpu:.0f} ms of the page's CPU), "
                    f"{pictures:.0f} pictures in the window drawn {drawn:6.0f} ms; load {os.getloadavg()[0]:.1f}"
                )
        browser.close()


USABLE = """addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(() => {
  window.usable = performance.now();
})));"""
"""The page's scripts have run, and its first frame is out."""

DRAWN = """() => {
  const seen = [...document.images].filter((image) => {
    const box = image.getBoundingClientRect();
    return box.width && box.top < innerHeight && box.bottom > 0 && box.left < innerWidth && box.right > 0;
  });
  return Promise.all(seen.map((image) => image.decode().catch(() => 0))).then(() => [performance.now(), seen.length]);
}"""


def visit(page: Any, address: str) -> tuple[float, float, float, int]:
    """Return milliseconds until a page can be used, its thread's CPU time, until it is drawn, and the pictures seen."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.add_init_script(USABLE)
    page.goto(address, wait_until="domcontentloaded")
    usable = page.wait_for_function("() => window.usable").json_value()
    spent = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    drawn, pictures = page.evaluate(DRAWN)
    page.close()
    return usable, spent["TaskDuration"] * 1000, drawn, pictures


if __name__ == "__main__":
    main()
