"""How a drop's pictures lie on each other, as JSON, for the time lapse and for UV light over the visible picture."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, HTTPException, Response
from fastapi.concurrency import run_in_threadpool

from xtalgrid_core.errors import ImageError

from ...domain.images import ImageRow
from ..pages.alignment import Alignment
from ..pages.pictures import picture_pixels
from ..site import AllowedRequest
from .pictures import CACHE_CONTROL, NamedImage, NamedMate

router = APIRouter(prefix="/aligned")


@router.get("/{image_id:int}/{other_id:int}.json")
async def inspection(request: AllowedRequest, image: NamedImage, other_id: int) -> Response:
    """Say how another image of the same drop lies on an image."""
    other = await run_in_threadpool(request.image, other_id)
    if (other.barcode, other.well) != (image.barcode, image.well):
        raise HTTPException(404, "These images show different drops.")
    return await _aligned(request, image, other)


@router.get("/{image_id:int}/mate/{number:int}.json")
async def mate(request: AllowedRequest, image: NamedImage, other: NamedMate) -> Response:
    """Say how an image's mate in UV or other light, by its position, lies on it."""
    return await _aligned(request, image, other)


async def _aligned(request: AllowedRequest, image: ImageRow, other: ImageRow) -> Response:
    site = request.site
    try:
        name, data = await site.files.read(site.alignments.find, image, other)
        if data is None:
            pixels = [await site.files.read(picture_pixels, site.config, each) for each in (image, other)]
            data = await site.pictures.make(request.http, max(pixels), lambda: site.alignments.make(image, other, name))
    except ImageError as error:
        problem = msgspec.json.encode(Alignment(problem=str(error.reason)))
        return Response(problem, media_type="application/json")
    return Response(data, media_type="application/json", headers={"Cache-Control": CACHE_CONTROL})
