"""Format the cells of tables of figures, and names of files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from .metrics import Share


def text(part: Share) -> str:
    """Format a proportion with counts and interval: ``91.2 % (31 of 34; 77.0–97.0)``."""
    if part.rate is None or part.low is None or part.high is None:
        return "–"
    return f"{100 * part.rate:.1f} % ({part.hits} of {part.of}; {100 * part.low:.1f}–{100 * part.high:.1f})"


def slug(name: str) -> str:
    """Turn a name into part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Turn names into parts of file names, no two of which are the same.

    Where `slug` leaves out letters of other alphabets, or makes two names one, a few digits of a hash are added.

    Examples
    --------
    >>> slugs(["Plate 1", "結晶-01", "蛋白-01"])
    {'Plate 1': 'plate-1', '結晶-01': '01-c059959e', '蛋白-01': '01-bb36b048'}
    """
    short = {name: slug(name) for name in names}
    often = Counter(short.values())
    return {
        name: f"{part}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
        if often[part] > 1 or not name.isascii()
        else part
        for name, part in short.items()
    }
