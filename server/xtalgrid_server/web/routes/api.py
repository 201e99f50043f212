"""`/api`: plates and drops as JSON for the lab's own programs, described by `/api/openapi.json`. Reading only."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from ..pages.drops import STOP_AT, in_order, stop_of
from ..query_parameters import Choice
from ..site import Looks
from .plate import read_plate

router = APIRouter(prefix="/api")


class Inspected(BaseModel):
    """An inspection of a plate; `at` is local time of the imager, without zone."""

    number: int
    at: datetime


class PlateListed(BaseModel):
    """A plate and its inspections, the newest first."""

    barcode: str
    inspections: list[Inspected]


class DropListed(BaseModel):
    """A drop at one inspection with its newest ARTscore and the newest person's score."""

    well: str
    image_id: int
    outcome: str | None = Field(description="Null while the image waits; `failed` where it could not be scored")
    score: str | None = Field(description="The lab's two-character code")
    probability: float | None
    p_crystal: float | None = Field(description="Calibrated probability of a crystal")
    failure: str | None
    person: str | None
    person_outcome: str | None


class PlateScores(BaseModel):
    """A plate at one inspection, its drops from the likeliest crystal down."""

    barcode: str
    inspection: int
    inspected: datetime
    expected_crystals: float = Field(description="Sum of p_crystal")
    above_line: int = Field(description=f"Drops from the top that hold {STOP_AT:.0%} of the expected crystals")
    drops: list[DropListed]


@router.get("/plates")
def plates(
    look: Looks, q: Annotated[str, Query(max_length=60)] = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[PlateListed]:
    """The newest plates whose barcode contains a text."""
    found = (entry for entry in look.site.index.all() if q.lower() in entry.barcode.lower())
    return [
        PlateListed(
            barcode=entry.barcode, inspections=[Inspected(number=number, at=at) for number, at in entry.inspections]
        )
        for entry, _ in zip(found, range(limit), strict=False)
    ]


@router.get("/plates/{barcode:path}/{inspection:int}")
def plate(look: Looks, barcode: str, inspection: int) -> PlateScores:
    """The drops of a plate at one inspection."""
    read = read_plate(look, barcode, inspection)
    row = in_order(read.drops, Choice("best"))
    stop = stop_of(row)
    return PlateScores(
        barcode=barcode,
        inspection=inspection,
        inspected=read.inspected,
        expected_crystals=stop.expected,
        above_line=stop.above,
        drops=[
            DropListed(
                well=str(drop.well),
                image_id=drop.first.image_id,
                outcome=drop.first.outcome,
                score=look.site.config.score_code(drop.first.outcome) if drop.first.outcome else None,
                probability=drop.first.probability if drop.first.is_scored else None,
                p_crystal=drop.p_crystal,
                failure=": ".join(drop.first.failure) if drop.first.failure else None,
                person=drop.said.who if drop.said else None,
                person_outcome=drop.said.outcome if drop.said else None,
            )
            for drop in row
        ],
    )


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """What the JSON addresses take and give."""
    routes = router.routes
    return get_openapi(title="xtalgrid viewer", version=metadata.version("xtalgrid"), routes=routes)
