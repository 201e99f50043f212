"""`/plate/…`: the drops of a plate at one inspection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from ...ledger.plates import DropImage
from ...ledger.records import SeenImage
from ..pages.drops import Drop, drops_of, in_order, stop_of
from ..pages.layout import legend, plate_grid, ratio
from ..pages.pictures import SIDES
from ..query_parameters import Choice
from ..site import LARGEST_NUMBER, Look, Looks

router = APIRouter()

Only = Annotated[list[str], Query(default_factory=list, max_length=40)]

_DENSE = 18
"""Tiles side by side from which the smallest thumbnails do."""


@dataclass(frozen=True, slots=True)
class PlateRead:
    """A plate at one inspection: its drops with people's scores, and all its inspections, oldest first."""

    barcode: str
    inspection: int
    inspected: datetime
    drops: list[Drop]
    inspections: list[tuple[int, datetime]]

    @property
    def days(self) -> int:
        """Days since the first inspection there is."""
        return days_between(self.inspections[0][1], self.inspected)


@router.get("/plate/{barcode:path}/{inspection:int}", response_class=HTMLResponse)
def plate(
    look: Looks, barcode: str, inspection: int, only: Only, order: str = "", size: str = "", show: str = ""
) -> HTMLResponse:
    """The plate as a grid, or its drops from the likeliest crystal down."""
    read = read_plate(look, barcode, inspection)
    choice = Choice.of(order, only, size, show)
    grid = plate_grid(read.drops)
    shown = in_order(read.drops, choice)
    small = grid.across >= _DENSE and not choice.large and choice.order == "plate"
    return look.page(
        "plate.html",
        plate=read,
        shown=shown,
        stop=stop_of(shown),
        legend=legend(read.drops, choice),
        grid=grid,
        failed=[drop for drop in in_order(read.drops, Choice()) if drop.first.failure],
        ratio=shape(look, read.drops),
        side=SIDES[0] if small else SIDES[1],
        choice=choice,
    )


def read_plate(look: Look, barcode: str, inspection: int, people: bool = True) -> PlateRead:
    """A plate at one inspection; `people`: with people's scores.

    Raises
    ------
    HTTPException
        404 when it is not there.
    """
    inspections = look.site.index.inspections(barcode)
    images: list[DropImage] = []
    if inspection <= LARGEST_NUMBER and inspection in dict(inspections):
        images = look.site.ledger.plates.drops(barcode, [inspection])
    if not images:
        raise HTTPException(404, f"There is no plate {barcode} with an inspection {inspection} here.")
    said = look.site.ledger.people.said({image.image_id: image.inspect_id for image in images}) if people else {}
    inspected = max(image.inspected for image in images)
    return PlateRead(barcode, inspection, inspected, drops_of(images, said), inspections)


def shape(look: Look, drops: list[Drop]) -> str:
    """The style for the shape of a plate's pictures: that of the first one that was scored."""
    first = next((drop.first for drop in drops if drop.first.is_scored), None)
    seen = look.site.ledger.views.seen(first.barcode, first.inspection, first.well) if first else []
    return ratio(next((size for image in seen if (size := _size(image))), None))


def days_between(first: datetime, then: datetime) -> int:
    """Days from one inspection to another, by the calendar."""
    return (then.date() - first.date()).days


def _size(image: SeenImage) -> tuple[int, int] | None:
    answer = image.score.answer if image.score else None
    height, width = getattr(answer, "height", 0), getattr(answer, "width", 0)
    return (height, width) if height and width else None
