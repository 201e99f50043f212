"""Pictures by ledger id: thumbnails, originals, framed images, UV mates, class maps. No address names a file."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, ImageError, XtalgridError
from xtalgrid_scoring.map_files import seen_in

from ...domain.images import ImageRow
from ...ledger.shapes import ScoredImage
from ...steps.framed import framed_jpeg
from ...steps.pack import read_original
from ..pages.maps import GROUPS
from ..pages.pictures import SIDES, jpeg_parts, original_jpeg, picture_pixels, placeholder, stretched_jpeg
from ..site import AllowedRequest, PageRequest
from ..threads import FileThreads

router = APIRouter()

CACHE_CONTROL = "private, max-age=600"
_MATE_SIDE = 1280


def _image(request: AllowedRequest, image_id: int) -> ImageRow:
    return request.image(image_id)


def _mate(request: AllowedRequest, image_id: int, number: int) -> ImageRow:
    row = request.image(image_id)
    mates = request.site.mates(row)
    if number >= len(mates):
        raise HTTPException(404, "There is no such image.")
    return dataclasses.replace(row, image_name=mates[number].name)


def _score(request: AllowedRequest, score_id: int) -> ScoredImage:
    return request.score(score_id)


NamedImage = Annotated[ImageRow, Depends(_image)]
NamedMate = Annotated[ImageRow, Depends(_mate)]
NamedScore = Annotated[ScoredImage, Depends(_score)]


@router.get("/thumbnail/{side:int}/{image_id:int}.jpg")
async def thumbnail(request: AllowedRequest, side: int, image: NamedImage) -> Response:
    """Send a thumbnail."""
    if side not in SIDES:
        raise HTTPException(404, "There is no such image.")
    try:
        data, name = await small_picture(request, image, side)
    except ImageError as error:
        return _missing(error)
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": f'"{name}"'}
    if request.http.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/image/{image_id:int}.jpg")
async def original(request: AllowedRequest, image: NamedImage) -> Response:
    """Send the image itself."""
    config, files = request.site.config, request.site.files
    try:
        pixels = await files.read(picture_pixels, config, image)  # also a check that this is an image
        parts = await files.read(jpeg_parts, config, image)
    except ImageError as error:
        return _missing(error)
    if parts is not None:
        sent = _read_on(files, parts)
        return StreamingResponse(sent, media_type="image/jpeg", headers={"Cache-Control": CACHE_CONTROL})
    return await _made(request, image, lambda: original_jpeg(config, image), pixels)


async def _read_on(files: FileThreads, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while part := await files.read(next, parts, b""):
        yield part


@router.get("/mate/{image_id:int}/{number:int}.jpg")
async def mate(request: AllowedRequest, image: NamedMate) -> Response:
    """Send a mate of an image in UV or other light, by its position, small and with its contrast stretched."""
    config = request.site.config
    return await _made(request, image, lambda: stretched_jpeg(read_original(config, image), _MATE_SIDE))


@router.get("/framed/{score_id:int}.jpg")
async def framed(request: AllowedRequest, score: NamedScore) -> Response:
    """Send the image with its frame and boxes drawn in."""
    return await _made(request, score, lambda: framed_jpeg(request.site.config, score))


def _map_options(request: AllowedRequest, score: NamedScore, group: str = GROUPS[0]) -> wire.Options:
    origin = request.site.ledger.scores.origins(score.image_id).get(score.score_id) if group in GROUPS else None
    if origin is None:
        raise HTTPException(404, "There is no such map.")
    return origin.options


MapOptions = Annotated[wire.Options, Depends(_map_options)]


@router.get("/map/{group}/{score_id:int}.png")
async def class_map(request: AllowedRequest, group: str, score: NamedScore, options: MapOptions) -> Response:
    """Send the map of where the classifier saw a group; it is drawn at the first request."""
    site = request.site
    try:
        data = await site.files.read(site.maps.find, score, group)
        if data is None:
            data = (await _drawn_maps(request, score, options))[group]
    except Busy:
        raise
    except XtalgridError as error:
        return _no_map(error)
    return Response(data, media_type="image/png", headers={"Cache-Control": CACHE_CONTROL})


@router.get("/map/{score_id:int}.json")
async def map_legend(request: AllowedRequest, score: NamedScore, options: MapOptions) -> Response:
    """Say what an image's maps show: each group's part of the drop, largest value and colour, and if it is visible."""
    site = request.site
    try:
        maps = await site.files.read(site.maps.find_all, score)
        if maps is None:
            maps = await _drawn_maps(request, score, options)
    except Busy:
        raise
    except XtalgridError as error:
        return _no_map(error)
    seen = {group: seen_in(png) for group, png in maps.items()}
    legend = [
        {"group": group, **one._asdict(), "visible": one.is_visible} for group, one in seen.items() if one is not None
    ]
    return JSONResponse(legend, headers={"Cache-Control": CACHE_CONTROL})


async def _drawn_maps(request: PageRequest, score: ScoredImage, options: wire.Options) -> dict[str, bytes]:
    site = request.site
    pixels = await site.files.read(picture_pixels, site.config, score)
    return await site.pictures.make(request.http, pixels, lambda: site.maps.get(score, options), is_map=True)


def _no_map(error: XtalgridError) -> Response:
    return Response(str(error), 503, media_type="text/plain; charset=utf-8")


async def small_picture(request: PageRequest, image: ImageRow, side: int) -> tuple[bytes, str]:
    """Return an image's thumbnail and the name of its content.

    Raises
    ------
    ImageError
        If the original cannot be read.
    Busy
        If too many pictures are being made.
    """
    site = request.site
    name, data = await site.files.read(site.thumbnails.find, image, side)
    if data is None:
        pixels = await site.files.read(picture_pixels, site.config, image)
        data = await site.pictures.make(request.http, pixels, lambda: site.thumbnails.make(image, side, name))
    return data, name


async def _made(
    request: PageRequest, image: ImageRow, make: Callable[[], bytes], pixels: int | None = None
) -> Response:
    site = request.site
    try:
        if pixels is None:
            pixels = await site.files.read(picture_pixels, site.config, image)
        data = await site.pictures.make(request.http, pixels, make)
    except ImageError as error:
        return _missing(error)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": CACHE_CONTROL})


def _missing(error: ImageError) -> Response:
    svg = placeholder(str(error.reason))
    return Response(svg, 404, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
