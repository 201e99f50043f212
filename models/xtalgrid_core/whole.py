"""Whether an image file is complete: by the end of its format, or more surely, by its decoded image."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image

_TAIL = 4096

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_PNG_END = b"IEND\xaeB`\x82"
_TIFF_PARTS = ((273, 279), (324, 325))
"""Tags of the offsets and the byte counts of strips, and of tiles."""


def missing_end(stream: IO[bytes]) -> str | None:
    """Return why an image file is incomplete, or None if it is complete.

    A JPEG must have its end marker and a PNG its end chunk, whatever follows them. The parts of a TIFF's first page
    must lie within the file. Files of other formats are taken for complete.

    Parameters
    ----------
    stream
        The file, opened for reading; its position is changed.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(8)
    stream.seek(max(size - _TAIL, 0))
    tail = stream.read().rstrip(b"\0")  # padding; network copies get their full length first
    stream.seek(0)
    if size == 0:
        return "the file is empty"
    if head.startswith(b"\xff\xd8"):
        is_complete = tail.endswith(b"\xff\xd9") or any(kind == _END_OF_IMAGE for kind, _ in _markers(stream.read()))
        return None if is_complete else "the JPEG's end marker is missing"
    if head.startswith(b"\x89PNG"):
        is_complete = tail.endswith(_PNG_END) or _has_end_chunk(stream.read())
        return None if is_complete else "the PNG's end chunk is missing"
    if head.startswith((b"II*\0", b"MM\0*")):
        return _missing_in_tiff(stream, size)
    return None


def ends_early(data: bytes, image: Image.Image) -> bool:
    """Tell whether a JPEG's data end before the image is complete.

    In that case libjpeg fills the rest with grey and warns, but Pillow doesn't pass the warning on. Since a complete
    image may have a grey corner too, extra data are then inserted after the first scan: they change the filled part
    of an incomplete image, but nothing in a complete one.

    Parameters
    ----------
    data
        The file.
    image
        Its decoded image, at any scale.
    """
    corner = image.crop((image.width - 2, image.height - 2, image.width, image.height)).getcolors()
    if corner is None or len(corner) > 1 or not {127, 128}.issuperset(np.ravel(corner[0][1]).tolist()):
        return False
    later = itertools.dropwhile(lambda marker: marker[0] != _START_OF_SCAN, _markers(data))
    _, end = next(itertools.islice(later, 1, None), (None, len(data)))
    longer = b"".join((memoryview(data)[:end], bytes(range(1, 255)), memoryview(data)[end:]))
    return _eighth(data) != _eighth(longer)


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the (kind, position) of a JPEG's markers up to the end marker, without restarts and embedded thumbnails."""
    at = 2
    while (match := _MARKER.search(data, at)) is not None:
        at = match.start()
        kind = data[at + 1]
        yield kind, at
        if kind == _END_OF_IMAGE:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # skip the segment, not a scan's data


def _eighth(data: bytes) -> bytes:
    """Decode a JPEG at ⅛ of its scale; empty if that fails."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft(None, (1, 1))
        try:
            return image.tobytes()
        except OSError:
            return b""


def _has_end_chunk(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            return True
        at += 12 + length
    return False


def _missing_in_tiff(stream: IO[bytes], size: int) -> str | None:
    try:
        with warnings.catch_warnings(action="error"):  # Pillow warns if a tag's data lie beyond the end
            warnings.filterwarnings("ignore", "Metadata Warning")  # harmless: a tag with too many values
            image = Image.open(stream, formats=("TIFF",))
            tags = getattr(image, "tag_v2", {})
            ends = [
                offset + count
                for offsets, counts in _TIFF_PARTS
                for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            ]
    except Image.DecompressionBombError:
        return None  # too large, but complete as far as we know
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, Warning) as error:
        return f"cannot read the TIFF's directory: {error}"
    return None if ends and max(ends) <= size else "parts of the TIFF are missing"
