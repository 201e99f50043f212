"""`/marks`: marks in pictures, and notes and favourites of drops. `/typed` is for the script that keeps entries."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse

from xtalgrid_core.errors import LedgerError

from ...ledger.database import now
from ..auth.forms import local_address
from ..pages.marking import Typed
from ..pages.scoring import RefusedScoreError
from ..site import AllowedRequest, Form, PageRequest, PostedForm
from ..typed_entries import take_entries

router = APIRouter(prefix="/marks")

TypedEntries = Annotated[list[Typed], msgspec.Meta(max_length=100)]

_NUMBERS = ("image", "x", "y", "width", "height")


@router.post("")
def mark(request: AllowedRequest, form: PostedForm) -> Response:
    """Record what a plain form says (`what` it is), then go to `then`."""
    request.check_form(form)
    then = local_address(form.text("then"))
    try:
        typed = msgspec.convert(_values(form), type=Typed)
        _take(request, typed, now())
    except (msgspec.ValidationError, ValueError) as error:
        raise HTTPException(422, f"This form cannot be used: {error}.") from error
    except RefusedScoreError as error:
        raise HTTPException(422, str(error)) from error
    except LedgerError as error:
        return request.render("error.html", 503, title="Not saved", text=str(error), back=then)
    return request.redirect(then)


@router.post("/typed")
def take_typed(request: AllowedRequest, form: PostedForm) -> JSONResponse:
    """Take entries that a page's script kept; see `take_entries`."""
    take = request.site.marking.take
    return take_entries(
        request,
        form,
        "entries",
        TypedEntries,
        lambda typed, received: take(typed, request.visitor.name, request.client, received),
    )


def _take(request: PageRequest, typed: Typed, received: datetime) -> None:
    """Record an entry of a picture that this visitor may see; raises as `Marking.take`."""
    if not request.sees_image(typed.image):
        raise RefusedScoreError("There is no such image.")
    request.site.marking.take(typed, request.visitor.name, request.client, received)


def _values(form: Form) -> dict[str, Any]:
    """Return a plain form's fields as an entry; raises ValueError if a number is none."""
    values: dict[str, Any] = {"key": secrets.token_hex(16)}
    for name in ("what", "kind", "note", "text", "undoes"):
        if name in form.fields:
            values[name] = form.text(name)
    for name in _NUMBERS:
        if text := form.text(name).strip():
            values[name] = int(text) if name == "image" else float(text)
    if "on" in form.fields:
        values["on"] = form.text("on") == "1"
    return values
