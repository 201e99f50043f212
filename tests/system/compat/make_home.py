"""Make the files in ``recorded/`` with the code of a release: what a lab had on its disks when it upgraded.

Run it from the root of the repository with that release's code in front, never with today's::

    git worktree add /tmp/release 3854630
    PYTHONPATH=/tmp/release/models:/tmp/release/worker:/tmp/release/server python -m tests.system.compat.make_home

``home.tar.xz``
    A lab's ``home`` and configuration, stopped in the middle of its work (see `lab`), with a folder of new images.
``units/``
    Work units of that release's server, each with the answer of its worker: ``<rule>-<mode>.zip`` and ``.json``.
``weights/``
    The small networks that most of this is scored with (`tests.tiny_networks`).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import zlib
from contextlib import closing, suppress
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image
from starlette.testclient import TestClient
from xtalgrid_server.grid.local import LocalGrid
from xtalgrid_server.system import System
from xtalgrid_server.viewer.app import create_app
from xtalgrid_server.work import create

import xtalgrid_server
from tests.tiny_networks import write_tiny_weights
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, load
from xtalgrid_synth import render_well
from xtalgrid_worker.run import run_unit
from xtalgrid_worker.stopping import Stopped

RECORDED = Path(__file__).parent / "recorded"
NAME = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000{}_001_{}_{:02d}_01_01_HF_99_030_001_RDI.{}"
PASSWORD = "drops and salts"
RED, GREEN, BLUE = (150, 40, 40), (40, 120, 40), (40, 40, 140)
FAINT = (42, 42, 42)
"""An image of this, but for its left edge, is no drop, and the small segmenter is not sure of it."""

CONFIGURATION = """\
[imager]
time_zone = "Europe/Berlin"
patterns = ["*_HF_99_*"]
pixel_size_um = 1.13
automatic = ["MARCO"]
codes = {"crystals harvestable" = "45"}

[work]
wells_per_unit = 2
look_back_days = 2.0
crystal_from = 0.25
n_boxes = 3

[grid]
workers = 1
attempts = 2

[publish]
frames = "crystals"

[[publish.hold]]
outcome = "clear"

[[publish.hold]]
outcome = "null experiment"

[viewer]
sign_in = "users"
reviewers = ["anna"]
write_scores = true

