"""`/sign-in`, `/sign-out`: for the viewer's own users. Otherwise the page explains who you are and why."""

from __future__ import annotations

import math

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from ..auth.cookies import SESSION
from ..auth.forms import check_form, local_address
from ..site import OpenRequest, PageRequest, PostedForm, redirect

router = APIRouter()


@router.get("/sign-in", response_class=HTMLResponse)
def page(request: OpenRequest, then: str = "/") -> HTMLResponse:
    """Show the form, or explain how people are identified."""
    return _page(request, local_address(then))


@router.post("/sign-in")
def sign_in(request: OpenRequest, form: PostedForm) -> Response:
    """Start a session."""
    authentication = request.site.authentication
    check_form(request.http, form.text("form_token"), request.visitor, authentication.signer)
    if not authentication.has_sign_in_form:
        raise HTTPException(404, "This viewer has no sign-in form.")
    address = request.http.client.host if request.http.client else ""
    then = local_address(form.text("then"))
    session, wait = authentication.sign_in(form.text("name").strip(), form.text("password"), address)
    if wait:
        page = _page(request, then, f"Too many attempts; try again in {math.ceil(wait / 60)} minutes.", 429)
        page.headers["Retry-After"] = str(math.ceil(wait))
        return page
    if not session:
        return _page(request, then, "Wrong name or password.", 403)
    viewer = request.site.config.viewer
    response = redirect(then)
    response.set_cookie(
        SESSION, session, max_age=int(viewer.session_hours * 3600), httponly=True, samesite="lax", secure=viewer.https
    )
    return response


@router.post("/sign-out")
def sign_out(request: OpenRequest, form: PostedForm) -> Response:
    """End the session."""
    check_form(request.http, form.text("form_token"), request.visitor, request.site.authentication.signer)
    response = redirect("/")
    response.delete_cookie(SESSION, httponly=True, samesite="lax", secure=request.site.config.viewer.https)
    return response


def _page(request: PageRequest, then: str, problem: str = "", status: int = 200) -> HTMLResponse:
    return request.render("sign_in.html", status, then=then, problem=problem, viewer=request.site.config.viewer)
