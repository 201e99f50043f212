"""Compute all figures of one source's wells, as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from .metrics import (
    Coverage,
    Plate,
    Reliability,
    Roc,
    Share,
    Success,
    TopN,
    confusion,
    coverage,
    plates,
    reliability,
    roc,
    share_of,
    success,
    top_classes,
    top_n,
)
from .truth import Kind, Truth

Answers = Mapping[Path, wire.Answer]

GROUP_CALLS = (*(group.value for group in SCORED_GROUPS), Outcome.UNDECIDED.value, Outcome.FAILED.value)
CLASS_ROWS = tuple(outcome.value for outcome in CLASSES if outcome is not Outcome.RIM)
CLASS_CALLS = (*CLASS_ROWS, Outcome.UNDECIDED.value, Outcome.FAILED.value)


class Confusion(msgspec.Struct, frozen=True):
    """Counts of wells, by judgement (rows) and call (columns)."""

    rows: Sequence[str]
    columns: Sequence[str]
    counts: list[list[int]]


class Outlines(msgspec.Struct, frozen=True):
    """Intersection over union of drop outlines with the masks graded good."""

    masks: int
    mean: float
    median: float
    least: float
    below_half: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one source. Right and wrong are counted only on wells with a certain judgement (`sure`)."""

    source: str
    kind: Kind
    images: int
    sure: int
    failed: dict[str, int]
    called_crystal: Share
    undecided: Share
    null_experiments: Share
    empty_found: Share
    drops_called_empty: Share
    table3: dict[str, Success]
    groups: Confusion
    classes: Confusion | None
    crystals_called: Share
    crystals_found: Share
    others_opened: Share
    top: list[TopN]
    roc: Roc | None
    plates: list[Plate]
    coverage: list[Coverage]
    reliability: Reliability | None
    outlines: Outlines | None
    seconds_median: float | None
    seconds_most: float | None


_SHOWS = {
    Group.CRYSTAL: Outcome.HARVESTABLE,
    Group.PRECIPITATE: Outcome.PRECIPITATE,
    Group.OTHER: Outcome.OTHER,
    Group.CLEAR: Outcome.CLEAR,
    Group.UNKNOWN: Outcome.FAILED,
}
"""Stands for a group where an outcome is asked for."""


