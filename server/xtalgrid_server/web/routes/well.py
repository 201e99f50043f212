"""`/well/…`: all that is known of one drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ...ledger.records import SeenImage, now
from ..pages.drops import Drop, by_inspection, drops_of, in_order, stop_of
from ..pages.history import scores_ever
from ..pages.layout import bars, ratio, scale_bar
from ..pages.maps import GROUPS
from ..query_parameters import Choice
from ..site import Look, Looks
from .plate import Only, PlateRead, days_between, read_plate

router = APIRouter()

_LAST_FOR = timedelta(hours=12)
"""How long a page offers to undo a score."""

_STRIP = (4, 7)
"""Drops before and after this one in the strip below the picture."""


@dataclass(frozen=True, slots=True)
class Time:
    """A drop at one of its inspections; `days` since the first one there is."""

    drop: Drop
    number: int
    inspected: datetime
    days: int


@router.get("/well/{barcode:path}/{inspection:int}/{name}", response_class=HTMLResponse)
def well(
    look: Looks,
    barcode: str,
    inspection: int,
    name: str,
    only: Only,
    order: str = "",
    size: str = "",
    show: str = "",
    image: str = "",
) -> HTMLResponse:
    """One drop: its picture with boxes and maps, its scores, and the way to the next one."""
    choice = Choice.of(order, only, size, show)
    read = read_plate(look, barcode, inspection, people=choice.show in ("people", "disagreement"))
    drop = next((each for each in read.drops if str(each.well) == name), None)
    if drop is None:
        raise HTTPException(404, f"Plate {barcode}, inspection {inspection}, has no image of a well {name}.")
    row = in_order(read.drops, choice)
    if drop not in row:  # a person's new score may have taken it out of the chosen ones
        row = in_order(read.drops, Choice(choice.order))
    at = row.index(drop)
    ledger = look.site.ledger
    seen = _chosen(ledger.views.seen(barcode, inspection, drop.well), drop, image)
    origins = ledger.views.origins(seen.image_id)
    answer = seen.score.answer if seen.score else None
    scored = answer if isinstance(answer, wire.Scored) else None
    times = _times(look, read, drop)
    drop = next((time.drop for time in times if time.number == inspection), drop)  # with what people said of it
    mine = [one for one in ledger.people.corrections([seen.image_id])[seen.image_id] if one.who == look.visitor.name]
    return look.page(
        "well.html",
        plate=read,
        drop=drop,
        seen=seen,
        scored=scored,
        bars=bars(scored) if scored else [],
        scale=scale_bar(scored) if scored else None,
        origin=origins[0] if origins else None,
        previous=row[at - 1] if at else None,
        next=row[at + 1] if at + 1 < len(row) else None,
        strip=row[max(at - _STRIP[0], 0) : at + _STRIP[1] + 1],
        place=at + 1,
        places=len(row),
        stop=stop_of(row) if choice.order == "best" else None,
        times=times,
        contents=ledger.people.contents([barcode])(barcode, drop.well),
        entries=scores_ever(look.site, [image for time in times for image in time.drop.images], origins),
        mine=mine[-1].outcome if mine else None,
        last=_last(look),
        mates=look.site.mates(seen.image),
        groups=GROUPS,
        ratio=ratio((scored.height, scored.width) if scored else None),
        choice=choice,
    )


def _chosen(images: Sequence[SeenImage], drop: Drop, wanted: str) -> SeenImage:
    """The image that is asked for by its id, else the one that stands for the drop."""
    by_id = {str(each.image_id): each for each in images}
    found = by_id.get(wanted) or by_id.get(str(drop.first.image_id))
    if found is None:
        raise HTTPException(404, "This image is gone.")
    return found


def _times(look: Look, read: PlateRead, drop: Drop) -> list[Time]:
    """The drop at all its inspections, oldest first."""
    numbers = [number for number, _ in read.inspections]
    images = by_inspection(look.site.ledger.plates.drops(read.barcode, numbers, drop.well))
    said = look.site.ledger.people.said({i.image_id: i.inspect_id for group in images.values() for i in group})
    first = read.inspections[0][1]
    found = []
    for number, group in sorted(images.items()):
        inspected = group[0].inspected
        found.append(Time(drops_of(group, said)[0], number, inspected, days_between(first, inspected)))
    return found


def _last(look: Look) -> tuple[str, Outcome | None] | None:
    """(well, outcome) of what this visitor scored last, for the line that offers to undo it."""
    last = look.site.ledger.people.last_said(look.visitor.name) if look.visitor.may_score else None
    if last is None or now() - last.at > _LAST_FOR:
        return None
    row = look.site.image(last.image_id)
    return f"{row.barcode} {row.well}", last.outcome
