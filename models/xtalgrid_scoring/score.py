"""The way of one image, from its bytes to its score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from xtalgrid_core import wire
from xtalgrid_core.chops import Box, cut, dense_starts, dense_window, sliding_starts, sliding_window
from xtalgrid_core.decision import Decision, decide
from xtalgrid_core.dense import Float, chop_probabilities, class_map
from xtalgrid_core.drops import Found, chops_over, crop_around, find_drop
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.images import Pixels, WellImage
from xtalgrid_core.outcomes import Outcome, published
from xtalgrid_core.scale import PixelSize, pixel_size

from .networks import BATCH, Networks

MAX_SIDE = 6_000
"""Most pixels a side at the reference scale (6.8 mm): more is a wrong pixel size, and would take hours and gigabytes."""

MAX_CHOPS = 20_000
"""Most chops of one image: 6,000 × 6,000 pixels at the paper's step are 13,456."""


def _go_on() -> None:
    """Nothing stops the scoring."""


def score_image(
    data: bytes,
    entry: wire.ImageEntry,
    options: wire.Options,
    networks: Networks,
    pause: Callable[[], None] = _go_on,
) -> wire.Scored:
    """Score one image.

    Parameters
    ----------
    data
        The image file's bytes.
    entry
        Its number and, if known, its pixel size.
    options
        Mode, step, rule, threshold and number of boxes.
    networks
        Those the options name.
    pause
        Called before each chop or tile, many times a second; may wait, and may raise to stop the scoring.

    Raises
    ------
    ImageError
        When the image is at fault: it cannot be decoded, or is too small or too large.
    """
    began = time.process_time()
    image = WellImage(data)
    del data  # it is the image's to keep
    height, width = image.height, image.width
    scale = pixel_size(width, height, entry.pixel_size_um)
    pause()
    drop = find_drop(networks.mask(image.segmenter_view()), height, width)
    if drop.is_null_experiment:
        return _null_experiment(entry, networks, (height, width), scale, drop, began)
    crop = crop_around(drop.box, height, width, scale.to_reference)
    _check_size(crop, scale, options)
    pause()
    view = image.classifier_view(crop, scale.to_reference)
    del image  # not needed again, and as large as all else together
    grid = dense_window if options.mode == "dense" else sliding_window
    chops = chops_over(drop, grid(view.shape[0], view.shape[1], options.step), crop, height, width, scale.to_reference)
    if options.mode == "dense" and networks.is_dense:
        probabilities = chop_probabilities(class_map(view, networks.class_map, pause), chops)
    else:
        probabilities = _one_by_one(view, chops, networks, pause)
    decision = decide(
        probabilities,
        chops,
        rule=options.rule,
        threshold=options.threshold,
        n_boxes=options.n_boxes,
        support=options.support,
        crystal_from=options.crystal_from,
        calibration=networks.calibration,
        pooling=networks.pooling,
    )
    outcome = published(decision.outcome)
    return wire.Scored(
        number=entry.number,
        outcome=outcome,
        score=outcome.look.score,
        probability=decision.probability,
        p_crystal=decision.p_crystal,
        probabilities=decision.maxima,
        height=height,
        width=width,
        pixel_size_um=scale.um,
        pixel_size_origin=scale.origin,
        drop=_drop(drop),
        boxes=_best_chops(decision, chops, crop, scale),
        seconds=time.process_time() - began,
    )


def _null_experiment(
    entry: wire.ImageEntry, networks: Networks, size: tuple[int, int], scale: PixelSize, drop: Found, began: float
) -> wire.Scored:
    """There is no drop, so there are no chops, and no evidence of a crystal."""
    return wire.Scored(
        number=entry.number,
        outcome=Outcome.NULL_EXPERIMENT,
        score=Outcome.NULL_EXPERIMENT.look.score,
        probability=drop.confidence,
        p_crystal=networks.calibration(0.0),
        probabilities=(),
        height=size[0],
        width=size[1],
        pixel_size_um=scale.um,
        pixel_size_origin=scale.origin,
        drop=_drop(drop),
        boxes=(),
        seconds=time.process_time() - began,
    )


def _check_size(crop: Box, scale: PixelSize, options: wire.Options) -> None:
    rows, cols = (max(round(side * scale.to_reference), 1) for side in (crop.height, crop.width))
    if max(rows, cols) > MAX_SIDE:
        raise ImageError(
            FailureReason.TOO_LARGE,
            f"{cols}×{rows} pixels at the reference scale, at most {MAX_SIDE} a side are scored; "
            f"is {scale.um:g} µm a pixel ({scale.origin}) right?",
        )
    starts = dense_starts if options.mode == "dense" else sliding_starts
    chops = len(starts(rows, options.step)) * len(starts(cols, options.step))
    if chops > MAX_CHOPS:
        raise ImageError(
            FailureReason.TOO_LARGE, f"{chops} chops, at most {MAX_CHOPS} are scored; take a step above {options.step}"
        )


def _one_by_one(view: Pixels, chops: Sequence[Box], networks: Networks, pause: Callable[[], None]) -> Float:
    """Probabilities of all chops, ``(N, 13)``, a batch at a time."""
    batches = []
    for start in range(0, len(chops), BATCH):
        pause()
        batches.append(networks.probabilities(cut(view, list(chops[start : start + BATCH]))))
    return np.concatenate(batches)


def _best_chops(decision: Decision, chops: Sequence[Box], crop: Box, scale: PixelSize) -> tuple[wire.BestChop, ...]:
    """The best chops in pixels of the original image."""
    return tuple(
        wire.BestChop(
            box=chops[index].scaled(1 / scale.to_reference).clipped(crop.height, crop.width).moved(crop.row, crop.col),
            outcome=outcome,
            probability=probability,
        )
        for index, (outcome, probability) in zip(decision.best, decision.said, strict=True)
    )


def _drop(found: Found) -> wire.Drop:
    return wire.Drop(box=found.box, outline=found.outline, confidence=found.confidence)
