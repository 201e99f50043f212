"""Pictures by the ledger's ids: thumbnails, originals, framed images, UV mates, class maps. No address names a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from fastapi import APIRouter, HTTPException, Response

from xtalgrid_core.errors import ImageError, XtalgridError

from ...steps.framed import framed_jpeg
from ...steps.pack import read_original
from ..pages.maps import GROUPS
from ..pages.pictures import SIDES, original_jpeg, stand_in, stretched_jpeg
from ..site import Looks

router = APIRouter()

_KEPT = "private, max-age=600"


@router.get("/thumbnail/{side:int}/{image_id:int}.jpg")
def small(look: Looks, side: int, image_id: int) -> Response:
    """A small copy."""
    if side not in SIDES:
        raise HTTPException(404, "There is no such image.")
    row = look.site.image(image_id)
    try:
        data, name = look.site.thumbnails.get(row, side)
    except ImageError as error:
        return _stand_in(error)
    headers = {"Cache-Control": _KEPT, "ETag": f'"{name}"'}
    if look.request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/image/{image_id:int}.jpg")
def original(look: Looks, image_id: int) -> Response:
    """The image itself."""
    row = look.site.image(image_id)
    return _jpeg(lambda: original_jpeg(look.site.config, row))


@router.get("/mate/{image_id:int}/{number:int}.jpg")
def mate(look: Looks, image_id: int, number: int) -> Response:
    """A UV mate of an image, by its place among them, scaled to a screen and its levels stretched."""
    row = look.site.image(image_id)
    names = look.site.mates(row)
    if number >= len(names):
        raise HTTPException(404, "There is no such image.")
    other = dataclasses.replace(row, image_name=names[number])
    return _jpeg(lambda: stretched_jpeg(read_original(look.site.config, other), 1280))


@router.get("/framed/{score_id:int}.jpg")
def framed(look: Looks, score_id: int) -> Response:
    """The image with its frame and boxes drawn in."""
    found = look.site.ledger.views.scores_by_id([score_id]) if score_id < 2**63 else []
    if not found:
        raise HTTPException(404, "There is no such score.")
    return _jpeg(lambda: framed_jpeg(look.site.config, found[0]))


@router.get("/map/{group}/{score_id:int}.png")
def class_map(look: Looks, group: str, score_id: int) -> Response:
    """Where the classifier saw a group; drawn when it is asked for first."""
    found = look.site.ledger.views.scores_by_id([score_id]) if score_id < 2**63 and group in GROUPS else []
    if not found:
        raise HTTPException(404, "There is no such map.")
    origins = look.site.ledger.views.origins(found[0].image_id)
    origin = next((each for each in origins if each.score.score_id == score_id), None)
    if origin is None:
        raise HTTPException(404, "There is no such map.")
    try:
        data = look.site.maps.get(found[0].image, origin, group)
    except XtalgridError as error:
        return Response(str(error), 503, media_type="text/plain; charset=utf-8")
    return Response(data, media_type="image/png", headers={"Cache-Control": _KEPT})


def _jpeg(make: Callable[[], bytes]) -> Response:
    try:
        return Response(make(), media_type="image/jpeg", headers={"Cache-Control": _KEPT})
    except ImageError as error:
        return _stand_in(error)


def _stand_in(error: ImageError) -> Response:
    return Response(stand_in(str(error.reason)), 404, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
