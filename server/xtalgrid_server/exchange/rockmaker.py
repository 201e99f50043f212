"""Rock Maker's images exported by score: ``BARCODE/SCORE/BARCODE_A1_Profile_7_17409.jpg``, and ``BARCODE/report.csv``.

As RM_Image_export writes them (github.com/roberto-formulatrix/RM_Image_export, ImageExporter.cs): a report's first line
is the date of dispensing, each other one has an image's path on the exporting computer, the score, the word Drop, and
the date imaged, month first, with the separators of that computer's Windows. Who scored it, and when, is not there.

Nor is a drop's number. Of a well's drops with the same score only the first is copied, since the next one's file has
the same name; drops with different scores are all there, and nothing tells which is which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import SUFFIXES

from ..config import Config
from ..imager.folder.names import NamedImage, compile_names
from .foreign import ForeignScore, Line, Place, Source, Told, utc
from .many_files import Unread, files_below
from .sheets import Row, sheets

REPORT = "report.csv"
WHO = "Rock Maker"
"""Who gave the scores: the export names no person."""

_NAMES = compile_names("rockmaker-export")
_DATE = re.compile(r"(\d{1,2})\D(\d{1,2})\D(\d{2}|\d{4})\s+(\d{1,2})\D(\d\d)\D(\d\d)")
_REPORT_CELLS = 4

_Drop = tuple[str, int | None, object]
"""What an image's name says of its drop: barcode, imaging session and well."""


def open_export(config: Config, folder: Path, told: Told) -> Source:
    """Recognise a folder of Rock Maker's export.

    Raises
    ------
    ConfigError
        If no image under it is named by the convention.
    """
    export = _Export(config, folder.absolute(), told)
    if next(export.images(), None) is None:
        raise ConfigError(
            f"{folder}: no images named as Rock Maker's export names them, "
            "BARCODE/SCORE/BARCODE_A1_Profile_7_17409.jpg; give that folder, or a file of scores"
        )
    notes = (
        "the export has no drops that nobody scored, so it tells nothing of how many crystals there are",
        "its names do not tell a well's drops apart: of those with the same score it has one image only",
    )
    return Source("Rock Maker's export", export.lines, export.probabilities, notes)


class _Export:
    def __init__(self, config: Config, folder: Path, told: Told) -> None:
        self._config, self._folder, self._told = config, folder, told
        self._unread = list[Unread]()
        self._files = [*files_below(folder, self._unread)]

    def images(self) -> Iterator[tuple[Path, NamedImage]]:
        """Find the images that the convention names, sorted."""
        for path in self._files:
            if path.suffix.lower() in SUFFIXES and (named := _NAMES.read(path)) is not None:
                yield path, named

    def probabilities(self) -> Iterator[dict[str, float]]:
        """Read all reports to their ends; they have no probabilities."""
        for report in self._reports():
            for sheet in sheets(report):
                for _ in sheet.rows():
                    pass
        yield from ()

    def lines(self) -> Iterator[Line]:
        """Read the reports, then the images that no report has, whose folder is the score.

        Lines of a well with different scores are refused: each is of one of its drops, or of an earlier export.
        """
        lines, scores = [*self._all_lines()], dict[_Drop, set[str]]()
        for drop, line in lines:
            if drop is not None:
                scores.setdefault(drop, set()).update(score.word for score in line.scores)
        for drop, line in lines:
            words = sorted(scores[drop]) if drop is not None else []
            if len(words) > 1:
                problem = (
                    f"its well has images scored {' and '.join(words)} in this imaging session, of several drops or of "
                    "an earlier export, and nothing tells which is which; export into an empty folder, or give the "
                    "scores of such wells in a table with the drop"
                )
                yield Line(line.number, problem=problem, file=line.file, is_hidden=line.is_hidden)
            else:
                yield line

    def _all_lines(self) -> Iterator[tuple[_Drop | None, Line]]:
        """Read them with what their names say of the drop; None of a line with a problem."""
        reported = set[tuple[str, str]]()
        for report in self._reports():
            name = str(report.relative_to(self._folder))
            for row in sheets(report)[0].rows():
                if row.number > 1:  # the first is empty if Rock Maker has no date of dispensing
                    drop, line = self._reported(row, name, reported)
                    yield drop, replace(line, is_hidden=row.is_hidden)
        for path, named in self.images():
            if (named.barcode, path.name) not in reported:
                yield _drop(named), self._line(0, str(path.relative_to(self._folder)), path, named, None)
        for each in self._unread:
            yield None, Line(0, problem=each.reason, file=str(each.folder))

    def _reports(self) -> list[Path]:
        return sorted(path for path in self._files if path.name == REPORT and path.is_file())

    def _reported(self, row: Row, file: str, reported: set[tuple[str, str]]) -> tuple[_Drop | None, Line]:
        if len(row.cells) != _REPORT_CELLS:
            problem = f"{len(row.cells)} cells, not {_REPORT_CELLS}: path, score, drop, date imaged"
            return None, Line(row.number, problem=problem, file=file)
        path, score, _, imaged = map(str, row.cells)
        parts = path.replace("\\", "/").split("/")[-3:]
        named = _NAMES.read(Path("/", *parts))
        if named is None:
            problem = f"the image's name {path!r} is none of Rock Maker's export"
            return None, Line(row.number, problem=problem, file=file)
        reported.add((named.barcode, parts[-1]))
        try:
            at = utc(self._config, _date(imaged))
        except ValueError as error:
            return None, Line(row.number, problem=str(error), file=file)
        return _drop(named), self._line(row.number, file, Path("/", *parts), named, at, score)

    def _line(
        self, number: int, file: str, path: Path, named: NamedImage, at: datetime | None, score: str = ""
    ) -> Line:
        place = Place(
            image="/".join(path.parts[-3:]),
            barcode=named.barcode,
            inspection=named.inspection,
            well=named.place if not hasattr(named.place, "number") else None,
        )
        who, kind = self._told.by or WHO, self._told.kind or "person"
        return Line(number, place, (ForeignScore(kind, who, score or named.score, at, "imaged"),), file=file)


def _drop(named: NamedImage) -> _Drop:
    return named.barcode, named.inspection, named.place


def _date(text: str) -> datetime:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a date such as 01/31/24 10:15:00")
    month, day, year, hour, minute, second = map(int, match.groups())
    year += 2000 if year < 100 else 0
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  imager's local time
