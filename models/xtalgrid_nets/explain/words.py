"""What a published decision is called on the terminal and in pictures."""

from __future__ import annotations

import math

from xtalgrid_core.decision import Decision
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import published


def number(probability: float) -> str:
    """Write a probability with two decimals, rounded down: what is 0.85 has reached 0.85, and 1.00 is certain."""
    return f"{math.floor(probability * 100 + 1e-9) / 100:.2f}"


def outcome(decision: Decision) -> str:
    """Write the outcome as it is published, and its probability."""
    return f"{published(decision.outcome)} {number(decision.probability)}"


def groups(decision: Decision) -> str:
    """Write the four groups' probabilities, of which the first is `p_crystal`."""
    _, precipitate, other, clear = map(number, decision.groups)
    return f"p_crystal {number(decision.p_crystal)}, precipitate {precipitate}, other {other}, clear {clear}"


def rule(options: Options) -> str:
    """Say what decided, with the number that it decides by."""
    if options.rule == "pooled":
        return f"rule pooled: crystals from p_crystal {options.crystal_from:g} on"
    return f"rule {options.rule}: a chop counts from {options.threshold:g} on"
