"""Names of wells as people write them: letters for the row, the column, a letter for the subwell: ``A1a``."""

from __future__ import annotations


def well_name(row: int, col: int, subwell: int) -> str:
    """Format row, column and subwell, each from 1, as ``A1a``; a subwell beyond 26 as a number, ``A1.30``.

    A row or column below 1, as a wrong row of a database may have, is written in numbers: ``R0C2a``.
    """
    place = f"{row_letters(row)}{col}" if row >= 1 and col >= 1 else f"R{row}C{col}"
    return f"{place}{chr(ord('a') + subwell - 1) if 1 <= subwell <= 26 else f'.{subwell}'}"


def row_letters(row: int) -> str:
    """Format a row as letters: 1 → A, 26 → Z, 27 → AA (1536-well plates); below 1 as a number."""
    if row < 1:
        return str(row)
    letters = ""
    while row:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def row_number(letters: str) -> int:
    """Parse the letters of a row: A → 1, z → 26, AA → 27.

    Raises
    ------
    ValueError
        If there is anything but letters from A to Z.
    """
    if not (letters.isascii() and letters.isalpha()):
        raise ValueError(f"{letters!r} is not a row; rows are A, B, …, Z, AA, …")
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
