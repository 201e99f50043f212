"""What is new since a drop's first inspection comes first; what stood there before comes last, and is never dropped."""

from __future__ import annotations

from datetime import datetime

from xtalgrid_core.frames import percent

STOOD = 0.2
"""A crystal with a smaller `p_new` most likely stood there at the first inspection."""


def stood(p_new: float | None) -> bool:
    """Return whether what shows the crystal most likely stood there before; without a comparison it did not."""
    return p_new is not None and p_new < STOOD


def chance_of_new(p_crystal: float, p_new: float | None) -> float:
    """Return the probability of a crystal that is new; without a comparison every crystal counts as new."""
    return p_crystal if p_new is None else p_crystal * p_new


def new_since(p_new: float | None, since: datetime | None) -> str:
    """Say how likely a crystal is new, such as ``new since 2024-01-01: 96 %``; empty if it can't be said."""
    return "" if p_new is None or since is None else f"new since {since:%Y-%m-%d}: {percent(p_new)}"
