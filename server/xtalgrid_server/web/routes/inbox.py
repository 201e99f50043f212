"""`/inbox`: what is new for this person, and what needs a decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from ...ledger.database import now
from ...ledger.shapes import DropImage
from ...steps.new_crystals import NewCrystal, crystal_from, new_crystals
from ..site import AllowedRequest, PageRequest, PostedForm
from .plate import days_between

router = APIRouter()

_FIRST_DAYS = 14
"""How many days back a person's first visit goes."""

_LIMIT = 60
"""Drops shown in each section, newest first."""


@dataclass(frozen=True, slots=True)
class CrystalPair:
    """A drop with a new crystal, and the days since the image before; both are None at the drop's first inspection."""

    crystal: NewCrystal
    before: DropImage | None
    days: int | None


@router.get("/inbox", response_class=HTMLResponse)
def inbox(request: AllowedRequest) -> HTMLResponse:
    """Show new crystals, one's own scores that the ARTscore now differs from, and undecided drops."""
    site, name = request.site, request.visitor.name
    last_visit = site.ledger.users.last_seen(name) if request.visitor.may_score else None
    since = last_visit or (now() - timedelta(days=_FIRST_DAYS)).replace(second=0, microsecond=0)
    threshold = crystal_from(site.config)
    crystals = site.crystals.get(since, lambda: new_crystals(site.ledger, threshold, scored_since=since))
    newest = crystals[:_LIMIT]
    inspections = site.index.inspections_of({crystal.image.barcode for crystal in newest})
    images = site.ledger.images
    return request.render(
        "inbox.html",
        last_visit=last_visit,
        since=since,
        threshold=threshold,
        number=len(crystals),
        pairs=[_pair(request, crystal, inspections[crystal.image.barcode]) for crystal in newest],
        rescored=images.rescored(name, _LIMIT) if request.visitor.may_score else [],
        undecided=images.undecided(_LIMIT),
        limit=_LIMIT,
    )


@router.post("/inbox/seen")
def mark_seen(request: AllowedRequest, form: PostedForm) -> Response:
    """Mark everything in the inbox as seen by this person."""
    request.check_form(form)
    request.site.ledger.users.mark_seen(request.visitor.name)
    return request.redirect("/inbox")


def _pair(request: PageRequest, crystal: NewCrystal, inspections: list[tuple[int, datetime]]) -> CrystalPair:
    image = crystal.image
    earlier = [number for number, at in inspections if at < image.inspected and number != image.inspection]
    before = request.site.ledger.images.of_plate(image.barcode, earlier[-1:], image.well) if earlier else []
    days = days_between(before[0].inspected, image.inspected) if before else None
    return CrystalPair(crystal, before[0] if before else None, days)
