"""Convert rows of the vendor's tables one by one, so that a row that cannot be used costs only itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from ...config.vendor import TABLES
from ...domain.images import ImageRow, ScoreRow, UnusableRow
from ...domain.wells import Well

T = TypeVar("T")

_LARGEST = 2**63
"""Databases hold smaller whole numbers."""
_LAST_PLACE = 99

log = logging.getLogger("xtalgrid")


class _Unusable(ValueError):
    """A value that is not what its column should hold."""

    def __init__(self, column: str, value: Any, expected: str) -> None:
        super().__init__(column)
        self.column, self.value, self.expected = column, value, expected


class RowReader:
    """Converts rows, and collects those that cannot be used.

    Parameters
    ----------
    is_quiet
        Whether not to log them.

    Attributes
    ----------
    unusable
        Each unusable row once, in the order in which they were met.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self.unusable: dict[UnusableRow, None] = {}

    def forget(self, inspect_ids: Iterable[int]) -> None:
        """Forget the unusable rows of these inspections, which are read again."""
        keys = {f"INSPECTID {inspect_id}" for inspect_id in inspect_ids}
        self.unusable = {row: None for row in self.unusable if row.key not in keys}

    def images(self, rows: Iterable[Any]) -> Iterator[ImageRow]:
        """Convert rows of inspections joined with images."""
        return self._each(rows, image_row, "inspections", "inspectid")

    def scores(self, rows: Iterable[Any]) -> Iterator[ScoreRow]:
        """Convert rows of the score table."""
        return self._each(rows, score_row, "scores", "scoreid")

    def _each(self, rows: Iterable[Any], convert: Callable[[Any], T], table: str, key: str) -> Iterator[T]:
        for row in rows:
            try:
                yield convert(row)
            except _Unusable as error:
                at = f"{key.upper()} {getattr(row, key)}"
                value = "NULL" if error.value is None else repr(error.value)
                place = "images" if error.column == "imagename" else table
                unusable = UnusableRow(TABLES[place][0], at, error.column.upper(), value, error.expected)
                if unusable not in self.unusable:
                    if not self._is_quiet:
                        log.warning("%s; it is passed over", unusable)
                    self.unusable[unusable] = None


def image_row(row: Any) -> ImageRow:
    """Convert a row of an inspection joined with an image.

    Raises
    ------
    ValueError
        If a value is missing or of another kind.
    """
    return ImageRow(
        inspect_id=_number(row, "inspectid"),
        barcode=_text(row, "barcodeid"),
        inspection=_number(row, "inspectnumber"),
        inspected=_date(row, "inspectdate"),
        well=Well(_place(row, "i_row"), _place(row, "col"), _place(row, "subwell", 0)),
        image_name=_text(row, "imagename"),
    )


def score_row(row: Any) -> ScoreRow:
    """Convert a row of the score table; see `image_row`."""
    return ScoreRow(
        score_id=_number(row, "scoreid"),
        inspect_id=_number(row, "inspectid"),
        code=_text(row, "score").strip(),
        date=_date(row, "scoredate"),
        by=row.scoredby or "",
        image_name=row.imagename,
    )


def _number(row: Any, column: str) -> int:
    value = getattr(row, column)
    try:
        number = int(value)
        is_whole = (isinstance(value, str) or number == value) and abs(number) < _LARGEST
    except (TypeError, ValueError, ArithmeticError):
        is_whole = False
    if not is_whole:
        raise _Unusable(column, value, "a whole number")
    return number


def _place(row: Any, column: str, first: int = 1) -> int:
    """Return a row, column or subwell: a number that a well's name can hold."""
    number = _number(row, column)
    if not first <= number <= _LAST_PLACE:
        raise _Unusable(column, number, f"a number from {first} to {_LAST_PLACE}")
    return number


def _text(row: Any, column: str) -> str:
    value = getattr(row, column)
    if not isinstance(value, str) or not value:
        raise _Unusable(column, value, "a text")
    return value


def _date(row: Any, column: str) -> datetime:
    value = getattr(row, column)
    if not isinstance(value, datetime):
        raise _Unusable(column, value, "a date")
    return value
