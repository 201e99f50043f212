"""`/`: the plates, newest first."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from xtalgrid_core.outcomes import Group, Outcome

from ...ledger.plates import Counts
from ..pages.index import PlateEntry
from ..site import Looks, Values

router = APIRouter()

PLATES_A_PAGE = 50
_SAMPLES = 2
_LONGEST = 60


@router.get("/", response_class=HTMLResponse)
def plates(look: Looks, q: str = "", page: str = "1") -> HTMLResponse:
    """The plates whose barcode, project, sample or condition contains a text."""
    q = q.strip()[:_LONGEST]
    number = min(max(int(page), 1), 100_000) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    found = look.site.index.all()
    if q:
        named = look.site.ledger.plates.with_contents(q)
        found = [entry for entry in found if q.lower() in entry.barcode.lower() or entry.barcode in named]
    shown = found[(number - 1) * PLATES_A_PAGE : number * PLATES_A_PAGE]
    newest = tuple(entry.newest for entry in shown)
    counts = look.site.counts.get(newest, lambda: look.site.ledger.plates.counts(newest))
    contents = look.site.ledger.plates.contents([entry.barcode for entry in shown])
    rows = [_row(entry, counts.get(entry.newest, Counts(0, {})), contents.get(entry.barcode, [])) for entry in shown]
    return look.page(
        "plates.html",
        rows=rows,
        q=q,
        page=number,
        total=len(found),
        first=(number - 1) * PLATES_A_PAGE + 1,
        more=len(found) > number * PLATES_A_PAGE,
        chain=look.site.gauges.chain(),
    )


def _row(entry: PlateEntry, counts: Counts, contents: list[tuple[str, str]]) -> Values:
    outcomes = counts.outcomes
    samples = sorted({sample for _, sample in contents if sample})
    return {
        "entry": entry,
        "projects": sorted({project for project, _ in contents if project}),
        "samples": samples[:_SAMPLES],
        "more_samples": max(len(samples) - _SAMPLES, 0),
        "images": counts.images,
        "crystals": sum(number for outcome, number in outcomes.items() if outcome.group is Group.CRYSTAL),
        "undecided": outcomes.get(Outcome.UNDECIDED, 0),
        "failed": outcomes.get(Outcome.FAILED, 0),
        "waiting": counts.waiting,
    }
