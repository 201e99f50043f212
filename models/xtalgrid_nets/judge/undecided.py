"""Judge how well the networks know what they don't know.

Two tables: how many wells are undecided and how many of the others are right (risk and coverage, Geifman and El-Yaniv
2017), for several values of `work.undecided`, and how often the possible groups hold what is in the well, which is
fitted to rendered wells and so has to be measured on real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xtalgrid_core import wire
from xtalgrid_core.decision import pooled_group
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.markdown import table
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.possible import PossibleGroups

from .metrics import share_of
from .tables import text
from .truth import Truth, apart

LIMITS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Values of `work.undecided` to try."""

TOTAL = "all real sources"


@dataclass(frozen=True, slots=True)
class Call:
    """What a well is called by the rule pooled, and how surely.

    Attributes
    ----------
    truth
        The well; its judgement is sure.
    group, probability
        What it is called; failed: `Group.UNKNOWN` with 0.
    possible
        Which groups are possible; None if that is not known.
    """

    truth: Truth
    group: Group
    probability: float
    possible: tuple[Group, ...] | None

    def is_right(self) -> bool:
        """Tell whether the group is right."""
        return self.group is self.truth.group


def calls(
    answers: Sequence[tuple[Truth, wire.Answer]], possible: PossibleGroups | None, alone: bool = False
) -> list[Call]:
    """Return what the surely judged wells are called, by answers of the rule pooled or combined, with no limits.

    Parameters
    ----------
    possible
        Which groups the probabilities leave possible.
    alone
        Whether to leave out the second opinion.
    """
    return [
        _call(truth, answer, possible, alone) for truth, answer in answers if truth.sure and truth.group is not None
    ]


def _call(truth: Truth, answer: wire.Answer, possible: PossibleGroups | None, alone: bool) -> Call:
    if isinstance(answer, wire.Failed):
        return Call(truth, Group.UNKNOWN, 0.0, None)
    groups = answer.own_groups if alone else answer.groups
    if groups is None:
        raise ConfigError(f"{truth.path}: its score has no probabilities of the groups, or no second opinion")
    group = answer.outcome.group
    if answer.probabilities:  # else there is no drop, of which the second opinion knows nothing
        group = SCORED_GROUPS[int(pooled_group(np.array(groups), DEFAULTS.crystal_from))]
    probability = groups[SCORED_GROUPS.index(group)]
    return Call(truth, group, probability, possible(groups) if possible else None)


def risk_table(wells: Sequence[Call], limits: Sequence[float] = LIMITS) -> list[str]:
    """Tabulate, as Markdown, for each value of `work.undecided` how many wells are undecided and what the rest is."""
    head = ("undecided below", "undecided", "right of the rest", "crystals undecided", "crystals missed")
    crystals = [call for call in wells if call.truth.group is Group.CRYSTAL]
    rows = [
        (
            f"{limit:g}" if limit else "never",
            text(share_of([call.probability < limit for call in wells])),
            text(share_of([call.is_right() for call in wells if call.probability >= limit])),
            text(share_of([call.probability < limit for call in crystals])),
            text(share_of([not call.is_right() for call in crystals if call.probability >= limit])),
        )
        for limit in limits
    ]
    return table(head, rows)


def source_table(wells: Sequence[Call], limit: float, with_second: bool = False) -> list[str]:
    """Tabulate, as Markdown, source by source, what a limit leaves undecided, and the possible groups.

    With a second opinion sources that trained it are marked and stay out of the total.
    """
    head = (
        *("source", "sure wells", "right, never undecided", f"undecided below {limit:g}", "right of the rest"),
        *("own group possible", "possible groups, mean"),
    )
    sources: dict[str, list[Call]] = {}
    for call in wells:
        sources.setdefault(call.truth.source, []).append(call)
    rows = [
        _row(f"{source} ({why})" if (why := _apart(here[0], with_second)) else source, here, limit)
        for source, here in sources.items()
    ]
    return table(head, [*rows, _row(TOTAL, in_total(wells, with_second), limit)])


def in_total(wells: Sequence[Call], with_second: bool = False) -> list[Call]:
    """Return the wells that count in the total: the real ones that trained none of the networks."""
    return [call for call in wells if call.truth.kind == "real" and not _apart(call, with_second)]


def _apart(call: Call, with_second: bool) -> str:
    return apart(call.truth) if with_second and call.truth.kind == "real" else ""


def _row(name: str, wells: Sequence[Call], limit: float) -> tuple[str, ...]:
    rest = [call for call in wells if call.probability >= limit]
    known = [(call.truth.group, call.possible) for call in wells if call.possible is not None]
    return (
        name,
        str(len(wells)),
        _count([call.is_right() for call in wells]),
        _count([call.probability < limit for call in wells]),
        _count([call.is_right() for call in rest]),
        _count([group in possible for group, possible in known]) if known else "–",
        f"{sum(len(possible) for _, possible in known) / len(known):.2f}" if known else "–",
    )


def _count(found: Sequence[bool]) -> str:
    return f"{sum(found)} of {len(found)}" if found else "–"
