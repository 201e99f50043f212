"""`/operations`: is the chain moving, and what needs a person. `/metrics` and `/healthz` for machines."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from xtalgrid_core.errors import LedgerError

from ..auth.authentication import is_from, networks
from ..site import Looks, Sent, Site, to

router = APIRouter()


@router.get("/operations", response_class=HTMLResponse)
def operations(look: Looks) -> HTMLResponse:
    """Lag, backlog, throughput, hosts, failures, and the scores that are held back."""
    chain = look.site.gauges.chain()
    held = look.site.ledger.plates.images_of_scores(chain.held)
    return look.page("operations.html", chain=chain, held=held)


@router.post("/operations/review")
def review(look: Looks, form: Sent) -> Response:
    """Approve or reject held scores."""
    look.check(form, review=True)
    verdict = form.text("verdict")
    if verdict not in ("approve", "reject"):
        raise HTTPException(422, "Scores are approved or rejected.")
    held = set(look.site.ledger.plates.held())
    chosen = sorted(held & set(form.numbers("score")))
    if not chosen:
        raise HTTPException(409, "None of these scores is held any more: nothing was done.")
    look.site.ledger.decisions.add_reviews(chosen, "approve" if verdict == "approve" else "reject", look.visitor.name)
    look.site.gauges.forget()
    return to("/operations#held")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Figures for Prometheus, for the addresses that may read them."""
    site: Site = request.app.state.site
    if not is_from(request, networks(site.config.viewer.metrics_from)):
        raise HTTPException(403, "This address may not read the metrics (viewer.metrics_from).")
    return Response(generate_latest(site.gauges.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/healthz")
def healthz(request: Request) -> JSONResponse:
    """Whether the ledger answers."""
    site: Site = request.app.state.site
    try:
        site.ledger.watermark("")
    except LedgerError:
        return JSONResponse({"status": "no ledger"}, 503)
    return JSONResponse({"status": "ok"})
