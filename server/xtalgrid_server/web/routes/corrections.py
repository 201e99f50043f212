"""`/corrections`: people's scores, and their undoing. Forms only, so that the pages need no script for it."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response

from xtalgrid_core.errors import ImagerError, LedgerError
from xtalgrid_core.outcomes import Outcome

from ..auth.forms import local_address
from ..pages.scoring import GIVEN
from ..query_parameters import KINDS, well_address
from ..site import Look, Looks, Sent, to

router = APIRouter(prefix="/corrections")


@router.post("")
def give(look: Looks, form: Sent) -> Response:
    """Score an image, or take one's own score back (no outcome), and go on to `then`, or stay `here`."""
    look.check(form)
    word = form.text("outcome")
    outcome: Outcome | None = KINDS.get(word)
    if (word and outcome is None) or (outcome is not None and outcome not in GIVEN):
        raise HTTPException(422, "This is no outcome that a person can give.")
    images, scores = form.numbers("image"), form.numbers("score")
    if not images:
        raise HTTPException(422, "This form names no image.")
    row = look.site.image(images[0])
    try:
        look.site.scoring.give((images[0], row), outcome, look.visitor.name, scores[0] if scores else None)
    except (ImagerError, LedgerError) as error:
        return _sorry(look, error, well_address(row.barcode, row.inspection, row.well))
    then = form.text("here" if form.text("stay") else "then")
    return to(local_address(then, well_address(row.barcode, row.inspection, row.well)))


@router.post("/undo")
def undo(look: Looks, form: Sent) -> Response:
    """Undo what this person said last, and show that drop."""
    look.check(form)
    try:
        last = look.site.scoring.undo(look.visitor.name)
    except (ImagerError, LedgerError) as error:
        return _sorry(look, error, local_address(form.text("then")))
    if last is None:
        return to(local_address(form.text("then")))
    row = look.site.image(last.image_id)
    query = local_address(form.text("then")).partition("?")[2]
    return to(well_address(row.barcode, row.inspection, row.well) + (f"?{query}" if query else ""))


def _sorry(look: Look, error: Exception, back: str) -> Response:
    return look.page("error.html", 503, title="Not done", text=str(error), back=back)
