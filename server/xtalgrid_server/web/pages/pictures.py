"""Pictures for browsers: originals as they can show them, small copies kept on disk, and a stand-in for what is missing.

Which file is read is decided by a row of the ledger alone; no part of an address ever names a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from html import escape

from PIL import Image, ImageOps

from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.frames import thumbnail
from xtalgrid_core.images import image_size, read_image

from ...config import Config
from ...domain.images import ImageRow
from ...steps.pack import image_path, read_original
from ..cache.disk import Kept

SIDES = (160, 320, 640)
"""Longer side of the small copies, in pixels: of dense plates, of usual ones, and of screens with two pixels a point."""


def original_jpeg(config: Config, image: ImageRow) -> bytes:
    """An image as a JPEG: the file itself where it is one, else its pixels without loss of size.

    Raises
    ------
    ImageError
        When it cannot be read.
    """
    data = read_original(config, image)
    image_size(data)  # an image, and of a size that can be one
    return data if _is_jpeg(data) else _jpeg(Image.fromarray(read_image(data)), quality=92)


def small_jpeg(data: bytes, side: int) -> bytes:
    """A copy of an image whose longer side is at most `side` pixels.

    A JPEG is decoded at the smallest scale (1/2, 1/4, 1/8) that is large enough: ten times as quick as the whole of it.

    Raises
    ------
    ImageError
        When it cannot be decoded.
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
    """A small copy of a UV image, which would be nearly black: grey levels stretched, but for the outermost half percent.

    Raises
    ------
    ImageError
        When it cannot be decoded.
    """
    grey = thumbnail(Image.fromarray(read_image(data)).convert("L"), side)
    return _jpeg(ImageOps.autocontrast(grey, cutoff=(0.5, 0.05)))


def stand_in(text: str) -> bytes:
    """An SVG that says in words why there is no picture."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240" role="img">'
        f"<title>{escape(text)}</title>"
        '<rect width="320" height="240" fill="#8c8c8c" fill-opacity=".25"/>'
        '<path d="M0 0 320 240M320 0 0 240" stroke="#8c8c8c" stroke-opacity=".5"/>'
        '<text x="160" y="126" font-family="sans-serif" font-size="22" text-anchor="middle" fill="#8c8c8c">'
        f"{escape(text)}</text></svg>"
    ).encode()


class Thumbnails:
    """Small copies of the originals, made when asked for and kept under ``home/thumbnails`` (`viewer.thumbnails_mb`).

    A copy is named by a hash of the original's path, time and size, so that a changed original is copied anew.
    """

    def __init__(self, config: Config, most_bytes: int | None = None) -> None:
        self._config = config
        most = config.viewer.thumbnails_mb * 1024 * 1024 if most_bytes is None else most_bytes
        self._kept = Kept(config.home / "thumbnails", most, ".jpg")
        self._decoding = threading.Semaphore(max(1, min(os.cpu_count() or 1, 4)))  # a plate asks for 288 at once

    def get(self, image: ImageRow, side: int) -> tuple[bytes, str]:
        """(JPEG, name of its content) of an image.

        Raises
        ------
        ImageError
            When the original cannot be read.
        """
        path = image_path(self._config, image)
        try:
            about = path.stat()
        except (OSError, ValueError) as error:
            raise ImageError(FailureReason.MISSING_FILE, f"{image.image_name} is not in its folder any more") from error
        name = hashlib.sha256(f"{path}\n{about.st_mtime_ns}\n{about.st_size}\n{side}".encode()).hexdigest()[:40]
        kept = self._kept.read(name)
        if kept is not None:
            return kept, name
        with self._decoding:
            data = small_jpeg(read_original(self._config, image), side)
        self._kept.write(name, data)
        return data, name


def _is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff")


def _jpeg(image: Image.Image, quality: int = 80) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
