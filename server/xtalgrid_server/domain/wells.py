"""Well names as people write them: ``A1a`` is row 1, column 1, subwell 1."""

from __future__ import annotations

import re
from typing import NamedTuple

from xtalgrid_core.wells import row_number, well_name


class Well(NamedTuple):
    """Position of a drop on its plate; row, column and subwell count from 1."""

    row: int
    col: int
    subwell: int

    def __str__(self) -> str:
        return well_name(*self)


def parse_well(text: str) -> Well:
    """Parse a well name: ``A1a``, ``a01a`` or ``A1.30``; in ``A1``, without a subwell, the subwell is 0.

    Raises
    ------
    ValueError
        If it is not a well name.
    """
    match = re.fullmatch(r"([A-Za-z]{1,2})(\d{1,2})(?:([A-Za-z])|\.(\d{1,2}))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a well; give one such as A1 or A1a")
    letters, col, letter, number = match.groups()
    row = row_number(letters)
    subwell = row_number(letter) if letter else int(number or 0)
    if not int(col) or row > 99:
        raise ValueError(f"{text!r} is not a well; rows start at A, columns at 1")
    return Well(row, int(col), subwell)
