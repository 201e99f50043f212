"""What the real program makes of real and rendered wells: each source by itself, with counts.

The worker runs as a program of its own and its ``result.json`` is read: what is judged here is what a lab would get.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core import wire
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome
from xtalgrid_synth import render_plate

from .data import RENDERED

# Sources of wells/ by the start of the file name; figures are never mixed.
_WELL_SOURCES = (
    ("marco_gsk_", "wells: MARCO/GSK"),
    ("J000597_", "wells: Diamond, clear drops"),
    ("RMM3_01_470_", "wells: Rigaku, square wells"),
    ("lysozyme_presentation_", "wells: screenshots of 1536-well plates"),
    ("pres_images_", "wells: screenshots of 1536-well plates"),
    ("well_1464_uvtpef", "wells: one UV image"),
    ("well_1464_", "wells: 1536-well plate, full size"),
)
_RENDERED = "rendered"


@dataclass(frozen=True, slots=True)
class Truth:
    """One image: its file, its source, what a person said (None: nothing), whether surely, and its drop's mask if there is one."""

    path: Path
    source: str
    group: Group | None
    sure: bool
    mask: Path | None = None


def real_truth(folder: Path) -> list[Truth]:
    """The images of a folder of real wells with ``labels.csv`` (``marco_tiles`` are for training, and left out)."""
    truths = []
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["image"]
            if row["set"] == "marco_tiles" or Path(name).suffix.lower() not in SUFFIXES:
                continue
            source = row["set"]
            if source == "wells":
                source = next((label for start, label in _WELL_SOURCES if name.startswith(start)), "wells: single ones")
            group = Group.OTHER if row["judgement"] == Outcome.NULL_EXPERIMENT.value else _group(row["judgement"])
            mask = folder / row["set"] / "drop_masks" / f"{Path(name).stem}.png"
            good = row["drop_mask_quality"] == "good" and mask.is_file()
            truths.append(
                Truth(folder / row["set"] / name, source, group, row["confidence"] == "high", mask if good else None)
            )
    return truths


def _group(name: str) -> Group | None:
    return next((group for group in SCORED_GROUPS if group.value == name), None)


def rendered_truth(folder: Path, *, wells: int, seed: int, even: bool = False) -> list[Truth]:
    """Render wells that no training set holds, and say what they are.

    Outcomes come as often as on a usual plate, or each as often as the other when `even`.
    """
    truths = []
    for plate in range(-(-wells // 12)):
        barcode = f"RE{plate:06d}"
        count = min(12, wells - 12 * plate)
        wanted = [RENDERED[i % len(RENDERED)] for i in range(count)] if even else count
        files = render_plate(folder, barcode=barcode, seed=seed + 1_000_000 + plate, wells=wanted)
        with (folder / barcode / "truth.csv").open(newline="", encoding="utf-8") as file:
            outcomes = [Outcome(row["outcome"]) for row in csv.DictReader(file)]
        truths += [Truth(path, _RENDERED, outcome.group, True) for path, outcome in zip(files, outcomes, strict=True)]
    return truths


def score(
    paths: Iterable[Path], out: Path, *, weights: Path | None = None, threads: int = 1, more: Sequence[str] = ()
) -> dict[Path, wire.Scored]:
    """Score images with the worker program; those that failed are missing.

    Raises
    ------
    RuntimeError
        When the program ends with an error; quotes what it said.
    """
    files = [str(path) for path in paths]
    command = [sys.executable, "-c", "from xtalgrid_worker.cli import main; main()", "score", *files, "--out", str(out)]
    command += ["--threads", str(threads), *more]
    if weights:
        command += ["--weights", str(weights)]
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"xtalgrid-worker ended with {done.returncode}: {done.stderr[-2000:]}")
    result = wire.decode_result((out / "result.json").read_bytes())
    return {Path(files[i]): image for i, image in enumerate(result.images) if isinstance(image, wire.Scored)}


def outline_iou(scored: wire.Scored, mask: Path) -> float:
    """Intersection over union of the drop's outline with a mask picture (its largest region isn't sought: it has one)."""
    with Image.open(mask) as picture:
        truth = np.asarray(picture.convert("L")) > 0
    height, width = truth.shape
    drawn = Image.new("L", (width, height), 0)
    points = [(col * width / scored.width, row * height / scored.height) for row, col in scored.drop.outline]
    if len(points) > 2:
        ImageDraw.Draw(drawn).polygon(points, fill=1)
    found: npt.NDArray[np.bool_] = np.asarray(drawn) > 0
    return float((truth & found).sum() / max((truth | found).sum(), 1))


def report(truths: Sequence[Truth], scored: Mapping[Path, wire.Scored]) -> list[str]:
    """Lines of Markdown, one table for each source."""
    lines: list[str] = []
    for source in sorted({truth.source for truth in truths}):
        here = [truth for truth in truths if truth.source == source]
        answers = {truth: scored[truth.path] for truth in here if truth.path in scored}
        lines += [f"### {source} ({len(here)} images)", ""]
        lines.append(f"* scored: {len(answers)} of {len(here)}")
        lines.append(_share("called crystal", [a.outcome.group is Group.CRYSTAL for a in answers.values()]))
        lines.append(_share("undecided", [a.outcome is Outcome.UNDECIDED for a in answers.values()]))
        lines.append(_share("null experiment", [a.outcome is Outcome.NULL_EXPERIMENT for a in answers.values()]))
        overlaps = [outline_iou(a, t.mask) for t, a in answers.items() if t.mask]
        if overlaps:
            few = sum(value < 0.5 for value in overlaps)
            lines.append(
                f"* drop outline: IoU mean {np.mean(overlaps):.3f}, median {np.median(overlaps):.3f}; below 0.5: {few} of {len(overlaps)}"
            )
        seconds = [a.seconds for a in answers.values()]
        if seconds:
            lines.append(f"* CPU seconds an image: median {np.median(seconds):.2f}, most {max(seconds):.2f}")
        lines += ["", *_confusion(answers), ""]
    return lines


def _share(what: str, hits: Sequence[bool]) -> str:
    return f"* {what}: {sum(hits)} of {len(hits)}" + (f" ({100 * sum(hits) / len(hits):.0f} %)" if hits else "")


def _confusion(answers: Mapping[Truth, wire.Scored]) -> list[str]:
    """Sure judgements against called groups."""
    columns = [group.value for group in SCORED_GROUPS] + ["undecided"]
    counts: Counter[tuple[Group, str]] = Counter()
    for truth, answer in answers.items():
        if truth.sure and truth.group:
            called = "undecided" if answer.outcome is Outcome.UNDECIDED else answer.outcome.group.value
            counts[truth.group, called] += 1
    lines = ["| sure judgement | " + " | ".join(columns) + " | right |", "|---" * (len(columns) + 2) + "|"]
    for group in SCORED_GROUPS:
        row = [counts[group, column] for column in columns]
        if sum(row):
            right = counts[group, group.value]
            lines.append(f"| {group.value} | " + " | ".join(map(str, row)) + f" | {right} of {sum(row)} |")
    return lines
