"""Wells and plates: well names as people write them (``A1a`` is row 1, column 1, subwell 1), and formats of plates."""

from __future__ import annotations

import re
from typing import NamedTuple

from xtalgrid_core.wells import row_number, well_name

_WELL = re.compile(
    r"(?:(?P<row>[A-Za-z]{1,6})(?P<col>[0-9]{1,9})|R(?P<row_number>-?[0-9]{1,9})C(?P<col_number>-?[0-9]{1,9}))"
    r"(?P<drop>[A-Za-z]|\.-?[0-9]{1,9})?"
)


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
    match = _WELL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a well; give one such as A1 or A1a")
    drop = match["drop"] or ""
    subwell = row_number(drop) if drop.isalpha() else int(drop.lstrip(".") or 0)
    if match["col"] is None:
        return Well(int(match["row_number"]), int(match["col_number"]), subwell)
    if not int(match["col"]):
        raise ValueError(f"{text!r} is not a well; rows start at A, columns at 1")
    return Well(row_number(match["row"]), int(match["col"]), subwell)


class PlateFormat(NamedTuple):
    """A plate's number of rows, of columns and of drops per well; 0 drops: not known."""

    rows: int
    columns: int
    drops: int = 0

    @property
    def wells(self) -> int:
        """Number of wells."""
        return self.rows * self.columns

    def __str__(self) -> str:
        return f"{self.wells} wells, {self.rows} rows × {self.columns} columns"

    def well(self, number: int, subwell: int) -> Well:
        """Return the well with a number, counted along rows from 1; outside the plate if the number is too high."""
        row, col = divmod(number - 1, self.columns)
        return Well(row + 1, col + 1, subwell)

    def has(self, well: Well) -> bool:
        """Return whether a well lies on such a plate."""
        inside = 1 <= well.row <= self.rows and 1 <= well.col <= self.columns
        return inside and (not self.drops or 1 <= well.subwell <= self.drops)


FORMATS = tuple(PlateFormat(rows, columns) for rows, columns in ((4, 6), (8, 6), (8, 12), (16, 24), (32, 48)))
"""The usual plates, with 24, 48, 96, 384 and 1,536 wells."""

SURE_WELLS = 96
"""From this number of wells on, it tells the plate's format: fewer may be a part of a larger plate."""


def with_columns(columns: int) -> PlateFormat:
    """Return the usual format with so many columns, 8 rows for 6; if none has, one with any number of rows."""
    usual = [plate for plate in FORMATS[1:] if plate.columns == columns]
    return (usual or [PlateFormat(99, columns)])[0]


def format_of(highest: int) -> PlateFormat:
    """Infer a plate's format from its highest well number.

    24 and 48 wells are assumed only where the number is just that, because plates of 96 wells with fewer images are
    more common.
    """
    exact = [plate for plate in FORMATS if plate.wells == highest]
    larger = [plate for plate in FORMATS[2:] if plate.wells >= highest]
    return (exact or larger or FORMATS[-1:])[0]
