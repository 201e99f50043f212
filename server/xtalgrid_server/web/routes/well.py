"""`/well/…`: everything that is known about one drop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from xtalgrid_core import wire
from xtalgrid_core.best_chops import shown_chops
from xtalgrid_core.outcomes import Outcome

from ...domain.wells import Well
from ...ledger.corrections import Correction
from ...reports.decision_path import possible_groups, why_undecided
from ...reports.marks import scale_of
from ..addresses import INSPECTION
from ..pages.drops import DropCard, by_inspection, drop_cards, find_stop, is_likely, select_drops, without_artscore
from ..pages.history import score_history
from ..pages.layout import bars, opinions, ratio, scale_bar
from ..pages.maps import GROUPS
from ..pages.marking import MARKED_AS
from ..pages.scoring import value_of
from ..query_parameters import PlateView, well_address
from ..site import AllowedRequest, PageRequest
from .plate import Only, PlateInspection, days_between, hide_artscores, read_plate, review_line

router = APIRouter()

_STRIP = (4, 7)
"""Number of drops before and after this one in the strip below the picture."""


@dataclass(frozen=True, slots=True)
class DropInspection:
    """A drop at one of its inspections; `days` and `hours` since the plate's first inspection in the ledger."""

    drop: DropCard
    number: int
    inspected: datetime
    days: int
    hours: int


@dataclass(frozen=True, slots=True)
class LastScore:
    """A person's last score, which the page offers to undo, and the address of its drop.

    `value` is empty for a withdrawal. `name` is the browser's key of the score or, without one, its id.
    """

    given: int
    name: str
    image_id: int
    barcode: str
    well: Well
    value: str
    said: str
    address: str


@dataclass(frozen=True, slots=True)
class Undone:
    """What was just undone, and the person's score of this drop that is valid again, in words."""

    what: str
    now: str


@router.get(f"/well/{INSPECTION}/{{name}}", response_class=HTMLResponse)
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
    undone: str = "",
    favourites: str = "",
) -> HTMLResponse:
    """Show one drop: its picture with boxes and maps, its scores, and links to the next drops."""
    view = PlateView.from_query(order, only, size, show, favourites)
    plate = hide_artscores(request, read_plate(request, barcode, inspection))
    drop = next((drop for drop in plate.drops if str(drop.well) == name), None)
    if drop is None:
        raise HTTPException(404, f"Plate {barcode}, inspection {inspection}, has no image of well {name}.")
    row = select_drops(plate.drops, view)
    if drop not in row:  # a person's new score may have filtered it out
        row = select_drops(plate.drops, PlateView(view.order))
    at, line = row.index(drop), review_line(request)
    ledger = request.site.ledger
    shown = next((each for each in drop.images if str(each.image_id) == image), drop.image)
    origins = ledger.scores.origins(shown.image_id)
    scores = ledger.scores.by_id([shown.score_id]) if shown.score_id is not None else []
    answer = scores[0].answer if scores else None
    scored = answer if isinstance(answer, wire.Scored) else None
    hidden = ledger.scores.by_id([max(origins)]) if origins and not scores else []  # its scale is no secret
    measures = scale_of(hidden[0].answer if hidden else answer)
    timeline = _timeline(request, plate, drop)
    entries = score_history(request.site, [image for past in timeline for image in past.drop.images], origins)
    if drop.is_hidden:
        timeline = [replace(past, drop=without_artscore(past.drop)) for past in timeline]
        entries = [entry for entry in entries if entry.is_person]
    corrections = ledger.corrections.of_images([shown.image_id])[shown.image_id]
    origin = origins.get(shown.score_id) if shown.score_id is not None else None
    own = [correction for correction in corrections if correction.who == request.visitor.name]
    mates = request.site.mates(shown)
    in_uv = request.site.fluorescence(scores[0], mates) if scored and mates else None
    return request.render(
        "well.html",
        in_uv=in_uv,
        look=ledger.looks.of([scores[0].score_id]).get(scores[0].score_id) if scored else None,
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
        chops=shown_chops(scored) if scored else (),
        measures=measures,
        marked=request.site.marking.of_picture(
            shown.image_id,
            measures,
            request.visitor.name,
            may_score=request.visitor.may_score,
            hides_programs=drop.is_hidden,
        ),
        marked_as=MARKED_AS,
        score=scores[0] if scores else None,
        origin=origin,
        previous=row[at - 1] if at else None,
        next=row[at + 1] if at + 1 < len(row) else None,
        strip=row[max(at - _STRIP[0], 0) : at + _STRIP[1] + 1],
        listed=",".join(_listed(each, line) for each in row),
        unscored=next((each for each in (*row[at + 1 :], *row[:at]) if not each.state.people), None),
        place=at + 1,
        places=len(row),
        progress=sum(bool(each.state.people) for each in row),
        stop=find_stop(row, line),
        timeline=timeline,
        contents=ledger.contents.of_plates([barcode])(barcode, drop.well),
        entries=entries,
        own_value=_value(own[-1]) if own else "",
        last_score=_last_score(request, view),
        undone=_undone(request, shown.image_id, undone),
        mates=mates,
        groups=GROUPS,
        ratio=ratio((scored.height, scored.width) if scored else None),
        view=view,
    )


