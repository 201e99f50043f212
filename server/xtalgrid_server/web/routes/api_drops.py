"""How programs name what they send and the drop that it is of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ...domain.wells import parse_well
from ..pages.drops import drop_cards
from ..pages.scoring import RefusedScoreError
from ..programs import Program

MOST = 100
"""Scores or marks in a request."""

Key = Annotated[str, Field(min_length=1, max_length=100, description="Your name for the score, such as a UUID")]


def _number(value: object) -> object:
    """Check that a number is one; pydantic alone takes text and true too. JSON's 1.0 is a whole number."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("Input should be a valid integer")
    return value


_WHOLE = BeforeValidator(_number)  # after the limits, or the description lacks them
Id = Annotated[int, Field(ge=1, le=2**53 - 1), _WHOLE]
"""As far as every JSON parser keeps whole numbers."""


class Given(BaseModel):
    """What a program sends; a field that is not described is an error, since it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid")


class DropGiven(Given):
    """Something of a drop: of the image with this id, or of a barcode, inspection and well."""

    image_id: Id | None = None
    barcode: Annotated[str, Field(max_length=100)] | None = None
    inspection: Annotated[int, Field(ge=0, le=2**31 - 1), _WHOLE] | None = None
    well: Annotated[str, Field(max_length=30, examples=["A1a"])] | None = None


def image_of(program: Program, given: DropGiven) -> int:
    """Return the id of the image that is meant, which the person may see; of a drop with several, its representative.

    Raises
    ------
    RefusedScoreError
        If there is none, or it is not clear which.
    """
    place = (given.barcode, given.inspection, given.well)
    if (given.image_id is None) == (place == (None, None, None)):
        raise RefusedScoreError("Give either image_id, or barcode, inspection and well.")
    if given.image_id is not None:
        if not program.asked.sees_image(given.image_id):
            raise RefusedScoreError("There is no such image.")
        return given.image_id
    if given.barcode is None or given.inspection is None or given.well is None:
        raise RefusedScoreError("Give barcode, inspection and well together.")
    try:
        well = parse_well(given.well)
    except ValueError as error:
        raise RefusedScoreError(f"{error}.") from error
    if given.inspection not in dict(program.asked.inspections(given.barcode)):
        raise RefusedScoreError(f"There is no plate {given.barcode} with an inspection {given.inspection}.")
    images = program.site.ledger.images.of_plate(given.barcode, [given.inspection], well if well.subwell else None)
    of_well = [drop for drop in drop_cards(images) if drop.well[:2] == well[:2]]
    if len(of_well) != 1:
        which = ", ".join(str(drop.well) for drop in of_well)
        why = f"holds several drops: name one of {which}" if of_well else "has no image in visible light"
        raise RefusedScoreError(f"Well {given.well} of {given.barcode}, inspection {given.inspection}, {why}.")
    return of_well[0].image.image_id
