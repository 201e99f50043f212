"""Feed broken image files to the real worker.

    python -m tests.rig.fuzz_images --cases 2000 --seed 0

Each file is one image of a work unit. A unit has many, so that one worker process meets them one after another. The
worker must end well, and its result must pass the validator. Each image must be scored, or fail for a reason from the
fixed list that is the image's own: never ``internal error``, ``crashed the worker`` or ``timed out``. The worker's peak
of resident memory must stay within 400 MB. The exit code is 1 if any of this does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ResultError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.steps.assimilate.validate import validate
from xtalgrid_synth import render_well

from .faults.hostile_images import EITHER, LARGE, Broken, Pixels, broken_image
from .faults.watch import peak_mb

MOST_MB = 400.0
UM = 1.13
"""Scale of the small wells, in micrometres a pixel, at which they are scored as they are; the largest have none."""
OUR_FAULT = (FailureReason.INTERNAL, FailureReason.CRASHED_WORKER, FailureReason.TIMED_OUT, FailureReason.HASH_DIFFERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unit", type=int, default=250, help="images in a unit, that is, for each worker process")
    parser.add_argument("--width", type=int, default=640, help="width of the wells, in pixels")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the files that went wrong")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    wells = rendered(arguments.width)
    seen: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    peak = 0.0
    with tempfile.TemporaryDirectory(prefix="xtalgrid-fuzz-") as name:
        for start in range(0, arguments.cases, arguments.unit):
            number = min(arguments.unit, arguments.cases - start)
            images = [broken_image(wells, rng) for _ in range(number)]
            answers, mb, problem = score(images, Path(name))
            peak = max(peak, mb)
            if answers is None:
                wrong.append(f"unit {start // arguments.unit}: {problem}")
                continue
            for image, answer in zip(images, answers, strict=True):
                became = "scored" if isinstance(answer, wire.Scored) else str(answer.reason)
                seen[image.kind, became] += 1
                why = objection(image, answer)
                if why:
                    wrong.append(f"{image.kind}: {why}")
                    keep(arguments.keep, image)
    print_table(seen)
    print(f"\npeak memory of a worker {peak:.0f} MB of {MOST_MB:.0f}")
    wrong += [f"{peak:.0f} MB of memory"] if peak > MOST_MB else []
    for line in wrong[:40]:
        print(f"WRONG  {line}")
    print(f"{len(wrong)} wrong")
    sys.exit(bool(wrong))


def rendered(width: int) -> list[Pixels]:
    """Render a few small wells."""
    outcomes = (Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT)
    height = width * 3 // 4
    return [render_well(outcome, seed=n, width=width, height=height).image for n, outcome in enumerate(outcomes)]


def score(images: list[Broken], folder: Path) -> tuple[tuple[wire.Answer, ...] | None, float, str]:
    """Have a worker score these images; return (answers, MB, ""), or (None, MB, why it failed)."""
    segmenter, classifier = default_models()
    manifest = wire.Manifest(
        schema=wire.SCHEMA,
        unit="xg_images",
        min_worker="0.1.0",
        options=wire.Options(segmenter=segmenter, classifier=classifier),
        images=tuple(
            wire.ImageEntry(
                number=n,
                file=f"{n:03d}.jpg",
                inspect_id=n,
                sha256=hashlib.sha256(image.data).hexdigest(),
                pixel_size_um=None if image.kind in LARGE or "claims" in image.kind else UM,
            )
            for n, image in enumerate(images)
        ),
    )
    unit, result, log = folder / "unit.zip", folder / "result.json", folder / "log"
    result.unlink(missing_ok=True)
    with zipfile.ZipFile(unit, "w") as packed:
        packed.writestr(wire.MANIFEST_NAME, wire.encode(manifest))
        for entry, image in zip(manifest.images, images, strict=True):
            packed.writestr(entry.file, image.data)
    with log.open("wb") as output:
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "run", str(unit), str(result), "--keep-priority"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        mb = 0.0
        while process.poll() is None:
            mb = max(mb, peak_mb(process.pid))
            time.sleep(0.02)
    if process.returncode:
        return None, mb, f"the worker ended with {process.returncode}: {log.read_text(errors='replace')[-400:]}"
    try:
        return validate(result.read_bytes(), manifest).images, mb, ""
    except ResultError as error:
        return None, mb, f"the validator refused an honest result: {error}"


def objection(image: Broken, answer: wire.Answer) -> str:
    """Say what is wrong with the answer for an image; empty if nothing is."""
    if isinstance(answer, wire.Failed) and answer.reason in OUR_FAULT:
        return f"{answer.reason}: {answer.detail}"
    if isinstance(answer, wire.Failed) and not answer.detail:
        return f"{answer.reason}, without any detail"
    became = "scored" if isinstance(answer, wire.Scored) else "failed"
    if image.expected not in (EITHER, became):
        return f"{became} ({getattr(answer, 'detail', '')}), not {image.expected}"
    return ""


def keep(folder: Path | None, image: Broken) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(char if char.isalnum() else "_" for char in image.kind)
        (folder / f"{name}_{hashlib.sha256(image.data).hexdigest()[:8]}.bin").write_bytes(image.data)


def print_table(seen: Counter[tuple[str, str]]) -> None:
    """Print a line for each kind: how many were scored, and how many failed for which reason."""
    print(f"{'kind':<36}{'files':>7}  became")
    for kind in sorted({kind for kind, _ in seen}):
        became = {what: number for (other, what), number in seen.most_common() if other == kind}
        summary = ", ".join(f"{number} {what}" for what, number in became.items())
        print(f"{kind:<36}{sum(became.values()):>7}  {summary}")
    scored = sum(number for (_, what), number in seen.items() if what == "scored")
    print(f"{'all':<36}{seen.total():>7}  {scored} scored, {seen.total() - scored} failed")


if __name__ == "__main__":
    main()
