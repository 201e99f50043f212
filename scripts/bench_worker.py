"""How long the worker takes for a well, by stage, and how much memory: ``python scripts/bench_worker.py [FOLDER]``.

Without a folder it renders wells of the published system's size. Every image is scored in each way, one after the other so that
their ratios hold whatever else the machine does: dense, exact (chop by chop), and dense with the int8 weights where there are such.
Stages are timed in CPU seconds; an ``xtalgrid-worker`` process of each way shows start-up and peak memory.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.chops import DENSE_STEP, STEP
from xtalgrid_core.errors import ImageError, UnknownModel
from xtalgrid_core.images import SUFFIXES, Pixels, read_image
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import PACKAGED, default_models
from xtalgrid_worker.inference import RUNTIME, Float, Networks
from xtalgrid_worker.scoring import score_image
from xtalgrid_worker.workunit import image_files

T = TypeVar("T")
STAGES = ("decode", "segment", "classify", "the rest")


class Timed(Networks):
    """The networks, with the CPU seconds each has taken and the pictures the classifier has run on."""

    segment = classify = 0.0
    runs = 0

    def reset(self) -> None:
        self.segment = self.classify = 0.0
        self.runs = 0

    def mask(self, view: Pixels) -> Float:
        seconds, mask = timed(lambda: super(Timed, self).mask(view))
        self.segment += seconds
        return mask

    def class_map(self, images: Pixels) -> Float:
        seconds, cells = timed(lambda: super(Timed, self).class_map(images))
        self.classify += seconds
        self.runs += len(images)
        return cells


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def score_here(
    paths: list[Path], ways: dict[str, wire.Options], threads: int, weights: list[Path]
) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Of each way and each image that can be scored: runs of the classifier, and CPU seconds of each stage."""
    networks = {way: Timed.load(options, weights, threads) for way, options in ways.items()}
    rows: dict[str, list[tuple[int, dict[str, float]]]] = {way: [] for way in ways}
    for path in paths:
        data = path.read_bytes()
        entry = wire.ImageEntry(number=0, file="000.img", inspect_id=0, sha256="0" * 64)
        for way, options in ways.items():
            timed_networks = networks[way]
            assert isinstance(timed_networks, Timed)
            timed_networks.reset()
            try:
                decode, _ = timed(lambda data=data: read_image(data))
                answer = score_image(data, entry, options, timed_networks)
            except ImageError as error:
                print(f"{path.name}: {error}")
                break
            rest = answer.seconds - decode - timed_networks.segment - timed_networks.classify
            seconds = (decode, timed_networks.segment, timed_networks.classify, max(rest, 0.0))
            rows[way].append((timed_networks.runs, dict(zip(STAGES, seconds, strict=True))))
    return rows


def ways_of(weights: Path, step: int, exact_step: int) -> dict[str, wire.Options]:
    """The ways that these weights allow."""
    segmenter, classifier = default_models(weights)
    ways = {
        "dense": wire.Options(segmenter=segmenter, classifier=classifier, mode="dense", step=step),
        "exact": wire.Options(segmenter=segmenter, classifier=classifier, mode="exact", step=exact_step),
    }
    try:
        segmenter, classifier = default_models(weights, "int8")
    except UnknownModel as error:
        print(f"without int8: {error}")
    else:
        ways["int8"] = wire.Options(segmenter=segmenter, classifier=classifier, mode="dense", step=step)
    return ways


def worker_process(paths: list[Path], *arguments: str) -> tuple[float, float]:
    """Wall seconds and peak MB of a worker process for some images."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "score", *map(str, paths), "--out", out, *arguments]
        began = time.monotonic()
        peak = subprocess.check_output([sys.executable, "-c", _MEASURED, *command])
        return time.monotonic() - began, int(peak) / (1024 * 1024 if sys.platform == "darwin" else 1024)


# A process counts its parent's memory at its start as its own peak; this parent is small.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def render(folder: Path, count: int) -> list[Path]:
    from xtalgrid_synth import render_well

    paths = []
    for number in range(count):
        path = folder / f"{number:02d}_{CLASSES[number % len(CLASSES)].replace(' ', '_')}.jpg"
        Image.fromarray(render_well(CLASSES[number % len(CLASSES)], seed=number).image).save(path, quality=90)
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of images; rendered wells without one")
    parser.add_argument("--images", type=int, default=8, help="how many (default 8)")
    parser.add_argument("--step", type=int, default=DENSE_STEP, help=f"of the dense ways (default {DENSE_STEP})")
    parser.add_argument("--exact-step", type=int, default=STEP, help=f"of the exact way (default {STEP})")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=PACKAGED, help="folder of weights (default: the package's own)")
    arguments = parser.parse_args()
    ways = ways_of(arguments.weights, arguments.step, arguments.exact_step)
    given = {
        "dense": ["--step", arguments.step],
        "exact": ["--exact", "--step", arguments.exact_step],
        "int8": ["--step", arguments.step, "--variant", "int8"],
    }
    common = ["--threads", arguments.threads, "--weights", arguments.weights]
    with tempfile.TemporaryDirectory() as scratch:
        paths = image_files([arguments.folder], SUFFIXES, "_ART.jpg") if arguments.folder else []
        paths = paths[: arguments.images] or render(Path(scratch), arguments.images)
        blank = Path(scratch) / "blank.png"
        Image.fromarray(np.full((64, 64, 3), 220, np.uint8)).save(blank)
        start_up = min(worker_process([blank], "--pixel-size", "1.13")[0] for _ in range(3))
        rows = score_here(paths, ways, arguments.threads, [arguments.weights])
        peaks = {way: worker_process(paths, *map(str, [*given[way], *common])) for way in ways if way != "exact"}
    if not rows["dense"]:
        sys.exit("no image could be scored")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{len(rows['dense'])} images, {arguments.threads} thread(s); {RUNTIME}, {platform.machine()}, load {load:.1f}"
    )
    print(
        f"{'median, CPU s':<16}" + "".join(f"{name:>10}" for name in (*STAGES, "a well")) + f"{'runs':>7}{'ratio':>8}"
    )
    totals = {way: [sum(seconds.values()) for _, seconds in rows[way]] for way in ways}
    for way in ways:
        columns = [[seconds[name] for _, seconds in rows[way]] for name in STAGES] + [totals[way]]
        ratio = statistics.median(e / t for e, t in zip(totals["exact"], totals[way], strict=True))
        print(
            f"{way:<16}"
            + "".join(f"{statistics.median(column):10.3f}" for column in columns)
            + f"{statistics.median(runs for runs, _ in rows[way]):7.0f}{ratio:7.1f}×"
        )
    for way, (wall, peak) in peaks.items():
        print(f"worker process, {way}: {wall / len(paths):.2f} s a well, peak {peak:.0f} MB")
    print(f"start-up {start_up:.2f} s")


if __name__ == "__main__":
    main()
