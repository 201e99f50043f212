"""Dates in names of files and folders, in the forms in which people and programs write them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Literal

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR, _MONTH, _DAY = r"(?P<y>(?:19|20)\d\d)", r"(?P<m>0[1-9]|1[0-2])", r"(?P<d>0[1-9]|[12]\d|3[01])"
_SHORT_DAY = r"(?P<d>0?[1-9]|[12]\d|3[01])"
_NAME = rf"(?P<name>{'|'.join(_MONTHS)})[a-z]*"
_TIME = (
    r"(?:(?:[T_ -]+(?:at[_ ])?|(?<=\d{8}))(?P<H>[01]\d|2[0-3])(?P<s>[-_.:h]?)(?P<M>[0-5]\d)(?:(?P=s)(?P<S>[0-5]\d))?)?"
)

Order = Literal["unread", "month first", "day first"]
"""How to read 01-02-2024, whose day and month only the lab knows."""


def _compiled(*forms: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"(?<!\d){form}{_TIME}(?!\d)", re.IGNORECASE) for form in forms)


_SHORT_MONTH = r"(?P<m>0?[1-9]|1[0-2])"
_DASHED: dict[Order, tuple[re.Pattern[str], ...]] = {
    "unread": (),
    "month first": _compiled(rf"{_SHORT_MONTH}(?P<sep>[-_ ]){_SHORT_DAY}(?P=sep){_YEAR}"),
    "day first": _compiled(rf"{_SHORT_DAY}(?P<sep>[-_ ]){_SHORT_MONTH}(?P=sep){_YEAR}"),
}

# 2024-03-01, 2024_3_1, 20240301 and 202403011015; 01-Mar-2024, 1 March 2024; Mar-01-2024; 01.03.2024.
_FORMS = _compiled(
    rf"{_YEAR}(?:(?P<sep>[-_.])(?P<m1>0?[1-9]|1[0-2])(?P=sep){_SHORT_DAY}|{_MONTH}(?P<d1>0[1-9]|[12]\d|3[01]))",
    rf"{_SHORT_DAY}[-_. ]?{_NAME}[-_. ]*{_YEAR}",
    rf"(?<![a-z]){_NAME}[-_. ]?{_SHORT_DAY}[-_., ]+{_YEAR}",
    rf"{_SHORT_DAY}\.{_SHORT_MONTH}\.{_YEAR}",
)


def find_date(text: str, order: Order = "unread") -> datetime | None:
    """Return the last date in a text, with its time if there is one; None without a date."""
    found = [date for match in _matches(text, order) if (date := _date(match)) is not None]
    return found[-1] if found else None


def whole_date(text: str, order: Order = "unread") -> datetime | None:
    """Return the date of a text that holds nothing else; None if there is none, or more."""
    return None if without_dates(text, order) else find_date(text, order)


def unread_date(text: str) -> str:
    """Return a part of a text that is a date such as 01-02-2024, for either order; empty if there is none."""
    found = (form.search(text) for forms in _DASHED.values() for form in forms)
    return next((match.group() for match in found if match and _date(match)), "")


def parse_date(text: str, order: Order = "unread") -> datetime:
    """Parse a text that is a date: one of the forms of `find_date`, YYMMDD, or the like with hours, minutes, seconds.

    Raises
    ------
    ValueError
        If it is none.
    """
    digits = re.sub(r"\D", "", text)
    forms = {6: "%y%m%d", 8: "%Y%m%d", 10: "%y%m%d%H%M", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    if (date := whole_date(text, order)) is not None:
        return date
    if len(digits) in forms and not re.search(r"[^\W_]", re.sub(r"[\dT]", "", text)):
        with suppress(ValueError):
            return datetime.strptime(digits, forms[len(digits)])  # noqa: DTZ007  imagers' dates are naive local time
    if order == "unread" and unread_date(text):
        raise ValueError(f"{text!r} may be two dates; set import.dashed_dates")
    raise ValueError(f"{text!r} is not a date such as 2024-03-01 or 240301")


def without_dates(text: str, order: Order = "unread") -> str:
    """Return a text without its dates and times, and the separators around them."""
    for form in _forms(order):
        text = form.sub("", text)
    return text.strip("-_. ")


def _forms(order: Order) -> tuple[re.Pattern[str], ...]:
    return *_FORMS, *_DASHED[order]


def _matches(text: str, order: Order) -> list[re.Match[str]]:
    return sorted((match for form in _forms(order) for match in form.finditer(text)), key=re.Match.start)


def _date(match: re.Match[str]) -> datetime | None:
    parts = {name: value for name, value in match.groupdict().items() if value is not None}
    month = parts.get("m") or parts.get("m1") or str(_MONTHS.index(parts["name"].lower()) + 1)
    day = parts.get("d") or parts["d1"]
    hour, minute, second = (int(parts.get(part, 0)) for part in "HMS")
    try:
        return datetime(int(parts["y"]), int(month), int(day), hour, minute, second)  # noqa: DTZ001  local time
    except ValueError:  # such as the 31st of February
        return None
