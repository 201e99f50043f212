"""The local grid: workers are processes on this machine, and each unit has a folder in the spool.

``spool/units/<unit>/`` holds ``unit.zip``, the worker's checkpoint and log, and finally ``result.json`` or
``failed.txt``. The folder's content is the unit's state, so nothing is lost if a process is killed. A unit enters and
leaves the spool by a single rename. A worker locks its checkpoint, so two workers never work on the same unit.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from xtalgrid_core import wire
from xtalgrid_core.errors import WireError, XtalgridError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.lines import one_line

from ..config import Config
from ..domain.log import log
from ..storage import weights
from .base import GivenUp, Refused, Submission

STEP = "grid"
_WORKER = "xtalgrid_worker.cli"

_REFUSED = 2  # exit code of a worker that cannot do this unit: trying again would not help
_DISK = 74  # of one that cannot write, usually because the disk is full
_BUSY = 75  # of one that finds another worker at its unit
_NO_WEIGHTS = 78  # of one that does not find the unit's weights
_PYTHON_ENDED = 1  # of Python itself, for an error that nobody catches

_AGAIN = 60
"""Seconds after which a unit is tried again whose worker found a full disk, or no weights."""
_TELL = 3600
"""Seconds after which a lack of weights is logged again."""


@dataclass(slots=True)
class Worked:
    """How many units a run of the grid finished, gave up and retried, and how many wait for their weights."""

    finished: int = 0
    failed: int = 0
    retried: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Running:
    name: str
    process: subprocess.Popen[bytes]
    size_at_start: int
    """Size of the checkpoint in bytes; it grows with each image."""
    size: int
    since: float
    """When the checkpoint was first seen at `size`."""


class LocalGrid:
    """One configuration's spool and its workers: a `Grid`."""

    batch = 1  # so that workers start while the next unit is packed

    def __init__(self, config: Config) -> None:
        self._config, self._settings = config, config.grid
        self._lacking: dict[str, str] = {}
        self._told = -math.inf
        self._units = config.spool / "units"
        self._staged = config.spool / "staged"
        self._trash = config.spool / "trash"

    # ---- the spool ---------------------------------------------------------------------------------------------

    def staged(self, name: str) -> Path:
        """Return where a unit's zip is built before it is submitted."""
        return self._staged / name / "unit.zip"

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Move staged units into the spool, except those that are already there."""
        self._units.mkdir(parents=True, exist_ok=True)
        for submission in submissions:
            if not (self._units / submission.unit).exists():
                (self._staged / submission.unit).replace(self._units / submission.unit)

    def known(self, attempts: Mapping[str, int]) -> set[str]:
        """Return which of these units are in the spool, finished or not."""
        return {name for name in attempts if (self._units / name).is_dir()}

    def forget_staged(self) -> None:
        """Delete units that killed runs staged but did not submit."""
        shutil.rmtree(self._staged, ignore_errors=True)

    def waiting(self) -> list[str]:
        """Return the units that no worker has finished or given up, oldest first."""
        return [folder.name for folder in self._folders() if _waits(folder)]

    def lacks(self, name: str) -> str | None:
        """Say which weights a waiting unit lacks; None if none, or if only its worker can tell what is wrong."""
        try:
            with zipfile.ZipFile(self._units / name / "unit.zip") as unit:
                manifest = wire.decode_manifest(unit.read(wire.MANIFEST_NAME))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, WireError):
            return None
        return weights.missing(self._config, manifest.options)

    def results(self) -> Iterator[tuple[str, Path]]:
        """Yield (unit, result file) of finished units."""
        for folder in self._folders():
            if (folder / "result.json").is_file():
                yield folder.name, folder / "result.json"

    def given_up(self) -> Iterator[GivenUp]:
        """Yield the units that were given up."""
        for folder in self._folders():
            if (why := _why_given_up(folder)) is not None:
                yield GivenUp(folder.name, why)

    def discard(self, name: str) -> None:
        """Remove a unit from the spool."""
        self._trash.mkdir(parents=True, exist_ok=True)
        if (self._units / name).is_dir():
            (self._units / name).replace(self._trash / f"{name}.{time.time_ns()}")
        shutil.rmtree(self._trash, ignore_errors=True)

    def do_again(self, name: str) -> bool:
        """Restart a unit from its first image, after its result was refused."""
        folder = self._units / name
        for leftover in ("result.json.checkpoint", "failed.txt", "attempts", "result.json"):
            path = folder / leftover
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        return True

    def refused(self) -> Iterator[Refused]:
        """Yield nothing: results are not checked before they are assimilated."""
        return iter(())

    def forget_refused(self, refused: Refused) -> None:
        """Do nothing: there are no refused results."""

    def offer_models(self, pair: tuple[str, str]) -> None:
        """Do nothing: workers read ``home/weights`` themselves."""

    def _folders(self) -> list[Path]:
        try:
            folders = list(self._units.iterdir())
        except FileNotFoundError:
            return []
        aged = []
        for folder in folders:
            with suppress(FileNotFoundError):  # another step just discarded it
                aged.append((folder.stat().st_ctime_ns, folder.name, folder))
        return [folder for _, _, folder in sorted(aged) if folder.is_dir()]

    # ---- the workers -------------------------------------------------------------------------------------------

    def work(
        self,
        *,
        watch: bool = False,
        on_progress: Callable[[int], None] | None = None,
        is_paused: Callable[[], bool] = lambda: False,
    ) -> Worked:
        """Run workers until no unit waits, or forever.

        Parameters
        ----------
        watch
            Keep waiting for units. SIGTERM and SIGINT stop the workers, which keep their checkpoints; without `watch`,
            they also end the program.
        on_progress
            Called repeatedly with the number of images in the spool that have an answer.
        is_paused
            While it returns true, no worker is started; those at work finish their units.

        Raises
        ------
        XtalgridError
            If a worker cannot write its checkpoint or result. With `watch`, its unit is tried again after a minute.

        Notes
        -----
        A unit whose weights are not there, as while a share is off, is not given up: it waits, with `watch` for a
        minute, else for the next run.
        """
        worked, running, postponed = Worked(), list[_Running](), dict[str, float]()
        self._lacking, self._told = {}, -math.inf
        queue = _Queue(self._units, self.waiting)
        done = {folder.name: _answers(folder) for folder in self._folders()} if on_progress else {}
        with _stop_signals() as stopping:
            try:
                while True:
                    at_work = running
                    # A worker that is stopped before it has an answer has not tried in vain.
                    is_try = not stopping
                    running = [item for item in at_work if not self._ended(item, worked, postponed, watch, is_try)]
                    if on_progress:
                        done |= {item.name: _answers(self._units / item.name) for item in at_work}
                        on_progress(sum(done.values()))
                    postponed = {name: until for name, until in postponed.items() if until > time.monotonic()}
                    idle = stopping or (len(running) < self._settings.workers and is_paused())
                    if not idle:
                        self._start_more(queue, running, postponed, watch)
                    if not running and stopping and not watch:
                        raise SystemExit(128 + stopping[0])  # the steps after this one must not run
                    if not running and (stopping or (not watch and all(map(math.isinf, postponed.values())))):
                        worked.waiting = len(self._lacking)
                        return worked
                    if stopping:
                        _terminate(running)
                    time.sleep(0.1 if on_progress or not watch else 0.5)
            finally:
                _terminate(running)
                for item in running:
                    item.process.wait()

    def _start_more(self, queue: _Queue, running: list[_Running], postponed: dict[str, float], watch: bool) -> None:
        """Start workers, as many as there may be, for units that wait."""
        while len(running) < self._settings.workers:
            name = queue.take({item.name for item in running}.union(postponed), at_once=not running)
            if name is None:
                return
            if (lacks := self.lacks(name)) is not None:
                self._wait_for_weights(name, lacks, postponed, watch)
                continue
            if self._lacking.pop(name, None) is not None and not self._lacking:
                log.info("%s: the weights that units waited for are there again", STEP)
            try:
                running.append(self._start(name))
            except FileNotFoundError:
                if (self._units / name).exists():  # otherwise it was just removed from the spool
                    raise

    def _start(self, name: str) -> _Running:
        folder = self._units / name
        program = [sys.executable, "-m", _WORKER]
        command = [*program, "run", "unit.zip", "result.json", "--parent", str(os.getpid())]
        if self._config.weights.is_dir():  # the lab's own models; the unit's manifest says which to use
            command += ["--weights", str(self._config.weights)]
        with (folder / "worker.log").open("ab") as output:
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        size = _size(folder / "result.json.checkpoint")
        return _Running(name, process, size, size, time.monotonic())

    def _ended(
        self, item: _Running, worked: Worked, postponed: dict[str, float], watch: bool, is_try: bool = True
    ) -> bool:
        """Return whether a worker has ended; if so, act on how it ended."""
        folder = self._units / item.name
        code = item.process.poll()
        if code is None:
            self._kill_if_it_hangs(item, _size(folder / "result.json.checkpoint"))
            return False
        try:
            self._follow(folder, code, item, worked, postponed, watch, is_try)
        except FileNotFoundError:
            if folder.exists():
                raise
            worked.finished += 1  # assimilated and removed while the worker was ending
        return True

    def _follow(
        self,
        folder: Path,
        code: int,
        item: _Running,
        worked: Worked,
        postponed: dict[str, float],
        watch: bool,
        is_try: bool,
    ) -> None:
        if (folder / "result.json").is_file() or not folder.exists():
            worked.finished += 1
        elif code == _BUSY:
            postponed[item.name] = time.monotonic() + 2  # the other worker's grid was killed, so it ends soon
        elif code == _DISK or (code == _PYTHON_ENDED and not _can_start()):
            why = _last_line(folder / "worker.log")
            if code == _PYTHON_ENDED:
                why += " (the worker cannot start: is an upgrade of xtalgrid under way, or was it broken off?)"
            if not watch:
                raise XtalgridError(f"a worker stopped: {why}")
            log.error("%s unit %s postponed, a worker stopped: %s", STEP, item.name, why)
            postponed[item.name] = time.monotonic() + _AGAIN
        elif code == _NO_WEIGHTS:
            self._wait_for_weights(item.name, _last_line(folder / "worker.log"), postponed, watch)
        elif code == _REFUSED:
            worked.failed += 1
            self._give_up(folder, _last_line(folder / "worker.log"))
        elif is_try and _size(folder / "result.json.checkpoint") == item.size_at_start:
            attempts = _size(folder / "attempts") + 1  # the file has one byte per attempt
            (folder / "attempts").write_bytes(b"." * attempts)
            worked.retried += 1
            if attempts >= self._settings.attempts:
                worked.failed += 1
                self._give_up(folder, f"{attempts} workers ended without an answer; the last one (exit code {code}): ")
        else:
            worked.retried += 1

    def _wait_for_weights(self, name: str, why: str, postponed: dict[str, float], watch: bool) -> None:
        postponed[name] = time.monotonic() + _AGAIN if watch else math.inf
        self._lacking[name] = why
        if time.monotonic() >= self._told + _TELL:
            self._told = time.monotonic()
            log.error(
                "%s unit %s waits, as all others without their weights do, and is not given up: %s; bring the folder "
                "back, or restore it from a backup",
                STEP,
                name,
                why,
            )

    def _kill_if_it_hangs(self, item: _Running, size: int) -> None:
        if size != item.size:
            item.size, item.since = size, time.monotonic()
        elif time.monotonic() - item.since > self._settings.patience_minutes * 60:
            log.error(
                "%s unit %s: no answer for %g minutes; its worker is killed",
                STEP,
                item.name,
                self._settings.patience_minutes,
            )
            item.process.kill()

    def _give_up(self, folder: Path, reason: str) -> None:
        if reason.endswith(": "):
            reason += _last_line(folder / "worker.log")
        log.error("%s unit %s given up: %s", STEP, folder.name, reason)
        write_atomically(folder / "failed.txt", reason.encode())


class _Queue:
    """Units that wait, oldest first. They are listed again when all were taken, in a fifth of the time at most.

    To list them takes as long as there are units in the spool, of which a back-fill may have thousands.
    """

    def __init__(self, units: Path, waiting: Callable[[], list[str]]) -> None:
        self._units, self._waiting = units, waiting
        self._listed: deque[str] = deque()
        self._next = 0.0

    def take(self, besides: Collection[str], *, at_once: bool) -> str | None:
        """Return a unit that still waits and is not one of these, or None; `at_once` lists them again in any case."""
        began = time.monotonic()
        if not self._listed and (at_once or began >= self._next):
            self._listed.extend(self._waiting())
            self._next = time.monotonic() + 4 * (time.monotonic() - began)
        while self._listed:
            name = self._listed.popleft()
            if name not in besides and _waits(self._units / name):
                return name
        return None


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list, so that workers can be stopped in order."""
    got: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        got.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread: the caller handles signals
        yield got
        return
    try:
        yield got
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _terminate(running: list[_Running]) -> None:
    for item in running:
        if item.process.poll() is None:
            item.process.terminate()