[alerts]
crystal_from = 0.9
days = 100000
"""


def main() -> None:
    """Make everything anew."""
    here = Path(xtalgrid_server.__file__)
    if here.is_relative_to(Path(__file__).parents[3]):
        sys.exit(f"{here} is today's code; put the release's into PYTHONPATH (see the head of this file)")
    shutil.rmtree(RECORDED, ignore_errors=True)
    weights = RECORDED / "weights"
    weights.mkdir(parents=True)
    write_tiny_weights(weights)
    with tempfile.TemporaryDirectory() as scratch:
        units(Path(scratch))
        lab(Path(scratch) / "lab")
        with tarfile.open(RECORDED / "home.tar.xz", "w:xz") as archive:
            archive.add(Path(scratch) / "lab", "lab")


# ---- the units -----------------------------------------------------------------------------------------------------


def units(scratch: Path) -> None:
    """Units of two rules in both modes, and their answers; ``production`` with the packaged networks."""
    out = RECORDED / "units"
    out.mkdir()
    wells = draw(scratch / "drawn", "CI000009", "250301", [RED, GREEN, BLUE, None, FAINT])
    broken(wells, "CI000009", "250301", 6)
    for rule, mode in product(("pooled", "group"), ("dense", "exact")):
        keys = f'rule = "{rule}"\nmode = "{mode}"\nstep = {48 if mode == "dense" else 50}\n'
        unit_of(scratch / f"{rule}-{mode}", keys + models(), wells, out)
    kinds = [Outcome.HARVESTABLE, Outcome.NULL_EXPERIMENT, Outcome.PRECIPITATE, Outcome.CLEAR]
    rendered = render(scratch / "rendered", "CI000008", "250301", kinds)
    unit_of(scratch / "production", "", rendered, out)


def unit_of(place: Path, keys: str, wells: Path, out: Path) -> None:
    """Make one unit of a folder by a home of its own, and have it answered."""
    place.mkdir()
    (place / "xtalgrid.toml").write_text(f"[imager]\npixel_size_um = 1.13\n[work]\n{keys}[grid]\nworkers = 1\n")
    shutil.copytree(RECORDED / "weights", place / "home" / "weights")
    for words in (("import-folder", wells), ("create_work",), ("grid",)):
        xtalgrid(place, *words)
    (unit,) = (place / "home" / "spool" / "units").iterdir()
    shutil.copy(unit / "unit.zip", out / f"{place.name}.zip")
    shutil.copy(unit / "result.json", out / f"{place.name}.json")


def models() -> str:
    default = json.loads((RECORDED / "weights" / "manifest.json").read_bytes())["default"]
    return "".join(f'{role} = "{sha256}"\n' for role, sha256 in default.items())


# ---- the lab -------------------------------------------------------------------------------------------------------


def lab(place: Path) -> None:
    """A lab in the middle of its work.

    Plates CI000001 and CI000002 were scored with the packaged networks, then the lab promoted its own:

    ========  =======================================================================================
    CI000001  scored and published, but for what is held and what failed; corrected and scored by people
    CI000002  scored by a worker, and its result not assimilated; sent once more, for the lab's own networks
    CI000003  one unit sent and half scored, one sent, one refused once, one given up
    CI000004  two units planned and not sent, the zip of one of them lost
    CI000005  entered, not planned
    CI000006  in ``new/``: not entered
    ========  =======================================================================================
    """
    place.mkdir()
    (place / "xtalgrid.toml").write_text(CONFIGURATION)
    config = load(place / "xtalgrid.toml", place / "home")
    scored_and_published(place, config)

    folder = render(place / "tmp2", "CI000002", "250110", [Outcome.HARVESTABLE, Outcome.PRECIPITATE])
    for words in (("import-folder", folder, "--copy"), ("create_work",), ("grid",)):
        xtalgrid(place, *words)

    xtalgrid(place, "model", "promote", RECORDED / "weights", "--force", "our own drops", "--as", "anna")
    in_flight(place, config)

    xtalgrid(place, "import-folder", draw(place / "tmp5", "CI000005", "250201", [RED]), "--copy")
    draw(place / "new", "CI000006", "250201", [GREEN, BLUE])
    for leftover in (*place.glob("tmp*"), place / "home" / "locks", place / "home" / "spool" / "trash"):
        shutil.rmtree(leftover, ignore_errors=True)


def scored_and_published(place: Path, config: Config) -> None:
    kinds = [Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT, Outcome.CLEAR]
    folder = render(place / "tmp1", "CI000001", "250101", kinds)
    (folder / NAME.format("CI000001", "250101", 6, "jpg")).write_bytes(b"no image")
    broken(folder, "CI000001", "250101", 7)
    (folder / "holiday.jpg").write_bytes(next(folder.iterdir()).read_bytes())
    xtalgrid(place, "run", folder, "--copy")
    held = sorted(select(place, "SELECT score_id FROM finalizations WHERE action = 'hold'"))
    xtalgrid(place, "approve", str(held[0][0]), "--as", "anna")
    xtalgrid(place, "finalizer")
    xtalgrid(place, "set_autoscore")
    layout = place / "tmp1" / "layout.csv"
    layout.write_text("well,sample,condition\nA1,lysozyme,20 % PEG 3350\nA2,lysozyme,2 M ammonium sulfate\n")
    xtalgrid(place, "layout", layout, "--barcode", "CI000001")
    for name in ("anna", "jdoe"):
        xtalgrid(place, "user", "add", name, "--stdin", text=f"{PASSWORD}\n")
    xtalgrid(place, "user", "remove", "jdoe")
    ((image, score),) = select(
        place,
        "SELECT i.id, s.id FROM images i JOIN scores s ON s.image_id = i.id WHERE i.barcode = 'CI000001' AND i.col = 3",
    )
    with TestClient(create_app(config), base_url="http://localhost") as browser:
        post(browser, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
        well = "/well/CI000001/1/A3a"
        post(browser, well, "/corrections", image=image, score=score, outcome="bad-form")
        post(browser, "/inbox", "/inbox/seen", until="2999-01-01")
    with closing(sqlite3.connect(place / "home" / "imager.db")) as imager, imager:
        columns = "scoreid, inspectid, score, scoredate, scoredby, imagename"
        there = imager.execute(f"SELECT {columns} FROM i_scores ORDER BY scoreid").fetchall()
        _, inspection, _, date, _, image = there[0]
        imager.execute(
            f"INSERT INTO i_scores ({columns}) VALUES (?, ?, ?, ?, ?, ?)",
            (there[-1][0] + 1, inspection, "45", date, "jdoe", image),
        )
    xtalgrid(place, "sync")
    xtalgrid(place, "alerts")


def in_flight(place: Path, config: Config) -> None:
    plate = draw(place / "tmp3", "CI000003", "250201", [RED, GREEN, BLUE, None, RED, BLUE, GREEN])
    broken(plate, "CI000003", "250201", 8)
    xtalgrid(place, "import-folder", plate, "--copy")
    xtalgrid(place, "create_work")
    folders = config.spool / "units"
    half, given_up, refused, _ = (folders / name for name in units_of(place, "CI000003"))
    stops = iter((None, Stopped("a restart", 0)))

    def pause() -> None:
        """Stop the worker when the first image is done."""
        if (half / "result.json.checkpoint").read_bytes().count(b'"status"') and (stop := next(stops)):
            raise stop

    with suppress(Stopped):
        run_unit(
            half / "unit.zip", half / "result.json", half / "result.json.checkpoint", pause, folders=[config.weights]
        )
    assert (half / "result.json.checkpoint").read_bytes().count(b'"status"') == 1
    (refused / "result.json").write_bytes(b"{}")
    (given_up / "failed.txt").write_text("2 workers ended without an answer; the last one (exit code -9): no log")
    returned = folders / units_of(place, "CI000002")[0]
    returned.replace(place / "tmp_returned")  # it comes back while nobody assimilates
    xtalgrid(place, "assimilate")
    (place / "tmp_returned").replace(returned)

    xtalgrid(place, "import-folder", draw(place / "tmp4", "CI000004", "250201", [RED, None, GREEN]), "--copy")
    crash = patch.object(LocalGrid, "submit", side_effect=KeyboardInterrupt)
    with System(config) as system, crash, patch.object(create, "finish_planned"):
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                system.create_work()
    shutil.rmtree(config.spool / "staged" / units_of(place, "CI000004")[0])


def units_of(place: Path, barcode: str) -> list[str]:
    """Names of a plate's units, oldest first."""
    joined = "units u JOIN unit_images ui ON ui.unit_id = u.id JOIN images i ON i.id = ui.image_id"
    rows = select(place, f"SELECT DISTINCT u.name, u.id FROM {joined} WHERE i.barcode = '{barcode}' ORDER BY u.id")
    return [name for name, _ in rows]


