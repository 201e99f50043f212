"""`/sign-in`, `/sign-out`, `/password`: for those who sign in here. /sign-in explains why others are guests."""

from __future__ import annotations

import math

from fastapi import APIRouter, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from ..auth.cookies import KNOWN, SESSION
from ..auth.forms import local_address
from ..auth.passwords import password_problem
from ..auth.sessions import Begun
from ..site import OpenRequest, PageRequest, PostedForm

router = APIRouter()

_KNOWN_SECONDS = 400 * 24 * 3600
"""As long as browsers keep a cookie."""


@router.get("/sign-in", response_class=HTMLResponse)
def page(request: OpenRequest, then: str = "/") -> HTMLResponse:
    """Show the form, or explain how people are identified."""
    return _page(request, local_address(then))


@router.post("/sign-in")
async def sign_in(request: OpenRequest, form: PostedForm) -> Response:
    """Begin a session."""
    request.check_origin(form)
    _check_users(request)
    then = local_address(form.text("then"))
    name, password = form.text("name").strip(), form.text("password")
    begun = await request.site.authentication.sessions.begin(request.http, name, password)
    await run_in_threadpool(_log, request, "sign-in", name, begun)
    if begun.token:
        return _signed_in(request, {SESSION: begun.token, KNOWN: begun.known}, then)
    return _with_wait(await run_in_threadpool(_page, request, then, *_refusal(begun)), begun)


@router.get("/sign-in/link", response_class=HTMLResponse)
def sign_in_by_link(request: OpenRequest, code: str = "") -> Response:
    """Begin a session with a one-time link."""
    authentication = request.site.authentication
    if request.site.config.viewer.sign_in != "local":
        raise HTTPException(404, "This viewer has no links to sign in with.")
    token, who = authentication.links.begin(code)
    if token or not request.visitor.name:
        request.log("sign-in", "ok" if token else "refused", who, by="link")
    if token:
        authentication.sessions.end(request.http)
        return _signed_in(request, {SESSION: token}, "/")
    if request.visitor.name:  # opened again in the browser that it signed in
        return request.redirect("/")
    return _page(request, "/", "This link was used before, or it is older than an hour.", 403)


@router.post("/sign-out")
def sign_out(request: OpenRequest, form: PostedForm) -> Response:
    """End the session."""
    request.check_origin(form)
    if who := request.site.authentication.sessions.end(request.http):
        request.log("sign-out", who=who)
    response = request.redirect("/")
    response.delete_cookie(SESSION, httponly=True, samesite="lax", **request.cookie_scope)
    return response


@router.get("/password", response_class=HTMLResponse)
def password_page(request: OpenRequest) -> Response:
    """Show the form for a new password."""
    _check_users(request)
    return _password_page(request) if request.visitor.name else request.redirect("/sign-in?then=/password")


@router.post("/password")
async def change_password(request: OpenRequest, form: PostedForm) -> Response:
    """Change the visitor's own password, which ends their other sessions."""
    _check_users(request)
    request.check_form(form)
    name, new = request.visitor.name, form.text("new")
    if problem := password_problem(name, new) or ("" if new == form.text("again") else "the two are not the same"):
        return await run_in_threadpool(_password_page, request, f"The new password was not taken: {problem}.", 422)
    begun = await request.site.authentication.sessions.begin(request.http, name, form.text("password"), new)
    await run_in_threadpool(_log, request, "password", name, begun)
    if begun.token:
        return _signed_in(request, {SESSION: begun.token, KNOWN: begun.known}, "/")
    return _with_wait(await run_in_threadpool(_password_page, request, *_refusal(begun)), begun)


def _log(request: PageRequest, act: str, name: str, begun: Begun) -> None:
    result = "ok" if begun.token else "delayed" if begun.wait else "refused"
    who = request.site.authentication.sessions.user_named(name)
    request.site.access_log.write(act, who, request.client, result)


def _check_users(request: PageRequest) -> None:
    if not request.site.authentication.has_sign_in_form:
        raise HTTPException(404, "This viewer has no passwords of its own.")


def _signed_in(request: PageRequest, cookies: dict[str, str], then: str) -> Response:
    response = request.redirect(then)
    seconds = {SESSION: int(request.site.config.viewer.session_hours * 3600), KNOWN: _KNOWN_SECONDS}
    for cookie, value in cookies.items():
        age = seconds[cookie]
        response.set_cookie(cookie, value, max_age=age, httponly=True, samesite="lax", **request.cookie_scope)
    return response


def _refusal(begun: Begun) -> tuple[str, int]:
    """Return what to say, and the status."""
    if not begun.wait:
        return "Wrong name or password.", 403
    minutes, seconds = math.ceil(begun.wait / 60), math.ceil(begun.wait)
    return f"Too many attempts; try again in {f'{minutes} minutes' if minutes > 1 else f'{seconds} seconds'}.", 429


def _with_wait(page: HTMLResponse, begun: Begun) -> HTMLResponse:
    if begun.wait:
        page.headers["Retry-After"] = str(math.ceil(begun.wait))
    return page


def _page(request: PageRequest, then: str, problem: str = "", status: int = 200) -> HTMLResponse:
    viewer, why_guest = request.site.config.viewer, request.site.authentication.why_guest(request.http)
    return request.render("sign_in.html", status, then=then, problem=problem, viewer=viewer, why_guest=why_guest)


def _password_page(request: PageRequest, problem: str = "", status: int = 200) -> HTMLResponse:
    return request.render("password.html", status, problem=problem)
