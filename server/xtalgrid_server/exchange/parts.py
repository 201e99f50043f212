"""Conditions whose ingredients have columns of their own: concentration, unit, name and pH, again and again.

Either each column says which it is (``Conc 1, Unit 1, Name 1, pH 1, Conc 2 …``), or, as in the lists of C6, a heading
such as ``Buffer`` or ``Chem 1`` stands over four: concentration, unit, name, pH.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .screens import ingredient

Part = Mapping[str, int]
"""The columns of an ingredient, by what they hold."""

_HOLDS = {
    "concentration": ("conc", "concentration", "conc.", "amount"),
    "unit": ("unit", "units"),
    "name": ("name", "chemical", "reagent", "ingredient", "salt", "buffer", "precipitant", "additive"),
    "ph": ("ph",),
}
_ORDER = ("concentration", "unit", "name", "ph")


def find_parts(names: Sequence[str]) -> list[Part]:
    """Return the ingredients that a table's columns hold, in their order; none without names of ingredients."""
    over_four = [_over_four(names, index) for index in range(len(names))]
    if any(over_four):
        return [part for part in over_four if part]
    parts: dict[str, dict[str, int]] = {}
    current = ""
    for index, name in enumerate(names):
        word, number = _numbered(name)
        holds = next((what for what, words in _HOLDS.items() if word in words), None)
        if holds is None:
            continue
        if not number:  # a part ends where a column comes again
            current = f"#{index}" if not current or holds in parts[current] else current
        part = parts.setdefault(number or current, {})
        part.setdefault(holds, index)
    return [part for part in parts.values() if {"concentration", "name"} <= part.keys()]


def condition_of(parts: Sequence[Part], cells: Sequence[str]) -> str:
    """Return a line's condition: its ingredients that have a name."""
    found = ({what: cells[index] for what, index in part.items()} for part in parts)
    return ", ".join(
        ingredient(each["concentration"], each.get("unit", ""), each["name"], each.get("ph", ""))
        for each in found
        if each["name"]
    )


def _over_four(names: Sequence[str], index: int) -> Part | None:
    word, _ = _numbered(names[index])
    following = names[index + 1 : index + len(_ORDER)]
    if word in ("buffer", "chem", "salt", "precipitant", "additive") and following == [""] * (len(_ORDER) - 1):
        return {what: index + offset for offset, what in enumerate(_ORDER)}
    return None


def _numbered(name: str) -> tuple[str, str]:
    """Divide ``chem 1`` into the word and its number."""
    match = re.fullmatch(r"(.*?)[\s_#]*(\d*)", name)
    return (match[1], match[2]) if match else (name, "")
