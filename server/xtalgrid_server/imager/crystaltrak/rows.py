"""Convert rows of the vendor's tables one by one, so that a row that cannot be used costs only itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from ...config.vendor import TABLES
from ...domain.images import FIRST_DATE, ImageRow, ScoreRow, UnusableRow
from ...domain.wells import Well

T = TypeVar("T")

_LARGEST = 2**63
"""Databases hold smaller whole numbers."""
_LARGEST_INSPECTION = 2**31
"""Columns for numbers of inspections hold smaller ones."""
_LAST_PLACE = 99
_LONGEST_BARCODE = 30
_LONGEST_NAME = 255
"""Bytes of an image's name that I_SCORES and file systems hold."""
_SHOWN = 80
"""Characters of a value in a message."""

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
    programs
        SCOREDBY names of programs, which are read as they are written here, whatever their case: a lab's database may
        have a rule that changes it.

    Attributes
    ----------
    unusable
        Each unusable row once, in the order in which they were met.
    """

    def __init__(self, *, is_quiet: bool = False, programs: Iterable[str] = ()) -> None:
        self._is_quiet = is_quiet
        self._programs = {name.lower(): name for name in programs}
        self.unusable: dict[UnusableRow, None] = {}

    def forget(self, inspect_ids: Iterable[int]) -> None:
        """Forget the unusable rows of these inspections, which are read again."""
        keys = {f"INSPECTID {inspect_id}" for inspect_id in inspect_ids}
        self.unusable = {row: None for row in self.unusable if row.key not in keys}

    def images(self, rows: Iterable[Any]) -> Iterator[ImageRow]:
        """Convert rows of inspections joined with images."""
        return self._each(rows, image_row, "inspections", "inspectid")

    def scores(self, rows: Iterable[Any]) -> Iterator[ScoreRow]:
        """Convert rows of the score table.

        A score counts whenever it was given: one without a usable date is noted, and dated `FIRST_DATE`.
        """
        for score, row in self._each(rows, lambda row: (score_row(row), row), "scores", "scoreid"):
            if score.date == FIRST_DATE:
                for _ in self._each([row], lambda row: _date(row, "scoredate"), "scores", "scoreid"):
                    pass
            name = self._programs.get(score.by.lower(), score.by)
            yield score if name == score.by else replace(score, by=name)

    def _each(self, rows: Iterable[Any], convert: Callable[[Any], T], table: str, key: str) -> Iterator[T]:
        for row in rows:
            try:
                yield convert(row)
            except _Unusable as error:
                at = f"{key.upper()} {getattr(row, key)}"
                value = "NULL" if error.value is None else repr(error.value)
                value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
                place = "images" if error.column == "imagename" else table
                unusable = UnusableRow(TABLES[place][0], at, error.column.upper(), value, error.expected)
                if unusable not in self.unusable:
                    if not self._is_quiet:
                        becomes = "counts as the oldest" if error.column == "scoredate" else "is passed over"
                        log.warning("%s; it %s", unusable, becomes)
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
        barcode=_short_text(row, "barcodeid", _LONGEST_BARCODE),
        inspection=_inspection(row, "inspectnumber"),
        inspected=_date(row, "inspectdate"),
        well=Well(_place(row, "i_row"), _place(row, "col"), _place(row, "subwell", 0)),
        image_name=_short_text(row, "imagename", _LONGEST_NAME),
    )


def score_row(row: Any) -> ScoreRow:
    """Convert a row of the score table; see `image_row`. One without a usable date is dated `FIRST_DATE`."""
    return ScoreRow(
        score_id=_number(row, "scoreid"),
        inspect_id=_number(row, "inspectid"),
        code=_text(row, "score").strip(),
        date=row.scoredate if isinstance(row.scoredate, datetime) else FIRST_DATE,
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


def _inspection(row: Any, column: str) -> int:
    number = _number(row, column)
    if abs(number) >= _LARGEST_INSPECTION:
        raise _Unusable(column, number, f"a number below {_LARGEST_INSPECTION}")
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


def _short_text(row: Any, column: str, longest: int) -> str:
    """Return a text that the ledger and the score table hold: a longer one would be refused there with its batch."""
    text = _text(row, column)
    if len(text.encode(errors="surrogateescape")) > longest or "\0" in text:
        raise _Unusable(column, text, f"a text of at most {longest} bytes, without NUL")
    return text


def _date(row: Any, column: str) -> datetime:
    value = getattr(row, column)
    if not isinstance(value, datetime):
        raise _Unusable(column, value, "a date")
    return value
