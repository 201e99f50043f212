"""A viewer on a port of its own with plates to score, and the browser that visits it."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import CHOP_BY_CHOP, missing
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config.sections import Viewer
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.connections import viewer_server

from ..server.conftest import answer, draw_well, result_of

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium; a test that needs it is skipped, or fails in CI, where there is none."""
    if not CHROMIUM:
        missing("no chromium on this machine; Debian: apt-get install chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield opened
        opened.close()


class Line:
    """The line between the browsers and the viewer, as an ASGI application around it.

    Attributes
    ----------
    delay
        Seconds that each answer takes longer.
    failing
        Part of the requests that fail, 0..1: half of these before they reach the viewer, half of them after.
    cut
        Nothing gets through: each request is answered as by a web server whose viewer is down.
    """

    def __init__(self, app: Any, seed: int = 1) -> None:
        self._app, self._random = app, random.Random(seed)
        self.delay, self.failing, self.cut = 0.0, 0.0, False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or do not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(self.delay)
        fate = self._random.random()
        if not self.cut and fate >= self.failing:
            await self._app(scope, receive, send)
            return
        if not self.cut and fate < self.failing / 2:  # it arrives, and nobody learns of it
            await self._app(scope, receive, _nowhere)
        await send({"type": "http.response.start", "status": 502, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"bad gateway"})


async def _nowhere(_: Any) -> None:
    pass


@contextmanager
def serving(app: Any, viewer: Viewer | None = None) -> Iterator[str]:
    """Serve an application on a port of its own, and yield its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = viewer_server(app, viewer or Viewer())
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


def fill_plate(
    system: System,
    barcode: str,
    outcomes: list[Outcome],
    chances: list[float],
    *,
    inspection: int = 1,
    at: datetime = datetime(2024, 1, 1),
    across: int = 12,
    drops: int = 1,
    uv: bool = False,
    pictures: bool = True,
) -> None:
    """Enter a plate row by row, with small pictures and what a worker said of them.

    Parameters
    ----------
    across, drops
        Number of columns, and of drops in each well.
    """
    kinds = ("HF", "UV") if uv else ("HF",)
    places = [
        ImageRow(0, barcode, inspection, at, Well(*_place(n, across, drops)), f"{n}_{kind}.jpg")
        for kind in kinds
        for n in range(len(outcomes))
    ]
    for n, place in enumerate(places if pictures else ()):
        draw_well(_path(system, place), shade=9 * n % 200)
    rows = [row for row in system.imager.register(places) if row.image_name.endswith("_HF.jpg")]
    entries = tuple(
        wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
        for n, row in enumerate(rows)
    )
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, **CHOP_BY_CHOP)
    name = f"xg_{barcode}_{inspection}"
    manifest = wire.Manifest(schema=1, unit=name, min_worker="0.1.0", options=options, images=entries)
    system.ledger.units.add(manifest, [PlannedImage(row, "d" * 64) for row in rows])
    unit = system.ledger.units.named(name)
    assert unit is not None
    answers = [answer(n, outcome, p_crystal=chances[n]) for n, outcome in enumerate(outcomes)]
    system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)


def _place(n: int, across: int, drops: int) -> tuple[int, int, int]:
    """Return the row, column and subwell of a plate's n-th drop."""
    well, subwell = divmod(n, drops)
    return 1 + well // across, 1 + well % across, 1 + subwell


def _path(system: System, row: ImageRow) -> Path:
    return system.config.image_root / row.barcode / str(row.inspection) / row.image_name


def saved(page: Page, seconds: float = 30) -> None:
    """Wait until no score of this browser waits for the viewer."""
    shelf = "() => !Object.keys(localStorage).some((key) => key.startsWith('xtalgrid-waiting'))"
    page.wait_for_function(shelf, timeout=1000 * seconds)
