"""`/api/plates`: plates and drops as JSON for the lab's own programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, WithJsonSchema

from xtalgrid_core import wire

from ...reports.marks import PlacedMark, plate_marks
from ..addresses import INSPECTION
from ..pages.drops import LINE, find_stop, select_drops
from ..pages.layout import opinions
from ..programs import NOT_FOUND, READ_REFUSALS
from ..query_parameters import PlateView
from ..site import AllowedRequest
from .api_marks import MarkListed, mark_listed
from .plate import read_plate, second_opinions

router = APIRouter(prefix="/api")


ImagerTime = Annotated[
    datetime, WithJsonSchema({"type": "string", "description": "The imager's local time, which has no zone"})
]


class Inspected(BaseModel):
    """An inspection of a plate."""

    number: int
    at: ImagerTime


class PlateListed(BaseModel):
    """A plate and its inspections, newest first."""

    barcode: str
    inspections: list[Inspected]


class NoteListed(BaseModel):
    """A note on a drop, at whichever inspection."""

    text: str
    who: str
    at: datetime


class DropListed(BaseModel):
    """A drop at one inspection with its newest ARTscore and people's scores."""

    well: str
    image_id: int
    score_id: int | None = Field(description="Of the ARTscore")
    outcome: str | None = Field(description="Null while the image waits; `failed` if it could not be scored")
    score: str | None = Field(description="The lab's two-character code")
    probability: float | None
    p_crystal: float | None = Field(description="Calibrated probability of a crystal")
    p_new: float | None = Field(description="Probability that what shows the crystal appeared or grew since then")
    new_since: ImagerTime | None = Field(description="When the drop was first inspected, with which it is compared")
    uv: str | None = Field(description="What a UV image says of the crystals: fluoresces, dark, can't be said")
    failure: str | None
    person: str | None = Field(description="Who scored it last")
    person_outcome: str | None
    people: dict[str, str] = Field(description="The newest score of each person: an outcome, or the lab's code")
    held_to_be: str = Field(description="What counts: people's outcome, `people disagree`, or the ARTscore's")
    favourite_of: list[str] = Field(description="The people whose favourite it is")
    notes: list[NoteListed]
    marks: list[MarkListed]
    groups: dict[str, float] | None = Field(
        None, description="Probabilities of crystal, precipitate, other and clear. Only with a second opinion, as below"
    )
    own_groups: dict[str, float] | None = Field(None, description="The same by our networks alone")
    second_opinion: dict[str, float] | None = Field(None, description="The same by MARCO's network alone")


class PlateScores(BaseModel):
    """A plate at one inspection, with its drops from the likeliest crystal down."""

    barcode: str
    inspection: int
    inspected: ImagerTime
    expected_crystals: float = Field(description="Sum of p_crystal, or of what people said")
    above_line: int = Field(description="Drops whose chance of a crystal is at least `line` percent")
    expected_below: float = Field(description="The part of the expected crystals in the other drops")
    drops: list[DropListed]


@router.get("/plates", responses=READ_REFUSALS)
def plates(
    request: AllowedRequest,
    q: Annotated[str, Query(max_length=60)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[PlateListed]:
    """List the newest plates whose barcode contains a text."""
    matching = (entry for entry in request.plates() if q.lower() in entry.barcode.lower())
    return [
        PlateListed(
            barcode=entry.barcode, inspections=[Inspected(number=number, at=at) for number, at in entry.inspections]
        )
        for entry, _ in zip(matching, range(limit), strict=False)
    ]


@router.get(
    f"/plates/{INSPECTION}",
    response_model_exclude_unset=True,
    responses=READ_REFUSALS | NOT_FOUND,
)
def plate(
    request: AllowedRequest, barcode: str, inspection: int, line: Annotated[int, Query(ge=1, le=99)] = LINE
) -> PlateScores:
    """List the drops of a plate at one inspection."""
    plate = read_plate(request, barcode, inspection)
    drops = select_drops(plate.drops, PlateView("best"))
    stop = find_stop(drops, line)
    answers = second_opinions(request, plate)
    marks: dict[int, list[PlacedMark]] = {}
    for image, each in plate_marks(request.site.ledger, barcode, [inspection]):
        marks.setdefault(image.image_id, []).append(each)
    return PlateScores(
        barcode=barcode,
        inspection=inspection,
        inspected=plate.inspected,
        expected_crystals=stop.expected,
        above_line=stop.above,
        expected_below=stop.left,
        drops=[
            DropListed(
                well=str(drop.well),
                image_id=drop.image.image_id,
                score_id=drop.image.score_id,
                outcome=drop.image.outcome,
                score=request.site.config.score_code(drop.image.outcome) if drop.image.outcome else None,
                probability=drop.image.probability if drop.image.is_scored else None,
                p_crystal=drop.p_crystal,
                p_new=drop.image.p_new,
                new_since=drop.image.since,
                uv=drop.image.uv,
                failure=": ".join(drop.image.failure) if drop.image.failure else None,
                person=drop.state.people[-1].who if drop.state.people else None,
                person_outcome=drop.state.people[-1].outcome if drop.state.people else None,
                people={score.who: score.name for score in drop.state.people},
                held_to_be=drop.state.name,
                favourite_of=[note.who for note in drop.notes if note.kind == "favourite"],
                notes=[
                    NoteListed(text=note.text, who=note.who, at=note.at.replace(tzinfo=UTC)) for note in drop.remarks
                ],
                marks=[mark_listed(each) for image in drop.images for each in marks.get(image.image_id, ())],
                **_second_opinion(answers.get(drop.image.image_id)),
            )
            for drop in drops
        ],
    )


def _second_opinion(answer: wire.Scored | None) -> dict[str, dict[str, float]]:
    if answer is None:
        return {}
    each = opinions(answer)
    return {
        "groups": {one.group: one.together for one in each},
        "own_groups": {one.group: one.own for one in each},
        "second_opinion": {one.group: one.second for one in each},
    }
