"""Contents of the imager database as the rest of the server sees them: images of drops at inspections, and scores."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from .wells import Well

FIRST_DATE = datetime(1, 1, 1)  # noqa: DTZ001  imagers' dates are naive local time
"""The first that Python has."""

FIRST_IMAGED = datetime(1990, 1, 1)  # noqa: DTZ001
"""No imager is older: an inspection dated before was taken while the imager's clock had lost its time."""

_LARGEST = 2**63 - 1


class Moment(NamedTuple):
    """Sort key of inspections: date (naive local time), then id."""

    inspected: datetime
    inspect_id: int


def just_after(moment: Moment) -> Moment:
    """Return the next moment, as a bound that excludes later inspections; the highest id of a database has no next."""
    return Moment(moment.inspected, min(moment.inspect_id + 1, _LARGEST))


def has_date(at: datetime) -> bool:
    """Whether a score has a date, in local time or UTC: one without is dated `FIRST_DATE`, and counts as the oldest."""
    return at.year > FIRST_DATE.year


def earlier(date: datetime, by: timedelta) -> datetime:
    """Return an earlier date, or the first that there is: an imager's clock may stand at the year 1."""
    return date - min(by, date - FIRST_DATE)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of one drop at one inspection; `inspected` is naive local time."""

    inspect_id: int
    barcode: str
    inspection: int
    inspected: datetime
    well: Well
    image_name: str

    @property
    def moment(self) -> Moment:
        """Sort key of its inspection."""
        return Moment(self.inspected, self.inspect_id)

    @property
    def place(self) -> str:
        """Plate, inspection, well and date, for people."""
        return f"plate {self.barcode} inspection {self.inspection} {self.well} of {self.inspected:%Y-%m-%d %H:%M:%S}"

    def is_where(self, other: ImageRow) -> bool:
        """Tell whether another row has the same plate, inspection, well and date, to a second."""
        same = (self.barcode, self.inspection, self.well) == (other.barcode, other.inspection, other.well)
        return same and abs(self.inspected - other.inspected) < timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class FileState:
    """An image's file as it was read: SHA-256, size in bytes, and time in nanoseconds since 1970.

    The time is 0 if the file was so young that it may have changed since without a new one. Size and time are None if
    they are not known.
    """

    sha256: str
    size: int | None
    modified: int | None


def file_time(status: os.stat_result) -> int:
    """Return when a file was changed, in nanoseconds since 1970, or the nearest time that a database holds.

    Shares also have files of the year 30828; these are taken for ones of 2262.
    """
    return min(max(status.st_mtime_ns, -_LARGEST), _LARGEST)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of the score table, with its inspection; `date` is naive local time, `FIRST_DATE` if it has none."""

    score_id: int
    inspect_id: int
    code: str
    date: datetime
    by: str
    image_name: str | None


@dataclass(frozen=True, slots=True)
class ScoredDrop:
    """A drop at an inspection that people scored, in XtalTrak or in the viewer.

    Attributes
    ----------
    scores
        People's rows of the score table, oldest first; none if it was scored only in the viewer.
    images
        Images whose names match the configured patterns, sorted by name.
    mates
        Names of its UV images.
    """

    inspect_id: int
    scores: list[ScoreRow]
    images: list[ImageRow]
    mates: list[str]


@dataclass(frozen=True, slots=True)
class UnusableRow:
    """A row of the imager database that cannot be used, by the vendor's names for table and column.

    Attributes
    ----------
    key
        Column and value of the row's key, such as ``INSPECTID 4``.
    value, expected
        What the column holds, and what it should hold.
    """

    table: str
    key: str
    column: str
    value: str
    expected: str

    @property
    def name(self) -> str:
        """Under which its failure is recorded."""
        return f"{self.table}, {self.key}"

    def __str__(self) -> str:
        return f"{self.name}: {self.column} is {self.value}, not {self.expected}"


def unusable_inspection(name: str) -> int | None:
    """Return the inspect id in the `UnusableRow.name` of an inspection or an image; None for another name."""
    match = re.fullmatch(r".+, INSPECTID (-?\d+)", name)
    return int(match[1]) if match else None
