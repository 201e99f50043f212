"""Measure the frozen worker's size, start and memory beside the unfrozen worker's, in one run.

    make freeze && python scripts/bench/frozen.py [IMAGES…]

CPU seconds include the bootloader's, user and system. Unlike elapsed time, they hardly depend on what else the computer
does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from xtalgrid_worker.selfcheck import WELL

ROOT = Path(__file__).resolve().parents[2]
NAME = "xtalgrid-worker.exe" if sys.platform == "win32" else "xtalgrid-worker"


class Cost(NamedTuple):
    """What a process took: elapsed and CPU seconds, and its peak memory in MB."""

    elapsed: float
    cpu: float
    memory: float


def cost(command: list[str], silent: int) -> Cost:
    """Run a command with an empty environment; return what it took."""
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, {}, file_actions=[(os.POSIX_SPAWN_DUP2, silent, fd) for fd in (1, 2)])
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} exited with code {os.waitstatus_to_exitcode(status)}")
    in_mb = 1e6 if sys.platform == "darwin" else 1e3
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / in_mb)


def size(path: Path) -> float:
    """Return the MB of a file, or of all files in a folder."""
    return sum(part.lstat().st_size for part in (path.rglob("*") if path.is_dir() else [path])) / 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", default=[WELL], type=Path, help="well images (default: selfcheck's)")
    parser.add_argument("--frozen", type=Path, default=ROOT / "dist", help="folder that scripts/freeze.py filled")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    file, folder = arguments.frozen / NAME, arguments.frozen / f"{Path(NAME).stem}-dir"
    programs = {
        "one file": ([str(file)], size(file)),
        "folder": ([str(folder / NAME)], size(folder)),
        "unfrozen": ([sys.executable, "-m", "xtalgrid_worker"], 0.0),
    }
    images = [str(path.absolute()) for path in arguments.images]
    print(
        f"{'':10} {'MB':>7}   {'start s':>8} {'CPU s':>7}   {len(images)} images: {'s':>6} {'CPU s':>7} {'peak MB':>8}"
    )
    with tempfile.TemporaryDirectory() as scratch, Path(os.devnull).open("w") as silent:
        for name, (program, mb) in programs.items():
            starts = [cost([*program, "--version"], silent.fileno()) for _ in range(arguments.runs)]
            start = [statistics.median(each) for each in zip(*starts, strict=True)]
            scored = cost([*program, "score", *images, "--out", str(Path(scratch) / name)], silent.fileno())
            print(
                f"{name:10} {mb:7.1f}   {start[0]:8.2f} {start[1]:7.2f}   "
                f"{'':9} {scored.elapsed:6.2f} {scored.cpu:7.2f} {scored.memory:8.0f}"
            )


if __name__ == "__main__":
    main()
