"""Run an imager that never stops, real workers and a busy viewer side by side.

    python -m tests.rig.soak --minutes 60 --every 0.5

A simulated imager enters copies of rendered wells into an imager database on PostgreSQL, one every `--every` seconds.
`xtalgrid grid --watch` scores them with the packaged networks, the other steps are started every `--steps` seconds, as
cron does, and the viewer answers `--requests` a second. Every few seconds a line says how far scores lag behind, how
much memory each program has, and how much disk the home takes. The exit code is 1 if the viewer answered with an error
of ours, a step failed, or a well was lost or doubled once the backlog was worked off.

With `--attack`, `tests.rig.attacker` attacks the viewer meanwhile; then the exit code is also 1 if the viewer with its
processes took more than 600 MB, or its log grew by more than 200 kB a minute.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from PIL import Image

from tests.system import postgresql
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import load
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_well

STEPS = ("create_work", "assimilate", "finalizer", "set_autoscore")
PAGES = (
    "/", "/plate/{plate}/1", "/plate/{plate}/1?order=best", "/well/{plate}/1/A1a",
    "/thumbnail/320/{image}.jpg", "/image/{image}.jpg", "/inbox", "/operations",
    "/plate/{plate}/1/scores.csv", "/metrics", "/api/plates", "/thumbnail/320/{image}.jpg",
)  # fmt: skip
"""What people ask the viewer for, once it is scored."""

NAME = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000{}_001_{:%y%m%d}_{:02d}_{:02d}_01_HF_99_030_001_RDI.jpg"


class Soak:
    """The lab: its databases, its programs, and what was observed."""

    def __init__(self, home: Path, url: sa.URL, arguments: argparse.Namespace) -> None:
        self.home, self.arguments = home, arguments
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in ("soak_imager", "soak_ledger"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        imager, ledger = (url.set(database=f"soak_{name}").render_as_string() for name in ("imager", "ledger"))
        vendor = sa.create_engine(imager)
        CrystalTrak().metadata.create_all(vendor)
        vendor.dispose()
        home.mkdir()
        self.file = home.parent / "xtalgrid.toml"
        self.file.write_text(
            f'home = "{home}"\n[imager]\nurl = "{imager}"\nimage_root = "{home.parent / "images"}"\n'
            f"pixel_size_um = {arguments.um}\n"
            f'[viewer]\nsign_in = "users"\n[ledger]\nurl = "{ledger}"\n[work]\nwells_per_unit = 20\n[grid]\nworkers = {arguments.workers}\n'
        )
        self.system = System(load(self.file))
        self.ledger = sa.create_engine(ledger)
        self.imaged, self.statuses, self.took = 0, Counter[int](), list[float]()
        self.asked = self.seen = self.again = 0
        self.peak = 0.0
        self.wrong = list[str]()
        self.stop = threading.Event()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "xtalgrid_server", "--config", str(self.file), *arguments]

    def image(self) -> None:
        """Act as the imager: write a well's file, then enter its rows."""
        outcomes = (Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT)
        width = self.arguments.width
        wells = [render_well(o, seed=n, width=width, height=width * 3 // 4).image for n, o in enumerate(outcomes)]
        began = time.monotonic()
        day = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        while not self.stop.wait(max(0.0, began + self.imaged * self.arguments.every - time.monotonic())):
            n = self.imaged
            barcode, col, row = f"CI{n // 96:06d}", n % 12 + 1, n // 12 % 8 + 1
            name = NAME.format(barcode, day, col, row)
            path = self.system.config.image_root / barcode / "1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(wells[n % len(wells)])
            picture.putpixel((n % width, n // width), (n % 251, n % 13, 7))  # no two wells are alike
            picture.save(path, quality=90)
            inspected = day + timedelta(seconds=n // 96)
            self.system.imager.register([ImageRow(0, barcode, 1, inspected, Well(row, col, 1), name)])
            self.imaged += 1

    def keep_stepping(self) -> None:
        while not self.stop.wait(self.arguments.steps):
            self.all_steps()

    def all_steps(self) -> None:
        """Start each step once, as cron does."""
        for step in STEPS:
            done = subprocess.run(self.command(step), capture_output=True, text=True)
            if done.returncode not in (0, 75):
                self.wrong.append(f"{step} ended with {done.returncode}: {done.stderr[-300:]}")

    def look(self, port: int, n: int) -> None:
        """Ask for a page or picture, the n-th one of the run."""
        image = n * 7 % max(self.seen, 1) + 1
        page = PAGES[n % len(PAGES) if self.seen else 0].format(image=image, plate=f"CI{image // 96:06d}")
        began, status = time.monotonic(), 503
        for _ in range(10):
            status, seconds = self._status(f"http://127.0.0.1:{port}{page}")
            if status != 503 or not seconds:
                break
            self.again += 1
            time.sleep(seconds)
        self.statuses[status] += 1
        self.took.append(time.monotonic() - began)

    def _status(self, address: str) -> tuple[int, int]:
        """Return an answer's status, 0 if there is none, and after how many seconds to ask again."""
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                answer.read()
                return answer.status, 0
        except urllib.error.HTTPError as error:
            return error.code, int(error.headers.get("Retry-After", 0))
        except OSError:
            return 0, 0

    def watch(self, viewer: int) -> None:
        """Note the most memory that the viewer took with its processes."""
        while not self.stop.wait(0.2):
            self.peak = max(self.peak, _mb(viewer) + sum(map(_mb, _children(viewer))))

    def scored(self) -> int:
        with self.ledger.connect() as connection:
            return int(connection.scalar(sa.text("SELECT count(*) FROM scores")) or 0)

    def published(self) -> list[int]:
        """Return the inspection id of each row in the imager's score table."""
        with self.system.imager._engine.connect() as connection:
            return list(connection.scalars(sa.select(self.system.imager.tables.scores.c.inspectid)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=0.5, help="seconds from well to well")
    parser.add_argument("--requests", type=float, default=20, help="requests to the viewer a second")
    parser.add_argument("--steps", type=float, default=15, help="seconds from one start of the other steps to the next")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--width", type=int, default=640, help="width of the wells, in pixels")
    parser.add_argument(
        "--um", type=float, default=1.13, help="micrometres a pixel; with the width, it sets what a well costs"
    )
    parser.add_argument("--attack", action="store_true", help="attack the viewer meanwhile")
    parser.add_argument("--drain", type=float, default=10, help="minutes allowed at the end to work off the backlog")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xtalgrid-soak-") as name, postgresql.running(settings=()) as url:
        sys.exit(run(Soak(Path(name) / "home", url, arguments)))


def run(soak: Soak) -> int:
    """Run it; return the exit code."""
    arguments, port, folder = soak.arguments, _free_port(), soak.home.parent
    logs = {name: folder / f"{name}.log" for name in ("grid", "viewer")}
    commands = {"grid": ["grid", "--watch"], "viewer": ["serve", "--port", str(port)]}
    programs = {name: _started(soak.command(*commands[name]), log) for name, log in logs.items()}
    threads = [
        threading.Thread(target=soak.image),
        threading.Thread(target=soak.keep_stepping),
        threading.Thread(target=soak.watch, args=(programs["viewer"].pid,)),
    ]
    attacker = None
    try:
        _wait_for(port)
        if arguments.attack:
            command = [sys.executable, "-m", "tests.rig.attacker", str(port)]
            attacker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for thread in threads:
            thread.start()
        print(
            f"{'minute':>7}{'imaged':>8}{'scored':>8}{'behind':>8}{'grid MB':>9}"
            f"{'workers':>9}{'viewer':>8}{'disk MB':>9}{'answers':>9}{'asked':>8}"
        )
        began, last = time.monotonic(), 0.0
        with ThreadPoolExecutor(16) as people:
            while (now := time.monotonic() - began) < arguments.minutes * 60:
                while soak.asked < now * arguments.requests:
                    people.submit(soak.look, port, soak.asked)
                    soak.asked += 1
                time.sleep(0.5 / arguments.requests)
                if now - last > max(arguments.minutes * 60 / 40, 10):
                    last = now
                    _sample(soak, programs, now)
        soak.stop.set()
        if attacker is not None:
            print(f"attacker: {attacker.communicate()[0].strip()}")
        for thread in threads:
            thread.join()
        end = time.monotonic() + arguments.drain * 60
        while soak.scored() < soak.imaged and time.monotonic() < end:
            soak.all_steps()
        soak.all_steps()
    finally:
        soak.stop.set()
        if attacker is not None:
            attacker.kill()
        soak.wrong += [f"{name} ended before its time" for name, p in programs.items() if p.poll() is not None]
        for program in programs.values():
            program.terminate()
        for program in programs.values():
            program.wait(60)
    return _judged(soak, logs)


def _started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def _children(pid: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []


def _sample(soak: Soak, programs: dict[str, subprocess.Popen[bytes]], seconds: float) -> None:
    workers = max(map(_mb, _children(programs["grid"].pid)), default=0.0)
    disk = sum(p.stat().st_size for p in soak.home.rglob("*") if p.is_file()) / 1e6
    scored, imaged = soak.scored(), soak.imaged
    soak.seen = max(scored - 200, 0)  # wells are scored out of order: all before these are done
    print(
        f"{seconds / 60:>7.1f}{imaged:>8}{scored:>8}{imaged - scored:>8}"
        f"{_mb(programs['grid'].pid):>9.0f}{workers:>9.0f}"
        f"{_mb(programs['viewer'].pid):>8.0f}{disk:>9.1f}{soak.statuses.total():>9}{soak.asked:>8}",
        flush=True,
    )


def _judged(soak: Soak, logs: dict[str, Path]) -> int:
    scored, published = soak.scored(), soak.published()
    took = sorted(soak.took)
    print(
        f"viewer: answers {dict(sorted(soak.statuses.items()))}, "
        f"half within {took[len(took) // 2]:.2f} s, 99 % within {took[len(took) * 99 // 100]:.2f} s; "
        f"{soak.again} times asked to come again; {soak.peak:.0f} MB at most with its processes; "
        f"log {logs['viewer'].stat().st_size / 1e3:.0f} kB"
    )
    print(f"{soak.imaged} wells imaged, {scored} scored, {len(published)} published")
    wrong = [*soak.wrong]
    wrong += [f"{number} answers {status}" for status, number in soak.statuses.items() if status != 200]
    wrong += ["a well was scored twice"] * (scored > soak.imaged)
    wrong += ["an inspection has two ARTscores"] * (len(set(published)) != len(published))
    wrong += [f"the backlog of {soak.imaged - scored} was not worked off"] * (scored < soak.imaged)
    for text in (log.read_text(errors="replace") for log in logs.values()):
        wrong += [f"a traceback: {text[-600:]}"] * ("Traceback" in text)
    if soak.arguments.attack:
        wrong += ["the viewer took more than 600 MB"] * (soak.peak > 600)
        wrong += ["the viewer's log grew"] * (logs["viewer"].stat().st_size > 200_000 * max(soak.arguments.minutes, 1))
    for line in wrong:
        print(f"WRONG  {line}")
    return int(bool(wrong))


def _mb(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit("the viewer did not start")


if __name__ == "__main__":
    main()
