"""`/well/…`: everything that is known about one drop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ...ledger.database import now
from ...reports.decision_path import possible_groups, why_undecided
from ..pages.drops import DropCard, by_inspection, drop_cards, find_stop, select_drops
from ..pages.history import score_history
from ..pages.layout import bars, opinions, ratio, scale_bar
from ..pages.maps import GROUPS
from ..query_parameters import PlateView, well_address
from ..site import AllowedRequest, PageRequest
from .plate import Only, PlateInspection, days_between, read_plate

router = APIRouter()

_UNDO_OFFERED = timedelta(hours=12)
"""How long pages offer to undo a score."""

_STRIP = (4, 7)
"""Number of drops before and after this one in the strip below the picture."""


@dataclass(frozen=True, slots=True)
class DropInspection:
    """A drop at one of its inspections; `days` since the plate's first inspection in the ledger."""

    drop: DropCard
    number: int
    inspected: datetime
    days: int


@dataclass(frozen=True, slots=True)
class LastScore:
    """A person's last score, which the page offers to undo, and the address of its drop."""

    image_id: int
    drop: str
    outcome: Outcome
    address: str


@router.get("/well/{barcode:path}/{inspection:int}/{name}", response_class=HTMLResponse)
def well(
    request: AllowedRequest,
    barcode: str,
    inspection: int,
    name: str,
    only: Only,
    order: str = "",
    size: str = "",
    show: str = "",
    image: str = "",
) -> HTMLResponse:
    """Show one drop: its picture with boxes and maps, its scores, and links to the next drops."""
    view = PlateView.from_query(order, only, size, show)
    plate = read_plate(request, barcode, inspection)
    drop = next((drop for drop in plate.drops if str(drop.well) == name), None)
    if drop is None:
        raise HTTPException(404, f"Plate {barcode}, inspection {inspection}, has no image of well {name}.")
    row = select_drops(plate.drops, view)
    if drop not in row:  # a person's new score may have filtered it out
        row = select_drops(plate.drops, PlateView(view.order))
    at = row.index(drop)
    ledger = request.site.ledger
    shown = next((each for each in drop.images if str(each.image_id) == image), drop.image)
    origins = ledger.scores.origins(shown.image_id)
    scores = ledger.scores.by_id([shown.score_id]) if shown.score_id is not None else []
    answer = scores[0].answer if scores else None
    scored = answer if isinstance(answer, wire.Scored) else None
    timeline = _timeline(request, plate, drop)
    corrections = ledger.corrections.of_images([shown.image_id])[shown.image_id]
    origin = next(iter(origins.values()), None)
    own = [correction for correction in corrections if correction.who == request.visitor.name]
    mates = request.site.mates(shown)
    in_uv = request.site.fluorescence(scores[0], mates) if scored and mates else None
    return request.render(
        "well.html",
        in_uv=in_uv,
        plate=plate,
        drop=drop,
        shown=shown,
        scored=scored,
        bars=bars(scored) if scored else [],
        opinions=opinions(scored) if scored else [],
        why_undecided=why_undecided(scored, origin.options)
        if scored and origin and scored.outcome is Outcome.UNDECIDED
        else "",
        possible=possible_groups(scored, origin.options) if scored and origin else None,
        scale=scale_bar(scored) if scored else None,
        score=scores[0] if scores else None,
        origin=origin,
        previous=row[at - 1] if at else None,
        next=row[at + 1] if at + 1 < len(row) else None,
        strip=row[max(at - _STRIP[0], 0) : at + _STRIP[1] + 1],
        listed=",".join(f"{each.well} {each.image.image_id} {each.image.score_id or ''}" for each in row),
        place=at + 1,
        places=len(row),
        stop=find_stop(row) if view.order == "best" else None,
        timeline=timeline,
        contents=ledger.contents.of_plates([barcode])(barcode, drop.well),
        entries=score_history(request.site, [image for past in timeline for image in past.drop.images], origins),
        own_outcome=own[-1].outcome if own else None,
        last_score=_last_score(request, view),
        mates=mates,
        groups=GROUPS,
        ratio=ratio((scored.height, scored.width) if scored else None),
        view=view,
    )


def _timeline(request: PageRequest, plate: PlateInspection, drop: DropCard) -> list[DropInspection]:
    """Read the drop at all its inspections, oldest first."""
    ledger = request.site.ledger
    images = ledger.images.of_plate(plate.barcode, [number for number, _ in plate.inspections], drop.well)
    person_scores = ledger.person_scores.of(images)
    first = plate.inspections[0][1]
    timeline = []
    for number, group in sorted(by_inspection(images).items()):
        inspected, card = group[0].inspected, drop_cards(group, person_scores)[0]
        timeline.append(DropInspection(card, number, inspected, days_between(first, inspected)))
    return timeline


def _last_score(request: PageRequest, view: PlateView) -> LastScore | None:
    """Return this visitor's last score, if they may want to undo it."""
    last = request.site.ledger.corrections.last_by(request.visitor.name) if request.visitor.may_score else None
    if last is None or last.outcome is None or now() - last.at > _UNDO_OFFERED:
        return None
    row = request.site.image(last.image_id)
    address = well_address(row.barcode, row.inspection, row.well, view)
    return LastScore(last.image_id, f"{row.barcode} {row.well}", last.outcome, address)
