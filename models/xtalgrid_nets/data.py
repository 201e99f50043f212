"""Render the training set: segmenter views with masks, labelled chops, and patches with labelled windows."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import xtalgrid_synth
from xtalgrid_core.chops import CHOP, Box, cut
from xtalgrid_core.images import SEGMENTER_SIDE, Levels, classifier_view, resize, segmenter_view
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, Group, Outcome
from xtalgrid_core.scale import to_reference
from xtalgrid_synth import UNSURE, RenderedWell, WellObject, render_well

from .sets.format import NO_LABEL, PATCH, PATCH_STARTS, RENDERED
from .sets.writing import ChopSetWriter

OUTCOMES: tuple[Outcome, ...] = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)

_SHARES = {
    Outcome.HARVESTABLE: 4,
    Outcome.BAD_FORM: 3,
    Outcome.OVERNUCLEATED: 2,
    Outcome.PRECIPITATE: 4,
    Outcome.PRECIPITATE_BAD: 2,
    Outcome.PRECIPITATE_GOOD: 2,
    Outcome.NULL_EXPERIMENT: 2,
    Outcome.OTHER: 3,
    Outcome.SPHERULITES: 1.5,
    Outcome.PHASE_SEPARATION: 1.5,
    Outcome.CLEAR: 5,
    Outcome.CLEAR_WITH_FEATURES: 2,
}

# (width, height, µm per pixel, frequency): full-size cameras, half-size ones, and screenshots of a whole well, down
# to thumbnails.
_CAMERAS = (
    (2452, 2056, 1.131, 0.26),
    (2560, 1920, 1.131, 0.2),
    (2448, 2048, 1.419, 0.05),
    (1280, 960, 2.262, 0.15),
    (1224, 1024, 2.838, 0.1),
    (1266, 1266, 2.285, 0.08),
    (444, 370, 6.515, 0.06),
    (300, 300, 9.643, 0.05),
    (200, 167, 14.465, 0.03),
    (150, 150, 19.287, 0.02),
)

_GUESSED = 0.25
"""How often the scale is not known but guessed, off by a factor of e to the power of ±0.25 (its standard deviation)."""

_CRYSTAL = GROUP_CLASSES[Group.CRYSTAL]
_PRECIPITATE = GROUP_CLASSES[Group.PRECIPITATE]


Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one rendered well gives, under the names of `sets.format`: pixels and labels (for the view: its mask)."""

    view: tuple[Pixels, Pixels]
    chops: tuple[Pixels, Pixels] | None = None
    patches: tuple[Pixels, Pixels] | None = None


def chop_label(well: RenderedWell, box: Box) -> Outcome | None:
    """Label a rectangle of a rendered well (in image pixels); None if its content is ambiguous.

    A crystal counts if half of it is in view or it fills a good part of the chop; a sliver makes the chop unusable. A
    texture counts from 30 % of the chop on. A chop with neither is `clear` inside the drop, and `rim` if it shows the
    drop's edge, the well's wall or the floor beside the drop.
    """
    seen = box.clipped(*well.content.shape)
    view = np.s_[seen.row : seen.row + seen.height, seen.col : seen.col + seen.width]
    content, drop = well.content[view], well.drop_mask[view]
    if not content.size:
        return None
    part = np.bincount(content.ravel(), minlength=UNSURE + 1)[1:] / content.size
    if part[UNSURE - 1] > 0.1:
        return None
    whole = {item.outcome for item in well.objects if _shows(item, seen, well.pixel_size_um)}
    for outcome in CLASSES:
        rank = PRIORITY[outcome]
        if rank in _PRECIPITATE or (outcome is Outcome.OTHER and outcome not in whole):
            if part[rank] >= 0.3:
                return outcome
            if part[rank] > 0.03:
                return None
        elif outcome in whole or part[rank] > 0.06:
            return outcome
        elif part[rank] > (0.0003 if rank in _CRYSTAL else 0.002):
            return None
    return Outcome.CLEAR if drop.mean() > 0.985 else Outcome.RIM


def _shows(item: WellObject, seen: Box, um: float) -> bool:
    shared = (min(item.box.row + item.box.height, seen.row + seen.height) - max(item.box.row, seen.row)) * max(
        min(item.box.col + item.box.width, seen.col + seen.width) - max(item.box.col, seen.col), 0
    )
    large = max(item.box.height, item.box.width) >= max(11 / um, 3)
    return bool(large and shared >= 0.5 * item.box.height * item.box.width)


