"""Files to take away: a plate's scores as CSV, and its best wells as one HTML page with the pictures in it."""

from __future__ import annotations

import base64
import csv
import io

from fastapi import APIRouter, Response

from xtalgrid_core.errors import ImageError

from ...steps.pack import read_original
from ..pages.drops import Drop, in_order, stop_of
from ..pages.pictures import SIDES, small_jpeg, stand_in
from ..query_parameters import Choice
from ..site import Look, Looks, download
from .plate import read_plate

router = APIRouter()

COLUMNS = (
    "barcode", "inspection", "date", "well", "artscore", "outcome", "probability", "p_crystal", "person", "person_score",
    "person_outcome", "sample", "condition", "failure", "image",
)  # fmt: skip

_BEST = 48
"""Wells in the HTML file at most: some 3 MB."""


@router.get("/plate/{barcode:path}/{inspection:int}/scores.csv")
def scores(look: Looks, barcode: str, inspection: int) -> Response:
    """A line for each drop, the likeliest crystals first."""
    read = read_plate(look, barcode, inspection)
    contents = look.site.ledger.people.contents([barcode])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for drop in in_order(read.drops, Choice("best")):
        first, inside = drop.first, contents(barcode, drop.well)
        writer.writerow(
            _cell(value)
            for value in (
                barcode,
                inspection,
                first.inspected.isoformat(sep=" "),
                drop.well,
                (look.site.config.score_code(first.outcome) or "") if first.outcome else "",
                first.outcome or "",
                f"{first.probability:.4f}" if first.is_scored else "",
                "" if drop.p_crystal is None else f"{drop.p_crystal:.4f}",
                drop.said.who if drop.said else "",
                drop.said.code if drop.said else "",
                (drop.said.outcome or "") if drop.said else "",
                inside.sample,
                inside.condition,
                ": ".join(first.failure) if first.failure else "",
                first.image_name,
            )
        )
    return download(text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8", f"{barcode}_{inspection}.csv")


@router.get("/plate/{barcode:path}/{inspection:int}/best.html")
def best(look: Looks, barcode: str, inspection: int) -> Response:
    """The wells above the review strip's line, in one file that needs no server."""
    read = read_plate(look, barcode, inspection)
    row = in_order(read.drops, Choice("best"))
    stop = stop_of(row)
    shown = row[: min(max(stop.above, 1), _BEST)]
    contents = look.site.ledger.people.contents([barcode])
    page = look.site.render(
        "best.html",
        plate=read,
        stop=stop,
        wells=[(drop, contents(barcode, drop.well), _embedded(look, drop)) for drop in shown],
    )
    return download(page.encode(), "text/html; charset=utf-8", f"{barcode}_{inspection}_best.html")


def _embedded(look: Look, drop: Drop) -> str:
    """A drop's picture as a ``data:`` address."""
    try:
        data = small_jpeg(read_original(look.site.config, look.site.image(drop.first.image_id)), SIDES[-1])
    except ImageError as error:
        return "data:image/svg+xml;base64," + base64.b64encode(stand_in(str(error.reason))).decode()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _cell(value: object) -> str:
    """A value as text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
