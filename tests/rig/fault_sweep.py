"""Kill the chain and break things around it, again and again, and compare the outcome with an undisturbed run.

    python -m tests.rig.fault_sweep --kills 1000 --wells 300

The whole chain runs on the local grid with real worker processes (tiny networks, so that a well takes milliseconds).
It is killed repeatedly, each time in a chosen stage and at a random moment of it: with its workers, alone, or after one
of its workers. It is then run to its end. The same is done with the stages running side by side as services. The other
faults are a full disk (needs root, for a small file system), folders that become read-only, a lost imager database
(PostgreSQL behind a relay that is cut), a clock that jumps back, two runs at once, and a worker that hangs. After each,
the score table and the ledger are compared row by row with those of an undisturbed run (`faults.lab.content`). The exit
code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from tests.small_disk import small_disk
from tests.tiny_networks import write_tiny_weights
from xtalgrid_core.weights import read_manifest
from xtalgrid_server.config import Config
from xtalgrid_server.ledger import database as ledger_database

from .faults.lab import (
    STAGES,
    UNIT,
    Run,
    config_of,
    content,
    differences,
    draw_wells,
    grid_service,
    other_services,
    started,
    whole_chain,
)
from .faults.outage import databases_with_a_relay, outage

HOW = ("all", "alone", "worker")
PLAN = (*[0] * 3, *[1] * 3, *[2] * 10, *[3] * 3, *[4] * 3, *[5] * 3)
"""The stages (indices of `faults.lab.STAGES`) in which a run is killed, in turn; most kills hit working workers."""


@dataclass(slots=True)
class Sweep:
    """What was done, and what was wrong with it."""

    root: Path
    weights: Path
    rng: random.Random
    wells: Path
    number: int
    expected: dict[str, list[str]] = field(default_factory=dict)
    kilobytes: int = 0
    seconds: dict[int, float] = field(default_factory=dict)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    is_enough: bool = False
    """Whether somebody pressed Ctrl-C: stop killing, try the other faults, and report."""
    _labs: int = 0

    def lab(self, more: str = "", home: Path | None = None) -> Config:
        """Return the configuration of a new home."""
        self._labs += 1
        return config_of(home or self.root / f"lab{self._labs}" / "home", self.weights, more)

    def start(self, config: Config, before: Callable[[], None] = lambda: None) -> Run:
        log = self.root / f"{config.home.parent.name}.log"
        return started(whole_chain(config, self.wells), log, before)

    def ends_the_same(self, name: str, config: Config, what: str) -> None:
        """Run to the end once more, undisturbed, and compare."""
        code = self.start(config).wait()
        problems = differences(config, self.expected)
        if code != 0:
            problems.insert(0, f"the last run ended with {code}: {_last(self.root / f'{config.home.parent.name}.log')}")
        self.wrong += [f"{name}: {line}" for line in problems]
        self.lines.append((name, what, "differs" if problems else "the same"))
        if not problems:
            shutil.rmtree(config.home.parent if config.home.parent.name.startswith("lab") else config.home)

    def undisturbed(self) -> None:
        """Do the run that all others are compared with, and time its stages."""
        config = self.lab()
        run, began, stage, looked = self.start(config), time.monotonic(), -1, 0.0
        while (code := run.ended()) is None:
            if time.monotonic() - looked > 0.1:
                looked = time.monotonic()
                self.kilobytes = max(self.kilobytes, _kilobytes(config.home))
            if run.stage != stage:
                self.seconds[stage] = time.monotonic() - began
                stage, began = run.stage, time.monotonic()
            time.sleep(0.001)
        self.seconds[stage] = time.monotonic() - began
        self.expected = content(config)
        counts = {name: len(rows) for name, rows in self.expected.items()}
        if code or counts["scores"] != self.number or counts["i_scores"] != self.number or counts["spool"]:
            sys.exit(f"the undisturbed run ended with {code} and {counts}: {_last(self.root / 'lab1.log')}")
        print(f"undisturbed: {self.number} wells, {sum(self.seconds.values()):.1f} s; rows {counts}", flush=True)

    def killed(self, kills: int) -> None:
        """Kill runs in one stage after the other, then run each to its end."""
        done = 0
        while done < kills and not self.is_enough:
            config, before = self.lab("attempts = 50\n"), self.kills.total()
            plan = sorted(self.rng.sample(PLAN, min(len(PLAN), kills - done)))
            for stage in plan:
                self._kill_in(config, stage, share=min(1, 3 / plan.count(stage)))
            times = self.kills.total() - before
            done += max(times, 1)
            self.ends_the_same("killed", config, f"{times} times")
            print(f"{done} kills, {len(self.wrong)} wrong", flush=True)

    def _kill_in(self, config: Config, stage: int, share: float) -> None:
        """Kill a run early enough in a stage that the stage still has work left for the kills that follow."""
        how = self.rng.choice(HOW if stage == STAGES.index("grid") else HOW[:2])
        run = self.start(config)
        if not self._has_come(run, stage, share):
            return
        if how == "worker":
            for pid in run.workers()[:1]:
                _signal(pid, signal.SIGKILL)
                self.kills[STAGES[stage], how] += 1
            if not self._has_come(run, stage, share):  # the grid goes on with the unit
                return
            how = "all"
        self.kills[STAGES[max(run.stage, 0)], how] += 1
        run.kill_all() if how == "all" else run.kill_alone()
        os.waitpid(run.pid, 0)

    def _has_come(self, run: Run, stage: int, share: float) -> bool:
        """Wait for a random moment of a stage, or of the next if it was short; False if the run ended first."""
        moment, met = math.inf, -1
        while time.monotonic() < moment:
            if (code := run.ended()) is not None:
                self.wrong += [f"killed: a run ended with {code}"] * (code not in (0, 75))
                return False
            if run.stage >= stage and run.stage != met:
                met = run.stage
                moment = min(moment, time.monotonic() + self.rng.uniform(0, share * self.seconds.get(met, 0.1)))
            time.sleep(0.0005)
        return True

    def services(self, kills: int) -> None:
        """Run the grid and the other steps side by side, as services do; keep killing and restarting them."""
        config = self.lab()
        log = self.root / f"{config.home.parent.name}.log"
        chains = {"grid --watch": grid_service(config), "other steps": other_services(config, self.wells)}
        runs = {name: started(chain, log) for name, chain in chains.items()}
        pause = sum(self.seconds.values()) / 5
        end = time.monotonic() + 60 + 20 * pause * (kills + 5)
        while kills or not _is_all_published(config, self.number):
            if time.monotonic() > end:
                self.wrong.append(f"services: not done in time: {_last(log)}")
                break
            name = self.rng.choice(list(chains))
            time.sleep(self.rng.uniform(0, pause))
            for other, run in runs.items():  # as systemd does
                if (code := run.ended()) is not None:
                    self.wrong.append(f"services: {other} ended with {code}: {_last(log)}")
                    runs[other] = started(chains[other], log)
            if kills:
                how = self.rng.choice(HOW[:2])
                runs[name].kill_all() if how == "all" else runs[name].kill_alone()
                os.waitpid(runs[name].pid, 0)
                runs[name] = started(chains[name], log)
                self.kills[name, how] += 1
                kills -= 1
        for run in runs.values():
            run.kill_all()
            run.wait()
        self.ends_the_same("services side by side", config, "each killed again and again")

    def hanging_worker(self) -> None:
        """Stop a worker so that it no longer answers; the grid kills it once its patience runs out."""
        config = self.lab("patience_minutes = 0.1\n")
        run = self.start(config)
        while not run.workers() and run.ended() is None:
            time.sleep(0.01)
        time.sleep(self.rng.uniform(0, 0.05))
        stopped = run.workers()[:1]
        for pid in stopped:
            _signal(pid, signal.SIGSTOP)
        code = run.wait()
        self.wrong += [f"a worker hangs: the run ended with {code}"] * bool(code)
        self.wrong += ["a worker hangs: there was none to stop"] * (not stopped)
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        self.ends_the_same("a worker hangs", config, f"{len(stopped)} worker stopped; the grid's patience 6 s")

    def two_at_once(self) -> None:
        """Start two runs of the whole chain at nearly the same time; each step is done by one of them."""
        config = self.lab()
        runs = []
        for _ in range(2):
            runs.append(self.start(config))
            time.sleep(self.rng.uniform(0, 0.3))
        codes = [run.wait() for run in runs]
        self.wrong += [f"two runs at once: they ended with {codes}"] * bool(set(codes) - {0, 75})
        self.ends_the_same("two runs at once", config, f"they ended with {codes} (75: another one is at it)")

    def clock_back(self) -> None:
        """Set the clock back three hours in the middle of the work, and a day before the end."""
        config = self.lab()
        run = self.start(config)
        while run.stage < STAGES.index("grid") and run.ended() is None:
            time.sleep(0.001)
        time.sleep(self.seconds[STAGES.index("grid")] / 2)
        run.kill_all()
        run.wait()
        code = self.start(config, lambda: _shift(-3 * 3600)).wait()
        code = code or self.start(config, lambda: _shift(-24 * 3600)).wait()
        self.wrong += [f"clock back: a run ended with {code}"] * bool(code)
        self.ends_the_same("the clock jumps back", config, "by 3 hours in the middle, then by a day")

    def full_disk(self) -> None:
        """Let the disk fill up at some point of the run, then make room again."""
        for part in (0.3, 0.5, 0.7, 0.9):
            kilobytes = round(self.kilobytes * part * self.rng.uniform(0.9, 1))
            code = 0
            while code == 0:  # there was enough room: try a smaller disk
                with small_disk(self.root / f"disk{kilobytes}", kilobytes) as disk:
                    if disk is None:
                        self.lines.append(("full disk", "mounting a small disk needs root", "not run"))
                        return
                    config = self.lab(home=disk.folder / "home")
                    code = self.start(config).wait()
                    if code != 0:
                        disk.grow("500m")
                        self.wrong += [f"full disk: the run ended with {code}"] * (code != 2)
                        self.ends_the_same(
                            "full disk", config, f"{kilobytes} kB of {self.kilobytes}: it ended with {code}"
                        )
                kilobytes = kilobytes * 19 // 20

    def read_only(self) -> None:
        """Make all folders read-only during the run: open files stay writable, nothing is made, renamed or removed."""
        wait = self.rng.uniform(0, self.seconds[STAGES.index("grid")] / 2)
        for part in (1, 1 / 4, 1 / 16, 0):
            code = self._read_only_after(config := self.lab(), wait * part)
            if code != 0:  # else the grid may have been through, which takes much less time when nothing else runs
                break
        self.wrong += [f"read-only folders: the run ended with {code}"] * (code != 2)
        self.ends_the_same("read-only folders", config, f"while workers were at it; the run ended with {code}")

    def _read_only_after(self, config: Config, seconds: float) -> int:
        """Make a run's folders read-only so long after its grid began; return the run's exit code."""
        run = self.start(config, _without_roots_rights)
        while run.stage < STAGES.index("grid") and run.ended() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        folders = [config.home, *(path for path in config.home.rglob("*") if path.is_dir() and not path.is_symlink())]
        for folder in folders:
            folder.chmod(0o555)
        code = run.wait()
        for folder in folders:
            folder.chmod(0o755)
        return code

    def database_gone(self, seconds: float) -> None:
        """Take the imager database away for a while, and keep starting every step, as cron does."""
        with databases_with_a_relay(self.root / "postgresql", self.wells) as site:
            if site is None:
                self.lines.append(("database gone", "PostgreSQL is not installed", "not run"))
                return
            self.lines.append(outage(site, self.weights, seconds, UNIT, self.rng, self.wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--wells", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--gone", type=float, default=30, help="seconds for which the imager database is away; 0: never"
    )
    parser.add_argument("--work", type=Path, help="folder for the runs (default: a temporary one)")
    arguments = parser.parse_args()
    logging.getLogger("xtalgrid").setLevel(logging.WARNING)
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xtalgrid-sweep-", dir=arguments.work) as name:
        root = Path(name)
        (root / "weights").mkdir()
        wells = root / "wells"
        draw_wells(wells, arguments.wells)
        weights = write_tiny_weights(root / "weights")
        assert read_manifest(weights).default
        sweep = Sweep(root, weights, random.Random(arguments.seed), wells, arguments.wells)
        sweep.undisturbed()
        signal.signal(signal.SIGINT, lambda *_: setattr(sweep, "is_enough", True))
        sweep.killed(arguments.kills)
        sweep.services(max(arguments.kills // 20, 4))
        for fault in (sweep.hanging_worker, sweep.two_at_once, sweep.clock_back, sweep.full_disk, sweep.read_only):
            fault()
            print(*sweep.lines[-1], sep=": ", flush=True)
        if arguments.gone:
            sweep.database_gone(arguments.gone)
    report(sweep)
    sys.exit(bool(sweep.wrong))


def report(sweep: Sweep) -> None:
    """Print the kills by stage and kind, then each fault and whether it ended the same."""
    print(f"\n{'SIGKILL in':<16}" + "".join(f"{how:>10}" for how in HOW))
    for stage in (*STAGES, "grid --watch", "other steps"):
        print(f"{stage:<16}" + "".join(f"{sweep.kills[stage, how]:>10}" for how in HOW))
    print(f"{'all':<16}{sweep.kills.total():>10}\n")
    runs = Counter((name, became) for name, _, became in sweep.lines)
    for (name, became), number in runs.items():
        what = (
            ""
            if name == "killed"
            else "; ".join(what for other, what, how in sweep.lines if (other, how) == (name, became))
        )
        print(f"{name:<24}{number:>4} runs  {became:<10}{what}")
    for line in sweep.wrong[:40]:
        print(f"WRONG  {line}")
    print(f"{len(sweep.wrong)} wrong")


def _is_all_published(config: Config, number: int) -> bool:
    try:
        return len(content(config)["i_scores"]) >= number
    except sa.exc.SQLAlchemyError:  # there is no table yet
        return False


def _kilobytes(folder: Path) -> int:
    """Return how much disk a folder takes up."""
    total = 0
    for place, _, names in os.walk(folder):  # skips folders that vanish meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(place, name).lstat().st_blocks // 2
    return total


def _without_roots_rights() -> None:
    """Make a process of root, and those it starts, obey file permissions (capabilities(7): CAP_DAC_OVERRIDE)."""
    if os.geteuid() != 0:
        return
    libc, override = ctypes.CDLL(None, use_errno=True), 1
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3; of this process
    libc.capget(header, sets)
    for number in range(3):  # effective, permitted, inheritable
        sets[number] &= ~(1 << override)
    if libc.prctl(24, override, 0, 0, 0) or libc.capset(header, sets):  # 24: PR_CAPBSET_DROP
        raise OSError(ctypes.get_errno(), "root's capabilities could not be dropped")


def _shift(seconds: float) -> None:
    """Move this process's clock: the ledger's one clock, wherever it was imported, and `time.time`."""
    real_now, real_time, real_ns = ledger_database.now, time.time, time.time_ns
    shifted = lambda: real_now() + timedelta(seconds=seconds)  # noqa: E731
    for module in list(sys.modules.values()):
        if getattr(module, "now", None) is real_now:
            module.now = shifted  # type: ignore[attr-defined]
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _last(log: Path) -> str:
    return log.read_text(errors="replace")[-500:] if log.exists() else "no log"


if __name__ == "__main__":
    main()
