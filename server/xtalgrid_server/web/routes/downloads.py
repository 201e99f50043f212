"""Downloads: a plate's scores as CSV, and its best wells as one HTML page with embedded pictures."""

from __future__ import annotations

import base64
import codecs
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.concurrency import run_in_threadpool

from xtalgrid_core.errors import ImageError
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_scoring.table import SECOND_OPINION_COLUMNS

from ...reports.tables import second_opinion
from ..addresses import INSPECTION
from ..pages.drops import DropCard, ReviewStop, find_stop, select_drops
from ..pages.pictures import SIDES, placeholder
from ..query_parameters import PlateView
from ..site import AllowedRequest, PageRequest, download
from .pictures import small_picture
from .plate import PlateInspection, read_plate, review_line, second_opinions

router = APIRouter()

COLUMNS = (
    "barcode", "inspection", "date", "well", "artscore", "outcome", "probability", "p_crystal",
    "p_new", "new_since", "uv",
    "person", "person_score", "person_outcome", "sample", "condition", "failure", "image", "held_to_be",
    "favourite_of", "notes", "marks",
)  # fmt: skip

_BEST = 48
"""Wells in the HTML file at most, about 3 MB."""


@router.get(f"/plate/{INSPECTION}/scores.csv")
def scores(request: AllowedRequest, barcode: str, inspection: int) -> Response:
    """Send the scores as CSV: a line for each drop, the likeliest crystals first."""
    plate = read_plate(request, barcode, inspection)
    contents = request.site.ledger.contents.of_plates([barcode])
    answers = second_opinions(request, plate)
    marks = request.site.ledger.marks.of_plates([barcode])
    lines = [csv_line((*COLUMNS, *(SECOND_OPINION_COLUMNS if answers else ())), "\r\n")]
    for drop in select_drops(plate.drops, PlateView("best")):
        image, people, inside = drop.image, drop.state.people, contents(barcode, drop.well)
        values = (
            barcode,
            inspection,
            image.inspected.isoformat(sep=" "),
            drop.well,
            (request.site.config.score_code(image.outcome) or "") if image.outcome else "",
            image.outcome or "",
            f"{image.probability:.4f}" if image.is_scored else "",
            _number(drop.p_crystal),
            _number(image.p_new),
            image.since.isoformat(sep=" ") if image.since else "",
            image.uv or "",
            "; ".join(score.who for score in people),
            "; ".join(score.code for score in people),
            "; ".join(str(score.outcome or "") for score in people),
            inside.sample,
            inside.condition,
            ": ".join(image.failure) if image.failure else "",
            image.image_name,
            drop.state.name,
            drop.favourite_of,
            "; ".join(f"{note.who}: {note.text}" for note in drop.remarks),
            sum(len(marks.get(each.image_id, ())) for each in drop.images) or "",
            *(map(_number, second_opinion(answers.get(image.image_id)).values()) if answers else ()),
        )
        lines.append(csv_line(values, "\r\n"))
    request.log("export", kind="csv", barcode=barcode, inspection=inspection)
    return download(codecs.BOM_UTF8 + b"".join(lines), "text/csv; charset=utf-8", f"{barcode}_{inspection}.csv")


def _best(request: AllowedRequest, barcode: str, inspection: int) -> tuple[PlateInspection, ReviewStop, list[DropCard]]:
    """Return a plate, its line, and the drops above it."""
    plate = read_plate(request, barcode, inspection)
    drops = select_drops(plate.drops, PlateView("best"))
    stop = find_stop(drops, review_line(request))
    return plate, stop, drops[: min(max(stop.above, 1), _BEST)]


@router.get(f"/plate/{INSPECTION}/best.html")
async def best(
    request: AllowedRequest, found: Annotated[tuple[PlateInspection, ReviewStop, list[DropCard]], Depends(_best)]
) -> Response:
    """Send the wells above the review strip's line in one file that needs no server."""
    plate, stop, above = found
    pictures = [await _embedded(request, drop) for drop in above]

    def page() -> Response:
        contents = request.site.ledger.contents.of_plates([plate.barcode])
        wells = [
            (drop, contents(plate.barcode, drop.well), picture) for drop, picture in zip(above, pictures, strict=True)
        ]
        text = request.site.render("best.html", plate=plate, stop=stop, wells=wells)
        request.log("export", kind="html", barcode=plate.barcode, inspection=plate.inspection)
        return download(text.encode(), "text/html; charset=utf-8", f"{plate.barcode}_{plate.inspection}_best.html")

    return await run_in_threadpool(page)


async def _embedded(request: PageRequest, drop: DropCard) -> str:
    """Return a drop's picture as a ``data:`` address."""
    try:
        image = await run_in_threadpool(request.image, drop.image.image_id)
        data, _ = await small_picture(request, image, SIDES[-1])
    except ImageError as error:
        return "data:image/svg+xml;base64," + base64.b64encode(placeholder(str(error.reason))).decode()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
