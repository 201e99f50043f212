"""A lab of small wells and tiny networks for fault sweeps.

It runs the whole chain in a child process, and compares everything that must be the same at the end.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

import xtalgrid_server.steps.system as system_module
from xtalgrid_core.errors import Busy, XtalgridError
from xtalgrid_core.weights import read_manifest
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.steps.run import run_folder
from xtalgrid_server.steps.system import System

NAME = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_{:02d}_{:02d}_{:02d}_HF_99_030_001_RDI.jpg"
COLOURS = ((150, 40, 40), (40, 120, 40), (40, 40, 140), None)
STAGES = ("import-folder", "create_work", "grid", "assimilate", "finalizer", "set_autoscore")
UNIT = 50


def draw_wells(folder: Path, number: int) -> None:
    """Draw small wells, no two alike, named as an imager names them; a drop's colour decides its outcome."""
    folder.mkdir(parents=True)
    for n in range(number):
        picture = Image.new("RGB", (160, 120), (220, 220, 220 - n % 7))
        picture.paste((205, 205, 205), (0, 0, 8, 120))  # the wall: a picture that shows nothing is not scored
        colour = COLOURS[n % 4]
        if colour is not None:
            picture.paste(tuple(channel + n % 11 for channel in colour), (40, 30, 120, 90))
        picture.putpixel((n % 160, n // 160), (n % 256, 0, 0))
        picture.save(folder / NAME.format(n % 12 + 1, n // 12 % 8 + 1, n // 96 + 1), quality=90)


def config_of(home: Path, weights: Path, more: str = "", imager: str = "") -> Config:
    """Make a configuration that uses the tiny networks."""
    pair = read_manifest(weights).default
    networks = f'segmenter = "{pair["segmenter"]}"\nclassifier = "{pair["classifier"]}"\n'
    text = f"{imager}[work]\n{networks}wells_per_unit = {UNIT}\n[grid]\nworkers = 2\n{more}"
    config = from_string(text, home=home)
    if not config.weights.exists():
        home.mkdir(parents=True, exist_ok=True)
        config.weights.symlink_to(weights.resolve())
    return config


@dataclass(slots=True)
class Run:
    """A child process that runs the chain; `stage` is its current index of `STAGES`, -1 before the first."""

    pid: int
    _shared: mmap.mmap

    @property
    def stage(self) -> int:
        return self._shared[0] - 1

    def kill_all(self) -> None:
        """Kill the child and all of its workers at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill_alone(self) -> None:
        """Kill the child, which orphans its workers."""
        os.kill(self.pid, signal.SIGKILL)

    def workers(self) -> list[int]:
        """Return the process ids of the child's current workers."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in children.split()]

    def ended(self) -> int | None:
        """Return the child's exit code, negative for a signal; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def wait(self, seconds: float = 600) -> int:
        """Wait for the child and return its exit code; kill it if it takes longer than `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            code = self.ended()
            if code is not None:
                return code
            time.sleep(0.01)
        self.kill_all()
        os.waitpid(self.pid, 0)
        return -signal.SIGALRM


def started(chain: Callable[[], Any], log: Path, before: Callable[[], None] = lambda: None) -> Run:
    """Fork a child that runs a chain in a session of its own, without spending time on imports."""
    shared = mmap.mmap(-1, 1)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Run(pid, shared)
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _tell_stages(shared)
        before()
        chain()
        code = 0
    except Busy:
        code = 75
    except XtalgridError as error:
        print("Error:", error, flush=True)
        code = 2
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        logging.getLogger("xtalgrid").exception("chain")
    finally:
        os._exit(code)


def _tell_stages(shared: mmap.mmap) -> None:
    real = system_module.step

    @contextlib.contextmanager
    def step(config: Config, name: str, wait: float = 0) -> Iterator[Any]:
        if name in STAGES:
            shared[0] = STAGES.index(name) + 1
        with real(config, name, wait) as report:
            yield report

    system_module.step = step  # type: ignore[assignment]


def whole_chain(config: Config, wells: Path) -> Callable[[], None]:
    """Return a function that does what ``xtalgrid run`` does with a folder."""

    def chain() -> None:
        with System(config) as system:
            run_folder(system, wells, frames="none")

    return chain


def grid_service(config: Config) -> Callable[[], None]:
    """Return a function that does what ``xtalgrid grid --watch`` does."""

    def chain() -> None:
        with System(config) as system:
            system.work(watch=True)

    return chain


def other_services(config: Config, wells: Path) -> Callable[[], None]:
    """Return a function that runs the steps that cron starts, in turn, for ever."""

    def chain() -> None:
        with System(config) as system:
            imported = system.import_folder(wells)
            share = -(-len(imported.entered) // config.grid.workers)  # the units that `run_folder` makes
            while True:
                system.create_work(barcodes=imported.barcodes, wells_per_unit=min(share, UNIT), retry=True)
                system.assimilate()
                system.finalize("none")
                system.publish()

    return chain


# ---- what must be the same ----------------------------------------------------------------------------------------

_TABLES = {
    "i_scores": "SELECT inspectid, score, scoredate, imagename, scoredby FROM i_scores",
    "scores": "SELECT i.image_name, s.sha256, s.segmenter, s.classifier, s.options_hash, s.outcome, s.probability,"
    " s.p_crystal, s.answer FROM scores s JOIN images i ON i.id = s.image_id",
    "units": "SELECT name, state, manifest FROM units",
    "unit_images": "SELECT u.name, x.number, i.image_name, x.sha256 FROM unit_images x JOIN units u ON u.id = x.unit_id"
    " JOIN images i ON i.id = x.image_id",
    "results": "SELECT u.name, r.accepted, r.reason FROM results r JOIN units u ON u.id = r.unit_id",
    "publications": "SELECT inspect_id, action, done_at IS NOT NULL FROM publications",
    "images": "SELECT inspect_id, image_name FROM images",
    "failures": "SELECT file, reason FROM failures",
}


def content(config: Config) -> dict[str, list[str]]:
    """Return the sorted rows of score table and ledger without times, ids and CPU seconds; and the spool's units."""
    state: dict[str, list[str]] = {}
    for url, names in ((config.imager_url, ["i_scores"]), (config.ledger_url, [n for n in _TABLES if n != "i_scores"])):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            for name in names:
                rows = connection.exec_driver_sql(_TABLES[name]).all()
                state[name] = sorted(re.sub(r'"seconds":[^,}]+', "", repr(tuple(row))) for row in rows)
        engine.dispose()
    units = config.spool / "units"
    state["spool"] = sorted(path.name for path in units.iterdir()) if units.exists() else []
    return state


def differences(config: Config, expected: dict[str, list[str]]) -> list[str]:
    """List the differences from an undisturbed run, table by table: rows missing and rows too many."""
    try:
        got = content(config)
    except sa.exc.SQLAlchemyError as error:
        return [f"cannot be read: {str(error)[:200]}"]
    lines = []
    for name, rows in expected.items():
        if got[name] != rows:
            lost = [row for row in rows if row not in got[name]]
            more = [row for row in got[name] if row not in rows]
            lines.append(
                f"{name}: {len(got[name])} rows, not {len(rows)}; lost {lost[:1]!s:.200}, too many {more[:1]!s:.200}"
            )
    return lines