def _listed(drop: DropCard, line: int) -> str:
    """Return what the page's script knows of a drop: well, ids, whether it is scored, and likely to hold a crystal."""
    known = ("s" if drop.state.people else "") + ("l" if is_likely(drop, line) else "")
    return f"{drop.well} {drop.image.image_id} {drop.image.score_id or ''} {known}"


def _timeline(request: PageRequest, plate: PlateInspection, drop: DropCard) -> list[DropInspection]:
    """Read the drop at all its inspections, oldest first."""
    ledger = request.site.ledger
    images = ledger.images.of_plate(plate.barcode, [number for number, _ in plate.inspections], drop.well)
    person_scores = ledger.person_scores.of(images)
    first = plate.inspections[0][1]
    timeline = []
    for number, group in sorted(by_inspection(images).items()):
        inspected, card = group[0].inspected, drop_cards(group, person_scores)[0]
        hours = round((inspected - first) / timedelta(hours=1))
        timeline.append(DropInspection(card, number, inspected, days_between(first, inspected), hours))
    return timeline


def _value(correction: Correction) -> str:
    """Return what the page's buttons call a person's score; empty for a withdrawn one."""
    return value_of(correction.outcome, correction.code) if correction.outcome else ""


def _last_score(request: PageRequest, view: PlateView) -> LastScore | None:
    """Return the score that this visitor may want to undo next."""
    last = request.site.scoring.last(request.visitor.name, request.session) if request.visitor.may_score else None
    if last is None or not request.sees_image(last.image_id):
        return None
    row = request.image(last.image_id)
    address = well_address(row.barcode, row.inspection, row.well, view)
    name = last.key or str(last.id)
    said = _in_words(request, last)
    return LastScore(last.id, name, last.image_id, row.barcode, row.well, _value(last), said, address)


def _undone(request: PageRequest, image_id: int, correction: str) -> Undone | None:
    """Say what a correction of this visitor undid, by its id in the address; None if it undid nothing of this drop."""
    is_id = correction.isascii() and correction.isdigit() and len(correction) < 19
    ledger = request.site.ledger.corrections
    undoing = ledger.by_id(int(correction)) if is_id else None
    if undoing is None or (undoing.who, undoing.image_id) != (request.visitor.name, image_id):
        return None
    undone = ledger.by_id(undoing.undoes) if undoing.undoes is not None else None
    return Undone(_in_words(request, undone), _in_words(request, undoing, "none")) if undone else None


def _in_words(request: PageRequest, correction: Correction, nothing: str = "withdrawn") -> str:
    """Return what a person said, by the lab's own name for it if it has one."""
    return request.site.config.own_name(correction.code or "") or str(correction.outcome or nothing)
