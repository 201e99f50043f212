"""Honest work units and results, by the real decision rules on random chops: a worker could have sent them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from xtalgrid_core import wire
from xtalgrid_core.chops import sliding_window
from xtalgrid_core.decision import decide, without_drop
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import CLASSES, published
from xtalgrid_core.pooling import FEATURES, Pooling

SEGMENTER, CLASSIFIER = "a" * 64, "b" * 64
HEIGHT, WIDTH, UM = 480, 640, 1.13
RULES = ("published", "group", "pooled")

_POOLING = Pooling(tuple(tuple(row) for row in np.eye(4, FEATURES).tolist()), (0.0,) * 4)


def manifest(unit: str, rule: str, images: Sequence[tuple[int, str]]) -> wire.Manifest:
    """Make a unit that asks for images given as (inspect id, SHA-256)."""
    return wire.Manifest(
        schema=wire.SCHEMA,
        unit=unit,
        min_worker="0.1.0",
        options=wire.Options(segmenter=SEGMENTER, classifier=CLASSIFIER, rule=rule, mode="exact", step=50),
        images=tuple(
            wire.ImageEntry(
                number=number,
                file=f"{number:03d}.jpg",
                inspect_id=inspect_id,
                sha256=digest,
                height=HEIGHT,
                width=WIDTH,
                pixel_size_um=UM,
            )
            for number, (inspect_id, digest) in enumerate(images)
        ),
    )


def result(asked: wire.Manifest, rng: random.Random) -> wire.Result:
    """Make a result that an honest worker might send."""
    return wire.Result(
        schema=wire.SCHEMA,
        unit=asked.unit,
        worker="0.1.0",
        segmenter=asked.options.segmenter,
        classifier=asked.options.classifier,
        host=wire.Host(platform="Linux-6.1-x86_64", python="3.12.1", runtime="onnxruntime 1.20", processor="a CPU"),
        images=tuple(_answer(entry.number, asked.options, rng) for entry in asked.images),
    )


def _answer(number: int, options: wire.Options, rng: random.Random) -> wire.Answer:
    chance = rng.random()
    if chance < 0.1:
        return wire.Failed(number=number, reason=rng.choice(list(FailureReason)), detail="the file ends too early")
    is_null = chance < 0.2
    chops = sliding_window(HEIGHT, WIDTH, 64)
    sharpness = rng.choice((0.02, 0.1, 1.0))
    draws = np.random.default_rng(rng.getrandbits(64))
    probabilities = draws.dirichlet(np.full(len(CLASSES), sharpness), size=len(chops)).astype(np.float32)
    decision = without_drop(0.97, options) if is_null else decide(probabilities, chops, options, pooling=_POOLING)
    outcome = published(decision.outcome)
    return wire.Scored(
        number=number,
        outcome=outcome,
        score=outcome.style.score,
        probability=decision.probability,
        p_crystal=decision.p_crystal,
        groups=decision.groups,
        probabilities=decision.maxima,
        height=HEIGHT,
        width=WIDTH,
        pixel_size_um=UM,
        pixel_size_origin="configured",
        drop=wire.Drop(
            box=None if is_null else (100, 120, 280, 300),
            outline=() if is_null else ((100, 120), (100, 420), (380, 420), (380, 120)),
            confidence=0.97,
        ),
        boxes=tuple(
            wire.BestChop(box=tuple(chops[i].clipped(HEIGHT, WIDTH)), outcome=outcome, probability=p)
            for i, (outcome, p) in zip(decision.best, decision.chop_outcomes, strict=True)
        ),
        seconds=rng.random(),
    )
