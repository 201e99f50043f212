"""Whether an image file is whole: by its format's end, without decoding, and by its picture, which is surer."""

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
    """Why an image file is incomplete, or None where its format's end is there.

    A JPEG has its end marker and a PNG its end chunk, whatever follows them; the parts of a TIFF's first page lie within the file.
    Files in other formats have no end to miss.

    Parameters
    ----------
    stream
        The file, opened for reading at any place; it is left at another.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(8)
    stream.seek(max(size - _TAIL, 0))
    tail = stream.read().rstrip(b"\0")  # cameras pad; copies over a network are as long as the original at once
    stream.seek(0)
    if size == 0:
        return "the file is empty"
    if head.startswith(b"\xff\xd8"):
        whole = tail.endswith(b"\xff\xd9") or any(kind == _END_OF_IMAGE for kind, _ in _markers(stream.read()))
        return None if whole else "the JPEG's end marker is missing"
    if head.startswith(b"\x89PNG"):
        whole = tail.endswith(_PNG_END) or _has_end_chunk(stream.read())
        return None if whole else "the PNG's end chunk is missing"
    if head.startswith((b"II*\0", b"MM\0*")):
        return _missing_in_tiff(stream, size)
    return None


def ends_early(data: bytes, image: Image.Image) -> bool:
    """Whether a JPEG's data end before its rows do: libjpeg fills what is missing with grey and warns, which Pillow keeps to itself.

    A picture may be grey in its last corner by itself; so more data are put behind those of the first scan then: they change what was
    filled, and nothing of a whole picture.

    Parameters
    ----------
    image
        What `data` were decoded to, at any scale.
    """
    corner = image.crop((image.width - 2, image.height - 2, image.width, image.height)).getcolors()
    if corner is None or len(corner) > 1 or not {127, 128}.issuperset(np.ravel(corner[0][1]).tolist()):
        return False
    later = itertools.dropwhile(lambda marker: marker[0] != _START_OF_SCAN, _markers(data))
    _, end = next(itertools.islice(later, 1, None), (None, len(data)))
    longer = b"".join((memoryview(data)[:end], bytes(range(1, 255)), memoryview(data)[end:]))
    return _eighth(data) != _eighth(longer)


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """(kind, place) of a JPEG's markers up to the end marker; those of restarts, and those of thumbnails inside segments, aside."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        at = found.start()
        kind = data[at + 1]
        yield kind, at
        if kind == _END_OF_IMAGE:
            return
        at += 2 + int.from_bytes(
            data[at + 2 : at + 4], "big"
        )  # a segment says its length; a scan's data follow its own


def _eighth(data: bytes) -> bytes:
    """A JPEG at ⅛ of its scale, or nothing where it cannot be decoded."""
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
        with warnings.catch_warnings(action="error"):  # so says Pillow that a tag's data lie beyond the end
            warnings.filterwarnings("ignore", "Metadata Warning")  # a tag with more values than it should have
            image = Image.open(stream, formats=("TIFF",))
            tags = getattr(image, "tag_v2", {})
            ends = [
                offset + count
                for offsets, counts in _TIFF_PARTS
                for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            ]
    except Image.DecompressionBombError:
        return None  # too large, which is not for us to say
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, Warning) as error:
        return f"the TIFF's directory cannot be read ({error})"
    return None if ends and max(ends) <= size else "parts of the TIFF are missing"
