"""Lengths of time in words, the same in every line and on every page."""

from __future__ import annotations

_UNITS = (("s", 1.0, 90), ("min", 60.0, 90), ("h", 3600.0, 48))
"""Units, their seconds, and from how many on the next unit is used."""


def in_words(seconds: float) -> str:
    """Format a length of time in one unit: ``20 min``, ``3.5 h``, ``2 d``."""
    for unit, length, limit in _UNITS:
        if seconds < limit * length:
            number = seconds / length
            return f"{number:.1f} {unit}" if unit == "h" and number < 10 else f"{number:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
