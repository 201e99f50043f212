"""`/operations`: the state of the pipeline and the held scores. `/metrics` and `/healthz` for programs."""

from __future__ import annotations

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from xtalgrid_core.errors import LedgerError

from ...domain.drop_state import DropState
from ..proxies import is_among, is_forwarded, is_from, networks, reached
from ..site import AllowedRequest, PostedForm, Site

router = APIRouter()

_health = CapacityLimiter(1)
_SHOWN_HURRIED = 500


@router.get("/operations", response_class=HTMLResponse)
def operations(request: AllowedRequest) -> HTMLResponse:
    """Show lag, backlog, throughput, hosts, failures, and held scores."""
    site = request.site
    status = site.monitor.status()
    images = site.ledger.images.of_scores(status.held)
    person_scores = site.ledger.person_scores.of(images)
    held = [(image, DropState.of(None, scores=person_scores[image.inspect_id]).people) for image in images]
    found = site.hurried.get("", lambda: site.ledger.corrections.hurried(_SHOWN_HURRIED))
    hurried = [(site.image(made.image_id), made, site.image(other)) for made, other in found]
    return request.render(
        "operations.html",
        pipeline=status,
        held=held,
        doubtful=[each for each in hurried if each[1].key is None],
        quick=[each for each in hurried if each[1].key is not None],
    )


@router.post("/operations/review")
def review(request: AllowedRequest, form: PostedForm) -> Response:
    """Approve or reject held scores."""
    request.check_form(form, review=True)
    verdict = form.text("verdict")
    if verdict not in ("approve", "reject"):
        raise HTTPException(422, "Scores can only be approved or rejected.")
    ledger = request.site.ledger
    selected = sorted(set(ledger.decisions.held()) & set(form.numbers("score")))
    if not selected:
        raise HTTPException(409, "None of these scores is still held: nothing was changed.")
    ledger.decisions.add_reviews(selected, "approve" if verdict == "approve" else "reject", request.visitor.name)
    request.site.monitor.forget()
    return request.redirect("/operations#held")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the figures for Prometheus, to the addresses that may read them."""
    site: Site = request.app.state.site
    allowed = networks(site.config.viewer.metrics_from)
    if is_forwarded(request) and not is_from(request, networks(site.config.viewer.trusted_proxies)):
        raise HTTPException(403, "These metrics were asked for through a web server that viewer.trusted_proxies lacks.")
    if not is_among(reached(request).client, allowed):
        raise HTTPException(403, "This address may not read the metrics (viewer.metrics_from).")
    return Response(generate_latest(site.monitor.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/healthz")
async def healthz(request: Request) -> JSONResponse:
    """Check that the ledger responds, in a thread that no page uses."""
    site: Site = request.app.state.site
    try:
        await to_thread.run_sync(site.ledger.watermark, "", limiter=_health)
    except LedgerError:
        return JSONResponse({"status": "no ledger"}, 503)
    return JSONResponse({"status": "ok"})
