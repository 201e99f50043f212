"""How long the worker takes for a well, by stage, and how much memory: ``python scripts/bench_worker.py [FOLDER]``.

Without a folder it renders wells of the published system's size. The images are scored twice: here, with each stage timed
in CPU seconds, and by an ``xtalgrid-worker`` process of its own, whose start-up and peak memory are measured.
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
from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import SUFFIXES, Pixels, read_image
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import default_models
from xtalgrid_worker.inference import RUNTIME, Float, Networks
from xtalgrid_worker.scoring import score_image
from xtalgrid_worker.workunit import image_files

T = TypeVar("T")
STAGES = ("decode", "segment", "classify", "the rest")


class Timed(Networks):
    """The networks, with the CPU seconds each has taken and the number of chops."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.segment = self.classify = 0.0
        self.chops = 0

    def mask(self, view: Pixels) -> Float:
        seconds, mask = timed(lambda: super(Timed, self).mask(view))
        self.segment += seconds
        return mask

    def probabilities(self, chops: Pixels) -> Float:
        seconds, probabilities = timed(lambda: super(Timed, self).probabilities(chops))
        self.classify += seconds
        self.chops += len(chops)
        return probabilities


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def score_here(paths: list[Path], options: wire.Options, threads: int) -> list[tuple[int, dict[str, float]]]:
    """Chops and CPU seconds of each stage, of each image that can be scored."""
    rows = []
    for path in paths:
        networks = Timed.load(options, threads=threads)
        assert isinstance(networks, Timed)
        data = path.read_bytes()
        entry = wire.ImageEntry(number=0, file="000.img", inspect_id=0, sha256="0" * 64)
        try:
            decode, _ = timed(lambda data=data: read_image(data))
            answer = score_image(data, entry, options, networks)
        except ImageError as error:
            print(f"{path.name}: {error}")
            continue
        rest = answer.seconds - decode - networks.segment - networks.classify
        seconds = (decode, networks.segment, networks.classify, max(rest, 0.0))
        rows.append((networks.chops, dict(zip(STAGES, seconds, strict=True))))
    return rows


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
    parser.add_argument("--step", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    segmenter, classifier = default_models()
    options = wire.Options(segmenter=segmenter, classifier=classifier, step=arguments.step)
    with tempfile.TemporaryDirectory() as scratch:
        paths = image_files([arguments.folder], SUFFIXES, "_ART.jpg") if arguments.folder else []
        paths = paths[: arguments.images] or render(Path(scratch), arguments.images)
        blank = Path(scratch) / "blank.png"
        Image.fromarray(np.full((64, 64, 3), 220, np.uint8)).save(blank)
        start_up = min(worker_process([blank], "--pixel-size", "1.13")[0] for _ in range(3))
        rows = score_here(paths, options, arguments.threads)
        wall, peak = worker_process(paths, "--step", str(options.step), "--threads", str(arguments.threads))
    if not rows:
        sys.exit("no image could be scored")

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{len(rows)} images, step {arguments.step}, {arguments.threads} thread(s); {RUNTIME}, {platform.machine()}, load {load:.1f}"
    )
    print(f"{'':<12}{'median':>9}{'mean':>9}{'max':>9}")
    columns = {name: [seconds[name] for _, seconds in rows] for name in STAGES}
    columns["a well"] = [sum(seconds.values()) for _, seconds in rows]
    for name, values in columns.items():
        print(
            f"{name:<12}" + "".join(f"{f(values):9.3f}" for f in (statistics.median, statistics.mean, max)) + "  CPU s"
        )
    chops = [count for count, _ in rows]
    print(f"{'chops':<12}" + "".join(f"{f(chops):9.0f}" for f in (statistics.median, statistics.mean, max)))
    classified = sum(columns["classify"])
    if classified:
        print(f"chops a second: {sum(chops) / classified:.0f}")
    print(f"worker process: {wall / len(paths):.2f} s a well, peak {peak:.0f} MB, start-up {start_up:.2f} s")


if __name__ == "__main__":
    main()
