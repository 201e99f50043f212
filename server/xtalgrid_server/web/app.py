"""The viewer as one application: its routes, its error pages, and the headers of all responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from msgspec.structs import replace
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match

from xtalgrid_core.errors import Busy, LedgerError
from xtalgrid_core.outcomes import SCORED_GROUPS, Outcome

from ..config import Config
from ..domain.drop_state import outcome_of
from ..domain.log import log
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.store import Ledger
from ..steps.step import step
from .auth.authentication import GUEST, Visitor
from .headers import WithHeaders, headers_of
from .pages import layout
from .picture_pool import RETRY_SECONDS
from .programs import HOW_TO_SEND, validation_text
from .proxies import BehindProxies, KnownHosts
from .rendering import STATIC
from .routes import (
    alignment,
    api,
    api_marks,
    api_scores,
    conditions,
    corrections,
    docs,
    downloads,
    exports,
    inbox,
    marks,
    notifications,
    operations,
    pictures,
    plate,
    plates,
    reports,
    signin,
    tokens,
    well,
)
from .site import NotSignedIn, PageRequest, Site

_TITLES = {
    401: "Please sign in",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed here",
    409: "Too late",
    413: "Too large",
    415: "Not accepted",
    422: "Invalid request",
    503: "Not available",
}


def create_app(config: Config) -> FastAPI:
    """Make the viewer of one configuration.

    Raises
    ------
    ConfigError, LedgerError
        If the ledger cannot be opened.
    """
    with step(config, "open", wait=60) as report:
        ledger, imager = Ledger(config), ImagerDatabase(replace(config, imager=replace(config.imager, retry_s=0.0)))
        report.quiet = True
    site = Site(config, ledger, imager)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        site.maps.close()
        site.pictures.close()
        site.files.close()
        ledger.close()
        site.questions.close()

    app = FastAPI(
        title="xtalgrid", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False
    )
    app.state.site = site
    app.add_middleware(KnownHosts, viewer=config.viewer)
    app.add_middleware(WithHeaders, headers=headers_of(config.viewer), on_response=site.monitor.count_response)
    app.add_middleware(BehindProxies, viewer=config.viewer)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _add_outcome_styles(app, site)
    for page in (
        plates,
        plate,
        well,
        conditions,
        inbox,
        notifications,
        corrections,
        marks,
        downloads,
        exports,
        reports,
        operations,
        signin,
        tokens,
        pictures,
        alignment,
        docs,
    ):
        app.include_router(page.router)
    for addresses in (api, api_scores, api_marks):
        app.include_router(addresses.router)
    _add_refusals(app)
    _add_failures(app)
    return app


def _add_outcome_styles(app: FastAPI, site: Site) -> None:
    styles = site.render(
        "looks.css",
        outcomes=list(Outcome),
        groups={group: outcome_of(group) for group in SCORED_GROUPS},
        ratios=layout.RATIOS,
        most=layout.MOST_TILES,
        keys=site.keys,
    )

    @app.get("/looks.css")
    def outcome_styles() -> Response:
        return Response(styles, media_type="text/css", headers={"Cache-Control": "max-age=600"})


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _has_page(app: FastAPI, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def _path_problem(app: FastAPI, path: str) -> str:
    """Say what to correct if a path would name a page without its beginning, which a web server should have removed."""
    parts = path.split("/")
    for at in range(2, min(len(parts), 6)):
        if _has_page(app, "/" + "/".join(parts[at:])):
            return (
                f" If {'/'.join(parts[:at])} is where a web server shows the viewer, set viewer.url to the whole "
                "address (docs/viewer.md, Behind a web server)."
            )
    return ""


def _visitor(request: Request) -> Visitor:
    """Return who asks; a guest while the ledger, which has the sessions, does not answer."""
    try:
        return _site(request).authentication.visitor(request)
    except LedgerError:
        return GUEST


def _error_page(
    request: Request, status: int, text: str, visitor: Visitor = GUEST, more: Mapping[str, str] | None = None
) -> Response:
    """Make the page of an error, or JSON for programs and the pages' scripts."""
    asked = PageRequest(_site(request), request, visitor)
    headers = {**headers_of(asked.site.config.viewer), **(more or {})}  # the middleware does not see every error
    title = _TITLES.get(status, "Something went wrong")
    if request.headers.get("accept") == "application/json" or request.scope["path"].startswith("/api/"):
        return JSONResponse({"title": title, "text": text}, status, headers)
    response = HTMLResponse(asked.render("error.html", title=title, text=text, back="/").body, status)
    response.headers.update(headers)
    return response


def _add_refusals(app: FastAPI) -> None:
    """Answer requests that cannot be done."""

    @app.exception_handler(NotSignedIn)
    async def not_signed_in(request: Request, _: NotSignedIn) -> Response:
        accepted = request.headers.get("accept", "")
        if request.method == "GET" and "text/html" in accepted and _site(request).authentication.has_sign_in_form:
            guest = PageRequest(_site(request), request, GUEST)
            return guest.redirect(f"/sign-in?{urlencode({'then': guest.address})}")
        if request.scope["path"].startswith("/api/"):
            return _error_page(request, 401, HOW_TO_SEND, more={"WWW-Authenticate": "Bearer"})
        return _error_page(request, 401, "Sign in to view these pages.")

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        if error.detail != "Not Found":
            return _error_page(request, error.status_code, str(error.detail), _visitor(request), error.headers)
        path = request.scope["path"]
        if request.method == "GET" and path.endswith("/") and _has_page(app, path.rstrip("/")):
            guest = PageRequest(_site(request), request, GUEST)
            address, _, query = guest.address.partition("?")
            return guest.redirect(address.rstrip("/") + (f"?{query}" if query else ""))
        return _error_page(request, 404, "There is no such page." + _path_problem(app, path), _visitor(request))

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        is_api = request.scope["path"].startswith("/api/")
        text = validation_text(error) if is_api else "This address is invalid."
        return _error_page(request, 422, text, _visitor(request))


def _add_failures(app: FastAPI) -> None:
    """Answer what the viewer cannot do now."""

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> Response:
        response = _error_page(request, 503, str(error))
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response

    @app.exception_handler(LedgerError)
    async def no_ledger(request: Request, error: LedgerError) -> Response:
        log.error("viewer: %s", error)
        return _error_page(request, 503, str(error))

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:  # the traceback goes to the log, not to the browser
        return _error_page(request, 500, "The viewer could not show this page; the reason is in its log.")
