"""Format the cells of tables of figures, and names of files."""

from __future__ import annotations

import re

from .metrics import Share


def text(part: Share) -> str:
    """Format a proportion with counts and interval: ``91.2 % (31 of 34; 77.0–97.0)``."""
    if part.rate is None or part.low is None or part.high is None:
        return "–"
    return f"{100 * part.rate:.1f} % ({part.hits} of {part.of}; {100 * part.low:.1f}–{100 * part.high:.1f})"


def slug(name: str) -> str:
    """Turn a name into part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