def judge(truths: Sequence[Truth], runs: Mapping[str, Answers], opinions: Mapping[Path, Group] | None = None) -> Judged:
    """Judge the wells of one source.

    Parameters
    ----------
    truths
        The source's wells.
    runs
        Answers by threshold; the first run is judged, the others appear in Table 3 only.
    opinions
        What MARCO's network calls each well; it then has a row in Table 3, too.
    """
    answers = next(iter(runs.values()))
    images = [answers[truth.path] for truth in truths]
    scored = [image for image in images if isinstance(image, wire.Scored)]
    sure = [(truth, answers[truth.path]) for truth in truths if truth.sure and truth.group is not None]
    groups = [truth.group for truth, _ in sure if truth.group is not None]
    called = [called_outcome(image) for _, image in sure]
    crystal = np.array([group is Group.CRYSTAL for group in groups], bool)
    is_called = np.array([outcome.group is Group.CRYSTAL for outcome in called], bool)
    opened = is_called | np.array([outcome.group is Group.UNKNOWN for outcome in called], bool)
    right = np.array([outcome.group is group for outcome, group in zip(called, groups, strict=True)], bool)
    ranked = [top_classes(called_outcome(i), i.probabilities if isinstance(i, wire.Scored) else ()) for _, i in sure]
    known = [(t.outcome, c) for (t, _), c in zip(sure, called, strict=True) if t.outcome is not None]
    empty = np.array([truth.outcome is Outcome.NULL_EXPERIMENT for truth, _ in sure], bool)
    is_null = np.array([outcome is Outcome.NULL_EXPERIMENT for outcome in called], bool)
    p = np.array([image.p_crystal if isinstance(image, wire.Scored) else np.nan for _, image in sure])
    has_p = np.isfinite(p)
    table3 = {
        name: success(groups, [called_outcome(run[truth.path]) for truth, _ in sure]) for name, run in runs.items()
    }
    if opinions is not None:
        table3["MARCO"] = success(groups, [_SHOWS[opinions[truth.path]] for truth, _ in sure])
    return Judged(
        source=truths[0].source,
        kind=truths[0].kind,
        images=len(truths),
        sure=len(sure),
        failed=dict(Counter(image.reason.value for image in images if isinstance(image, wire.Failed))),
        called_crystal=share_of([image.outcome.group is Group.CRYSTAL for image in scored]),
        undecided=share_of([image.outcome is Outcome.UNDECIDED for image in scored]),
        null_experiments=share_of([image.outcome is Outcome.NULL_EXPERIMENT for image in scored]),
        empty_found=share_of(is_null[empty]),
        drops_called_empty=share_of(is_null[~empty]),
        table3=table3,
        groups=Confusion(
            [group.value for group in SCORED_GROUPS],
            GROUP_CALLS,
            confusion(groups, [_call_group(outcome) for outcome in called], SCORED_GROUPS, GROUP_CALLS),
        ),
        classes=_class_confusion(known),
        crystals_called=share_of(is_called[crystal]),
        crystals_found=share_of(opened[crystal]),
        others_opened=share_of(opened[~crystal]),
        top=[top_n(groups, [truth.outcome for truth, _ in sure], ranked, n) for n in (1, 2, 3)] if sure else [],
        roc=roc(p[has_p], crystal[has_p]),
        plates=plates([truth.plate for truth, _ in sure], crystal, called),
        coverage=coverage(
            np.array([image.probability if isinstance(image, wire.Scored) else 0.0 for _, image in sure]),
            right,
            np.array([outcome.group is not Group.UNKNOWN for outcome in called], bool),
        ),
        reliability=reliability(p[has_p], crystal[has_p]),
        outlines=_outlines(truths, answers),
        seconds_median=float(np.median([image.seconds for image in scored])) if scored else None,
        seconds_most=max((image.seconds for image in scored), default=None),
    )


def outline_iou(scored: wire.Scored, mask: Path) -> float:
    """Compute intersection over union, 0..1, of a drop's outline and a mask picture (one white region on black)."""
    with Image.open(mask) as picture:
        truth = np.asarray(picture.convert("L")) > 0
    height, width = truth.shape
    drawn = Image.new("L", (width, height), 0)
    points = [(col * width / scored.width, row * height / scored.height) for row, col in scored.drop.outline]
    if len(points) > 2:
        ImageDraw.Draw(drawn).polygon(points, fill=1)
    inside: npt.NDArray[np.bool_] = np.asarray(drawn) > 0
    return float((truth & inside).sum() / max((truth | inside).sum(), 1))


def _outlines(truths: Sequence[Truth], answers: Answers) -> Outlines | None:
    overlaps = []
    for truth in truths:
        image = answers[truth.path]
        if truth.mask:
            overlaps.append(outline_iou(image, truth.mask) if isinstance(image, wire.Scored) else 0.0)
    if not overlaps:
        return None
    return Outlines(
        len(overlaps),
        float(np.mean(overlaps)),
        float(np.median(overlaps)),
        min(overlaps),
        sum(overlap < 0.5 for overlap in overlaps),
    )


def called_outcome(image: wire.Answer) -> Outcome:
    """Return the outcome that an image was called."""
    return image.outcome if isinstance(image, wire.Scored) else Outcome.FAILED


def _call_group(outcome: Outcome) -> str:
    return outcome.value if outcome.group is Group.UNKNOWN else outcome.group.value


def _class_confusion(known: Sequence[tuple[Outcome, Outcome]]) -> Confusion | None:
    """Compute the confusion of classes; None if groups and `null experiment` were judged instead."""
    if not any(true is not Outcome.NULL_EXPERIMENT for true, _ in known):
        return None
    truth = [Outcome.CLEAR.value if true is Outcome.RIM else true.value for true, _ in known]
    return Confusion(
        CLASS_ROWS, CLASS_CALLS, confusion(truth, [call.value for _, call in known], CLASS_ROWS, CLASS_CALLS)
    )
