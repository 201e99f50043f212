"""`/plate/…/report.pdf` and `…/report.html`: a plate for the group meeting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Response
from fastapi.concurrency import run_in_threadpool

from xtalgrid_core.errors import ImageError

from ...ledger.shapes import DropImage, ScoredImage
from ..addresses import INSPECTION
from ..pages.pictures import picture_pixels
from ..report.content import Pictures, Report, picture, report_of_plate, wanted_pictures
from ..report.html import html
from ..report.pdf import pdf
from ..site import AllowedRequest, PageRequest, download
from .plate import read_plate

router = APIRouter()

_one_by_one = CapacityLimiter(1)
"""A report of 1,536 wells takes some seconds of a processor."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A report, and the images to show in it."""

    report: Report
    images: list[tuple[DropImage, ScoredImage | None]]


def _wanted(request: AllowedRequest, barcode: str, inspection: int) -> Wanted:
    read_plate(request, barcode, inspection)  # 404 as for the plate's page
    ledger = request.site.ledger
    report = report_of_plate(ledger, barcode, inspection)
    return Wanted(report, wanted_pictures(ledger, report))


WantedReport = Annotated[Wanted, Depends(_wanted)]


@router.get(f"/plate/{INSPECTION}/report.pdf")
async def as_pdf(request: AllowedRequest, wanted: WantedReport) -> Response:
    """Send the report as PDF."""
    pictures = await _pictures(request, wanted)
    data = await to_thread.run_sync(pdf, wanted.report, pictures, limiter=_one_by_one)
    return await run_in_threadpool(_download, request, wanted.report, data, "pdf")


@router.get(f"/plate/{INSPECTION}/report.html")
async def as_html(request: AllowedRequest, wanted: WantedReport) -> Response:
    """Send the report as one HTML file."""
    pictures = await _pictures(request, wanted)
    data = await to_thread.run_sync(html, request.site.render, wanted.report, pictures, limiter=_one_by_one)
    return await run_in_threadpool(_download, request, wanted.report, data, "html")


async def _pictures(request: PageRequest, wanted: Wanted) -> Pictures:
    """Make the pictures where the viewer makes all pictures, one after the other."""
    site, made = request.site, Pictures()
    for image, score in wanted.images:
        try:
            pixels = await site.files.read(picture_pixels, site.config, image)
            make = partial(picture, site.config, image, score)
            made[image.image_id] = await site.pictures.make(request.http, pixels, make)
        except ImageError as error:
            made[image.image_id] = str(error.reason)
    return made


def _download(request: PageRequest, report: Report, data: bytes, kind: str) -> Response:
    plate = report.plates[0]
    request.log("export", kind=f"report.{kind}", barcode=plate.barcode, inspection=plate.inspection)
    media = "application/pdf" if kind == "pdf" else "text/html; charset=utf-8"
    return download(data, media, f"{plate.barcode}_{plate.inspection}_report.{kind}")
