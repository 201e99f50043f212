"""`/inbox`: what is new for this person, and what waits for one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from ...ledger.plates import DropImage
from ...ledger.records import now
from ...steps.new_crystals import NewCrystal, crystal_from, new_crystals
from ..pages.drops import Drop, drops_of
from ..site import Look, Looks, Sent, to
from .plate import days_between

router = APIRouter()

_FIRST_DAYS = 14
"""How far back somebody's first look goes."""

_MOST = 60
"""Drops shown in each part; the newest come first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A drop with a new crystal: before (None: there was no inspection before) and after."""

    new: NewCrystal
    before: DropImage | None
    after: Drop
    days: int | None


@router.get("/inbox", response_class=HTMLResponse)
def inbox(look: Looks) -> HTMLResponse:
    """New crystals, own scores that the ARTscore now differs from, and the undecided."""
    plates, name = look.site.ledger.plates, look.visitor.name
    last = look.site.ledger.visits.last_seen(name) if look.visitor.may_score else None
    since = last or (now() - timedelta(days=_FIRST_DAYS)).replace(second=0, microsecond=0)
    threshold = crystal_from(look.site.config)
    found = look.site.crystals.get(since, lambda: new_crystals(look.site.ledger, threshold, scored_since=since))
    shown = found[:_MOST]
    moments = look.site.index.inspections_of({each.image.barcode for each in shown})
    return look.page(
        "inbox.html",
        last=last,
        since=since,
        threshold=threshold,
        number=len(found),
        pairs=[_pair(look, each, moments[each.image.barcode]) for each in shown],
        rescored=plates.rescored(name, _MOST) if look.visitor.may_score else [],
        undecided=[drop for image in plates.undecided(_MOST) for drop in drops_of([image])],
        most=_MOST,
    )


@router.post("/inbox/seen")
def seen(look: Looks, form: Sent) -> Response:
    """From now on, new is what comes after now."""
    look.check(form)
    look.site.ledger.visits.mark_seen(look.visitor.name)
    return to("/inbox")


def _pair(look: Look, new: NewCrystal, moments: list[tuple[int, datetime]]) -> Pair:
    image = new.image
    earlier = [number for number, at in moments if at < image.inspected and number != image.inspection]
    before = look.site.ledger.plates.drops(image.barcode, earlier[-1:], image.well) if earlier else []
    days = days_between(before[0].inspected, image.inspected) if before else None
    return Pair(new, before[0] if before else None, drops_of([image])[0], days)
