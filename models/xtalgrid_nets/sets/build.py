"""Build a chop set from labelled wells in several processes; wells that fail are recorded and skipped."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import Levels, Pixels, read_image, segmenter_view
from xtalgrid_core.outcomes import PRIORITY, Group, Outcome
from xtalgrid_core.scale import pixel_size
from xtalgrid_core.weights import PACKAGED

from .crops import Crop, crop_to_drop, segmenter_of, whole_well
from .format import SetError
from .masks import read_mask
from .published import Rules, chop_well
from .sources import Entry, LabelledWell, PassedOver, read_file
from .uv import glow_map
from .writing import ChopSetWriter

MAX_SIDE = 8_000
"""Largest side of a crop in pixels at the reference scale (9 mm); anything larger means a wrong pixel size."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How wells are cut: the `rules`, the folder of `weights` with the segmenter, or the `whole` well uncut."""

    rules: Rules = field(default_factory=Rules)
    weights: Path = PACKAGED
    whole: bool = False
    """One picture of the whole well, squeezed to 256×256, instead of chops: for networks that classify wells."""


@dataclass(frozen=True, slots=True)
class WellResult:
    """The result for one well: arrays, or the reason why it failed."""

    sha256: str = ""
    chops: npt.NDArray[np.uint8] | None = None
    labels: npt.NDArray[np.uint8] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of a build: the folder, the failures, and the counts."""

    folder: Path
    failed: Mapping[str, str]
    left_out: Mapping[str, int]
    counts: Mapping[str, Any]

    @classmethod
    def of(cls, writer: ChopSetWriter) -> Summary:
        """Summarise a finished set."""
        return cls(writer.folder, writer.failed, writer.left_out, writer.counts())


def make_well(well: LabelledWell, settings: Settings) -> WellResult:
    """Read one well and cut it; an error comes back as `Made.failed`."""
    try:
        data = read_file(well.data) if isinstance(well.data, Path) else well.data
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_image(data)
        if settings.whole:
            view = segmenter_view(image, Levels.of(image))
            return WellResult(sha256, view[None], np.array([PRIORITY[well.label.outcome]], np.uint8))
        crop = _crop(image, well, settings)
        if crop is None:
            return WellResult(sha256, left_out={"wells in which no drop was found": 1})
        glow, counts = None, {}
        if well.uv is not None and well.label.outcome.group is Group.CRYSTAL and settings.rules.uv != "ignore":
            mate = read_image(read_file(well.uv))
            glow = glow_map(mate, crop.box, crop.drop.shape, image.shape[:2])
            counts = {"uv pairs": 1}
    except (ImageError, SetError) as error:
        return WellResult(failed=str(error))
    chopped = chop_well(crop, well.label.outcome, settings.rules, glow)
    return WellResult(sha256, chopped.chops, chopped.labels, +chopped.left_out, counts)


def _crop(image: Pixels, well: LabelledWell, settings: Settings) -> Crop | None:
    try:
        scale = pixel_size(image.shape[1], image.shape[0], well.pixel_size_um)
    except ValueError as error:
        raise SetError(str(error)) from error
    if max(image.shape[:2]) * scale.to_reference > MAX_SIDE:
        raise SetError(
            f"{image.shape[1]}×{image.shape[0]} pixels of {scale.um} µm is larger than any well; correct the pixel size"
        )
    if well.label.outcome is Outcome.NULL_EXPERIMENT:
        return whole_well(image, scale)
    if well.mask is not None:
        mask = read_mask(well.mask).astype(np.float32)
    else:
        mask = segmenter_of(settings.weights).mask(image)
    return crop_to_drop(image, mask, scale)


def build(
    out: Path,
    builder: str,
    arguments: Mapping[str, Any],
    wells: Iterable[Entry],
    settings: Settings,
    *,
    jobs: int = 1,
    on_well: Callable[[], None] = lambda: None,
) -> Summary:
    """Cut wells into a chop set; after an interruption the same arguments continue it.

    Parameters
    ----------
    arguments
        Kept in the record; a build can only be continued with the same ones.
    jobs
        Number of processes; with 1, everything runs in the calling process.
    on_well
        Called after each entry, for a progress bar.

    Raises
    ------
    SetError
        If the folder holds another set.
    """
    with ChopSetWriter(out, builder, arguments) as writer:
        for entry, result in _cut(_new(wells, writer, on_well), settings, jobs):
            if isinstance(entry, PassedOver):
                (writer.fail if entry.broken else writer.leave_out)(entry.image, entry.reason)
            else:
                _enter(writer, entry, result)
            on_well()
    return Summary.of(writer)


def _new(wells: Iterable[Entry], writer: ChopSetWriter, on_well: Callable[[], None]) -> Iterator[Entry]:
    """Yield the wells that no earlier run has processed; an image named twice counts once."""
    before, seen = frozenset(writer.done), set()
    for entry in wells:
        if entry.image in seen:
            why = "images named more than once: the first counts"
            entry = PassedOver(f"{entry.image} (named again)", why, broken=False)
        seen.add(entry.image)
        if entry.image in before:
            on_well()
        else:
            yield entry


def _cut(wells: Iterator[Entry], settings: Settings, jobs: int) -> Iterator[tuple[Entry, WellResult]]:
    """Yield each entry with its result, in order.

    At most a few wells for each process are in flight, which bounds the memory used.
    """
    if jobs <= 1:
        _one_thread()
        for entry in wells:
            yield entry, make_well(entry, settings) if isinstance(entry, LabelledWell) else WellResult()
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may deadlock
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        waiting: deque[tuple[Entry, Future[WellResult] | None]] = deque()
        try:
            for entry in wells:
                waiting.append(
                    (entry, pool.submit(make_well, entry, settings) if isinstance(entry, LabelledWell) else None)
                )
                if len(waiting) >= 4 * jobs:
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        except BrokenProcessPool as error:
            raise SetError(
                "a process was killed, perhaps because memory ran out; "
                "run the same command again with fewer --jobs to resume"
            ) from error


def _first(waiting: deque[tuple[Entry, Future[WellResult] | None]]) -> tuple[Entry, WellResult]:
    entry, job = waiting.popleft()
    return entry, job.result() if job else WellResult()


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _enter(writer: ChopSetWriter, well: LabelledWell, result: WellResult) -> None:
    if result.failed:
        writer.fail(well.image, result.failed)
        return
    twin = writer.twin_of(result.sha256)
    if twin is not None:
        differs = twin.outcome != str(well.label)
        writer.leave_out(well.image, "second copies of an image" + (", scored differently" if differs else ""))
        return
    counts = Counter(result.counts) + Counter({"wells without a plate, split by image": int(not well.plate)})
    writer.add(
        plate=well.plate or well.image,
        source=well.source,
        image=well.image,
        outcome=str(well.label),
        sha256=result.sha256,
        left_out=result.left_out,
        counts=counts,
        chops=None if result.chops is None or result.labels is None else (result.chops, result.labels),
    )
