"""Pictures for browsers: originals in a format they can show, thumbnails in a disk cache, and placeholders.

A row of the ledger alone decides which file is read; no part of an address ever names a file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from html import escape
from itertools import chain

from PIL import Image, ImageOps

from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.frames import thumbnail
from xtalgrid_core.images import image_size, read_image, read_uv

from ...config import Config
from ...domain.images import ImageRow
from ...steps.pack import image_path, read_original
from ...storage.originals import open_original, original_status
from ..cache.disk import DiskCache

SIDES = (160, 320, 640)
"""Longer side of thumbnails, in pixels: on dense plates, on other plates, and on screens with two pixels a point."""


_JPEG = b"\xff\xd8\xff"
_PART = 64 * 1024


def picture_pixels(config: Config, image: ImageRow) -> int:
    """Return the number of an image's pixels, from its header.

    Raises
    ------
    ImageError
        If it cannot be read, or is too large.
    """
    with open_original(config, image_path(config, image)) as stream:
        height, width = image_size(stream)
        return height * width


def jpeg_parts(config: Config, image: ImageRow) -> Iterator[bytes] | None:
    """Return an image's file in parts if it is a JPEG, which browsers can show as it is; see `picture_pixels`.

    Whoever drops the iterator closes the file.
    """
    parts = _parts(config, image)
    first = next(parts, b"")
    return chain([first], parts) if first.startswith(_JPEG) else None


def _parts(config: Config, image: ImageRow) -> Iterator[bytes]:
    with open_original(config, image_path(config, image)) as stream:
        while part := stream.read(_PART):
            yield part


def content_name(config: Config, *images: ImageRow, kind: str = "") -> str:
    """Return a name for what is made of these images' files as they are now, 40 characters.

    Raises
    ------
    ImageError
        If one of them cannot be read.
    """
    parts = []
    for image in images:
        path = image_path(config, image)
        about = original_status(config, path)
        parts.append(f"{path}\n{about.st_mtime_ns}\n{about.st_size}")
    return hashlib.sha256("\n".join([*parts, kind]).encode()).hexdigest()[:40]


def original_jpeg(config: Config, image: ImageRow) -> bytes:
    """Return an image that is no JPEG as one, at full size; for errors see `picture_pixels`."""
    return _jpeg(Image.fromarray(read_image(read_original(config, image))), quality=92)


def small_jpeg(data: bytes, side: int) -> bytes:
    """Return a copy of an image whose longer side is at most `side` pixels.

    A JPEG is decoded at the smallest scale (1/2, 1/4, 1/8) that is large enough, ten times faster than at full size.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    height, width = image_size(data)
    if not _is_jpeg(data):
        return _jpeg(thumbnail(Image.fromarray(read_image(data)), side))
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            part = side / max(height, width)
            image.draft("RGB", (max(1, round(width * part)), max(1, round(height * part))))
            return _jpeg(thumbnail(image.convert("RGB"), side))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(FailureReason.TRUNCATED, f"the file ends or breaks inside the image ({error})") from error


def stretched_jpeg(data: bytes, side: int) -> bytes:
    """Return a small copy of a UV image with its contrast stretched; without that it would be nearly black.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    grey = thumbnail(Image.fromarray(read_uv(data)).convert("L"), side)
    return _jpeg(ImageOps.autocontrast(grey, cutoff=(0.5, 0.05)))


def placeholder(text: str) -> bytes:
    """Return an SVG that says why there is no picture."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240" role="img">'
        f"<title>{escape(text)}</title>"
        '<rect width="320" height="240" fill="#8c8c8c" fill-opacity=".25"/>'
        '<path d="M0 0 320 240M320 0 0 240" stroke="#8c8c8c" stroke-opacity=".5"/>'
        '<text x="160" y="126" font-family="sans-serif" font-size="22" text-anchor="middle" fill="#8c8c8c">'
        f"{escape(text)}</text></svg>"
    ).encode()


class Thumbnails:
    """Small copies of the originals, made on request and cached under ``home/thumbnails`` (`viewer.thumbnails_mb`).

    A thumbnail is named by a hash of the original's path, time and size, so a changed original gets a new one.
    """

    def __init__(self, config: Config, max_bytes: int | None = None) -> None:
        self._config = config
        limit = config.viewer.thumbnails_mb * 1024 * 1024 if max_bytes is None else max_bytes
        self._cache = DiskCache(config.home / "thumbnails", limit, ".jpg")

    def find(self, image: ImageRow, side: int) -> tuple[str, bytes | None]:
        """Return the name of a thumbnail's content, and the JPEG if it was made before.

        Raises
        ------
        ImageError
            If the original cannot be read.
        """
        name = content_name(self._config, image, kind=str(side))
        return name, self._cache.read(name)

    def make(self, image: ImageRow, side: int, name: str) -> bytes:
        """Make a thumbnail and keep it; see `find`."""
        data = small_jpeg(read_original(self._config, image), side)
        self._cache.write(name, data)
        return data


def _is_jpeg(data: bytes) -> bool:
    return data.startswith(_JPEG)


def _jpeg(image: Image.Image, quality: int = 80) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
