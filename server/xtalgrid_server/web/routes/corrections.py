"""`/corrections`: score a drop, and undo. Plain forms need no script; `/typed` is for the script that keeps scores."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse

from xtalgrid_core.errors import ImagerError, LedgerError

from ...ledger.database import now
from ..auth.authentication import LONGEST_NAME
from ..auth.forms import local_address
from ..pages.scoring import RefusedScoreError, TypedScore, person_outcome
from ..query_parameters import well_address
from ..site import AllowedRequest, PageRequest, PostedForm

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
    """Take scores that a page's script kept, in order; each is stored once, however often it is sent.

    The answer has a line for each: its key, why it was refused (it will always be), and what else the person should
    know of it.
    """
    if request.visitor.name != form.text("who"):  # the session ended, or somebody else signed in
        raise HTTPException(401, f"Sign in as {form.text('who')[:LONGEST_NAME]} to save these scores.")
    request.check_form(form)
    received = now()
    try:
        scores = msgspec.json.decode(form.text("scores"), type=TypedScores)
    except msgspec.MsgspecError as error:
        raise HTTPException(422, f"These scores cannot be read: {error}.") from error
    results = []
    for typed in scores:
        refused = warning = ""
        try:
            if not request.sees_image(typed.image):
                raise RefusedScoreError("There is no such image.")
            request.site.scoring.take(typed, request.visitor.name, request.client, received, request.session)
        except RefusedScoreError as error:
            refused = str(error)
        except ImagerError as error:
            warning = str(error)
        except LedgerError as error:  # those before this one are stored, and known by their keys next time
            raise HTTPException(503, str(error)) from error
        results.append({"key": typed.key, "refused": refused, "warning": warning})
    return JSONResponse({"results": results})


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
