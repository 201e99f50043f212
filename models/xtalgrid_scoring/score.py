"""Score one image: from its bytes to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from xtalgrid_core import wire
from xtalgrid_core.chops import Box, dense_starts, sliding_starts
from xtalgrid_core.decision import Calibration, Decision, Groups, decide, without_drop
from xtalgrid_core.drops import DropDetection
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.images import WellImage
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import published
from xtalgrid_core.pooling import Pooling
from xtalgrid_core.scale import PixelSize

from .drop import WellDrop, cut_out, never_stop
from .networks import Networks
from .second_opinion import network_input
from .windows import Windows, classify

MAX_SIDE = 6_000
"""Maximum pixels along a side at the reference scale (6.8 mm); more means a wrong pixel size, and takes hours."""

MAX_CHOPS = 20_000
"""Maximum chops of one image; 6,000 × 6,000 pixels at the paper's step have 13,456."""

_CLEARLY = 0.05
"""Two computers rarely differ by so much, so that they keep the same scale."""

_LIKELY = 0.5
"""Below even odds a second look finds more false crystals than true ones."""


def score_image(
    data: bytes,
    entry: wire.ImageEntry,
    options: Options,
    networks: Networks,
    pause: Callable[[], None] = never_stop,
) -> wire.Scored:
    """Score one image.

    Parameters
    ----------
    data
        The image file's bytes.
    entry
        Its number and, if known, its pixel size.
    options
        Scoring options.
    networks
        The networks named in the options.
    pause
        Called at safe points, before each chop or tile, many times a second; may block, and may raise to stop scoring.

    Raises
    ------
    ImageError
        If the image cannot be decoded, or is too small or too large.
    """
    began = time.process_time()
    image = WellImage(data)
    del data  # the image releases it when it can
    well = cut_out(
        image, networks.mask, entry.pixel_size_um, pause, lambda crop, scale: check_size(crop, scale, options)
    )
    picture = network_input(image) if options.second_opinion else None
    looks_like_uv = image.looks_like_uv
    del image
    second = None
    if picture is not None:
        pause()
        second = networks.second_opinion(picture)
    boxes: tuple[wire.BestChop, ...] = ()
    if isinstance(well, WellDrop):
        seen = look(well, options, networks, pause, second)
        well, decision = seen.well, seen.decision
        boxes = _best_chops(seen)
    else:
        decision = without_drop(well.drop.confidence, options, networks.calibration)
    outcome = published(decision.outcome)
    return wire.Scored(
        number=entry.number,
        outcome=outcome,
        score=outcome.style.score,
        probability=decision.probability,
        p_crystal=decision.p_crystal,
        groups=decision.groups,
        second_opinion=_second_opinion(options, second),
        own_groups=decision.own_groups if second else None,
        probabilities=decision.maxima,
        height=well.height,
        width=well.width,
        pixel_size_um=well.scale.um,
        pixel_size_origin=well.scale.origin,
        drop=_drop(well.drop),
        boxes=boxes,
        looks_like_uv=looks_like_uv,
        seconds=time.process_time() - began,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """A drop at the scale that it was decided at, its classified chops, and the decision."""

    well: WellDrop
    windows: Windows
    decision: Decision


def look(
    well: WellDrop,
    options: Options,
    networks: Networks,
    pause: Callable[[], None] = never_stop,
    second: Groups | None = None,
) -> Seen:
    """Classify a drop and decide its well; if its pixel size is a guess, at two scales.

    A picture of unknown scale may show a whole well, as the guess assumes, or a part of one from close by, where a
    crystal is larger than a chop. Therefore it is looked at again, as if it were magnified `Options.zoom` times; what
    is seen then is kept if our networks find crystals likely, and clearly more so than before.
    """
    seen = _look_once(well, options, networks, pause, second)
    if options.zoom is None or not options.is_pooled or not well.scale.is_guess:
        return seen
    closer = _look_once(well.magnified(options.zoom), options, networks, pause, second)
    least = max(seen.decision.own_groups[0] + _CLEARLY, _LIKELY)
    return closer if closer.decision.own_groups[0] > least else seen


def _look_once(
    well: WellDrop, options: Options, networks: Networks, pause: Callable[[], None], second: Groups | None
) -> Seen:
    windows = classify(well, options, networks, pause)
    return Seen(well, windows, decision_of(windows, options, networks.calibration, networks.pooling, second))


def decision_of(
    windows: Windows,
    options: Options,
    calibration: Calibration | None = None,
    pooling: Pooling | None = None,
    second: Groups | None = None,
) -> Decision:
    """Decide a well from its classified chops; see `decide`. All decisions from networks are made here."""
    return decide(windows.probabilities, windows.chops, options, calibration, pooling, second)


def check_size(crop: Box, scale: PixelSize, options: Options) -> None:
    """Refuse a crop that is too large to be scored; for `drop.cut_out`.

    Raises
    ------
    ImageError
        `TOO_LARGE`: more than `MAX_SIDE` pixels or `MAX_CHOPS` chops at the reference scale.
    """
    rows, cols = (max(round(side * scale.to_reference), 1) for side in (crop.height, crop.width))
    if max(rows, cols) > MAX_SIDE:
        raise ImageError(
            FailureReason.TOO_LARGE,
            f"{cols}×{rows} pixels at the reference scale; the maximum is {MAX_SIDE} along a side: "
            f"is {scale.um:g} µm per pixel ({scale.origin}) right?",
        )
    starts = dense_starts if options.mode == "dense" else sliding_starts
    chops = len(starts(rows, options.step)) * len(starts(cols, options.step))
    if chops > MAX_CHOPS:
        raise ImageError(
            FailureReason.TOO_LARGE, f"{chops} chops; the maximum is {MAX_CHOPS}: use a step above {options.step}"
        )


def _second_opinion(options: Options, groups: Groups | None) -> wire.SecondOpinion | None:
    if options.second_opinion is None or groups is None:
        return None
    return wire.SecondOpinion(model=options.second_opinion, groups=groups)


def _best_chops(seen: Seen) -> tuple[wire.BestChop, ...]:
    """Return the best chops, in pixels of the original image."""
    decision = seen.decision
    return tuple(
        wire.BestChop(box=seen.well.in_image(seen.windows.chops[index]), outcome=outcome, probability=probability)
        for index, (outcome, probability) in zip(decision.best, decision.chop_outcomes, strict=True)
    )


def _drop(drop: DropDetection) -> wire.Drop:
    return wire.Drop(box=drop.box, outline=drop.outline, confidence=drop.confidence)
