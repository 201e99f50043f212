"""`/tokens`: people make and remove the tokens with which programs act in their name."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from xtalgrid_core.errors import ConfigError, LedgerError

from ...ledger.database import now
from ...ledger.tokens import SCOPES
from ..auth.tokens import LONGEST_LABEL, USUAL_DAYS
from ..site import OpenRequest, PageRequest, PostedForm

router = APIRouter()

_DAYS = (7, 30, USUAL_DAYS, 365)


@router.get("/tokens", response_class=HTMLResponse)
def tokens(request: OpenRequest) -> Response:
    """Show a person's tokens, and the form for a new one."""
    return _page(request) if request.visitor.name else request.redirect("/sign-in?then=/tokens")


@router.post("/tokens")
def make(request: OpenRequest, form: PostedForm) -> Response:
    """Make a token and show it, this once."""
    request.check_form(form)
    name, label, scope, days = request.visitor.name, form.text("label"), form.text("scope"), form.numbers("days")
    made_by = request.site.authentication.tokens
    if not label.strip():
        return _page(request, "Give the token a name, such as that of the program.", status=422)
    try:
        text = made_by.make(name, label, scope, days[0] if days else 0, name)
    except (ConfigError, LedgerError) as error:
        return _page(request, f"No token was made: {error}.", status=422)
    # The password may have been changed since the session was checked.
    if request.site.authentication.visitor(request.http) != request.visitor:
        request.site.ledger.tokens.remove(name, " ".join(label.split()))
        raise HTTPException(401, "Your session has ended: sign in again.")
    request.log("token-add", token=" ".join(label.split()), scope=scope, days=days[0])
    return _page(request, made=text)


@router.post("/tokens/remove")
def remove(request: OpenRequest, form: PostedForm) -> Response:
    """Remove a token, which ends at once."""
    request.check_form(form)
    for label in request.site.ledger.tokens.remove(request.visitor.name, form.text("label")):
        request.log("token-remove", token=label)
    return request.redirect("/tokens")


def _page(request: PageRequest, problem: str = "", made: str = "", status: int = 200) -> HTMLResponse:
    return request.render(
        "tokens.html",
        status,
        problem=problem,
        made=made,
        tokens=request.site.ledger.tokens.working(request.visitor.name),
        scopes=SCOPES,
        days=_DAYS,
        usual=USUAL_DAYS,
        longest=LONGEST_LABEL,
        now=now(),
    )
