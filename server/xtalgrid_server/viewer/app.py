"""The viewer's addresses. Everything is read: no request changes anything.

`/` plates, `/plate/…` a plate's wells, `/well/…` one well, and the pictures by the ledger's ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError, LedgerError
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import Group, Outcome

from ..config import Config
from ..imager.database import ImageRow
from ..ledger.records import SeenImage
from ..ledger.store import Ledger
from ..scores.framed import framed_jpeg
from ..steps import log, step
from . import pages
from .pages import Choice
from .pictures import SIDES, Thumbnails, original_jpeg, stand_in

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"

PLATES_A_PAGE = 50

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer: nothing from other hosts, in nobody's frame, no type guessed, nothing told to whoever is linked."""

_PICTURES_KEPT = "private, max-age=600"
_LARGEST_ID = 2**63 - 1
_LARGEST_NUMBER = 2**31 - 1

Only = Annotated[list[str], Query(default_factory=list, max_length=40)]


def create_app(config: Config) -> FastAPI:
    """The viewer of one configuration.

    Raises
    ------
    ConfigError, LedgerError
        When the ledger cannot be opened.
    """
    with step(config, "open", wait=60) as report:
        ledger = Ledger(config)
        report.quiet = True

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        ledger.close()

    app = FastAPI(title="xtalgrid", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(_WithHeaders)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    render = _renderer()
    _add_error_pages(app, render)
    _add_pages(app, ledger, render)
    _add_pictures(app, config, ledger)
    return app


Render = Callable[..., str]


def _add_pages(app: FastAPI, ledger: Ledger, render: Render) -> None:
    @app.get("/", response_class=HTMLResponse)
    def plates(q: str = "", page: str = "1") -> str:
        number = min(max(int(page), 1), 100_000) if page.isascii() and page.isdigit() and len(page) < 9 else 1
        found = ledger.views.plates(q.strip(), PLATES_A_PAGE + 1, (number - 1) * PLATES_A_PAGE)
        shown = found[:PLATES_A_PAGE]
        outcomes = ledger.views.plate_outcomes(barcode for barcode, *_ in shown)
        rows = [
            {
                "barcode": barcode,
                "inspection": inspection,
                "date": date,
                "images": images,
                "address": pages.plate_address(barcode, inspection),
                **_sums(outcomes.get((barcode, inspection), {}), images),
            }
            for barcode, inspection, date, images in shown
        ]
        return render("plates.html", rows=rows, q=q.strip(), page=number, more=len(found) > PLATES_A_PAGE)

    @app.get("/plate/{barcode:path}/{inspection:int}", response_class=HTMLResponse)
    def plate(barcode: str, inspection: int, only: Only, order: str = "", size: str = "") -> str:
        wells = pages.wells_of(_of_plate(ledger, barcode, inspection))
        choice = Choice.of(order, only, size)
        return render(
            "plate.html",
            barcode=barcode,
            inspection=inspection,
            inspected=max(view.first.image.inspected for view in wells),
            inspections=_inspections(ledger, barcode),
            wells=pages.in_order(wells, choice),
            total=len(wells),
            legend=pages.legend(wells, choice),
            grid=pages.plate_grid(wells),
            failed=[view for view in pages.in_order(wells, Choice()) if view.failure],
            ratio=pages.ratio(wells),
            choice=choice,
        )

    @app.get("/well/{barcode:path}/{inspection:int}/{name}", response_class=HTMLResponse)
    def well(
        barcode: str, inspection: int, name: str, only: Only, order: str = "", size: str = "", image: str = ""
    ) -> str:
        wells = pages.wells_of(_of_plate(ledger, barcode, inspection))
        choice = Choice.of(order, only, size)
        view = next((view for view in wells if str(view.well) == name), None)
        if view is None:
            raise HTTPException(404, f"Plate {barcode}, inspection {inspection}, has no image of a well {name}.")
        row = pages.in_order(wells, choice)
        if view not in row:
            row = pages.in_order(wells, Choice(choice.order))
        at = row.index(view)
        seen = next((each for each in view.images if str(each.image_id) == image), view.first)
        origins = ledger.views.origins(seen.image_id)
        answer = seen.score.answer if seen.score else None
        scored = answer if isinstance(answer, wire.Scored) else None
        return render(
            "well.html",
            barcode=barcode,
            inspection=inspection,
            view=view,
            seen=seen,
            scored=scored,
            failure=pages.failure_of(seen),
            bars=pages.bars(scored) if scored else [],
            scale=pages.scale_bar(scored) if scored else None,
            origin=origins[0] if origins else None,
            origins=origins,
            previous=row[at - 1] if at else None,
            next=row[at + 1] if at + 1 < len(row) else None,
            place=at + 1,
            places=len(row),
            times=pages.wells_of_inspections(ledger.views.seen(barcode, well=view.well)),
            ratio=pages.ratio(wells),
            choice=choice,
        )

    @app.get("/looks.css")
    def looks() -> Response:
        return Response(render("looks.css", outcomes=list(Outcome), ratios=pages.RATIOS), media_type="text/css")

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        try:
            ledger.watermark("")
        except LedgerError:
            return JSONResponse({"status": "no ledger"}, 503)
        return JSONResponse({"status": "ok"})


def _add_pictures(app: FastAPI, config: Config, ledger: Ledger) -> None:
    thumbnails = Thumbnails(config)

    @lru_cache(maxsize=20_000)
    def row_of(image_id: int) -> ImageRow:  # the ledger's image rows never change
        row = ledger.views.image(image_id) if image_id <= _LARGEST_ID else None
        if row is None:
            raise HTTPException(404, "There is no such image.")
        return row

    @app.get("/thumbnail/{side:int}/{image_id:int}.jpg")
    def small(request: Request, side: int, image_id: int) -> Response:
        if side not in SIDES:
            raise HTTPException(404, "There is no such image.")
        row = row_of(image_id)
        try:
            data, name = thumbnails.get(row, side)
        except ImageError as error:
            return _stand_in(error)
        headers = {"Cache-Control": _PICTURES_KEPT, "ETag": f'"{name}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.get("/image/{image_id:int}.jpg")
    def original(image_id: int) -> Response:
        return _jpeg(lambda: original_jpeg(config, row_of(image_id)))

    @app.get("/framed/{score_id:int}.jpg")
    def framed(score_id: int) -> Response:
        found = ledger.views.scores(score_ids=[score_id], failed=True) if score_id <= _LARGEST_ID else []
        if not found:
            raise HTTPException(404, "There is no such score.")
        return _jpeg(lambda: framed_jpeg(config, found[0]))


def _jpeg(make: Callable[[], bytes]) -> Response:
    try:
        return Response(make(), media_type="image/jpeg", headers={"Cache-Control": _PICTURES_KEPT})
    except ImageError as error:
        return _stand_in(error)


def _stand_in(error: ImageError) -> Response:
    return Response(stand_in(str(error.reason)), 404, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


def _of_plate(ledger: Ledger, barcode: str, inspection: int) -> list[SeenImage]:
    images = ledger.views.seen(barcode, inspection) if inspection <= _LARGEST_NUMBER else []
    if not images:
        raise HTTPException(404, f"There is no plate {barcode} with an inspection {inspection} here.")
    return images


def _inspections(ledger: Ledger, barcode: str) -> list[tuple[int, Any]]:
    """(inspection, date) of a plate, oldest first."""
    found = ledger.views.plates(barcode, 500)
    return sorted((inspection, date) for name, inspection, date, _ in found if name == barcode)


def _sums(counts: dict[Outcome, int], images: int) -> dict[str, int]:
    return {
        "crystals": sum(number for outcome, number in counts.items() if outcome.group is Group.CRYSTAL),
        "undecided": counts.get(Outcome.UNDECIDED, 0),
        "failed": counts.get(Outcome.FAILED, 0),
        "waiting": max(images - sum(counts.values()), 0),
    }


def _renderer() -> Render:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # every string of a database is text, never markup
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    static = b"".join(path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.is_file())
    environment.globals.update(
        version=metadata.version("xtalgrid"),
        static_version=hashlib.sha256(static + (_HERE / "templates" / "looks.css").read_bytes()).hexdigest()[:10],
        plate_address=pages.plate_address,
        well_address=pages.well_address,
        kind=pages.kind,
        percent=percent,
        sides=SIDES,
    )

    def render(template: str, **values: object) -> str:
        return environment.get_template(template).render(**values)

    return render


def _add_error_pages(app: FastAPI, render: Render) -> None:
    titles = {404: "Not found", 405: "Not possible", 422: "Not understood", 503: "Not available"}

    def page(status: int, text: str) -> HTMLResponse:
        title = titles.get(status, "Something went wrong")
        return HTMLResponse(render("error.html", title=title, text=text), status, HEADERS)

    @app.exception_handler(AnyHTTPException)
    async def refused(_: Request, error: AnyHTTPException) -> Response:
        return page(error.status_code, "There is no such page." if error.detail == "Not Found" else str(error.detail))

    @app.exception_handler(422)
    async def not_understood(_: Request, __: Exception) -> Response:
        return page(422, "This address cannot be read.")

    @app.exception_handler(LedgerError)
    async def no_ledger(_: Request, error: LedgerError) -> Response:
        log.error("viewer: %s", error)
        return page(503, str(error))

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:  # the traceback goes to the log, not to the browser
        return page(500, "The viewer could not show this; its log says why.")


class _WithHeaders:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in there
                    ),
                ]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