def _can_start() -> bool:
    """Tell whether the worker's program is whole; a unit is not to blame if it is not."""
    command = [sys.executable, "-c", f"import {_WORKER}"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _waits(folder: Path) -> bool:
    """Tell whether no worker has finished a unit, or given it up."""
    return folder.is_dir() and not any((folder / name).exists() for name in ("result.json", "failed.txt"))


def _why_given_up(folder: Path) -> str | None:
    """Return why a unit was given up, None if it was not.

    What stands in place of its result or of the reason, and is no file that can be read, ends it too: otherwise it
    would neither wait nor come back.
    """
    try:
        with (folder / "failed.txt").open("rb") as stream:
            text = stream.read(2000).decode("utf-8", errors="replace")
        return one_line(text.strip())[:500] or "no reason was noted"
    except FileNotFoundError:
        return "result.json is a folder" if (folder / "result.json").is_dir() else None
    except OSError as error:
        return f"the reason is not known: cannot read failed.txt ({error.strerror})"


def _answers(folder: Path) -> int:
    """Count the images of a unit that have an answer, in its result or checkpoint."""
    for name in ("result.json", "result.json.checkpoint"):
        with suppress(OSError):
            return (folder / name).read_bytes().count(b'"status":')
    return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1][:400].removeprefix("Error: ") if lines else "no log"
