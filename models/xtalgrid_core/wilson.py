"""Wilson's confidence interval of a proportion."""

from __future__ import annotations

import math

Z = 1.959964
"""Standard normal quantile of 95 %, two-sided."""


def wilson(hits: int, number: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion; (0, 1) for 0 of 0.

    Wilson (1927), J. Am. Stat. Assoc. 22, 209-212.
    """
    if not 0 <= hits <= number:
        raise ValueError(f"{hits} of {number} is not a proportion")
    if number == 0:
        return 0.0, 1.0
    part, square = hits / number, Z * Z / number
    middle = part + square / 2
    half = Z * math.sqrt(part * (1 - part) / number + square / (4 * number))
    low, high = ((middle + sign * half) / (1 + square) for sign in (-1, 1))
    return (0.0 if hits == 0 else low), (1.0 if hits == number else high)
