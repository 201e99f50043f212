"""`/corrections`: score a drop, and undo. Plain forms, so that the pages need no script for it."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response

from xtalgrid_core.errors import ImagerError, LedgerError
from xtalgrid_core.outcomes import Outcome

from ..auth.forms import local_address
from ..pages.scoring import PERSON_OUTCOMES
from ..query_parameters import KINDS, well_address
from ..site import AllowedRequest, PageRequest, PostedForm

router = APIRouter(prefix="/corrections")


@router.post("")
def correct(request: AllowedRequest, form: PostedForm) -> Response:
    """Score an image, or withdraw one's own score (no outcome); then go to `then`, or with `stay` to `here`."""
    request.check_form(form)
    kind = form.text("outcome")
    outcome: Outcome | None = KINDS.get(kind)
    if (kind and outcome is None) or (outcome is not None and outcome not in PERSON_OUTCOMES):
        raise HTTPException(422, "A person cannot give this outcome.")
    images, scores = form.numbers("image"), form.numbers("score")
    if not images:
        raise HTTPException(422, "The form names no image.")
    row = request.site.image(images[0])
    try:
        request.site.scoring.record((images[0], row), outcome, request.visitor.name, scores[0] if scores else None)
    except (ImagerError, LedgerError) as error:
        return _error_page(request, error, well_address(row.barcode, row.inspection, row.well))
    target = form.text("here" if form.text("stay") else "then")
    return request.redirect(local_address(target, well_address(row.barcode, row.inspection, row.well)))


@router.post("/undo")
def undo(request: AllowedRequest, form: PostedForm) -> Response:
    """Undo this person's last score, and show its drop."""
    request.check_form(form)
    then = local_address(form.text("then"))
    try:
        last = request.site.scoring.undo(request.visitor.name)
    except (ImagerError, LedgerError) as error:
        return _error_page(request, error, then)
    if last is None:
        return request.redirect(then)
    row = request.site.image(last.image_id)
    query = then.partition("?")[2]
    return request.redirect(well_address(row.barcode, row.inspection, row.well) + (f"?{query}" if query else ""))


def _error_page(request: PageRequest, error: Exception, back: str) -> Response:
    return request.render("error.html", 503, title="Not saved", text=str(error), back=back)
