"""A report as PDF, A4, by ReportLab."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from xtalgrid_core.lines import one_line

from ..rendering import moment, utc
from .content import Pictures, PlateReport, Report, Shown
from .looks import Look, legend, look, plate_map
from .text import Text

_MARGIN = 15 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_COLUMNS = 2
_PICTURE_WIDTH = (_WIDTH - 6 * mm) / _COLUMNS
_PICTURE_HEIGHT = 58 * mm
_MAP_HEIGHT = 120 * mm
_LARGEST_TILE = 11 * mm
_GREY = colors.HexColor("#555555")
_LINE = colors.HexColor("#cccccc")
_TELLING = 12
"""Digits of a model's id that tell it from others."""

_MEANINGS = (
    "What a drop is held to be is what people said of it, and the ARTscore where nobody did. p_crystal is the "
    "ARTscore's calibrated probability of a crystal: of ten drops with 30 %, three have one. Expected crystals "
    "are the sum of these chances, and of what people said. Dates of inspections are the imager's local time."
)


def pdf(report: Report, pictures: Pictures, text: Text | None = None) -> bytes:
    """Return a report as a PDF file."""
    text = text or Text()
    pages = _Pages(report, pictures, text)
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN + 6 * mm,
        title=one_line(report.title),
        author="xtalgrid",
        creator=f"xtalgrid {report.version}",
    )
    document.build(list(pages.all()), canvasmaker=lambda *a, **k: _Numbered(pages.footer, *a, **k))
    return stream.getvalue()


