"""`/sign-in`, `/sign-out`: for the viewer's own users. Otherwise the page explains who you are and why."""

from __future__ import annotations

import math

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from ..auth.cookies import SESSION
from ..auth.forms import local_address
from ..proxies import reached
from ..site import OpenRequest, PageRequest, PostedForm

router = APIRouter()


@router.get("/sign-in", response_class=HTMLResponse)
def page(request: OpenRequest, then: str = "/") -> HTMLResponse:
    """Show the form, or explain how people are identified."""
    return _page(request, local_address(then))


@router.post("/sign-in")
def sign_in(request: OpenRequest, form: PostedForm) -> Response:
    """Start a session."""
    authentication = request.site.authentication
    request.check_origin(form)
    if not authentication.has_sign_in_form:
        raise HTTPException(404, "This viewer has no sign-in form.")
    then = local_address(form.text("then"))
    session, wait = authentication.sign_in(
        form.text("name").strip(), form.text("password"), reached(request.http).client
    )
    if wait:
        page = _page(request, then, f"Too many attempts; try again in {math.ceil(wait / 60)} minutes.", 429)
        page.headers["Retry-After"] = str(math.ceil(wait))
        return page
    if not session:
        return _page(request, then, "Wrong name or password.", 403)
    seconds = int(request.site.config.viewer.session_hours * 3600)
    response = request.redirect(then)
    response.set_cookie(SESSION, session, max_age=seconds, httponly=True, samesite="lax", **request.cookie_scope)
    return response


@router.post("/sign-out")
def sign_out(request: OpenRequest, form: PostedForm) -> Response:
    """End the session."""
    request.check_origin(form)
    response = request.redirect("/")
    response.delete_cookie(SESSION, httponly=True, samesite="lax", **request.cookie_scope)
    return response


def _page(request: PageRequest, then: str, problem: str = "", status: int = 200) -> HTMLResponse:
    viewer, why_guest = request.site.config.viewer, request.site.authentication.why_guest(request.http)
    return request.render("sign_in.html", status, then=then, problem=problem, viewer=viewer, why_guest=why_guest)
