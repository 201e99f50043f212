"""Scores as files of other programs have them, before the drops they belong to and their meaning are looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from ..config import Config
from ..domain.drop_state import Meaning
from ..domain.images import FIRST_IMAGED
from ..domain.wells import Well
from ..imager.folder.dates import whole_date
from ..ledger.imported_scores import AtIs, Kind

_TIME = re.compile(
    r"(?:T|,?\s+(?:at\s+)?)(?P<H>\d{1,2})(?P<s>[:.h])(?P<M>\d\d)(?:(?P=s)(?P<S>\d\d)(?:[.,]\d+)?)?"
    r"(?:\s*(?P<half>[AP])\.?M\.?)?(?:\s*(?P<utc>Z|UTC|GMT)|\s*(?P<zone>[+-]\d\d:?\d\d))?",
    re.IGNORECASE,
)
"""The time of day behind a date, and its zone."""
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.IGNORECASE)

_LONGEST_DATE = 80


@dataclass(frozen=True, slots=True)
class Place:
    """What a line says of the image or the drop.

    Attributes
    ----------
    image
        File name, with folders if there are any.
    inspected
        When it was imaged, in naive local time of the imager; its time is 0:00 if only the day is known.
    well
        Its subwell is 0 if the line has none.
    number
        The well's number, counted along the rows from 1; 0 if the line has none.
    """

    image: str = ""
    barcode: str = ""
    inspection: int | None = None
    inspected: datetime | None = None
    well: Well | None = None
    number: int = 0
    subwell: int = 0


@dataclass(frozen=True, slots=True)
class ForeignScore:
    """A score of a line.

    Attributes
    ----------
    at
        UTC; None: the time of the inspection stands for it.
    as_outcome
        Whether the word is one of our outcomes, so that ``clear`` is not only the group.
    numbers
        Numbers by name, such as probabilities.
    """

    kind: Kind
    who: str
    word: str
    at: datetime | None = None
    at_is: AtIs = "scored"
    as_outcome: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its scores, none if it has none; or the problem with it.

    `file` is that of a line in a folder of several; `number` is 0 if it is an image. `is_hidden`: see `sheets.Row`.
    """

    number: int
    place: Place = Place()
    scores: tuple[ForeignScore, ...] = ()
    problem: str = ""
    file: str = ""
    is_hidden: bool = False


def is_sorted(four: Mapping[str, float]) -> bool:
    """Tell whether probabilities fall in the order to which the published script for ISPyB assigns MARCO's, sorted."""
    values = [four.get(name, 0.0) for name in ("Crystals", "Precipitate", "Clear", "Other")]
    return values == sorted(values, reverse=True)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of scores.

    Attributes
    ----------
    format
        Its name for people.
    lines
        Reads its lines.
    probabilities
        Reads it to its end too, but only the four probabilities of each line that has them.
    notes
        What a person should know of it.
    words
        What its words mean, lower case, where `scores.names` does not say.
    looks_mixed_up
        Whether four probabilities are as if paired with the wrong names; if all are, they are refused.
    """

    format: str
    lines: Callable[[], Iterator[Line]]
    probabilities: Callable[[], Iterator[Mapping[str, float]]]
    notes: tuple[str, ...] = ()
    words: Mapping[str, Meaning] = field(default_factory=dict)
    looks_mixed_up: Callable[[Mapping[str, float]], bool] = is_sorted


@dataclass(frozen=True, slots=True)
class Told:
    """What the person says of a file that the file does not say.

    Attributes
    ----------
    by
        Who gave the scores.
    kind
        Whether that is a person or a program.
    barcode, inspection
        The plate and its inspection.
    sheet
        The sheet of an Excel workbook.
    """

    by: str = ""
    kind: Kind | None = None
    barcode: str = ""
    inspection: int | None = None
    sheet: str = ""


def moment(config: Config, cell: str | datetime) -> datetime:
    """Return a date of a file in the imager's naive local time.

    Parameters
    ----------
    cell
        A date, ISO 8601 (with or without a zone), or one of the forms of `whole_date`, which a time may follow; with
        slashes as the configuration says.

    Raises
    ------
    ValueError
        If it is none, or impossible.
    """
    found = cell if isinstance(cell, datetime) else _parsed(config, cell)
    if found.tzinfo is not None:
        found = config.imager.local(found.timestamp())
    found = found.replace(microsecond=0)
    if found < FIRST_IMAGED or found > config.imager.latest_date() + timedelta(days=1):
        raise ValueError(f"the date {found:%Y-%m-%d} is impossible")
    return found


def utc(config: Config, cell: str | datetime) -> datetime:
    """Return the same in naive UTC.

    Raises
    ------
    ValueError
        If it is no date.
    """
    found = cell if isinstance(cell, datetime) else _parsed(config, cell)
    local = moment(config, found)
    if found.tzinfo is None:
        return config.imager.utc(local)
    return found.astimezone(UTC).replace(tzinfo=None, microsecond=0)  # not by local time, which has one hour twice


def _parsed(config: Config, text: str) -> datetime:
    if len(text) > _LONGEST_DATE:
        raise ValueError(f"{text[:_LONGEST_DATE]!r}… is not a date such as 2024-01-31")
    if re.fullmatch(r"\d{1,7}|\d+[.,]\d+", text):
        raise ValueError(f"{text!r} is a number, not a date; in Excel, give the column the format of a date")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if "/" in text:
        order = {"month first": ("%m/%d/%Y", "%m/%d/%y"), "day first": ("%d/%m/%Y", "%d/%m/%y")}
        for form in order.get(config.scores.slashed_dates, ()):
            for time_of_day in ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p"):
                try:
                    return datetime.strptime(text, form + time_of_day)  # noqa: DTZ007  local time
                except ValueError:
                    continue
        if config.scores.slashed_dates == "refused":
            raise ValueError(f"{text!r} may be two dates; set scores.slashed_dates, or write 2024-01-31")
    elif (date := _with_time(text)) is not None:
        return date
    raise ValueError(f"{text!r} is not a date such as 2024-01-31")


def _with_time(text: str) -> datetime | None:
    """Return a date with its time of day, of a text that holds nothing else; None if it is none.

    A part that can't be read, such as another zone, is not passed over: the time would be another one.
    """
    text = _WEEKDAY.sub("", text, count=1)
    found = next((match for match in _TIME.finditer(text) if match.end() == len(text)), None)
    date = whole_date(text[: found.start()] if found else text)
    if date is None or found is None:
        return date
    hour, half = int(found["H"]), (found["half"] or "").upper()
    if half and 1 <= hour <= 12:
        hour = hour % 12 + 12 * (half == "P")
    elif half or date != datetime.combine(date, time()):
        return None
    try:
        zone = UTC if found["utc"] else datetime.strptime(found["zone"], "%z").tzinfo if found["zone"] else None
        return date.replace(hour=hour, minute=int(found["M"]), second=int(found["S"] or 0), tzinfo=zone)
    except ValueError:  # such as 25:00
        return None
