"""The rendered training set: wells become segmenter views with masks, and labelled chops, kept in a folder of arrays."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from xtalgrid_core.chops import CHOP, Box, cut
from xtalgrid_core.images import SEGMENTER_SIDE, Levels, classifier_view, resize, segmenter_view
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, Group, Outcome
from xtalgrid_synth import UNSURE, RenderedWell, WellObject, render_well

RENDERED: tuple[Outcome, ...] = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)

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

# (width, height, µm a pixel, how often): full-size cameras, half-size ones, and screenshots of a whole well.
_CAMERAS = (
    (2452, 2056, 1.131, 0.3),
    (2560, 1920, 1.131, 0.2),
    (2448, 2048, 1.419, 0.05),
    (1280, 960, 2.262, 0.15),
    (1224, 1024, 2.838, 0.1),
    (1266, 1266, 2.285, 0.08),
    (444, 370, 6.515, 0.12),
)

_CRYSTAL = GROUP_CLASSES[Group.CRYSTAL]
_PRECIPITATE = GROUP_CLASSES[Group.PRECIPITATE]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one rendered well gives: ``(256, 256, 3)`` and mask ``(256, 256)``; chops ``(N, 256, 256, 3)`` and labels ``(N,)``."""

    view: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    chops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


def chop_label(well: RenderedWell, box: Box) -> Outcome | None:
    """What is to be seen in a rectangle of a rendered well (image pixels); None when it can't be said cleanly.

    A crystal counts when half of it, or a good part of the chop, is in view; a sliver makes the chop unusable. A texture counts from
    30 % of the chop. Nothing in it: `clear` inside the drop, `rim` where its edge, the well's wall or the floor beside it is.
    """
    seen = box.clipped(*well.content.shape)
    here = np.s_[seen.row : seen.row + seen.height, seen.col : seen.col + seen.width]
    content, drop = well.content[here], well.drop_mask[here]
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
    large = max(item.box.height, item.box.width) * um >= 11
    return large and shared >= 0.5 * item.box.height * item.box.width


def sample_well(outcome: Outcome, seed: int, n_chops: int = 16) -> Sample:
    """Render a well and cut it as the worker would."""
    rng = np.random.default_rng([seed, 1])
    width, height, um, _ = _CAMERAS[int(rng.choice(len(_CAMERAS), p=[camera[3] for camera in _CAMERAS]))]
    well = render_well(outcome, seed=seed, width=width, height=height, pixel_size_um=um)
    levels = Levels.of(well.image)
    view = segmenter_view(well.image, levels)
    mask = resize(np.repeat(well.drop_mask[:, :, None], 3, 2).astype(np.uint8) * 255, SEGMENTER_SIDE, SEGMENTER_SIDE)[
        :, :, 0
    ]
    crop = _crop(rng, well)
    factor = um / 1.13
    scaled = classifier_view(
        well.image[crop.row : crop.row + crop.height, crop.col : crop.col + crop.width], levels, factor
    )
    chops, labels = [], []
    for box in _places(rng, well, crop, scaled.shape[0], scaled.shape[1], factor, 4 * n_chops):
        label = chop_label(well, Box(*(round(v / factor) for v in box)).moved(crop.row, crop.col))
        if label is not None and len(chops) < n_chops:
            chops.append(cut(scaled, [box])[0])
            labels.append(PRIORITY[label])
    shape = (len(chops), CHOP, CHOP, 3)
    return Sample(view, mask, np.array(chops, np.uint8).reshape(shape), np.array(labels, np.uint8))


def _crop(rng: np.random.Generator, well: RenderedWell) -> Box:
    """The drop's rectangle, a little wrong as the segmenter's is; now and then the whole picture."""
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
    rng: np.random.Generator, well: RenderedWell, crop: Box, height: int, width: int, factor: float, count: int
) -> list[Box]:
    """Chops at random places of the scaled crop, half of them around objects where there are any."""
    last = (max(height - CHOP, 0), max(width - CHOP, 0))
    boxes = []
    for i in range(count):
        row, col = int(rng.integers(last[0] + 1)), int(rng.integers(last[1] + 1))
        if well.objects and i % 2:
            item = well.objects[int(rng.integers(len(well.objects)))].box.moved(-crop.row, -crop.col).scaled(factor)
            row = int(np.clip(item.row + item.height / 2 - CHOP * rng.uniform(0.2, 0.8), 0, last[0]))
            col = int(np.clip(item.col + item.width / 2 - CHOP * rng.uniform(0.2, 0.8), 0, last[1]))
        boxes.append(Box(row, col, CHOP, CHOP))
    return boxes


def sample_view(outcome: Outcome, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A segmenter view and its mask from a small picture: quick, for the segmenter alone."""
    rng = np.random.default_rng([seed, 2])
    width, height, um, _ = _CAMERAS[int(rng.choice(len(_CAMERAS), p=[camera[3] for camera in _CAMERAS]))]
    shrink = min(1.0, 448 / width)
    well = render_well(
        outcome, seed=seed, width=round(width * shrink), height=round(height * shrink), pixel_size_um=um / shrink
    )
    view = segmenter_view(well.image, Levels.of(well.image))
    mask = resize(np.repeat(well.drop_mask[:, :, None], 3, 2).astype(np.uint8) * 255, SEGMENTER_SIDE, SEGMENTER_SIDE)[
        :, :, 0
    ]
    return view, mask


def outcome_of(seed: int) -> Outcome:
    """The outcome that a seed's well is rendered with."""
    p = np.array([_SHARES[outcome] for outcome in RENDERED], float)
    return RENDERED[int(np.random.default_rng([seed, 3]).choice(len(p), p=p / p.sum()))]


def _one(seed: int) -> Sample:
    return sample_well(outcome_of(seed), seed)


def _small(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    empty = np.random.default_rng([seed, 4]).random() < 0.4  # besides those that `outcome_of` gives
    return sample_view(Outcome.NULL_EXPERIMENT if empty else outcome_of(seed), seed)


def render_dataset(folder: Path, *, wells: int, views: int, seed: int, jobs: int = 2) -> None:
    """Render `wells` full wells (chops and views) and `views` small ones (views only) into arrays in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    first = seed + 10_000_000
    with ProcessPoolExecutor(jobs) as pool:
        samples = list(
            tqdm(pool.map(_one, range(seed, seed + wells), chunksize=8), total=wells, desc="wells", mininterval=10)
        )
        small = list(
            tqdm(pool.map(_small, range(first, first + views), chunksize=32), total=views, desc="views", mininterval=10)
        )
    if wells:
        np.save(folder / "chops.npy", np.concatenate([s.chops for s in samples]))
        np.save(folder / "labels.npy", np.concatenate([s.labels for s in samples]))
        np.save(folder / "wells.npy", np.repeat(np.arange(wells), [len(s.labels) for s in samples]))
    np.save(folder / "views.npy", np.stack([s.view for s in samples] + [view for view, _ in small]))
    np.save(folder / "masks.npy", np.stack([s.mask for s in samples] + [mask for _, mask in small]))
    record = {"wells": wells, "views": views, "seed": seed}
    (folder / "dataset.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
