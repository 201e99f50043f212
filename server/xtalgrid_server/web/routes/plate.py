"""`/plate/…`: the drops of a plate at one inspection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from xtalgrid_core import wire

from ...ledger.images import Range
from ...ledger.shapes import DropImage
from ..addresses import INSPECTION
from ..auth.cookies import read_cookie
from ..pages.downloads import menu
from ..pages.drops import (
    LINE,
    LINES,
    DropCard,
    best_ever,
    by_inspection,
    drop_cards,
    find_stop,
    select_drops,
    without_artscore,
)
from ..pages.layout import legend, plate_grid, ratio
from ..pages.pictures import SIDES
from ..query_parameters import PlateView
from ..site import LARGEST_NUMBER, AllowedRequest, PageRequest, no_plate

router = APIRouter()

Only = Annotated[list[str], Query(default_factory=list, max_length=40)]

_LINE = "xtalgrid_line"
"""The cookie that keeps the line at which a person stops reviews."""

_ART = "xtalgrid_art"
"""The cookie that keeps whether a person hides ARTscores until they have scored."""

_LINE_KEPT_S = 400 * 86400
_DENSE = 18
"""Number of tiles side by side from which the smallest thumbnails are used."""


@dataclass(frozen=True, slots=True)
class PlateInspection:
    """A plate at one inspection: its drops with people's scores, and all its inspections, oldest first."""

    barcode: str
    inspection: int
    inspected: datetime
    drops: list[DropCard]
    inspections: list[tuple[int, datetime]]

    @property
    def days(self) -> int:
        """Days since the plate's first inspection in the ledger."""
        return days_between(self.inspections[0][1], self.inspected)


@router.get(f"/plate/{INSPECTION}", response_class=HTMLResponse)
def plate(
    request: AllowedRequest,
    barcode: str,
    inspection: int,
    only: Only,
    order: str = "",
    size: str = "",
    show: str = "",
    until: str = "",
    art: str = "",
    favourites: str = "",
) -> HTMLResponse:
    """Show the plate as a grid, or its drops from the likeliest crystal down."""
    plate = read_plate(request, barcode, inspection)
    view = PlateView.from_query(order, only, size, show, favourites)
    if view.show == "ever":
        plate = replace(plate, drops=_best_ever(request, plate, art))
    else:
        plate = hide_artscores(request, plate, art)
    grid = plate_grid(plate.drops)
    selected = select_drops(plate.drops, view)
    small = grid.wide.across >= _DENSE and not view.large and view.order == "plate"
    line = review_line(request, until)
    page = request.render(
        "plate.html",
        plate=plate,
        selected=selected,
        stop=find_stop(selected, line),
        lines=LINES,
        hides=hides_artscores(request, art),
        legend=legend(plate.drops, view),
        grid=grid,
        filled=view.order == "plate" and (view.show == "heat" or (grid.is_tiny and not view.large)),
        failed=[drop for drop in select_drops(plate.drops, PlateView()) if drop.image.failure],
        ratio=picture_ratio(request, plate.drops),
        side=SIDES[0] if small else SIDES[1],
        downloads=menu(),
        view=view,
    )
    if until == str(line):
        page.set_cookie(_LINE, until, _LINE_KEPT_S, httponly=True, samesite="strict", **request.cookie_scope)
    if art in ("hide", "show"):
        page.set_cookie(_ART, art, _LINE_KEPT_S, httponly=True, samesite="strict", **request.cookie_scope)
    return page


def hides_artscores(request: PageRequest, chosen: str = "") -> bool:
    """Whether this person scores drops before they see the ARTscore: as the address says, or as chosen before."""
    art = chosen if chosen in ("hide", "show") else read_cookie(request.http, _ART)
    return request.visitor.may_score and art == "hide"


def hide_artscores(request: PageRequest, plate: PlateInspection, chosen: str = "") -> PlateInspection:
    """Return a plate without the ARTscores of drops that this person has not scored, if they want that."""
    return replace(plate, drops=_hide(request, plate.drops)) if hides_artscores(request, chosen) else plate


def _hide(request: PageRequest, drops: list[DropCard]) -> list[DropCard]:
    name = request.visitor.name
    return [drop if drop.state.by(name) else without_artscore(drop) for drop in drops]


def _best_ever(request: PageRequest, plate: PlateInspection, art: str) -> list[DropCard]:
    """Read each drop at its best inspection."""
    ledger = request.site.ledger
    images = ledger.images.of_plate(plate.barcode, [number for number, _ in plate.inspections])
    person_scores = ledger.person_scores.of(images)
    inspections = [drop_cards(each, person_scores) for each in by_inspection(images).values()]
    hides = hides_artscores(request, art)
    return best_ever(_hide(request, drops) if hides else drops for drops in inspections)


def review_line(request: PageRequest, chosen: str = "") -> int:
    """Return the line, in percent, that the address names or that was chosen before in this browser."""
    names = {str(line): line for line in LINES}
    return names.get(chosen) or names.get(read_cookie(request.http, _LINE), LINE)


def read_plate(request: PageRequest, barcode: str, inspection: int) -> PlateInspection:
    """Read a plate at one inspection.

    Raises
    ------
    HTTPException
        404 if there is none.
    """
    inspections = request.inspections(barcode)
    images: list[DropImage] = []
    if inspection <= LARGEST_NUMBER and inspection in dict(inspections):
        images = request.site.ledger.images.of_plate(barcode, [inspection])
        if not images:
            raise HTTPException(404, f"Plate {barcode}, inspection {inspection}, has no image in visible light.")
    if not images:
        raise no_plate(barcode, inspection)
    person_scores = request.site.ledger.person_scores.of(images)
    inspected = max(image.inspected for image in images)
    notes = request.site.ledger.drop_notes.of_plates([barcode])
    return PlateInspection(barcode, inspection, inspected, drop_cards(images, person_scores, notes), inspections)


def second_opinions(request: PageRequest, plate: PlateInspection) -> dict[int, wire.Scored]:
    """Return the answers that have a second opinion, by image id; nothing is read if the plate has none."""
    ledger = request.site.ledger
    if not ledger.images.have_second_opinion(Range({plate.barcode})):
        return {}
    score_ids = [drop.image.score_id for drop in plate.drops if drop.image.score_id is not None]
    answers = {score.image_id: score.answer for score in ledger.scores.by_id(score_ids)}
    return {
        image_id: answer
        for image_id, answer in answers.items()
        if isinstance(answer, wire.Scored) and answer.second_opinion is not None
    }


def picture_ratio(request: PageRequest, drops: list[DropCard]) -> str:
    """Return the CSS class for the shape of a plate's pictures: that of the first scored one."""
    score_id = next((drop.image.score_id for drop in drops if drop.image.is_scored), None)
    scores = request.site.ledger.scores.by_id([score_id]) if score_id is not None else []
    answer = scores[0].answer if scores else None
    return ratio((answer.height, answer.width) if isinstance(answer, wire.Scored) and answer.height else None)


def days_between(first: datetime, second: datetime) -> int:
    """Count the calendar days from one inspection to another."""
    return (second.date() - first.date()).days
