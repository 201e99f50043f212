"""Pictures by ledger id: thumbnails, originals, framed images, UV mates, class maps. No address names a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from fastapi import APIRouter, HTTPException, Response

from xtalgrid_core.errors import ImageError, XtalgridError

from ...steps.framed import framed_jpeg
from ...steps.pack import read_original
from ..pages.maps import GROUPS
from ..pages.pictures import SIDES, original_jpeg, placeholder, stretched_jpeg
from ..site import AllowedRequest

router = APIRouter()

_CACHE_CONTROL = "private, max-age=600"


@router.get("/thumbnail/{side:int}/{image_id:int}.jpg")
def thumbnail(request: AllowedRequest, side: int, image_id: int) -> Response:
    """Send a thumbnail."""
    if side not in SIDES:
        raise HTTPException(404, "There is no such image.")
    row = request.site.image(image_id)
    try:
        data, name = request.site.thumbnails.get(row, side)
    except ImageError as error:
        return _missing(error)
    headers = {"Cache-Control": _CACHE_CONTROL, "ETag": f'"{name}"'}
    if request.http.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/image/{image_id:int}.jpg")
def original(request: AllowedRequest, image_id: int) -> Response:
    """Send the image itself."""
    row = request.site.image(image_id)
    return _jpeg(lambda: original_jpeg(request.site.config, row))


@router.get("/mate/{image_id:int}/{number:int}.jpg")
def mate(request: AllowedRequest, image_id: int, number: int) -> Response:
    """Send a mate of an image in UV or other light, by its position, small and with its contrast stretched."""
    row = request.site.image(image_id)
    mates = request.site.mates(row)
    if number >= len(mates):
        raise HTTPException(404, "There is no such image.")
    other = dataclasses.replace(row, image_name=mates[number].name)
    return _jpeg(lambda: stretched_jpeg(read_original(request.site.config, other), 1280))


@router.get("/framed/{score_id:int}.jpg")
def framed(request: AllowedRequest, score_id: int) -> Response:
    """Send the image with its frame and boxes drawn in."""
    scores = request.site.ledger.scores.by_id([score_id]) if score_id < 2**63 else []
    if not scores:
        raise HTTPException(404, "There is no such score.")
    return _jpeg(lambda: framed_jpeg(request.site.config, scores[0]))


@router.get("/map/{group}/{score_id:int}.png")
def class_map(request: AllowedRequest, group: str, score_id: int) -> Response:
    """Send the map of where the classifier saw a group; it is drawn at the first request."""
    ledger = request.site.ledger
    scores = ledger.scores.by_id([score_id]) if score_id < 2**63 and group in GROUPS else []
    origin = ledger.scores.origins(scores[0].image_id).get(score_id) if scores else None
    if origin is None:
        raise HTTPException(404, "There is no such map.")
    try:
        data = request.site.maps.get(scores[0], origin.options, group)
    except XtalgridError as error:
        return Response(str(error), 503, media_type="text/plain; charset=utf-8")
    return Response(data, media_type="image/png", headers={"Cache-Control": _CACHE_CONTROL})


def _jpeg(make: Callable[[], bytes]) -> Response:
    try:
        return Response(make(), media_type="image/jpeg", headers={"Cache-Control": _CACHE_CONTROL})
    except ImageError as error:
        return _missing(error)


def _missing(error: ImageError) -> Response:
    svg = placeholder(str(error.reason))
    return Response(svg, 404, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
