"""Fit which groups a well may be of (`xtalgrid_core.possible`)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.possible import COVERAGE, PossibleGroups, least_probability

_CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)


def fit_possible(
    p: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], coverage: float = COVERAGE
) -> PossibleGroups:
    """Fit which groups are possible to the probabilities of N wells, ``(N, 4)``, that these were not fitted to.

    `groups`, ``(N,)``, are the wells' indices in `SCORED_GROUPS`. A well that is called crystals may always be one.
    """
    least = [least_probability(p[groups == index, index].tolist(), coverage) for index in range(len(SCORED_GROUPS))]
    least[_CRYSTAL] = min(least[_CRYSTAL], DEFAULTS.crystal_from)
    return PossibleGroups(coverage, tuple(math.floor(value * 1e4) / 1e4 for value in least))
