"""`/operations`: the state of the pipeline and the held scores. `/metrics` and `/healthz` for programs."""

from __future__ import annotations

import hmac

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from xtalgrid_core.errors import LedgerError

from ...domain.drop_state import DropState
from ..pages.operations import SHOWN_HELD
from ..proxies import is_among, is_forwarded, is_from, networks, reached
from ..site import AllowedRequest, OpenRequest, PageRequest, PostedForm, Site

router = APIRouter()

_health = CapacityLimiter(1)
_SHOWN_HURRIED = 500
_THIS_MACHINE = networks(("127.0.0.0/8", "::1"))


@router.get("/operations", response_class=HTMLResponse)
def operations(request: AllowedRequest) -> HTMLResponse:
    """Show lag, backlog, throughput, hosts, failures, and held scores."""
    return _operations(request)


def _operations(request: PageRequest, problem: str = "") -> HTMLResponse:
    site = request.site
    status = site.monitor.status()
    held_ids = _visible_held(request, status.held)
    images = site.ledger.images.of_scores(held_ids[:SHOWN_HELD])
    person_scores = site.ledger.person_scores.of(images)
    held = [(image, DropState.of(None, scores=person_scores[image.inspect_id]).people) for image in images]
    found = site.hurried.get("", lambda: site.ledger.corrections.hurried(_SHOWN_HURRIED))
    rows = [(site.any_image(made.image_id), made, site.any_image(other)) for made, other in found]
    hurried = [each for each in rows if len(request.visible([each[0], each[2]])) == 2]
    return request.render(
        "operations.html",
        422 if problem else 200,
        problem=problem,
        pipeline=status,
        held=held,
        number_held=len(held_ids),
        shows_files=request.sight.everything,
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
    ledger, chosen = request.site.ledger, form.numbers("score")
    if not chosen:
        return _operations(request, f"Nothing was changed: tick the scores to {verdict} first.")
    selected = sorted(_visible_held(request, sorted(set(ledger.decisions.held()) & set(chosen))))
    if not selected:
        raise HTTPException(409, "None of these scores is still held: nothing was changed.")
    ledger.decisions.add_reviews(selected, "approve" if verdict == "approve" else "reject", request.visitor.name)
    request.log("review", verdict=verdict, scores=selected)
    request.site.monitor.forget()
    return request.redirect("/operations#held")


def _visible_held(request: PageRequest, score_ids: list[int]) -> list[int]:
    """Return those of some held scores whose plates this visitor may see, in their order."""
    if request.sight.everything:
        return score_ids
    seen = {image.score_id for image in request.visible(request.site.ledger.images.of_scores(score_ids))}
    return [score_id for score_id in score_ids if score_id in seen]


@router.get("/metrics")
def metrics(request: OpenRequest) -> Response:
    """Return the figures for Prometheus, to who has the token, has signed in, or asks from an allowed address."""
    if problem := _metrics_problem(request):
        raise HTTPException(403, problem)
    return Response(generate_latest(request.site.monitor.registry), media_type=CONTENT_TYPE_LATEST)


def _metrics_problem(request: PageRequest) -> str:
    """Say why these metrics are not for who asks, or return an empty string."""
    viewer, token = request.site.config.viewer, request.site.authentication.signer.metrics_token()
    given = request.http.headers.get("authorization", "").removeprefix("Bearer ")
    if request.visitor.name or hmac.compare_digest(given.encode(), token.encode()):
        return ""
    trusted = networks(viewer.trusted_proxies)
    if is_forwarded(request.http) and not is_from(request.http, trusted):
        return "These metrics were asked for through a web server that viewer.trusted_proxies lacks."
    client = reached(request.http).client
    if is_among(client, [*_THIS_MACHINE, *trusted]):
        return "A web server has this address too: send the token that `xtalgrid viewer metrics-token` prints."
    return "" if is_among(client, networks(viewer.metrics_from)) else "This address may not read the metrics."


@router.get("/healthz")
async def healthz(request: Request) -> JSONResponse:
    """Check that the ledger responds, in a thread that no page uses."""
    site: Site = request.app.state.site
    try:
        await to_thread.run_sync(site.ledger.watermark, "", limiter=_health)
    except LedgerError:
        return JSONResponse({"status": "no ledger"}, 503)
    return JSONResponse({"status": "ok"})
