"""`/`: the plates, newest first."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ..pages.counts import PlateCounts, plate_counts
from ..pages.index import PlateEntry
from ..site import AllowedRequest

router = APIRouter()

PLATES_PER_PAGE = 50
_SHOWN_SAMPLES = 2
_LONGEST_SEARCH = 60


@router.get("/", response_class=HTMLResponse)
def plates(request: AllowedRequest, q: str = "", page: str = "1") -> HTMLResponse:
    """List the plates whose barcode, project, sample, condition or notes contain a text."""
    site = request.site
    q = q.strip()[:_LONGEST_SEARCH]
    number = min(max(int(page), 1), 100_000) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    entries = site.index.all()
    if q:
        matching = site.ledger.contents.plates_with(q) | site.ledger.drop_notes.plates_with(q)
        entries = [entry for entry in entries if q.lower() in entry.barcode.lower() or entry.barcode in matching]
    listed = entries[(number - 1) * PLATES_PER_PAGE : number * PLATES_PER_PAGE]
    newest = tuple(entry.newest for entry in listed)
    counts = site.counts.get(newest, lambda: plate_counts(site.ledger, newest, site.config.imager.programs))
    contents = site.ledger.contents.samples([entry.barcode for entry in listed])
    rows = [
        _row(entry, counts.get(entry.newest, PlateCounts(0, 0, 0, 0, 0)), contents.get(entry.barcode, []))
        for entry in listed
    ]
    return request.render(
        "plates.html",
        rows=rows,
        q=q,
        page=number,
        total=len(entries),
        first=(number - 1) * PLATES_PER_PAGE + 1,
        more=len(entries) > number * PLATES_PER_PAGE,
        pipeline=site.monitor.status(),
    )


def _row(entry: PlateEntry, counts: PlateCounts, contents: list[tuple[str, str]]) -> dict[str, Any]:
    samples = sorted({sample for _, sample in contents if sample})
    return {
        "entry": entry,
        "projects": sorted({project for project, _ in contents if project}),
        "samples": samples[:_SHOWN_SAMPLES],
        "more_samples": max(len(samples) - _SHOWN_SAMPLES, 0),
        "counts": counts,
    }
