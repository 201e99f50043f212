"""Compare scores of this computer with those of other processors, which QEMU imitates.

    apt-get install qemu-user
    python scripts/bench/processors.py IMAGES… --weights FOLDER --variant int8

Haswell has AVX2 but neither AVX-512 nor VNNI, Nehalem has neither AVX nor FMA. The worker program scores all images on
each of them, which takes a minute a well in int8 and several in fp32. For each processor this prints the largest
difference of a probability from this computer's, and on how many images the validator would find that the two disagree.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.weights import PACKAGED, default_options
from xtalgrid_server.steps.assimilate.agree import image_disagreement
from xtalgrid_worker.workunit import image_files

QEMU = "qemu-x86_64"


def scored(paths: list[Path], out: Path, more: list[str], before: list[str]) -> list[wire.Scored]:
    """Score images by the worker program, started by a command `before` it; leave out those that can't be scored."""
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "score", *map(str, paths), "--out", str(out), *more]
    run = subprocess.run([*before, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"{out.name}: the worker exited with {run.returncode}: {run.stderr[-500:]}")
    answers = wire.decode_result((out / "result.json").read_bytes()).images
    return [answer for answer in answers if isinstance(answer, wire.Scored)]


def numbers(answer: wire.Scored) -> list[float]:
    """Return all probabilities of an answer."""
    groups = [answer.groups or (), answer.second_opinion.groups if answer.second_opinion else ()]
    return [answer.p_crystal, answer.probability, answer.drop.confidence, *answer.probabilities, *chain(*groups)]


def main() -> None:
    """Score the images on this computer and on each other processor, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", help="images, or folders of them")
    parser.add_argument("--cpus", nargs="+", default=["Haswell", "Nehalem"], help=f"names that {QEMU} -cpu knows")
    parser.add_argument("--weights", type=Path, default=PACKAGED, help="folder of weights (default: the package's own)")
    parser.add_argument("--variant", choices=["fp32", "int8"], help="default: the default weights themselves")
    parser.add_argument("--second-opinion", help="ONNX file of `xtalgrid-train import marco`")
    arguments = parser.parse_args()
    if shutil.which(QEMU) is None:
        sys.exit(f"{QEMU} is not installed; run apt-get install qemu-user")
    options = default_options(arguments.weights, arguments.variant)
    more = ["--weights", str(arguments.weights), "--time-limit", "7200"]
    for name in ("variant", "second_opinion"):
        if value := getattr(arguments, name):
            more += [f"--{name.replace('_', '-')}", value]
    paths, _ = image_files(arguments.images, SUFFIXES, "_ART.jpg")
    with tempfile.TemporaryDirectory() as scratch:
        here = scored(paths, Path(scratch) / "here", more, [])
        print(f"{len(here)} of {len(paths)} images scored here")
        for cpu in arguments.cpus:
            there = scored(paths, Path(scratch) / cpu, more, [QEMU, "-cpu", cpu])
            pairs = list(zip(here, there, strict=True))
            largest = max(abs(a - b) for one, other in pairs for a, b in zip(numbers(one), numbers(other), strict=True))
            disagree = sum(bool(image_disagreement(one, other, options)) for one, other in pairs)
            outcomes = sum(one.outcome is not other.outcome for one, other in pairs)
            print(
                f"{cpu}: probabilities differ by at most {largest:.1g}, {outcomes} outcomes differ, "
                f"{disagree} of {len(pairs)} images disagree",
                flush=True,
            )


if __name__ == "__main__":
    main()
