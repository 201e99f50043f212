"""Read an image's well from its file name and folders, by the conventions of three imagers or a lab's own pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.wells import row_number

from ...domain.wells import Well

ANY = "any"

# RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_01_01_HF_99_030_001_RDI: model, imager, five fields of the
# site, barcode padded to 12 characters, inspection, date, column, row, subwell, illumination, slice, exposure, frame,
# device.
RIGAKU = (
    r"(?:[^_]*_){7}0*(?P<barcode>[A-Za-z0-9-]+?)_(?P<inspection>\d{3,})_(?P<date>\d{6})"
    r"_(?P<column>\d{2})_(?P<row>\d{2})_(?P<subwell>\d{2})_[^_]+_[^_]+_[^_]+_[^_]+_[^_]+"
)

# RockMakerStorage/WellImages/100/plateID_3100/batchID_17409/wellNum_6/profileID_1/d1_r260654_ef.jpg: the plate's
# number modulo 1000, the plate's number (not its barcode), imaging session, well (left to right, then down), capture
# profile, drop, region, kind of image. Written and read like this by github.com/roberto-formulatrix/RM_Image_export
# (ImageExporter.cs), github.com/xchem/formulatrix_pipe (transfer_images.py) and xtalPiMS (ManufacturerVersion.java).
# Plate folders without the underscore exist.
ROCKIMAGER = (
    r"plateID_?(?P<barcode>\d+)/batchID_(?P<inspection>\d+)/wellNum_(?P<well>\d+)/profileID_\d+"
    r"/d(?P<subwell>\d+)_r\d+_ef"
)
# Next to the extended-focus image (_ef) are its slices, thumbnails (_th) and drawings of the drop's location (_dl).
ROCKIMAGER_OTHERS = r"d\d+_r\d+_(?!ef$).+"

# MARCO (Bruno et al. 2018, doi 10.1371/journal.pone.0198883) kept each laboratory's names and joined folders to them.
MARCO = (
    (RIGAKU, None),
    # folderID100_plateID3100_batchID17409_wellNum6_profileID1_d1_r260654_ef: RockImager
    (
        r"(?:folderID\d+_)?plateID(?P<barcode>\d+)_batchID(?P<inspection>\d+)_wellNum(?P<well>\d+)_profileID\d+"
        r"_d(?P<subwell>\d+)_r\d+_ef",
        None,
    ),
    # X0000038351439200410071403, 1536-well plates of the Hauptman-Woodward institute: plate, well, date and time, as
    # read by github.com/Hauptman-Woodward/Marco_Polo. We assume that wells are numbered along the 48 columns.
    (r"(?P<barcode>X\d{9})(?P<well>\d{4})(?P<date>\d{12})", 48),
    # 04g4_D7_ImagerDefaults_3: plate, well, imaging profile, a number of unknown meaning
    (r"(?P<barcode>[0-9a-z]{4})_(?P<row>[A-P])(?P<column>\d{1,2})_[A-Za-z]+_\d+", None),
    # C10_HighResolution_Crystal_1: no plate
    (r"(?P<row>[A-P])(?P<column>\d{1,2})_[A-Za-z]+_[A-Za-z]+_\d+", None),
)
GROUPS = ("barcode", "inspection", "row", "column", "well", "subwell", "date")


@dataclass(frozen=True, slots=True)
class NamedImage:
    """Plate, inspection and well of an image; `date` is naive local time, None if the name has no date.

    An empty `barcode` stands for that of the file's folder; see `plates`.
    """

    barcode: str
    inspection: int
    well: Well
    date: datetime | None


@dataclass(frozen=True, slots=True)
class Names:
    """Naming convention.

    Attributes
    ----------
    patterns
        Regular expressions, each with the number of columns of a plate, from which a well number gives row and column.
        A pattern is matched against the file name without its suffix, preceded by as many folders as it has slashes.
    others
        Pattern of names, without suffix, of files that are not to be scored; None for no such files.
    """

    patterns: tuple[tuple[re.Pattern[str], int], ...]
    others: re.Pattern[str] | None = None

    def read(self, path: Path) -> NamedImage | None:
        """Read a path; None if it matches no pattern."""
        for pattern, columns in self.patterns:
            match = pattern.fullmatch(_text(path, pattern))
            if match is not None:
                return _place(match, columns)
        return None

    def passes_over(self, path: Path) -> bool:
        """Return whether the convention knows the file as one that is not to be scored."""
        return self.others is not None and self.others.fullmatch(path.stem) is not None

    def image_name(self, path: Path) -> str:
        """Return a name that is unique within the inspection: the file name with the folders that the pattern reads."""
        depths = {pattern.pattern.count("/") for pattern, _ in self.patterns if pattern.fullmatch(_text(path, pattern))}
        return "_".join(path.parts[-1 - max(depths, default=0) :])


def compile_names(names: str, plate_columns: int = 12) -> Names:
    """Compile a naming convention.

    Parameters
    ----------
    names
        ``rigaku``, ``rockimager``, ``marco``, or a regular expression with named groups (`GROUPS`).
    plate_columns
        Number of columns of the plates, for names that give a well number.

    Raises
    ------
    ConfigError
        If a regular expression is invalid, does not name the well, or has groups of other names.
    """
    if names == "marco":
        return Names(tuple((re.compile(pattern), columns or plate_columns) for pattern, columns in MARCO))
    if names == "rockimager":
        pattern = re.compile(ROCKIMAGER, re.IGNORECASE)
        return Names(((pattern, plate_columns),), re.compile(ROCKIMAGER_OTHERS, re.IGNORECASE))
    try:
        pattern = re.compile(RIGAKU if names == "rigaku" else names)
    except re.error as error:
        raise ConfigError(f"import.names: not a regular expression ({error}): {names!r}") from error
    groups = set(pattern.groupindex)
    unknown = groups - set(GROUPS)
    missing = set() if "well" in groups else {"row", "column"} - groups
    if unknown or missing:
        raise ConfigError(
            f"import.names: {names!r} needs the groups (?P<row>…) and (?P<column>…), or (?P<well>…), "
            "and may have barcode, inspection, subwell, date"
            + (f"; it lacks {', '.join(sorted(missing))}" if missing else "")
            + (f"; it has {', '.join(sorted(unknown))}" if unknown else "")
            + f". Or use rockimager, marco, or {ANY!r}, which makes each file a well, in the order of names"
        )
    return Names(((pattern, plate_columns),))


def _text(path: Path, pattern: re.Pattern[str]) -> str:
    """Return the part of a path that a pattern is matched against."""
    folders = pattern.pattern.count("/")
    return "/".join([*path.parts[-1 - folders : -1], path.stem]) if folders else path.stem


def _place(match: re.Match[str], columns: int) -> NamedImage | None:
    groups = {name: value for name, value in match.groupdict().items() if value}
    try:
        if "well" in groups:
            row, column = divmod(int(groups["well"]) - 1, columns)
            row, column = _index(str(row + 1)), column + 1
        else:
            row, column = _index(groups["row"]), _index(groups["column"])
        return NamedImage(
            barcode=groups.get("barcode", ""),
            inspection=int(groups.get("inspection", "1")),
            well=Well(row, column, _index(groups.get("subwell", "1"))),
            date=_date(groups.get("date")),
        )
    except (ValueError, KeyError):
        return None


def _index(text: str) -> int:
    """``7`` or ``07`` → 7; ``A`` → 1, ``h`` → 8, ``AA`` → 27."""
    number = int(text) if text.isdecimal() else row_number(text)
    if not 1 <= number <= 99:
        raise ValueError(text)
    return number


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    digits = re.sub(r"\D", "", text)
    formats = {6: "%y%m%d", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    return datetime.strptime(digits, formats[len(digits)])  # noqa: DTZ007  the imager's dates are naive local time
