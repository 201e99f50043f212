"""What a file's name says about its well: Rigaku's 18 fields, or a pattern of the lab's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from xtalgrid_core.errors import ConfigError

from ..wells import Well

ANY = "any"

# RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_01_01_HF_99_030_001_RDI: model, imager, five fields of the
# site, barcode padded to 12, inspection, date, column, row, subwell, illumination, slice, exposure, frame, device.
RIGAKU = (
    r"(?:[^_]*_){7}0*(?P<barcode>[A-Za-z0-9-]+?)_(?P<inspection>\d{3,})_(?P<date>\d{6})"
    r"_(?P<column>\d{2})_(?P<row>\d{2})_(?P<subwell>\d{2})_[^_]+_[^_]+_[^_]+_[^_]+_[^_]+"
)
GROUPS = ("barcode", "inspection", "row", "column", "subwell", "date")


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image's place; `date` is naive local time, None where the name has none."""

    barcode: str
    inspection: int
    well: Well
    date: datetime | None


def compile_pattern(names: str) -> re.Pattern[str]:
    """The pattern of ``rigaku``, or of a regular expression with named groups.

    Raises
    ------
    ConfigError
        For a pattern that is no regular expression, lacks ``row`` or ``column``, or has groups of other names.
    """
    try:
        pattern = re.compile(RIGAKU if names == "rigaku" else names)
    except re.error as error:
        raise ConfigError(f"import.names: no regular expression ({error}): {names!r}") from error
    unknown = set(pattern.groupindex) - set(GROUPS)
    missing = {"row", "column"} - set(pattern.groupindex)
    if unknown or missing:
        raise ConfigError(
            f"import.names: {names!r} needs the groups (?P<row>…) and (?P<column>…), and may have "
            f"{', '.join(g for g in GROUPS if g not in ('row', 'column'))}"
            + (f"; it lacks {', '.join(sorted(missing))}" if missing else "")
            + (f"; it has {', '.join(sorted(unknown))}" if unknown else "")
            + f". Or take {ANY!r}: each file is a well, in the order of their names"
        )
    return pattern


def read_name(pattern: re.Pattern[str], stem: str, folder: str) -> NamedImage | None:
    """What a file's stem says, or None when it does not fit. A name without barcode takes the folder's name."""
    match = pattern.fullmatch(stem)
    if match is None:
        return None
    found = {name: value for name, value in match.groupdict().items() if value}
    try:
        return NamedImage(
            barcode=found.get("barcode", barcode_of_folder(folder)),
            inspection=int(found.get("inspection", "1")),
            well=Well(_index(found["row"]), _index(found["column"]), _index(found.get("subwell", "1"))),
            date=_date(found.get("date")),
        )
    except (ValueError, KeyError):
        return None


def barcode_of_folder(folder: str) -> str:
    """A folder's name as a barcode: letters, digits and dashes, at most 30."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", folder).strip("-")[:30] or "plate"


def _index(text: str) -> int:
    """``7`` or ``07`` → 7; ``A`` → 1, ``h`` → 8, ``AA`` → 27."""
    if text.isdecimal():
        number = int(text)
    elif text.isascii() and text.isalpha() and len(text) <= 2:
        number = 0
        for letter in text.upper():
            number = number * 26 + ord(letter) - ord("A") + 1
    else:
        raise ValueError(text)
    if not 1 <= number <= 99:
        raise ValueError(text)
    return number


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    digits = re.sub(r"\D", "", text)
    formats = {6: "%y%m%d", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    return datetime.strptime(digits, formats[len(digits)])  # noqa: DTZ007  the imager's dates are naive local time
