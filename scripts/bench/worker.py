"""Measure how much time the worker takes for a well, by stage, and how much memory.

    python scripts/bench/worker.py [FOLDER]
    python scripts/bench/worker.py FOLDER --images 48 --dense-only --marco MARCO --record beside_marco

Without a folder it renders wells of the published system's size. Every image is scored in all ways in turn, on one
core, so that the ratios hold whatever else the machine does: dense; exact (chop by chop); dense with the int8 weights,
if there are any; and the published way, chop by chop in torch (``--torch``) and in MXNet (``--mxnet PYTHON``), for
which some chops of each well are timed and the total is extrapolated. With ``--marco FOLDER`` (made by
``xtalgrid-train import marco``) the one pass of MARCO's network is timed too, decoding included, which is what a lab
pays that takes MARCO's network instead of ours; and ours with MARCO's as a second opinion. Stages are timed in CPU
seconds. One and two ``xtalgrid-worker`` processes at once show start-up, wall time and memory. ``--record`` puts the
table into docs/evaluation/measured.toml, from which ``make docs`` renews the pages.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import truediv
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from PIL import Image

from measured import record, record_value
from published_way import seconds_mxnet, seconds_torch
from xtalgrid_core import wire
from xtalgrid_core.chops import CHOP, STEP, Box
from xtalgrid_core.combination import Combination
from xtalgrid_core.decision import Groups
from xtalgrid_core.dense import Float
from xtalgrid_core.errors import ImageError, UnknownModel
from xtalgrid_core.images import SUFFIXES, Pixels, WellImage
from xtalgrid_core.options import DEFAULTS, Options
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.scale import pixel_size
from xtalgrid_core.weights import PACKAGED, Variant, default_models, read_manifest, with_second_opinion
from xtalgrid_scoring import second_opinion
from xtalgrid_scoring.memory import keep_freed_memory
from xtalgrid_scoring.networks import RUNTIME, Networks, load_network
from xtalgrid_scoring.score import score_image
from xtalgrid_worker.workunit import image_files

T = TypeVar("T")
STAGES = ("decode", "segment", "classify", "the rest")
FP32, INT8 = "dense, fp32", "dense, int8"
_COMBINATION = Combination(1.0, 1.0, (0.0,) * 4)
"""Any takes the same time."""
PUBLISHED_CHOPS = 12
"""Chops of each well that are timed in the published ways."""


class Timed(Networks):
    """The networks, with the CPU seconds each took and the pictures that the classifier ran on."""

    segment = classify = 0.0
    runs = 0
    keep = 0
    kept: list[Pixels]

    def reset(self) -> None:
        """Reset the counters for the next image."""
        self.segment = self.classify = 0.0
        self.runs = 0
        self.kept = []

    def mask(self, view: Pixels) -> Float:
        """Find the drop, and time it."""
        seconds, mask = timed(lambda: super(Timed, self).mask(view))
        self.segment += seconds
        return mask

    def class_map(self, images: Pixels) -> Float:
        """Classify images, and time it; keep the first `keep` chops."""
        seconds, cells = timed(lambda: super(Timed, self).class_map(images))
        self.classify += seconds
        self.runs += len(images)
        if len(self.kept) < self.keep and images.shape[1:3] == (CHOP, CHOP):
            self.kept.append(images[0])
        return cells

    def second_opinion(self, picture: Float) -> Groups:
        """Ask for the second opinion, and time it as a part of the classifying."""
        seconds, groups = timed(lambda: super(Timed, self).second_opinion(picture))
        self.classify += seconds
        return groups


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of a call, and its result."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def score_in_process(
    paths: list[Path],
    ways: dict[str, wire.Options],
    threads: int,
    weights: list[Path],
    published: dict[str, Callable[[Pixels], float]],
    marco: dict[str, second_opinion.Network],
) -> dict[str, list[dict[str, float]]]:
    """Return, for each way and image, the CPU seconds of each stage.

    Images that can't be scored are left out. `published`: other ways to classify, each a function from chops
    ``(N, 256, 256, 3)`` to CPU seconds per chop; all else is as in the exact way. `marco`: MARCO's networks.
    """
    networks = {way: Timed.load(options, weights, threads) for way, options in ways.items()}
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in (*ways, *published, *marco)}
    for path in paths:
        data = path.read_bytes()
        entry = wire.ImageEntry(number=0, file="000.img", inspect_id=0, sha256="0" * 64)
        for way, options in ways.items():
            timed_networks = networks[way]
            assert isinstance(timed_networks, Timed)
            timed_networks.reset()
            try:
                timed_networks.keep = PUBLISHED_CHOPS if options.mode == "exact" else 0
                answer = score_image(data, entry, options, timed_networks)
            except ImageError as error:
                print(f"{path.name}: {error}")
                break
            if answer.drop.box is None:
                print(f"{path.name}: left out, no drop was found")
                break
            scale = pixel_size(answer.width, answer.height, answer.pixel_size_um)
            decode, _ = timed(partial(decode_parts, data, Box(*answer.drop.box), scale.to_reference))
            rest = answer.seconds - decode - timed_networks.segment - timed_networks.classify
            seconds = (decode, timed_networks.segment, timed_networks.classify, max(rest, 0.0))
            rows[way].append(dict(zip(STAGES, seconds, strict=True)))
            for name, seconds_per_chop in published.items() if options.mode == "exact" else ():
                classify = timed_networks.runs * seconds_per_chop(np.stack(timed_networks.kept))
                rows[name].append({**rows[way][-1], "classify": classify})
        else:
            for name, network in marco.items():
                decode, picture = timed(partial(marco_input, data))
                classify, _ = timed(partial(second_opinion.probabilities, network, picture))
                rows[name].append(dict(zip(STAGES, (decode, 0.0, classify, 0.0), strict=True)))
    return rows


def marco_input(data: bytes) -> Float:
    """Decode an image as MARCO's network sees it, ``(1, 3, 599, 599)``."""
    return second_opinion.network_input(WellImage(data))