def sample_well(
    outcome: Outcome, seed: int, n_chops: int = 8, n_patches: int = 4, in_precipitate: bool = False
) -> Sample:
    """Render a well and cut it as the worker would into chops, and into patches: chops with their surroundings."""
    rng = np.random.default_rng([seed, 1])
    cols, rows, um, _ = _CAMERAS[int(rng.choice(len(_CAMERAS), p=[camera[3] for camera in _CAMERAS]))]
    well = render_well(outcome, seed=seed, width=cols, height=rows, pixel_size_um=um, in_precipitate=in_precipitate)
    levels = Levels.of(well.image)
    factor = to_reference(um * (np.exp(rng.normal(0, 0.25)) if rng.random() < _GUESSED else 1.0))
    crop = _at_least(_crop(rng, well), math.ceil((PATCH + 1) / factor), *well.content.shape)
    scaled = classifier_view(
        well.image[crop.row : crop.row + crop.height, crop.col : crop.col + crop.width], levels, factor
    )

    def label(box: Box) -> int:
        outcome = chop_label(well, Box(*(round(v / factor) for v in box)).moved(crop.row, crop.col))
        return NO_LABEL if outcome is None else PRIORITY[outcome]

    height, width = scaled.shape[:2]
    chops: list[Pixels] = []
    labels: list[int] = []
    for box in _places(rng, well, crop, height, width, factor, 4 * n_chops, CHOP):
        rank = label(box)
        if rank != NO_LABEL and len(chops) < n_chops:
            chops.append(cut(scaled, [box])[0])
            labels.append(rank)
    patches, windows = [], []
    for box in _places(rng, well, crop, height, width, factor, n_patches, PATCH):
        patches.append(cut(scaled, [box])[0])
        windows.append([[label(Box(box.row + i, box.col + j, CHOP, CHOP)) for j in PATCH_STARTS] for i in PATCH_STARTS])
    return Sample(
        _view(well),
        (np.array(chops, np.uint8).reshape(-1, CHOP, CHOP, 3), np.array(labels, np.uint8)),
        (np.array(patches, np.uint8).reshape(-1, PATCH, PATCH, 3), np.array(windows, np.uint8)),
    )


def _view(well: RenderedWell) -> tuple[Pixels, Pixels]:
    """Return the well as the segmenter sees it, ``(1, 256, 256, 3)``, and its mask, 0..255."""
    view = segmenter_view(well.image, Levels.of(well.image))
    mask = np.repeat(well.drop_mask[:, :, None], 3, 2).astype(np.uint8) * 255
    return view[None], resize(mask, SEGMENTER_SIDE, SEGMENTER_SIDE)[None, :, :, 0]


