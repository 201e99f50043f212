"""Build a chop set from labelled wells in several processes; a well that fails is noted, and the rest go on."""

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
from .format import ChopSetWriter, SetError
from .masks import read_mask
from .published import Rules, chop_well
from .sources import Found, LabelledWell, PassedOver, read_file
from .uv import glow_map

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
class Made:
    """What one well gave: arrays, or the reason why it failed."""

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


def make_well(well: LabelledWell, settings: Settings) -> Made:
    """Read one well and cut it; an error comes back as `Made.failed`."""
    try:
        data = read_file(well.data) if isinstance(well.data, Path) else well.data
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_image(data)
        if settings.whole:
            view = segmenter_view(image, Levels.of(image))
            return Made(sha256, view[None], np.array([PRIORITY[well.label.outcome]], np.uint8))
        crop = _crop(image, well, settings)
        if crop is None:
            return Made(sha256, left_out={"wells in which no drop was found": 1})
        glow, counts = None, {}
        if well.uv is not None and well.label.outcome.group is Group.CRYSTAL and settings.rules.uv != "ignore":
            mate = read_image(read_file(well.uv))
            glow = glow_map(mate, crop.box, crop.drop.shape, image.shape[:2])
            counts = {"uv pairs": 1}
    except (ImageError, SetError) as error:
        return Made(failed=str(error))
    made = chop_well(crop, well.label.outcome, settings.rules, glow)
    return Made(sha256, made.chops, made.labels, +made.left_out, counts)


def _crop(image: Pixels, well: LabelledWell, settings: Settings) -> Crop | None:
    try:
        scale = pixel_size(image.shape[1], image.shape[0], well.pixel_size_um)
    except ValueError as error:
        raise SetError(str(error)) from error
    if max(image.shape[:2]) * scale.to_reference > MAX_SIDE:
        raise SetError(
            f"{image.shape[1]}×{image.shape[0]} pixels of {scale.um} µm are wider than any well; correct the pixel size"
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
    wells: Iterable[Found],
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
        for found, made in _cut(_new(wells, writer, on_well), settings, jobs):
            if isinstance(found, PassedOver):
                (writer.fail if found.broken else writer.leave_out)(found.image, found.reason)
            else:
                _enter(writer, found, made)
            on_well()
    return Summary.of(writer)


def _new(wells: Iterable[Found], writer: ChopSetWriter, on_well: Callable[[], None]) -> Iterator[Found]:
    """Yield the wells that no earlier run has dealt with; an image named twice counts once."""
    before, seen = frozenset(writer.done), set()
    for found in wells:
        if found.image in seen:
            why = "images named more than once: the first counts"
            found = PassedOver(f"{found.image} (named again)", why, broken=False)
        seen.add(found.image)
        if found.image in before:
            on_well()
        else:
            yield found


def _cut(wells: Iterator[Found], settings: Settings, jobs: int) -> Iterator[tuple[Found, Made]]:
    """Yield each entry with what it gave, in order.

    At most a few wells for each process are in flight, which bounds the memory used.
    """
    if jobs <= 1:
        _one_thread()
        for found in wells:
            yield found, make_well(found, settings) if isinstance(found, LabelledWell) else Made()
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may deadlock
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        waiting: deque[tuple[Found, Future[Made] | None]] = deque()
        try:
            for found in wells:
                waiting.append(
                    (found, pool.submit(make_well, found, settings) if isinstance(found, LabelledWell) else None)
                )
                if len(waiting) >= 4 * jobs:
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        except BrokenProcessPool as error:
            raise SetError(
                "a process was killed, for want of memory perhaps; "
                "run the same command with fewer --jobs: it goes on where it was"
            ) from error


def _first(waiting: deque[tuple[Found, Future[Made] | None]]) -> tuple[Found, Made]:
    found, job = waiting.popleft()
    return found, job.result() if job else Made()


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _enter(writer: ChopSetWriter, well: LabelledWell, made: Made) -> None:
    if made.failed:
        writer.fail(well.image, made.failed)
        return
    twin = writer.twin_of(made.sha256)
    if twin is not None:
        differs = twin.outcome != str(well.label)
        writer.leave_out(well.image, "second copies of an image" + (", scored differently" if differs else ""))
        return
    counts = Counter(made.counts) + Counter({"wells without a plate, split by image": int(not well.plate)})
    writer.add(
        plate=well.plate or well.image,
        source=well.source,
        image=well.image,
        outcome=str(well.label),
        sha256=made.sha256,
        left_out=made.left_out,
        counts=counts,
        chops=None if made.chops is None or made.labels is None else (made.chops, made.labels),
    )
