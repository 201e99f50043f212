"""What to say of files whose names do not fit: the convention that fits most of them, and where one differs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .conventions import CONVENTIONS
from .dates import Order
from .names import Names, Pattern, compile_names, folders_above

_SAMPLE = 500
"""How many files are tried."""

_SHOWN = 40
"""Characters of a name that are shown where it differs."""

_ITEM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[]", re.DOTALL)
_ANY = "[^/"
_REPEATED = re.compile(r"(?:\{\d*,?\d*\}|[*+?])[?+]?")


def differences(files: Sequence[Path], names: Names) -> list[str]:
    """Return why each of these files (absolute paths) does not fit a convention, and which one would."""
    return [names.why_not(file) or why for why in [_summary(files, names)] for file in files] if files else []


def fitting_all(files: Sequence[Path], order: Order) -> Names | None:
    """Return the first convention that each of these files (absolute paths) fits; None if there is none."""
    conventions = (compile_names(name, order) for name in CONVENTIONS)
    scored = ((names, [file for file in files if not names.passes_over(file)]) for names in conventions)
    return next((names for names, rest in scored if rest and all(names.read(file) for file in rest)), None)


def _summary(files: Sequence[Path], names: Names) -> str:
    sample = files[:_SAMPLE]
    others = [compile_names(name) for name in CONVENTIONS if name != names.name]
    fits = {other.name: [file for file in sample if other.read(file) is not None] for other in others}
    best = max(fits, key=lambda name: len(fits[name]))
    own = "" if names.name in CONVENTIONS else " import.names"
    start = f"the name does not match{own} {names.name}"
    if fits[best]:
        rest = [file for file in sample if file not in set(fits[best])]
        example = f"; {_difference(rest[0], compile_names(best))}" if rest else ""
        return f"{start}; {len(fits[best])} of {len(sample)} such files match {best}: use --names {best}{example}"
    nearest = max([names, *others], key=lambda one: sum(_part_read(file, one).fraction for file in sample[:20]))
    return (
        f"{start}; {_difference(sample[0], nearest if names.name in CONVENTIONS else names)}; set import.names in "
        "xtalgrid.toml, or use --names any, which makes each file a well"
    )


def _difference(file: Path, names: Names) -> str:
    """Return where a file's name differs from a convention."""
    part = _part_read(file, names)
    name = f"{names.name} (such as {CONVENTIONS[names.name].example})" if names.name in CONVENTIONS else "it"
    read = f"…{part.read[-_SHOWN:]}" if len(part.read) > _SHOWN else part.read
    what = f"{part.expected} is expected" if part.expected else "the name should end"
    return f"{file.name} fits {name} as far as {read!r}; then {what}, not {part.rest[:_SHOWN]!r}"


class _Part(NamedTuple):
    """How much fits of a name or an expression, the lesser, 0 to 1; what was read; the rest; the item that follows."""

    fraction: float
    read: str
    rest: str
    expected: str


def _part_read(file: Path, names: Names) -> _Part:
    """Return the longest part of a name that fits one of a convention's expressions."""
    return max(
        _read_part(pattern, "/".join((*folders_above(file, folders), file.stem)))
        for pattern in names.patterns
        for folders in range(min(pattern.most_folders(file), pattern.regex.pattern.count("/")) + 1)
    )


def _read_part(pattern: Pattern, text: str) -> _Part:
    items = _items(pattern.regex.pattern)
    for number in range(len(items), 0, -1):
        match = re.compile("".join(items[:number]), pattern.regex.flags & re.IGNORECASE).match(text)
        if match is not None:
            expected = items[number] if number < len(items) else ""
            telling = [_ANY not in item for item in items]  # others fit any name
            fraction = min(sum(telling[:number]) / len(items), match.end() / max(len(text), 1))
            return _Part(fraction, match[0], text[match.end() :], expected)
    return _Part(0.0, "", text, items[0])


@lru_cache(maxsize=100)
def _items(regex: str) -> list[str]:
    """Split an expression into its outermost items: characters, sets and groups, each with how often it may repeat."""
    items, depth, at = [], 0, 0
    item = ""
    while at < len(regex):
        match = _ITEM.match(regex, at)
        if match is None:
            return [regex]
        piece, at = match[0], match.end()
        depth += (piece == "(") - (piece == ")")
        item += piece
        if depth == 0:
            if (repeated := _REPEATED.match(regex, at)) is not None:
                item, at = item + repeated[0], repeated.end()
            items.append(item)
            item = ""
    return [regex] if item or "|" in items else items
