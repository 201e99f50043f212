"""Explain a score in words: the steps of the decision rule, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from xtalgrid_core import wire
from xtalgrid_core.decision import called_group
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from ..steps.assimilate.doubt import is_doubted


def decision_path(answer: wire.Scored, options: wire.Options) -> Iterator[str]:
    """Describe the steps from drop to outcome, a line each, under the rule of `options`.

    The rules themselves are in `xtalgrid_core.decision.decide`.
    """
    if answer.drop.box is None:
        where = "the whole well was scored" if answer.probabilities else "so it is a null experiment"
        yield f"no drop was found (confidence {answer.drop.confidence:.3f}): {where}"
    else:
        row, col, height, width = answer.drop.box
        yield (
            f"a drop was found (confidence {answer.drop.confidence:.3f}): "
            f"{width}×{height} pixels from column {col}, row {row}"
        )
    if is_doubted(answer):
        yield f"{why_undecided(answer, options)}; a person should look"
        return
    if not answer.probabilities:
        if answer.outcome is Outcome.UNDECIDED:
            yield f"{why_undecided(answer, options)}; a person should look"
        if answer.second_opinion is not None:
            yield f"MARCO's network says crystal {answer.second_opinion.groups[0]:.3f}, which counts only with a drop"
        return
    if options.is_pooled:
        yield from _pooled(answer, options)
    else:
        yield from _by_chops(answer, options)


def why_undecided(answer: wire.Scored, options: wire.Options) -> str:
    """Say why an undecided image is."""
    if is_doubted(answer):
        return "the image is dark, as in UV light, so it is undecided"
    if options.undecided is None:
        return f"no chop counts: the largest is {answer.probability:.3f}, so it is undecided"
    group = _pooled_group(answer, options)
    assert answer.groups is not None
    index = SCORED_GROUPS.index(group)
    limit = options.undecided[index]
    return f"{group} {answer.groups[index]:.3f} is less than work.undecided {limit:g}, so it is undecided"


def possible_groups(answer: wire.Answer, options: wire.Options) -> tuple[Group, ...] | None:
    """Return the groups that the well may be of (`xtalgrid_core.possible`); None if that is not known."""
    if isinstance(answer, wire.Failed) or answer.groups is None or options.possible is None:
        return None
    return options.possible(answer.groups, _pooled_group(answer, options))


def _pooled_group(answer: wire.Scored, options: wire.Options) -> Group:
    """Return the group of the rule pooled, also of an undecided well."""
    return called_group(answer.outcome, answer.groups or (), options, has_chops=bool(answer.probabilities))


def _pooled(answer: wire.Scored, options: wire.Options) -> Iterator[str]:
    named = f"p_crystal {answer.p_crystal:.3f} of all chops together"
    if answer.own_groups is not None and answer.second_opinion is not None:
        yield (
            f"our chops say crystal {answer.own_groups[0]:.3f}, MARCO's network says "
            f"{answer.second_opinion.groups[0]:.3f}, together {answer.p_crystal:.3f}"
        )
        named = f"p_crystal {answer.p_crystal:.3f} of both together"
    group = _pooled_group(answer, options)
    if group is Group.CRYSTAL:
        yield f"{named} is at least work.crystal_from {options.crystal_from:g}: crystals"
    else:
        yield (
            f"{named} is less than work.crystal_from {options.crystal_from:g}: no crystals; of the other groups "
            f"{group} is the most probable, {answer.probability:.3f}"
        )
    if answer.outcome is Outcome.UNDECIDED:
        yield f"{why_undecided(answer, options)}; a person should look"
        return
    yield f"{answer.outcome} is the most probable class of that group in the chops that show it"


def _by_chops(answer: wire.Scored, options: wire.Options) -> Iterator[str]:
    counts = (
        "the probability of its best class" if options.rule == "published" else "the sum of a group's probabilities"
    )
    yield f"rule {options.rule}: a chop counts if {counts} is at least {options.threshold:g}"
    if options.rule == "group" and options.support:
        yield (
            f"crystals and precipitate must show in several chops covering the same point (support {options.support:g})"
        )
    if answer.outcome is Outcome.UNDECIDED:
        yield f"{why_undecided(answer, options)}; a person should look"
    else:
        yield (
            f"of the outcomes of the chops that count, {answer.outcome} has the highest priority; its best chop says "
            f"{answer.probability:.3f}"
        )
    yield (
        f"p_crystal {answer.p_crystal:.3f}, calibrated from the same chops, "
        "ranks the well but does not affect the outcome"
    )


def largest(answer: wire.Scored) -> Iterator[tuple[Group, Outcome, float]]:
    """List the largest probability of each class over all chops, ordered by group: (group, class, probability)."""
    for group in SCORED_GROUPS:
        for outcome, probability in zip(CLASSES, answer.probabilities, strict=False):
            if outcome.group is group:
                yield group, outcome, probability
