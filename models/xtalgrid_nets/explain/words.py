"""Describe a published decision in words, for the terminal and for pictures."""

from __future__ import annotations

import math

from xtalgrid_core.decision import Decision
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import published


def number(probability: float) -> str:
    """Format a probability with two decimals, rounded down: 0.85 means at least 0.85, and 1.00 is certain."""
    return f"{math.floor(probability * 100 + 1e-9) / 100:.2f}"


def outcome(decision: Decision) -> str:
    """Return the outcome as published, and its probability."""
    return f"{published(decision.outcome)} {number(decision.probability)}"


def groups(decision: Decision) -> str:
    """List the probabilities of the four groups; the first is `p_crystal`."""
    _, precipitate, other, clear = map(number, decision.groups)
    return f"p_crystal {number(decision.p_crystal)}, precipitate {precipitate}, other {other}, clear {clear}"


def rule(options: Options) -> str:
    """Name the rule that decided, with its threshold."""
    if options.rule == "pooled":
        limits = " ".join(f"{limit:g}" for limit in options.undecided or ())
        return f"rule pooled: crystals if p_crystal is at least {options.crystal_from:g}" + (
            f"; undecided below {limits}" if limits else ""
        )
    return f"rule {options.rule}: a chop counts if its probability is at least {options.threshold:g}"
