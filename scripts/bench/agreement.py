"""Measure how far dense scoring agrees with exact scoring, chop by chop, and int8 weights with fp32.

    python scripts/bench/agreement.py IMAGES… --work FOLDER

The worker program scores all images in each mode. The images are divided into parts, and `--jobs` parts run at once
(exact scoring takes some ten times as long as dense, so running the modes side by side would not help). If it is
stopped, run the same command again to resume. Finished parts are not run again, so use a new folder for other weights.
The report is Markdown: agreement of outcomes and of groups, mean differences of probabilities, and every well on which
two modes disagree.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from xtalgrid_core import wire
from xtalgrid_core.images import SUFFIXES
from xtalgrid_worker.workunit import image_files

MODES = {"exact": ["--exact", "--variant", "fp32"], "dense": ["--variant", "fp32"], "int8": ["--variant", "int8"]}
PAIRS = (("exact", "dense"), ("dense", "int8"))

PART = 50
"""Images for one worker process: a few minutes' work in exact mode."""

Scores = dict[Path, wire.Scored]


def score(mode: str, paths: list[Path], work: Path, more: list[str]) -> Scores:
    """Score some of the images in one mode; leave out those that can't be scored."""
    names = "\n".join([*map(str, paths), *more])
    out = work / f"{mode}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
    if not (out / "scores.csv").exists():  # written last
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "score", *map(str, paths), "--out", str(out)]
        done = subprocess.run([*command, *MODES[mode], *more], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise ChildProcessError(
                f"{mode}: xtalgrid-worker exited with {done.returncode}; run the same command again to resume"
            )
    images = wire.decode_result((out / "result.json").read_bytes()).images
    return {path: image for path, image in zip(paths, images, strict=True) if isinstance(image, wire.Scored)}


def compare(first: str, second: str, a: Scores, b: Scores) -> list[str]:
    """Compare the scores of two modes, as lines of Markdown."""
    both = [(path, a[path], b[path]) for path in a if path in b]
    if not both:
        return [f"## {second} against {first}", "", "No well was scored in both modes."]
    outcomes = sum(x.outcome is y.outcome for _, x, y in both)
    groups = sum(x.outcome.group is y.outcome.group for _, x, y in both)
    chopped = [(x, y) for _, x, y in both if x.probabilities and y.probabilities]
    differences = [np.abs(np.subtract(x.probabilities, y.probabilities)).mean() for x, y in chopped]
    seconds = [np.median([mode[path].seconds for path, _, _ in both]) for mode in (a, b)]
    lines = [
        f"## {second} against {first}",
        "",
        f"* outcomes agree: {outcomes} of {len(both)} ({100 * outcomes / len(both):.1f} %); groups: {groups}",
        f"* mean |Δp_crystal|: {np.mean([abs(x.p_crystal - y.p_crystal) for _, x, y in both]):.4f}",
        f"* mean |ΔP| of the 13 largest probabilities: {np.mean(differences) if differences else 0:.4f}",
        f"* CPU seconds per well, median: {seconds[0]:.3f} and {seconds[1]:.3f} "
        f"(×{seconds[0] / max(seconds[1], 1e-9):.1f})",
    ]
    if outcomes < len(both):
        lines += ["", f"| well | {first} | {second} |", "|---|---|---|"]
        lines += [f"| {path.name} | {_cell(x)} | {_cell(y)} |" for path, x, y in both if x.outcome is not y.outcome]
    return lines


def _cell(answer: wire.Scored) -> str:
    return f"{answer.outcome} {answer.probability:.3f} (crystal {answer.p_crystal:.3f})"


def main() -> None:
    """Score the images in each mode, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", help="images, or folders of them")
    parser.add_argument("--work", type=Path, required=True, help="folder for the results")
    parser.add_argument("--weights", type=Path, help="folder of weights (default: the package's own)")
    parser.add_argument(
        "--modes", "--ways", nargs="+", choices=MODES, default=["exact", "dense"], help="default: exact dense"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of worker processes (default 1)")
    arguments = parser.parse_args()
    paths, _ = image_files(arguments.images, SUFFIXES, "_ART.jpg")
    if not paths:
        sys.exit("no images found; give image files, or folders of them")
    more = ["--weights", str(arguments.weights)] if arguments.weights else []
    arguments.work.mkdir(parents=True, exist_ok=True)
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    scored: dict[str, Scores] = {mode: {} for mode in arguments.modes}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        started = [
            (mode, pool.submit(score, mode, part, arguments.work, more)) for mode in arguments.modes for part in parts
        ]
        try:
            for mode, future in started:
                scored[mode].update(future.result())
        except ChildProcessError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(str(error))
    print(f"{len(paths)} images")
    for first, second in PAIRS:
        if first in scored and second in scored:
            print("\n" + "\n".join(compare(first, second, scored[first], scored[second])))


if __name__ == "__main__":
    main()