def marco_networks(folder: Path, threads: int) -> dict[str, second_opinion.Network]:
    """Load MARCO's networks, fp32 and int8, by a name for the table."""
    return {
        f"MARCO, {entry.variant}": load_network((folder / entry.file).read_bytes(), "logits", entry.file, threads)
        for entry in read_manifest(folder).models
    }


def decode_parts(data: bytes, drop: Box, to_reference: float) -> None:
    """Decode and resize as `score_image` does: the whole image for the segmenter, the drop for the classifier."""
    image = WellImage(data)
    image.segmenter_view()
    image.classifier_view(drop, to_reference)


def ways_of(weights: Path, step: int, exact_step: int, marco: Path | None) -> dict[str, wire.Options]:
    """Return the ways that these weights allow, with each of MARCO's networks as a second opinion too."""
    ways = {}
    variants: tuple[tuple[str, Variant], ...] = ((FP32, "fp32"), (INT8, "int8"))
    for way, variant in variants:
        try:
            segmenter, classifier = default_models(weights, variant)
        except UnknownModel as error:
            print(f"{way} left out: {error}")
            continue
        ways[way] = Options(segmenter=segmenter, classifier=classifier, step=step)
    seconds = read_manifest(marco).models if marco else ()
    for way, options in tuple(ways.items()):
        for entry in seconds:
            fitted = msgspec.structs.replace(entry, combination=_COMBINATION)
            ways[f"{way}, with MARCO, {entry.variant}"] = with_second_opinion(options, fitted)
    ways[f"exact (step {exact_step}, chop by chop)"] = msgspec.structs.replace(
        ways[FP32], mode="exact", step=exact_step, rule="published", zoom=None
    )
    return ways


