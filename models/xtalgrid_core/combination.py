"""Combine a well's probabilities with those of a second opinion: a logarithmic opinion pool.

Two networks that err on different wells know more together than either. Each group's probability is the product of both
networks' probabilities, each to a power that says how far it can be trusted, times a factor for the group. The powers
and factors are fitted by multinomial logistic regression (``xtalgrid-train judge second-opinion``), which calibrates
the result (Genest and Zidek 1986, Statist. Sci. 1, 114).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from .outcomes import SCORED_GROUPS
from .pooling import LEAST

Floats = npt.NDArray[np.float64]


class Combination(msgspec.Struct, frozen=True):
    """A fitted combination of two opinions on a well.

    Raises
    ------
    ValueError
        If a number is not finite, a power is negative, or there is not one shift for each of `SCORED_GROUPS`.
    """

    ours: float
    """Power of our probabilities."""
    second: float
    """Power of the second opinion's."""
    shifts: tuple[float, ...]
    """Logarithm of the factor for each of `outcomes.SCORED_GROUPS`."""

    def __post_init__(self) -> None:
        is_finite = all(map(math.isfinite, (self.ours, self.second, *self.shifts)))
        if len(self.shifts) != len(SCORED_GROUPS) or not is_finite or min(self.ours, self.second) < 0:
            raise ValueError(f"a combination has two powers of at least 0 and {len(SCORED_GROUPS)} shifts, all finite")

    def __call__(self, ours: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
        """Return the probabilities of `SCORED_GROUPS`, ``(..., 4)``, which sum to 1, from ours and the second ones."""
        logits = self.ours * logs(ours) + self.second * logs(second) + np.array(self.shifts)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def logs(probabilities: npt.ArrayLike) -> Floats:
    """Return the logarithms of probabilities, which are first clipped to `LEAST`..1."""
    return np.asarray(np.log(np.clip(np.asarray(probabilities, np.float64), LEAST, 1)))
