"""Whether an image file has its end: one that an imager or a copy still writes has not."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

_TAIL = 4096
_PNG_END = b"IEND\xaeB`\x82"
_TIFF_PARTS = ((273, 279), (324, 325))
"""Tags of the offsets and the byte counts of strips, and of tiles."""


def missing_end(file: Path) -> str | None:
    """Why an image file is incomplete, or None where it ends as its format does.

    A JPEG ends with its end marker and a PNG with its end chunk, perhaps followed by zeros; the parts of a TIFF lie within it.
    Files in other formats have no end to miss.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    with file.open("rb") as stream:
        head = stream.read(8)
        size = stream.seek(0, 2)
        stream.seek(max(size - _TAIL, 0))
        tail = stream.read(_TAIL).rstrip(
            b"\0"
        )  # cameras pad; copies over a network are as long as the original at once
    if size == 0:
        return "the file is empty"
    if head.startswith(b"\xff\xd8"):
        return None if tail.endswith(b"\xff\xd9") else "the JPEG's end marker is missing"
    if head.startswith(b"\x89PNG"):
        return None if tail.endswith(_PNG_END) else "the PNG's end chunk is missing"
    if head.startswith((b"II*\0", b"MM\0*")):
        return _missing_in_tiff(file, size)
    return None


def _missing_in_tiff(file: Path, size: int) -> str | None:
    try:
        with warnings.catch_warnings(action="error"), Image.open(file) as image:
            tags = getattr(image, "tag_v2", {})
            ends = [
                offset + count
                for offsets, counts in _TIFF_PARTS
                for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            ]
    except (UnidentifiedImageError, OSError, ValueError, TypeError, KeyError, SyntaxError, Warning) as error:
        return f"the TIFF's directory cannot be read ({error})"
    return None if ends and max(ends) <= size else "parts of the TIFF are missing"
