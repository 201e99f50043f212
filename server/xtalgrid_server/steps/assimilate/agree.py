"""When two results of one unit agree: the rule by which volunteers' computers check each other.

Two honest computers don't return the same bytes, since processors round differently and libraries decode JPEG slightly
differently. So outcomes must match and numbers be close, and where a decision was close, either outcome is accepted.
"""

from __future__ import annotations

from xtalgrid_core import wire
from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from .doubt import unsure

TOLERANCE = 0.02
"""Maximum difference of two probabilities of one image. Rounding alone causes some 1e-6 (docs/boinc.md, Trust)."""

MARGIN = 0.02
"""Maximum distance from the threshold, or from each other, of probabilities that lead to different outcomes."""

OVERLAP = 0.9
"""Minimum intersection over union of the two drops' boxes."""


def disagreement(a: wire.Result, b: wire.Result, options: wire.Options) -> str:
    """Return the first difference of two results of one unit; an empty string if they agree.

    Both must have passed `validate.validate`, so that they are of the same unit and have the same images.
    """
    if a.unit != b.unit or len(a.images) != len(b.images):
        return f"results of {a.unit} and {b.unit}"
    for one, other in zip(a.images, b.images, strict=True):
        why = image_disagreement(one, other, options)
        if why:
            return f"image {one.number}: {why}"
    return ""


def image_disagreement(a: wire.Answer, b: wire.Answer, options: wire.Options) -> str:
    """Return the first difference of two answers for one image; an empty string if they agree."""
    a, b = unsure(a, options), unsure(b, options)
    if isinstance(a, wire.Failed) or isinstance(b, wire.Failed):
        if isinstance(a, wire.Failed) and isinstance(b, wire.Failed) and a.reason == b.reason:
            return ""
        return f"{_described(a)} and {_described(b)}"
    if (a.height, a.width) != (b.height, b.width):
        return f"{a.width}×{a.height} and {b.width}×{b.height} pixels"
    if a.looks_like_uv != b.looks_like_uv:
        return "only one says that it is dark, as in UV light"
    if a.outcome != b.outcome and not _on_the_edge(a, b, options):
        return f"{_described(a)} and {_described(b)}"
    if len(a.probabilities) != len(b.probabilities):
        return f"{_described(a)} and {_described(b)}"
    for name, one, other in _pairs(a, b):
        if abs(one - other) > TOLERANCE:
            return f"{name} {one:.3f} and {other:.3f}"
    return "" if _same_place(a.drop.box, b.drop.box) else "the drops are in different places"


def _pairs(a: wire.Scored, b: wire.Scored) -> list[tuple[str, float, float]]:
    """Pair the numbers of two answers that must be close, each pair with its name."""
    pairs = [("drop confidence", a.drop.confidence, b.drop.confidence)]
    if a.groups is not None and b.groups is not None:
        pairs += [(str(group), one, other) for group, one, other in zip(SCORED_GROUPS, a.groups, b.groups, strict=True)]
    if a.second_opinion is not None and b.second_opinion is not None:
        both = zip(SCORED_GROUPS, a.second_opinion.groups, b.second_opinion.groups, strict=True)
        pairs += [(f"second opinion's {group}", one, other) for group, one, other in both]
    # older workers, which send no groups, compute p_crystal of a null experiment differently
    if None not in (a.groups, b.groups) or a.outcome is not Outcome.NULL_EXPERIMENT:
        pairs.append(("p_crystal", a.p_crystal, b.p_crystal))
    if a.outcome == b.outcome:
        pairs.append(("probability", a.probability, b.probability))
    pairs += zip(CLASSES, a.probabilities, b.probabilities, strict=False)
    return pairs


def _on_the_edge(a: wire.Scored, b: wire.Scored, options: wire.Options) -> bool:
    """Tell whether rounding can explain that two computers decided on these outcomes."""
    groups = {a.outcome.group, b.outcome.group}
    if options.is_pooled and len(groups) > 1:
        near_crystal = all(abs(answer.p_crystal - options.crystal_from) <= MARGIN for answer in (a, b))
        if Group.UNKNOWN in groups:  # both are as their own probability asks
            return near_crystal or abs(a.probability - b.probability) <= MARGIN
        if Group.CRYSTAL in groups:
            return near_crystal
        return abs(a.probability - b.probability) <= MARGIN and a.probability + b.probability <= 1 + MARGIN
    if not options.is_pooled and all(abs(answer.probability - options.threshold) <= MARGIN for answer in (a, b)):
        return True
    classes = {a.outcome, b.outcome}
    if not a.probabilities or not b.probabilities or not classes <= set(CLASSES) or len(groups) > 1:
        return False
    index = [CLASSES.index(outcome) for outcome in classes]  # two classes of a group, almost equally probable
    return all(abs(p[index[0]] - p[index[1]]) <= MARGIN for p in (a.probabilities, b.probabilities))


def _described(answer: wire.Answer) -> str:
    return f"{Outcome.FAILED} ({answer.reason})" if isinstance(answer, wire.Failed) else str(answer.outcome)


def _same_place(a: wire.PixelBox | None, b: wire.PixelBox | None) -> bool:
    """Tell whether two boxes show the same drop: they overlap by `OVERLAP`, or there is none in either result."""
    if a is None or b is None:
        return a is b
    return Box(*a).overlap(Box(*b)) >= OVERLAP