class _Pages:
    """The parts of a report's pages, from top to bottom."""

    def __init__(self, report: Report, pictures: Pictures, text: Text) -> None:
        self._report, self._pictures, self._text = report, pictures, text
        normal = {"fontName": text.font, "fontSize": 8.5, "leading": 11, "splitLongWords": 1}
        bold = {**normal, "fontName": text.bold_font}
        self._normal = ParagraphStyle("normal", **normal)
        self._small = ParagraphStyle("small", **{**normal, "fontSize": 7.5, "leading": 9.5})
        self._title = ParagraphStyle("title", **{**bold, "fontSize": 17, "leading": 21, "spaceAfter": 2})
        self._heading = ParagraphStyle("heading", **{**bold, "fontSize": 11, "leading": 14, "spaceBefore": 9})

    @property
    def footer(self) -> list[tuple[str, str]]:
        """What stands at the foot of each page, besides its number; see `Text.runs`."""
        models = self._report.models
        said = ", ".join(f"{one[:_TELLING]} + {other[:_TELLING]}" for one, other in models[:2])
        said += f" and {len(models) - 2} more" if len(models) > 2 else ""
        about = f" · xtalgrid {self._report.version}, models {said or 'none'} · {moment(self._report.made_at)} UTC"
        return [*self._text.runs(self._report.title, longest=60), (self._text.font, about)]

    def all(self) -> Iterator[Flowable]:
        """Yield all parts."""
        report = self._report
        if report.is_project:
            yield from self._overview()
        for plate in report.plates:
            if report.is_project:
                yield PageBreak()
            yield from self._plate(plate)
        yield from self._about()

    def _overview(self) -> Iterator[Flowable]:
        yield self._say(self._report.title, self._title, bold=True)
        if self._report.left_out:
            yield self._say(self._report.left_out)
        rows = [
            (plate.barcode, f"{plate.inspection}, {moment(plate.inspected)}", "; ".join(plate.samples),
             str(len(plate.drops)), str(len(plate.hits)), f"{plate.expected:.1f}")
            for plate in self._report.plates
        ]  # fmt: skip
        yield Spacer(0, 3 * mm)
        head = ("Plate", "Inspection", "Sample", "Drops", "Crystals", "Expected")
        yield self._table(head, rows, (0.2, 0.22, 0.28, 0.09, 0.1, 0.11))

    def _plate(self, plate: PlateReport) -> Iterator[Flowable]:
        yield self._say(plate.barcode, self._title, bold=True)
        facts = [
            ("Inspection", f"{plate.inspection}, {moment(plate.inspected)}"
             + (f", {plate.days} days after the first of {len(plate.inspections)}" if plate.days else "")),
            ("Project", "; ".join(plate.projects) or "not known"),
            ("Sample", "; ".join(plate.samples) or "not known"),
            ("Crystals expected", f"{plate.expected:.1f}, in {len(plate.drops)} drops; {plate.likely} drops have a "
             f"chance of at least {plate.line} %"),
        ]  # fmt: skip
        cells = [[self._say(name, self._small), self._say(value)] for name, value in facts]
        yield Table(cells, colWidths=[32 * mm, _WIDTH - 32 * mm], style=_PLAIN, hAlign="LEFT")
        counts = [
            (one.name, str(one.people), str(one.artscore), str(one.people + one.artscore)) for one in plate.counts
        ]
        yield self._say("Drops", self._heading, bold=True)
        yield self._table(
            ("Group", "said by people", "by the ARTscore alone", "together"), counts, (0.3, 0.2, 0.25, 0.15)
        )
        yield Spacer(0, 4 * mm)
        yield _PlateMap(plate, self._text)
        yield Spacer(0, 2 * mm)
        yield _Legend(legend(plate.drops), self._text)
        yield from self._hits(plate)
        yield from self._best(plate)

    def _hits(self, plate: PlateReport) -> Iterator[Flowable]:
        yield CondPageBreak(40 * mm)
        yield self._say("Conditions with crystals", self._heading, bold=True)
        if not plate.hits:
            yield self._say("No drop is held to have a crystal.")
            return
        rows = [
            (str(shown.drop.well), shown.held, shown.p_crystal, shown.contents.sample, shown.contents.condition)
            for shown in plate.hits
        ]
        head = ("Well", "Held to be (who said so)", "p_crystal", "Sample", "Condition")
        yield self._table(head, rows, (0.08, 0.25, 0.1, 0.2, 0.37))

    def _best(self, plate: PlateReport) -> Iterator[Flowable]:
        if not plate.best:
            return
        yield CondPageBreak(_PICTURE_HEIGHT + 40 * mm)
        yield self._say(f"The {len(plate.best)} likeliest drops", self._heading, bold=True)
        cells = [self._drop(shown) for shown in plate.best]
        cells += [[]] * (-len(cells) % _COLUMNS)
        rows = [cells[at : at + _COLUMNS] for at in range(0, len(cells), _COLUMNS)]
        style = TableStyle([("RIGHTPADDING", (0, 0), (-1, -1), 6 * mm)], parent=_PLAIN)
        yield Table(rows, colWidths=[_WIDTH / _COLUMNS + 3 * mm] * _COLUMNS, style=style, hAlign="LEFT")

    def _drop(self, shown: Shown) -> list[Flowable]:
        made = self._pictures.get(shown.drop.image.image_id, "not made")
        lines = [
            self._say(f"{shown.drop.well}   {shown.held}", bold=True),
            self._say(" · ".join(filter(None, (
                f"ARTscore {shown.artscore}" if shown.artscore else "",
                f"p_crystal {shown.p_crystal}" if shown.p_crystal else "",
            ))), self._small),
            *(self._say(f"{score.who}: {score.name}, {utc(score.at)}", self._small)
              for score in shown.drop.state.people[-4:]),
            *(self._say(said, self._small) for said in (shown.contents.sample, shown.contents.condition) if said),
        ]  # fmt: skip
        return [self._picture(made), Spacer(0, 1 * mm), *lines, Spacer(0, 3 * mm)]

    def _picture(self, made: bytes | str) -> Flowable:
        if isinstance(made, str):
            return self._say(f"No picture: {made}")
        picture = Image(io.BytesIO(made), hAlign="LEFT")
        scale = min(_PICTURE_WIDTH / picture.imageWidth, _PICTURE_HEIGHT / picture.imageHeight)
        picture.drawWidth, picture.drawHeight = picture.imageWidth * scale, picture.imageHeight * scale
        return picture

    def _about(self) -> Iterator[Flowable]:
        yield CondPageBreak(45 * mm)
        yield self._say("About this report", self._heading, bold=True)
        yield self._say(_MEANINGS, self._small, longest=2000)
        for segmenter, classifier in self._report.models:
            yield self._say(f"Scored by: segmenter {segmenter}, classifier {classifier}", self._small)
        for fault in self._text.faults:
            yield self._say(fault, self._small, longest=1000)

    def _say(
        self, text: str, style: ParagraphStyle | None = None, *, bold: bool = False, longest: int = 400
    ) -> Paragraph:
        return Paragraph(self._text.markup(text, bold=bold, longest=longest), style or self._normal)

    def _table(self, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], parts: tuple[float, ...]) -> Table:
        cells = [[self._say(name, self._small, bold=True) for name in head]]
        cells += [[self._say(value, self._small) for value in row] for row in rows]
        widths = [part * _WIDTH for part in parts]
        return Table(cells, colWidths=widths, style=_RULED, repeatRows=1, hAlign="LEFT")


