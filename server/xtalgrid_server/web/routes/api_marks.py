"""`/api/marks`: programs mark crystals in pictures in the name of the person whose token they send."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, Field

from ...domain.drop_state import meaning_name
from ...ledger.database import now
from ...ledger.undoable import UNDO
from ...reports.marks import PlacedMark, plate_marks
from ..addresses import INSPECTION
from ..pages.marking import MARKED_AS, TypedMark, TypedUndo
from ..pages.scoring import RefusedScoreError
from ..programs import NOT_FOUND, READ_REFUSALS, WRITE_REFUSALS, JSONRoute, Program, ScoringProgram
from ..site import AllowedRequest, no_mark
from .api_drops import MOST, DropGiven, Given, Key, image_of
from .plate import read_plate

router = APIRouter(prefix="/api", route_class=JSONRoute)

_KINDS = {meaning_name(meaning): kind for kind, meaning in MARKED_AS.items()}

Pixels = Annotated[float, Field(strict=True, ge=0, le=100_000)]


class MarkGiven(DropGiven):
    """A point in a picture, or a box with width and height; (x, y) is its centre, in pixels of the original."""

    key: Key = Field(description="Your name for this mark: sent again, it is not recorded again")
    x: Pixels
    y: Pixels
    width: Pixels | None = None
    height: Pixels | None = None
    what: Annotated[str, Field(max_length=60)] = Field(default="", description=f"Empty, or one of: {', '.join(_KINDS)}")
    note: Annotated[str, Field(max_length=500)] = ""


class MarksGiven(Given):
    """Marks to record."""

    marks: Annotated[list[MarkGiven], Field(min_length=1, max_length=MOST)]


class MarkResult(BaseModel):
    """What became of a mark. It is recorded if `refused` is null."""

    key: str
    refused: str | None = Field(default=None, description="Why it was not recorded, and will not be")
    repeated: bool = Field(default=False, description="Whether it was recorded when it was sent before")
    mark: str | None = Field(default=None, description="Its name in the viewer, to remove it by")
    image_id: int | None = None


class MarkResults(BaseModel):
    """What became of each mark, in the order sent."""

    accepted: int
    refused: int
    results: list[MarkResult]


class MarkListed(BaseModel):
    """A mark by a person or a program; lengths are in pixels of the original from its top left corner."""

    mark: str = Field(description="Its name, to remove it by")
    image_id: int
    kind: str = Field(description="point, box or outline")
    x: float = Field(description="Of its centre")
    y: float
    width: float | None
    height: float | None
    polygon: list[list[float]] = Field(description="The corners of an outline, each [x, y]")
    x_um: float | None = Field(description="Right of the well's centre; null if the scale is not known")
    y_um: float | None = Field(description="Below the well's centre")
    what: str
    note: str
    who: str
    at: datetime
    origin: str = Field(description="`viewer`, or the file that it was imported from")


class MarkOfPlate(MarkListed):
    """A mark with the well that it is in."""

    well: str


class MarkRemoved(BaseModel):
    """A mark that is no more; people can bring it back in the viewer."""

    mark: str
    repeated: bool = Field(description="Whether it was removed before")


@router.get(f"/marks/{INSPECTION}", responses=READ_REFUSALS | NOT_FOUND)
def listed(request: AllowedRequest, barcode: str, inspection: int) -> list[MarkOfPlate]:
    """List the marks of a plate at one inspection, in the order of the plate."""
    read_plate(request, barcode, inspection)  # 404 if there is none
    marks = plate_marks(request.site.ledger, barcode, [inspection])
    return [MarkOfPlate(**mark_listed(each).model_dump(), well=str(image.well)) for image, each in marks]


@router.post("/marks", responses=WRITE_REFUSALS)
def marks(program: ScoringProgram, body: MarksGiven) -> MarkResults:
    """Record marks in a person's name. Each is accepted or refused for itself; those of a key are recorded once."""
    received, results = now(), []
    for given in body.marks:
        try:
            results.append(_record(program, given, received))
        except RefusedScoreError as error:
            results.append(MarkResult(key=given.key, refused=str(error)))
    refused = sum(result.refused is not None for result in results)
    return MarkResults(accepted=len(results) - refused, refused=refused, results=results)


@router.delete("/marks/{mark}", responses=WRITE_REFUSALS | NOT_FOUND)
def remove(program: ScoringProgram, mark: Annotated[str, Path(min_length=1, max_length=64)]) -> MarkRemoved:
    """Remove a mark of the person, or of another program, by its name in the viewer. Sent again, it does no more."""
    known = program.site.ledger.marks
    row = known.row_with_key(mark) if mark.isalnum() else None
    if row is None or row.kind == UNDO:
        raise no_mark()
    if all(one.key != mark for one in known.of_image(row.image_id).standing):
        return MarkRemoved(mark=mark, repeated=True)
    typed = TypedUndo(key=secrets.token_hex(16), image=row.image_id, undoes=mark)
    try:
        program.site.marking.take(typed, program.who, program.client, now(), token=program.token.label)
    except RefusedScoreError as error:
        raise HTTPException(403, str(error)) from error
    return MarkRemoved(mark=mark, repeated=False)


def _record(program: Program, given: MarkGiven, received: datetime) -> MarkResult:
    if given.what and given.what not in _KINDS:
        raise RefusedScoreError(f"A mark cannot be called {given.what!r}; choose from: {', '.join(_KINDS)}.")
    if not (given.width and given.height) and (given.width, given.height) != (None, None):
        raise RefusedScoreError("Give width and height of a box, or neither of a point.")
    image_id, key = image_of(program, given), program.key("mark", given.key)
    known = program.site.ledger.marks.row_with_key(key)
    if known is not None and _place(known) != (image_id, given.x, given.y, given.width, given.height):
        raise RefusedScoreError("You have sent another mark with this key: give each mark a key of its own.")
    typed = TypedMark(
        key=key,
        image=image_id,
        x=given.x,
        y=given.y,
        width=given.width,
        height=given.height,
        kind=_KINDS[given.what] if given.what else "",
        note=given.note,
    )
    program.site.marking.take(typed, program.who, program.client, received, token=program.token.label)
    return MarkResult(key=given.key, repeated=known is not None, mark=key, image_id=image_id)


def _place(row: Any) -> tuple[object, ...]:
    return row.image_id, row.x, row.y, row.width, row.height


def mark_listed(each: PlacedMark) -> MarkListed:
    """Describe a mark as programs get it."""
    mark = each.mark
    x_um, y_um = each.um or (None, None)
    return MarkListed(
        mark=mark.key,
        image_id=mark.image_id,
        kind=mark.kind,
        x=mark.x,
        y=mark.y,
        width=mark.width,
        height=mark.height,
        polygon=[[x, y] for x, y in mark.polygon],
        x_um=x_um,
        y_um=y_um,
        what=mark.name,
        note=mark.note,
        who=mark.who,
        at=mark.at.replace(tzinfo=UTC),
        origin=mark.origin,
    )