# ---- the images, and how the lab's commands are called -------------------------------------------------------------


def render(folder: Path, barcode: str, date: str, kinds: list[Outcome]) -> Path:
    """Rendered wells, small."""
    folder.mkdir()
    for col, kind in enumerate(kinds, 1):
        well = render_well(kind, seed=col, width=640, height=480)
        Image.fromarray(well.image).save(folder / NAME.format(barcode, date, col, "jpg"), quality=80)
    return folder


def draw(folder: Path, barcode: str, date: str, colours: list[tuple[int, int, int] | None]) -> Path:
    """Wells for the small networks: red ones are crystals, green ones precipitate, blue ones clear; None: no drop.

    The left edge is a little brighter, because an image of one colour is none.
    """
    folder.mkdir()
    for col, colour in enumerate(colours, 1):
        pixels = np.full((480, 640, 3), 220 + col, np.uint8)  # no two files have the same bytes
        if colour == FAINT:
            pixels[:] = colour
        elif colour is not None:
            row, column = np.ogrid[:480, :640]
            pixels[(row - 240) ** 2 + (column - 320) ** 2 < 160**2] = colour
        pixels[:, :32] += 10
        Image.fromarray(pixels).save(folder / NAME.format(barcode, date, col, "png"), optimize=True)
    return folder


def broken(folder: Path, barcode: str, date: str, col: int) -> None:
    """An image that has a head and an end, so that only a worker finds out that it cannot be read."""
    path = folder / NAME.format(barcode, date, col, "png")
    Image.fromarray(np.full((480, 640, 3), 99, np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    kind = data.index(b"IDAT")
    end = kind + 4 + int.from_bytes(data[kind - 4 : kind], "big")
    data[kind + 8 : kind + 208] = b"\xff" * 200
    data[end : end + 4] = zlib.crc32(data[kind:end]).to_bytes(4, "big")  # or today's server would find out
    path.write_bytes(data)


def xtalgrid(place: Path, *words: str | Path, text: str = "") -> None:
    """Run one of the lab's commands."""
    command = [sys.executable, "-m", "xtalgrid_server", "--config", str(place / "xtalgrid.toml")]
    command += ["--home", str(place / "home"), *map(str, words)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=dict(os.environ))
    print(" ".join(map(str, words)), done.stdout, done.stderr, sep="\n")
    if done.returncode:
        sys.exit(f"{words} failed")


def post(browser: TestClient, page: str, address: str, **fields: object) -> None:
    """Fill in a page's form."""
    token = browser.get(page).text.partition('name="form_token" value="')[2].partition('"')[0]
    done = browser.post(address, data={"form_token": token, **fields}, follow_redirects=False)
    if done.status_code != 303:
        sys.exit(f"{address}: {done.status_code} {done.text}")


def select(place: Path, statement: str) -> list[tuple]:
    """Ask the ledger."""
    with closing(sqlite3.connect(place / "home" / "ledger.db")) as ledger:
        return ledger.execute(statement).fetchall()


if __name__ == "__main__":
    main()
