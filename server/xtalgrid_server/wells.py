"""Names of wells: column 1-12, row 1-8 and subwell 1-4 as people write them, ``A1a``."""

from __future__ import annotations

from typing import NamedTuple


class Well(NamedTuple):
    """A drop's place on its plate; all three count from 1."""

    row: int
    col: int
    subwell: int

    def __str__(self) -> str:
        subwell = chr(ord("a") + self.subwell - 1) if 1 <= self.subwell <= 26 else f".{self.subwell}"
        return f"{row_letters(self.row)}{self.col}{subwell}"


def row_letters(row: int) -> str:
    """1 → A, 26 → Z, 27 → AA, as on 1536-well plates; others as a number."""
    if row < 1:
        return str(row)
    letters = ""
    while row:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
