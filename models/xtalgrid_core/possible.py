"""The groups that a well may be of: conformal prediction sets.

A group is possible if the well's probability of it is not among the lowest that wells of this group get. What counts as
low is read from wells that neither trained the networks nor fitted the probabilities
(``xtalgrid-train judge calibrate``): of each group's wells, at least the part `coverage` has its own group among the
possible ones. That holds for wells like those; on others it has to be measured (docs/models.md). Groups are kept apart
so that the many clear wells can't pay for missed crystals (Vovk et al. 2003; Sadinle et al. 2019, JASA 114, 223).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from .outcomes import SCORED_GROUPS, Group

COVERAGE = 0.98
"""Of each group's wells, the part that has its own group among the possible ones."""


class PossibleGroups(msgspec.Struct, frozen=True):
    """A fitted rule for which of `SCORED_GROUPS` are possible.

    Raises
    ------
    ValueError
        If there is not one probability, 0..1, for each of `SCORED_GROUPS`, or the coverage is not between 0 and 1.
    """

    coverage: float
    least: tuple[float, ...]
    """Least probability with which each of `SCORED_GROUPS` is possible."""

    def __post_init__(self) -> None:
        in_range = all(0 <= p <= 1 for p in self.least) and 0 < self.coverage < 1
        if len(self.least) != len(SCORED_GROUPS) or not in_range:
            raise ValueError(f"possible groups have {len(SCORED_GROUPS)} probabilities, 0 to 1, and a coverage inside")

    def __call__(self, groups: Sequence[float], called: Group | None = None) -> tuple[Group, ...]:
        """Return the groups that are possible with these probabilities of `SCORED_GROUPS`.

        The most probable one always is, and the one that the well is `called`: a lab may call wells crystals from a
        lower `p_crystal` on.
        """
        pairs = zip(SCORED_GROUPS, groups, self.least, strict=True)
        return tuple(group for group, p, least in pairs if p >= least or p == max(groups) or group is called)


def least_probability(of_own_group: Sequence[float], coverage: float = COVERAGE) -> float:
    """Return the least probability that leaves their own group possible for the part `coverage` of a group's wells.

    Parameters
    ----------
    of_own_group
        The probability, 0..1, that each of N wells of one group gets of this group. The result is the k-th lowest with
        k = ⌊(1 − coverage)(N + 1)⌋, which holds for the next well too; 0 if there are too few wells for that.
    """
    rank = math.floor((1 - coverage) * (len(of_own_group) + 1) + 1e-9)
    return sorted(of_own_group)[rank - 1] if rank else 0.0
