"""Read an image's well from its file name and folders, by a program's convention or a lab's own pattern."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.wells import row_number

from ...domain.wells import Well, parse_well
from .conventions import CONVENTIONS
from .dates import Order, find_date, parse_date

ANY = "any"
GROUPS = ("barcode", "inspection", "row", "column", "well", "subwell", "date")

_FOLDERS_WITH_DATES = 3
"""How many folders above a file may tell its date."""

_FIELDS = {
    "barcode": r"[^/]+?",
    "inspection": r"\d+",
    "row": r"[A-Za-z]{1,2}|\d{1,2}",
    "column": r"\d{1,2}",
    "well": r"[A-Za-z]{1,2}\d{1,2}[a-z]?|\d{1,4}",
    "subwell": r"\d{1,2}|[A-Za-z]",
    "date": r"\d{4}[-_.]?\d{1,2}[-_.]?\d{1,2}[^/]*?|\d{6}|\d{1,2}\.\d{1,2}\.\d{4}[^/]*?"
    r"|\d{1,2}[-_. ]?[A-Z][a-z]+[-_. ]*\d{4}[^/]*?|[A-Z][a-z]+[-_. ]\d{1,2}[-_. ,]+\d{4}[^/]*?"
    r"|\d{1,2}[-_ ]\d{1,2}[-_ ](?:19|20)\d\d[^/]*?",
}
"""What a group holds if a pattern gives only its name, as ``{barcode}``."""


class NumberedWell(NamedTuple):
    """A drop by its well's number, counted along the rows of a plate of so many columns; 0: the plate's format says."""

    number: int
    subwell: int
    columns: int = 0


@dataclass(frozen=True, slots=True)
class NamedImage:
    """What an image's name and folders say.

    Attributes
    ----------
    barcode
        Empty if a folder is the plate; see `plates`.
    inspection
        None if there is no number; then the date tells inspections apart.
    place
        The drop.
    date
        Naive local time; None if there is none.
    is_own_time
        Whether `date` may be this image's time only, not that of the whole inspection.
    score
        A person's score, in the person's words; empty if there is none.
    folders
        Number of folders that were read.
    plate_folder
        How many folders above the file's own the plate's folder is; None if the file's name has the barcode.
    """

    barcode: str
    inspection: int | None
    place: Well | NumberedWell
    date: datetime | None = None
    is_own_time: bool = False
    score: str = ""
    folders: int = 0
    plate_folder: int | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression for a path without its suffix, and the number of columns of its plates; 0: not known."""

    regex: re.Pattern[str]
    columns: int = 0
    takes_suffix: bool = False

    def match(self, path: Path) -> tuple[re.Match[str], int] | None:
        """Match a path from as few folders as fit; return the match and the number of folders."""
        for folders in range(self.most_folders(path) + 1):
            for name in (path.stem, path.name)[: 1 + self.takes_suffix]:
                if (match := self.regex.fullmatch("/".join((*folders_above(path, folders), name)))) is not None:
                    return match, folders
        return None

    def most_folders(self, path: Path) -> int:
        """Return the number of folders that the expression may read."""
        return len(path.parts) - 1 - path.is_absolute() if "/" in self.regex.pattern else 0


@dataclass(frozen=True, slots=True)
class Names:
    """Naming convention.

    Attributes
    ----------
    name
        Its name, or a lab's own pattern.
    patterns
        The first that fits is taken.
    others
        Pattern of files that are not to be scored; None for no such files.
    order
        How dates such as 01-02-2024 are read.
    """

    name: str
    patterns: tuple[Pattern, ...]
    others: Pattern | None = None
    order: Order = "unread"

    def read(self, path: Path) -> NamedImage | None:
        """Read an absolute path; None if it matches no pattern, or what it says is impossible."""
        for pattern in self.patterns:
            found = pattern.match(path)
            if found is not None:
                try:
                    return _read(path, *found, pattern.columns, self.order)
                except ValueError:
                    continue
        return None

    def why_not(self, path: Path) -> str | None:
        """Return what is impossible in a name that matches a pattern, such as column 0; None if there is none."""
        for pattern in self.patterns:
            found = pattern.match(path)
            if found is not None:
                try:
                    _read(path, *found, pattern.columns, self.order)
                except ValueError as error:
                    return str(error)
        return None

    def passes_over(self, path: Path) -> bool:
        """Return whether the convention knows the file as one that is not to be scored."""
        return self.others is not None and self.others.match(path) is not None

    def image_name(self, path: Path) -> str:
        """Return a name that is unique within the inspection: the file name with the folders that the pattern reads."""
        found = (pattern.match(path) for pattern in self.patterns)
        return "_".join((*folders_above(path, max((match[1] for match in found if match), default=0)), path.name))