def _at_least(box: Box, side: int, height: int, width: int) -> Box:
    """Widen a box around its centre to `side` pixels, inside the image."""
    rows, cols = min(max(box.height, side), height), min(max(box.width, side), width)
    row = min(max(box.row - (rows - box.height) // 2, 0), height - rows)
    col = min(max(box.col - (cols - box.width) // 2, 0), width - cols)
    return Box(row, col, rows, cols)


def _crop(rng: np.random.Generator, well: RenderedWell) -> Box:
    """Return the drop's rectangle, slightly wrong as the segmenter's is; sometimes the whole picture."""
    height, width = well.drop_mask.shape
    if not well.drop_mask.any() or rng.random() < 0.12:
        return Box(0, 0, height, width)
    rows, cols = np.flatnonzero(well.drop_mask.any(axis=1)), np.flatnonzero(well.drop_mask.any(axis=0))
    slack = 0.08 * max(rows[-1] - rows[0], cols[-1] - cols[0])
    top, left, bottom, right = (int(v) for v in rng.normal(0.15, 0.5, 4) * slack)
    box = Box(
        rows[0] - top, cols[0] - left, rows[-1] - rows[0] + top + bottom, cols[-1] - cols[0] + left + right
    ).clipped(height, width)
    return box if min(box.height, box.width) > 16 else Box(0, 0, height, width)


def _places(
    rng: np.random.Generator,
    well: RenderedWell,
    crop: Box,
    height: int,
    width: int,
    factor: float,
    count: int,
    side: int,
) -> list[Box]:
    """Choose squares at random places of the scaled crop, half of them around objects if there are any."""
    last = (max(height - side, 0), max(width - side, 0))
    boxes = []
    for i in range(count):
        row, col = int(rng.integers(last[0] + 1)), int(rng.integers(last[1] + 1))
        if well.objects and i % 2:
            item = well.objects[int(rng.integers(len(well.objects)))].box.moved(-crop.row, -crop.col).scaled(factor)
            row = int(np.clip(item.row + item.height / 2 - side * rng.uniform(0.2, 0.8), 0, last[0]))
            col = int(np.clip(item.col + item.width / 2 - side * rng.uniform(0.2, 0.8), 0, last[1]))
        boxes.append(Box(row, col, side, side))
    return boxes


def _sample_view(outcome: Outcome, seed: int) -> Sample:
    """Render a segmenter view and its mask from a small picture: fast, for the segmenter alone."""
    rng = np.random.default_rng([seed, 2])
    width, height, um, _ = _CAMERAS[int(rng.choice(len(_CAMERAS), p=[camera[3] for camera in _CAMERAS]))]
    shrink = min(1.0, 448 / width)
    well = render_well(
        outcome, seed=seed, width=round(width * shrink), height=round(height * shrink), pixel_size_um=um / shrink
    )
    return Sample(_view(well))


def outcome_of(seed: int, among: tuple[Outcome, ...] = OUTCOMES) -> Outcome:
    """Return the outcome, one of `among`, that a seed's well is rendered with."""
    p = np.array([_SHARES[outcome] for outcome in among], float)
    return among[int(np.random.default_rng([seed, 3]).choice(len(p), p=p / p.sum()))]


def _full(among: tuple[Outcome, ...], in_precipitate: bool, seed: int) -> tuple[int, Outcome, Sample]:
    outcome = outcome_of(seed, among)
    return seed, outcome, sample_well(outcome, seed, in_precipitate=in_precipitate)


def _small(among: tuple[Outcome, ...], seed: int) -> tuple[int, Outcome, Sample]:
    empty = among == OUTCOMES and np.random.default_rng([seed, 4]).random() < 0.4  # besides those of `outcome_of`
    outcome = Outcome.NULL_EXPERIMENT if empty else outcome_of(seed, among)
    return seed, outcome, _sample_view(outcome, seed)


def renderer_version() -> str:
    """Return the SHA-256 of the sources that decide what a seed's well looks like and how it is cut."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(xtalgrid_synth.__file__).parent.glob("*.py")), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def render_dataset(
    folder: Path,
    *,
    wells: int,
    views: int,
    seed: int,
    jobs: int = 2,
    only: tuple[Outcome, ...] = (),
    in_precipitate: bool = False,
) -> None:
    """Render a training set (`sets.format`).

    `wells` full wells give chops, patches and views; `views` small ones give views only. With `only`, every well has
    one of these outcomes; with `in_precipitate`, crystals of full wells always have precipitate around them.

    Each well is a plate of its own, so that every tenth is held out. After an interruption, the same call continues
    where it stopped.

    Raises
    ------
    SetError
        If the folder holds another set.
    """
    arguments: dict[str, Any] = {"wells": wells, "views": views, "seed": seed, "renderer": renderer_version()}
    among = tuple(outcome for outcome in OUTCOMES if outcome in only) or OUTCOMES
    if only:
        arguments["only"] = [outcome.value for outcome in among]
    if in_precipitate:
        arguments["in_precipitate"] = True
    with ChopSetWriter(folder, "xtalgrid-train render", arguments) as writer, ProcessPoolExecutor(jobs) as pool:
        full, small = partial(_full, among, in_precipitate), partial(_small, among)
        for what, sample, first, count in (("wells", full, seed, wells), ("views", small, seed + 10_000_000, views)):
            left = [s for s in range(first, first + count) if f"{what} {s}" not in writer.done]
            for number, outcome, sample_of_well in tqdm(
                pool.map(sample, left, chunksize=4), total=len(left), desc=what, mininterval=10, disable=not left
            ):
                writer.add(
                    plate=f"rendered {number}",
                    source=RENDERED,
                    image=f"{what} {number}",
                    outcome=outcome.value,
                    chops=sample_of_well.chops,
                    patches=sample_of_well.patches,
                    views=sample_of_well.view,
                )