def worker_process(paths: list[Path], *arguments: str) -> tuple[float, float]:
    """Return wall seconds and peak MB of a worker process that scores some images."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "score", *map(str, paths), "--out", out, *arguments]
        began = time.monotonic()
        peak = subprocess.check_output([sys.executable, "-c", _MEASURED, *command])
        return time.monotonic() - began, int(peak) / (1024 * 1024 if sys.platform == "darwin" else 1024)


# A process's peak starts at its parent's memory, so this parent is small.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def render(folder: Path, count: int) -> list[Path]:
    """Render wells of all outcomes in turn into a folder."""
    from xtalgrid_synth import render_well

    paths = []
    for number in range(count):
        path = folder / f"{number:02d}_{CLASSES[number % len(CLASSES)].replace(' ', '_')}.jpg"
        Image.fromarray(render_well(CLASSES[number % len(CLASSES)], seed=number).image).save(path, quality=90)
        paths.append(path)
    return paths


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of images (default: rendered wells)")
    parser.add_argument("--images", type=int, default=8, help="number of images (default 8)")
    parser.add_argument(
        "--step", type=int, default=DEFAULTS.step, help=f"step of dense scoring (default {DEFAULTS.step})"
    )
    parser.add_argument("--exact-step", type=int, default=STEP, help=f"step of exact scoring (default {STEP})")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=PACKAGED, help="folder of weights (default: the package's own)")
    parser.add_argument("--torch", action="store_true", help="time the published way in torch too")
    parser.add_argument(
        "--mxnet", type=Path, help="time it in MXNet too: the Python of its environment (models/legacy-mxnet)"
    )
    parser.add_argument(
        "--dense-only", action="store_true", help="leave out the exact way, which takes ten times as long"
    )
    parser.add_argument("--marco", type=Path, help="folder of MARCO's networks, to time their pass too")
    parser.add_argument("--record", metavar="NAME", help="replace this table of measured.toml, and well_s")
    arguments = parser.parse_args()
    published: dict[str, Callable[[Pixels], float]] = {}
    if arguments.torch:
        published["published way, torch"] = seconds_torch
    if arguments.mxnet:
        published["published way, MXNet"] = lambda chops: seconds_mxnet(chops, arguments.mxnet)
    marco = marco_networks(arguments.marco, arguments.threads) if arguments.marco else {}
    keep_freed_memory()  # as the worker does
    ways = ways_of(arguments.weights, arguments.step, arguments.exact_step, arguments.marco)
    if arguments.dense_only:
        ways = {way: options for way, options in ways.items() if options.mode == "dense"}
    common = ["--threads", arguments.threads, "--weights", arguments.weights, "--step", arguments.step]
    processes = {way: list(map(str, [*common, "--variant", way[-4:]])) for way in (FP32, INT8) if way in ways}
    folders = [arguments.weights, *([arguments.marco] if arguments.marco else [])]
    with tempfile.TemporaryDirectory() as scratch:
        paths = image_files([arguments.folder], SUFFIXES, "_ART.jpg")[0] if arguments.folder else []
        paths = paths[:: max(len(paths) // arguments.images, 1)][: arguments.images]
        paths = paths or render(Path(scratch), arguments.images)
        blank = Path(scratch) / "blank.png"
        Image.fromarray(np.full((64, 64, 3), 220, np.uint8)).save(blank)
        start_up = min(worker_process([blank], "--pixel-size", "1.13")[0] for _ in range(3))
        with one_core() if arguments.threads == 1 else contextlib.nullcontext():
            rows = score_in_process(paths, ways, arguments.threads, folders, published, marco)
        peaks = {way: worker_process(paths, *options) for way, options in processes.items()}
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(worker_process, paths, *processes[FP32]) for _ in range(2)]
            two = max(future.result()[0] for future in both)
    if not rows[FP32]:
        sys.exit("no image could be scored")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{len(rows[FP32])} images, {arguments.threads} thread(s); {RUNTIME}, {platform.machine()}, load {load:.1f}")
    totals = {way: [sum(seconds.values()) for seconds in rows[way]] for way in rows}
    others = [*marco, FP32]
    columns = ["way", *STAGES, "a well", *(f"of {other}" for other in others)]
    table = []
    for way in rows:
        parts = [[seconds[name] for seconds in rows[way]] for name in STAGES]
        medians = [statistics.median(column) for column in (*parts, totals[way])]
        ratios = [statistics.median(map(truediv, totals[way], totals[other])) for other in others]
        table.append([way, *(f"{median:.3f}" for median in medians), *(f"{ratio:.2f}" for ratio in ratios)])
    print("median, CPU s")
    for row in [columns, *table]:
        cells = (f"{cell:>{max(len(title), 8) + 2}}" for cell, title in zip(row[1:], columns[1:], strict=True))
        print(f"{row[0]:<32}{''.join(cells)}")
    for way, (wall, peak) in peaks.items():
        print(f"worker process, {way}: {wall / len(paths):.2f} s per well, peak {peak:.0f} MB")
    print(
        f"two at once, {FP32}: {two / len(paths) / 2:.2f} s per well, "
        f"{2 * peaks[FP32][0] / two:.2f} times the work of one"
    )
    print(f"start-up {start_up:.2f} s")
    if arguments.record:
        record(arguments.record, columns, table)
        usual = default_models(arguments.weights)[1]
        way = next(way for way, options in ways.items() if options.classifier == usual)
        record_value("well_s", f"{statistics.median(totals[way]):.2f}")


if __name__ == "__main__":
    main()