def compile_names(names: str, order: Order = "unread") -> Names:
    """Compile a naming convention.

    Parameters
    ----------
    names
        One of `CONVENTIONS`, a regular expression with named groups (`GROUPS`), or a name with fields such as
        ``{barcode}/{folder}/{row}{column}``.
    order
        How to read dates such as 01-02-2024.

    Raises
    ------
    ConfigError
        If a pattern is invalid, does not name the well, or has groups of other names.
    """
    if names in CONVENTIONS:
        convention = CONVENTIONS[names]
        flags = re.IGNORECASE if convention.ignores_case else re.NOFLAG
        patterns = tuple(Pattern(re.compile(pattern, flags), columns) for pattern, columns in convention.patterns)
        return Names(
            names, patterns, Pattern(re.compile(convention.others, flags)) if convention.others else None, order
        )
    try:
        pattern = re.compile(_as_regex(names))
    except re.error as error:
        same = "; for the same barcode again, write (?P=barcode)" if "redefinition" in str(error) else ""
        raise ConfigError(f"import.names: not a regular expression ({error}): {names!r}{same}") from error
    groups = set(pattern.groupindex)
    near = difflib.get_close_matches(names.lower(), (*CONVENTIONS, ANY), n=1)
    unknown = groups - set(GROUPS)
    missing = set() if "well" in groups else {"row", "column"} - groups
    if unknown or missing:
        raise ConfigError(
            f"import.names: {names!r} needs the groups (?P<row>…) and (?P<column>…), or (?P<well>…), "
            "and may have barcode, inspection, subwell, date"
            + (f"; it lacks {', '.join(sorted(missing))}" if missing else "")
            + (f"; it has {', '.join(sorted(unknown))}" if unknown else "")
            + (f"; did you mean {near[0]}?" if near else "")
            + f". Or use {', '.join(CONVENTIONS)}, or {ANY!r}, which makes each file a well, in the order of names"
        )
    return Names(names, (Pattern(pattern, takes_suffix=True),), order=order)


def folders_above(path: Path, number: int) -> tuple[str, ...]:
    """Return the names of so many folders above a file, the file's own last."""
    return path.parts[len(path.parts) - 1 - number : -1] if number else ()


def _as_regex(names: str) -> str:
    """Convert a lab's pattern: ``{barcode}`` to a group, ``*`` and ``{folder}`` to one folder, ``**`` to any number."""
    if re.search(r"\{[a-z]+\}", names) and "(?P<" not in names:
        return _from_fields(names)
    names = re.sub(r"(?<![^/])\*\*/", "(?:[^/]+/)*", names)
    return re.sub(r"(?<![^/])(?:\*|\{folder\})(?=/)", "[^/]+", names)


def _from_fields(names: str) -> str:
    names = re.sub(r"\.(?:\w{3,4}|\*)$", "", names.replace("\\", "/").removeprefix("./"))
    regex, seen = "", set[str]()
    for part in re.split(r"(\{[a-z]+\}|\*\*/|\*|\?)", names):
        field = part[1:-1] if part.startswith("{") and part.endswith("}") else ""
        if field in seen:
            regex += f"(?P={field})"
        elif field in _FIELDS:
            regex += f"(?P<{field}>{_FIELDS[field]})"
            seen.add(field)
        elif field and field != "folder":
            raise ConfigError(
                f"import.names: unknown {part} in {names!r}; known: {{folder}}, {{{'}, {'.join(_FIELDS)}}}"
            )
        elif part == "**/":
            regex += "(?:[^/]+/)*"
        elif part == "*" and regex[-1:] in ("", "/"):
            regex += "[^/]+"
        else:
            regex += {"{folder}": "[^/]+", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)
    return regex


def _read(path: Path, match: re.Match[str], folders: int, columns: int, order: Order) -> NamedImage:
    """Return what a match says.

    Raises
    ------
    ValueError
        If that is impossible.
    """
    groups = {name: value for name, value in match.groupdict().items() if value}
    barcode = groups.get("barcode", "")
    inspection = int(groups["inspection"]) if "inspection" in groups else None
    date, is_own = None, False
    if "date" in groups:
        date, is_own = parse_date(groups["date"], order), match.start("date") > match.string.rfind("/")
    elif inspection is None:
        date, is_own = _date_around(path, barcode, order)
    has_time = date is not None and date != date.replace(hour=0, minute=0, second=0)
    return NamedImage(
        barcode=barcode,
        inspection=inspection,
        place=_place(groups, columns),
        date=date,
        is_own_time=is_own and has_time,
        score=groups.get("score", ""),
        folders=folders,
        plate_folder=_plate_folder(match, folders),
    )


def _plate_folder(match: re.Match[str], folders: int) -> int | None:
    """Return which folder has the barcode; if none has, the nearest above those with an inspection or a date."""

    def folder_of(group: str) -> int | None:
        if group not in match.re.groupindex or match.start(group) < 0:
            return None
        above = folders - 1 - match.string[: match.start(group)].count("/")
        return above if above >= 0 else None

    if match.groupdict().get("barcode"):
        return folder_of("barcode")
    known = {folder_of("inspection"), folder_of("date")}
    return next(above for above in range(folders + 1) if above not in known)


def _place(groups: dict[str, str], columns: int) -> Well | NumberedWell:
    subwell = _index("subwell", groups.get("subwell", "1"))
    well = groups.get("well", "")
    if well and not well.isdecimal():
        named = parse_well(well)
        return named._replace(subwell=named.subwell or subwell)
    if well:
        if not int(well):
            raise ValueError("well 0: wells are counted from 1")
        return NumberedWell(int(well), subwell, columns)
    return Well(_index("row", groups.get("row", "")), _index("column", groups.get("column", "")), subwell)


def _index(what: str, text: str) -> int:
    """``7`` or ``07`` → 7; ``A`` → 1, ``h`` → 8, ``AA`` → 27."""
    number = int(text) if text.isdecimal() else row_number(text)
    if not 1 <= number <= 99:
        raise ValueError(f"{what} {text}: it must be from 1 to 99")
    return number


def _date_around(path: Path, barcode: str, order: Order) -> tuple[datetime | None, bool]:
    """Return the date in a file's name or in its nearest folder with one, and whether it is in the file's name."""
    folders = folders_above(path, min(_FOLDERS_WITH_DATES, len(path.parts) - 1))
    for above, text in enumerate((path.stem, *reversed(folders))):
        rest = text.replace(barcode, " ") if barcode and find_date(barcode, order) else text
        if (date := find_date(rest, order)) is not None:
            return date, above == 0
    return None, False