_PLAIN = TableStyle(
    [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 1),
     ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]
)  # fmt: skip
_RULED = TableStyle(
    [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 1.5),
     ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5), ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE)]
)  # fmt: skip


class _PlateMap(Flowable):  # type: ignore[misc]  # ReportLab has no types
    """A plate's drops as coloured tiles with letters."""

    def __init__(self, plate: PlateReport, text: Text) -> None:
        super().__init__()
        self._map, self._text = plate_map(plate.drops), text
        self._across = max(len(self._map.grid.cols) * self._map.abreast, 1)
        self._down = max(len(self._map.grid.rows) * self._map.deep, 1)
        self._tile = min((_WIDTH - 9 * mm) / self._across, (_MAP_HEIGHT - 6 * mm) / self._down, _LARGEST_TILE)

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return its width and height."""
        return _WIDTH, self._down * self._tile + 5 * mm

    def draw(self) -> None:
        """Draw it."""
        canvas, tile, grid = self.canv, self._tile, self._map.grid
        well = tile * self._map.abreast, tile * self._map.deep
        size, left, top = max(min(7.0, tile * 0.75), 2.5), 8 * mm, self._down * tile
        canvas.setFillColor(_GREY)
        canvas.setFont(self._text.font, min(size, well[1]))
        for at, col in enumerate(grid.cols):
            canvas.drawCentredString(left + (at + 0.5) * well[0], top + 1.2 * mm, str(col))
        for at, row in enumerate(grid.rows):
            canvas.drawRightString(left - 1.2 * mm, top - (at + 0.5) * well[1] - size * 0.35, grid.row_name(row)[:4])
        for down, row in enumerate(grid.rows):
            for across, col in enumerate(grid.cols):
                for x, y, drop in self._map.places(row, col):
                    place = left + across * well[0] + x * tile, top - down * well[1] - (y + 1) * tile
                    _draw_tile(canvas, self._text, look(drop.held_kind), place, tile)


class _Legend(Flowable):  # type: ignore[misc]
    """The kinds of a plate's drops, in lines of four."""

    _ACROSS = 4
    _HIGH = 5 * mm

    def __init__(self, looks: list[Look], text: Text) -> None:
        super().__init__()
        self._looks, self._text = looks, text

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return its width and height."""
        return _WIDTH, -(-len(self._looks) // self._ACROSS) * self._HIGH

    def draw(self) -> None:
        """Draw it."""
        _, height = self.wrap()
        for at, one in enumerate(self._looks):
            x = at % self._ACROSS * _WIDTH / self._ACROSS
            y = height - (at // self._ACROSS + 1) * self._HIGH
            _draw_tile(self.canv, self._text, one, (x, y), self._HIGH - 1.2 * mm)
            self.canv.setFillColor(colors.black)
            self.canv.setFont(self._text.font, 7.5)
            self.canv.drawString(x + self._HIGH, y + 1 * mm, f"{one.name}: {one.number}")


def _draw_tile(canvas: Canvas, text: Text, one: Look, place: tuple[float, float], side: float) -> None:
    canvas.setFillColor(colors.HexColor(one.colour))
    canvas.setStrokeColor(_LINE)
    canvas.setLineWidth(0.2)
    gap = min(side * 0.06, 0.8)
    canvas.rect(place[0] + gap, place[1] + gap, side - 2 * gap, side - 2 * gap, stroke=1, fill=1)
    size = side * 0.6 / max(len(one.letter), 1) ** 0.5
    canvas.setFillColor(colors.HexColor(one.ink))
    canvas.setFont(text.font, size)
    canvas.drawCentredString(place[0] + side / 2, place[1] + side / 2 - size * 0.36, one.letter)


class _Numbered(Canvas):  # type: ignore[misc]
    """A canvas that writes the foot of each page when their number is known."""

    def __init__(self, footer: list[tuple[str, str]], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._footer = footer
        self._saved: list[dict[str, Any]] = []

    def showPage(self) -> None:
        """Keep a page."""
        self._saved.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages, each with its foot."""
        for number, state in enumerate(self._saved, start=1):
            self.__dict__.update(state)
            self.setFillColor(_GREY)
            foot = self.beginText(_MARGIN, 9 * mm)
            for font, shown in self._footer:
                foot.setFont(font, 6.5)
                foot.textOut(shown)
            self.drawText(foot)
            self.setFont(self._footer[-1][0], 6.5)
            self.drawRightString(A4[0] - _MARGIN, 9 * mm, f"page {number} of {len(self._saved)}")
            super().showPage()
        super().save()
