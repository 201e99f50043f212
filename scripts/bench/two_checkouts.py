"""Measure whether the worker of one checkout is slower, larger or slower to start than that of another.

    git worktree add ../before COMMIT
    python scripts/bench/two_checkouts.py ../before . IMAGES…

Both score the same images in turn, as whole programs with one thread, in alternating order. Each pair gives a ratio,
second checkout over first, so that other load on the machine cancels out. The median of the ratios is printed with its
95 % interval by the sign test; below 1 the second checkout is better. This script needs only the standard library, and
`os.wait4`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

FIGURES = {
    "scoring, CPU s per well": "the answers' own `seconds`",
    "whole run, CPU s": "start-up, reading and writing too",
    "peak memory, MB": "of the whole run",
    "first answer, CPU s": "a run with one image",
    "first answer, s": "the same by the clock",
    "--version, CPU s": "",
    "--version, s": "by the clock",
}


def run(checkout: Path, *words: object) -> tuple[float, float, float]:
    """Run a checkout's worker to its end; return seconds by the clock, CPU seconds, and peak resident MB."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(checkout / part) for part in ("models", "worker", "server")),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "xtalgrid_worker.cli", *map(str, words)],
        cwd=checkout,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)  # its peak starts at this program's, which is small
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{checkout}: the worker exited with {process.returncode}: {errors.decode(errors='replace')[-500:]}")
    peak = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    return time.monotonic() - began, used.ru_utime + used.ru_stime, peak


def measure(checkout: Path, images: Sequence[Path]) -> tuple[float, ...]:
    """Return the `FIGURES` of a checkout, in their order."""
    with tempfile.TemporaryDirectory() as scratch:
        version = run(checkout, "--version")
        first = run(checkout, "score", images[0], "--out", f"{scratch}/first")
        _, cpu, peak = run(checkout, "score", *images, "--out", f"{scratch}/all")
        answers = json.loads(Path(scratch, "all", "result.json").read_bytes())["images"]
    seconds = [answer["seconds"] for answer in answers if answer["status"] == "scored"]
    return statistics.fmean(seconds), cpu, peak, first[1], first[0], version[1], version[0]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics between which the median lies with at least 95 %; below 6 values, all of them."""
    n, rank, outside = len(values), 0, 0.0
    while (outside := outside + math.comb(n, rank) / 2**n) <= 0.025:
        rank += 1
    ranked = sorted(values)
    return ranked[max(rank - 1, 0)], ranked[min(n - rank, n - 1)]


def main() -> None:
    """Measure both checkouts, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="a checkout")
    parser.add_argument("second", type=Path, help="another one")
    parser.add_argument("images", type=Path, nargs="+", help="image files; a dozen will do")
    parser.add_argument("--pairs", type=int, default=30, help="default 30")
    arguments = parser.parse_args()
    checkouts = (arguments.first.resolve(), arguments.second.resolve())
    images = [path.resolve() for path in arguments.images]
    for checkout in checkouts:
        run(checkout, "--version")  # warm up: compile the modules, and read the files from disk
    pairs = []
    for number in range(arguments.pairs):
        turns = checkouts if number % 2 == 0 else checkouts[::-1]
        measured = {checkout: measure(checkout, images) for checkout in turns}
        pairs.append([measured[checkout] for checkout in checkouts])
        print(f"pair {number + 1} of {arguments.pairs}", file=sys.stderr, flush=True)
    print(f"{len(images)} images, {len(pairs)} pairs, one thread, load {os.getloadavg()[0]:.1f}")
    print(f"{'median of':<24}{'first':>9}{'second':>9}{'ratio':>8}   95 %")
    for index, (name, about) in enumerate(FIGURES.items()):
        ratios = [second[index] / first[index] for first, second in pairs]
        medians = "".join(f"{statistics.median(pair[side][index] for pair in pairs):9.3f}" for side in (0, 1))
        low, high = interval(ratios)
        print(f"{name:<24}{medians}{statistics.median(ratios):8.3f}   {low:.3f} to {high:.3f}   {about}".rstrip())


if __name__ == "__main__":
    main()
