"""`/corrections`: score a drop, and undo. Plain forms need no script; `/typed` is for the script that keeps scores."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse

from xtalgrid_core.errors import ImagerError, LedgerError

from ..auth.forms import local_address
from ..pages.scoring import RefusedScoreError, TypedScore, person_outcome
from ..query_parameters import well_address
from ..site import AllowedRequest, PageRequest, PostedForm
from ..typed_entries import take_entries

router = APIRouter(prefix="/corrections")

TypedScores = Annotated[list[TypedScore], msgspec.Meta(max_length=100)]


@router.post("")
def correct(request: AllowedRequest, form: PostedForm) -> Response:
    """Score an image, or withdraw one's own score (no outcome); then go to `then`, or with `stay` to `here`."""
    request.check_form(form)
    try:
        outcome, code = person_outcome(form.text("outcome"), request.site.keys)
    except RefusedScoreError as error:
        raise HTTPException(422, str(error)) from error
    images, scores = form.numbers("image"), form.numbers("score")
    if not images:
        raise HTTPException(422, "The form names no image.")
    row = request.image(images[0])
    try:
        request.site.scoring.record(
            (images[0], row),
            outcome,
            request.visitor.name,
            request.client,
            scores[0] if scores else None,
            session=request.session,
            code=code,
        )
    except (ImagerError, LedgerError) as error:
        return _error_page(request, error, well_address(row.barcode, row.inspection, row.well))
    target = form.text("here" if form.text("stay") else "then")
    return request.redirect(local_address(target, well_address(row.barcode, row.inspection, row.well)))


@router.post("/typed")
def take_typed(request: AllowedRequest, form: PostedForm) -> JSONResponse:
    """Take scores that a page's script kept; see `take_entries`."""
    take = request.site.scoring.take
    return take_entries(
        request,
        form,
        "scores",
        TypedScores,
        lambda typed, received: take(typed, request.visitor.name, request.client, received, request.session),
    )


@router.post("/undo")
def undo(request: AllowedRequest, form: PostedForm) -> Response:
    """Undo this person's last score, or the one that the page named, and show its drop and what was undone."""
    request.check_form(form)
    then, given = local_address(form.text("then")), form.numbers("given")
    try:
        undone = request.site.scoring.undo(
            request.visitor.name,
            request.client,
            request.session,
            given[0] if given else None,
            sees=request.sight.sees,
        )
    except (ImagerError, LedgerError) as error:
        return _error_page(request, error, then)
    if undone is None:
        return request.redirect(then)
    row = request.image(undone.image_id)
    query = then.partition("?")[2]
    said = f"undone={undone.id}"
    return request.redirect(
        well_address(row.barcode, row.inspection, row.well) + (f"?{query}&{said}" if query else f"?{said}")
    )


def _error_page(request: PageRequest, error: Exception, back: str) -> Response:
    return request.render("error.html", 503, title="Not saved", text=str(error), back=back)
