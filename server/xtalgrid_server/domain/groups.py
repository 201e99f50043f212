"""The four groups' probabilities of an answer, as other programs hold them: rounded so that they still sum to 1."""

from __future__ import annotations

from collections.abc import Sequence

from xtalgrid_core import wire
from xtalgrid_core.outcomes import SCORED_GROUPS, Group

DIGITS = 5


def four(answer: wire.Answer | None) -> dict[Group, float] | None:
    """Return the groups' probabilities of an answer; None if it has none.

    An undecided image is given no class, so its probabilities are not given either; old workers sent none.
    """
    if not isinstance(answer, wire.Scored) or answer.groups is None or answer.outcome.group is Group.UNKNOWN:
        return None
    return dict(zip(SCORED_GROUPS, rounded(answer.groups), strict=True))


def rounded(probabilities: Sequence[float]) -> list[float]:
    """Round probabilities to five digits; what is then missing of 1 goes to the largest."""
    total = sum(probabilities)
    units = [round(p / total * 10**DIGITS) for p in probabilities]
    units[units.index(max(units))] += 10**DIGITS - sum(units)
    return [unit / 10**DIGITS for unit in units]
