"""`/notifications`: what a person wants to be told of, and how."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse
from msgspec.structs import replace

from xtalgrid_core.lines import one_line

from ...config.sections import WebhookKind, When
from ...ledger.database import now
from ...ledger.notices import Settings
from ...steps.new_crystals import crystal_from
from ...steps.notices import MAIL, WEBHOOK, address_problem
from ...steps.outgoing import RefusedAddressError, target_of
from ..site import AllowedRequest, Form, NotSignedIn, PageRequest, PostedForm

router = APIRouter()

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""What a person can choose; besides the lab's own. Few, because each is looked for apart."""
WHEN = {"at once": "at once", "daily": "once a day", "weekly": "once a week, on Mondays"}
KINDS = {"slack": "Slack", "teams": "Microsoft Teams", "mattermost": "Mattermost", "json": "a program (JSON)"}
_MOST_PROJECTS = 500


@router.get("/notifications", response_class=HTMLResponse)
def page(request: AllowedRequest, saved: str = "") -> HTMLResponse:
    """Show the form."""
    if not request.visitor.may_score:
        raise NotSignedIn
    own = request.site.ledger.notices.settings_of(request.visitor.name)
    return _page(request, own, done="Saved." if saved else "")


@router.post("/notifications")
def save(request: AllowedRequest, form: PostedForm) -> Response:
    """Save what this person chose."""
    request.check_form(form)
    if not request.site.has_notifications:
        raise HTTPException(404, "This viewer sends no notifications.")
    name = request.visitor.name
    before = request.site.ledger.notices.settings_of(name)
    chosen = _chosen(request, form, before)
    if problem := _problem(request, chosen):
        return _page(request, replace(chosen, url=before.url), problem)
    request.site.ledger.notices.save(name, chosen)
    when = chosen.when if chosen.since else "off"
    request.log("notifications", when=when, mail=bool(chosen.address), webhook=_host(request, chosen))
    return request.redirect("/notifications?saved=1")


def _chosen(request: PageRequest, form: Form, before: Settings) -> Settings:
    """Read the form; what it cannot name stays as it is. An empty address of a webhook keeps the old one."""
    name = form.text("when")
    when: When = next((each for each in get_args(When) if each == name), before.when)
    kind: WebhookKind = next((each for each in get_args(WebhookKind) if each == form.text("kind")), before.kind)
    offered = set(_projects(request))
    threshold = next((each for each in THRESHOLDS if str(each) == form.text("crystal_from")), 0.0)
    url = "" if form.text("forget") else form.text("url").strip() or before.url
    return Settings(
        since=None if name not in WHEN else before.since or now(),
        when=when,
        projects=tuple(project for project in form.fields.get("project", []) if project in offered),
        crystal_from=threshold,
        address=form.text("mail").strip(),
        kind=kind,
        url=url,
    )


def _problem(request: PageRequest, chosen: Settings) -> str:
    """Say why this cannot be saved; empty if it can."""
    config = request.site.config
    if chosen.address and (problem := address_problem(config, chosen.address)):
        return f"{one_line(chosen.address)[:80]}: {problem}."
    if chosen.url and config.webhooks.people:
        try:
            target_of(chosen.url, config.webhooks.allowed_hosts)
        except RefusedAddressError as error:
            return f"The webhook was not taken: {error}."
    if chosen.since and not chosen.address and not chosen.url:
        return "Give an address that you are to be told at, or switch notifications off."
    return ""


def _page(request: PageRequest, own: Settings, problem: str = "", done: str = "") -> HTMLResponse:
    ledger, config, name = request.site.ledger, request.site.config, request.visitor.name
    last = {channel: ledger.notices.last_delivery(name, channel) for channel in (MAIL, WEBHOOK)}
    return request.render(
        "notifications.html",
        422 if problem else 200,
        problem=problem,
        done=done,
        own=own,
        host=_host(request, own),
        projects=_projects(request),
        knows_mine=bool(request.sight.projects),
        thresholds=THRESHOLDS,
        default=crystal_from(config),
        times=WHEN,
        hour=config.alerts.digest_hour,
        kinds=KINDS,
        domains=config.alerts.domains if config.alerts.smtp_host else (),
        has_webhooks=config.webhooks.people,
        last={channel: delivery for channel, delivery in last.items() if delivery},
    )


def _host(request: PageRequest, own: Settings) -> str:
    """Return the host of a webhook; the rest of its address is not shown, to nobody."""
    try:
        return str(target_of(own.url, request.site.config.webhooks.allowed_hosts)) if own.url else ""
    except RefusedAddressError:
        return "an address that is not allowed any more"


def _projects(request: PageRequest) -> list[str]:
    """Return the projects that this person can choose from: their own, and those of plates that they see."""
    sight = request.sight
    found = {name for entry in request.plates() for name in sight.plates.of(entry.barcode)}
    return [*sorted(sight.projects), *sorted(found - sight.projects)][:_MOST_PROJECTS]
