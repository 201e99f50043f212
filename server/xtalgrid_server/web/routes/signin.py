"""`/sign-in`, `/sign-out`: for local users. Elsewhere the pages say who one is and why."""

from __future__ import annotations

import math

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from ..auth.cookies import SESSION
from ..auth.forms import check_form, local_address
from ..site import AtDoor, Look, Sent, to

router = APIRouter()


@router.get("/sign-in", response_class=HTMLResponse)
def page(look: AtDoor, then: str = "/") -> HTMLResponse:
    """The form, or a word on how people are known here."""
    return _page(look, local_address(then))


@router.post("/sign-in")
def sign_in(look: AtDoor, form: Sent) -> Response:
    """Start a session."""
    check_form(look.request, form.text("form_token"), look.visitor, look.site.doors.signer)
    if not look.site.doors.has_form:
        raise HTTPException(404, "Nobody signs in here by a form.")
    address = look.request.client.host if look.request.client else ""
    then = local_address(form.text("then"))
    session, wait = look.site.doors.sign_in(form.text("name").strip(), form.text("password"), address)
    if wait:
        answer = _page(look, then, f"Too many attempts; try again in {math.ceil(wait / 60)} minutes.", 429)
        answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer
    if not session:
        return _page(look, then, "This name and password do not go together.", 403)
    viewer = look.site.config.viewer
    done = to(then)
    done.set_cookie(
        SESSION, session, max_age=int(viewer.session_hours * 3600), httponly=True, samesite="lax", secure=viewer.https
    )
    return done


@router.post("/sign-out")
def sign_out(look: AtDoor, form: Sent) -> Response:
    """End the session."""
    check_form(look.request, form.text("form_token"), look.visitor, look.site.doors.signer)
    done = to("/")
    done.delete_cookie(SESSION, httponly=True, samesite="lax", secure=look.site.config.viewer.https)
    return done


def _page(look: Look, then: str, said: str = "", status: int = 200) -> HTMLResponse:
    return look.page("sign_in.html", status, then=then, said=said, viewer=look.site.config.viewer)
