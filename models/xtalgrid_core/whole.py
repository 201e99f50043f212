"""Whether an image file is complete: its end is there, nothing inside is replaced by zeros, and it decodes.

A share or an imager's program may give a file its full length first and fill it later: zeros stand in place of data.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

_TAIL = 4096
_ZEROS = bytes(256)
"""Zeros in a row that compressed data never hold: see `_zeros_in_jpeg` for the exception."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_HUFFMAN_TABLES, _START_OF_SCAN, _END_OF_IMAGE = 0xC4, 0xDA, 0xD9
_COMPRESSION = 259
_TIFF_PARTS = ((273, 279), (324, 325))
"""Tags of the offsets and the byte counts of strips, and of tiles."""
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_BMP_FIRST_HEADER = struct.Struct("<4xHHHH")
_BMP_HEADER = struct.Struct("<4xiiHHII")
"""Width, height, planes, bits per pixel; then compression, and length of packed data."""
_BMP_PACKED = (1, 2)


def missing_end(stream: IO[bytes]) -> str | None:
    """Return why an image file is incomplete, or None if it is complete.

    A JPEG must have its end marker, a PNG its end chunk and a GIF its trailer, whatever follows them; the parts of a
    TIFF's first page and the rows of a BMP must lie within the file. None of them may hold zeros in place of data, and
    a PNG's checksums must be right. Files of other formats are taken for complete, unless they begin with zeros.

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
    if not any(head):
        return "the file begins with zeros"
    if head.startswith(b"\xff\xd8"):
        data = stream.read()
        is_complete = tail.endswith(b"\xff\xd9") or any(kind == _END_OF_IMAGE for kind, _ in _markers(data))
        return _zeros_in_jpeg(data) if is_complete else "the JPEG's end marker is missing"
    if head.startswith(b"\x89PNG"):
        return _missing_in_png(stream.read())
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _missing_in_tiff(stream, size)
    if head.startswith(b"GIF8"):
        return _missing_in_gif(stream.read())
    if head.startswith(b"BM"):
        return _missing_in_bmp(stream.read())
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


def _zeros_in_jpeg(data: bytes) -> str | None:
    """Return that zeros replace a part of a JPEG, or None.

    In a scan, zeros are the most frequent symbol of a table over and over. Where that symbol ends a block, they may
    stand for a surface of one colour.
    """
    if _ZEROS not in data:
        return None
    markers = list(_markers(data))
    begin = next((position for kind, position in markers if kind == _START_OF_SCAN), len(data))
    end = next((position for kind, position in markers if kind == _END_OF_IMAGE), len(data))
    if data.find(_ZEROS, begin, end) < 0:
        return None
    tables = [data[position:begin] for kind, position in markers if kind == _HUFFMAN_TABLES and position < begin]
    is_flat_possible = any(_first_ac_symbol(table) == 0 for table in tables)
    is_flat = is_flat_possible and data.find(bytes(_TAIL), begin, end) < 0
    return None if is_flat else "zeros replace a part of the JPEG"


def _first_ac_symbol(segment: bytes) -> int | None:
    """Return the symbol that zeros stand for in the first AC table of a segment of Huffman tables; 0 ends a block."""
    at, end = 4, 2 + int.from_bytes(segment[2:4], "big")
    while at + 17 < min(end, len(segment)):
        if segment[at] >> 4 == 1:
            return segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return None


def _missing_in_png(data: bytes) -> str | None:
    """Walk a PNG's chunks to its end chunk, and compare their checksums."""
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        checksum = data[end : end + 4]
        if len(checksum) == 4 and zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(checksum, "big"):
            return "a part of the PNG has another checksum"
        if kind == b"IEND":
            return None
        at = end + 4
    return "the PNG's end chunk is missing"


def _missing_in_gif(data: bytes) -> str | None:
    """Walk a GIF's blocks to its trailer; the length of each part of a block is in the byte before it."""
    at = _after_colours(data, 10, 13)
    while at < len(data):
        kind = data[at]
        if kind == _GIF_TRAILER:
            return None
        if kind == _GIF_EXTENSION:
            at += 2
        elif kind == _GIF_IMAGE:
            at = _after_colours(data, at + 9, at + 10) + 1
        else:
            return "zeros replace a part of the GIF" if kind == 0 else "a part of the GIF is broken"
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return "the GIF's trailer is missing"


def _after_colours(data: bytes, flags: int, at: int) -> int:
    """Return where a table of colours ends that begins at `at`, if the byte at `flags` says that there is one."""
    has_colours = flags < len(data) and data[flags] & 0x80
    return at + 3 * 2 ** ((data[flags] & 7) + 1) if has_colours else at


def _missing_in_bmp(data: bytes) -> str | None:
    header = _BMP_HEADER if int.from_bytes(data[14:18], "little") > 12 else _BMP_FIRST_HEADER
    if len(data) < 14 + header.size:
        return "the BMP's header is missing"
    width, height, _, bits, *rest = header.unpack_from(data, 14)
    compression, length = rest[:2] if rest else (0, 0)
    begin, height = int.from_bytes(data[10:14], "little"), abs(height)
    is_packed = compression in _BMP_PACKED
    stride = (width * bits + 31) // 32 * 4
    end = begin + (length if is_packed else stride * height)
    if not begin or width <= 0 or not height or end > len(data):
        return "parts of the BMP are missing"
    if is_packed:
        return "zeros replace a part of the BMP" if data.find(_ZEROS, begin, end) >= 0 else None
    rows = np.frombuffer(data, np.uint8, stride * height, begin).reshape(height, stride)[:, : (width * bits + 7) // 8]
    if bits == 32:  # the fourth byte means nothing
        rows = rows.reshape(height, width, 4)[:, :, :3].reshape(height, -1)
    return _zeros_in_rows(rows, "BMP")


def _missing_in_tiff(stream: IO[bytes], size: int) -> str | None:
    try:
        with warnings.catch_warnings(action="error"):  # Pillow warns if a tag's data lie beyond the end
            warnings.filterwarnings("ignore", "Metadata Warning")  # harmless: a tag with too many values
            image = Image.open(stream, formats=("TIFF",))
            tags = getattr(image, "tag_v2", {})
            parts = [
                (int(offset), int(count))
                for offsets, counts in _TIFF_PARTS
                for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            ]
            is_compressed, rows_of_strips = tags.get(_COMPRESSION, 1) != 1, _TIFF_PARTS[0][0] in tags
    except Image.DecompressionBombError:
        return None  # too large, but complete as far as we know
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, Warning) as error:
        return f"cannot read the TIFF's directory: {error}"
    if not parts or max(offset + count for offset, count in parts) > size:
        return "parts of the TIFF are missing"
    data = b"".join(_read(stream, offset, count) for offset, count in parts)
    if is_compressed:
        return "zeros replace a part of the TIFF" if _ZEROS in data else None
    if not rows_of_strips or len(data) % image.height:
        return None if any(data) else "the TIFF holds nothing but zeros"
    return _zeros_in_rows(np.frombuffer(data, np.uint8).reshape(image.height, -1), "TIFF")


def _read(stream: IO[bytes], offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _zeros_in_rows(rows: npt.NDArray[np.uint8], kind: str) -> str | None:
    """Return that zeros replace a part of uncompressed rows, ``(rows, bytes)``, or None.

    Black surfaces are zeros too, so a run of zeros must end in a row in a way that no picture does: on one side only,
    beside bright pixels; or take a tenth of the rows at once, with no such border on the other side of the picture.
    """
    is_zero: npt.NDArray[np.bool_] = np.logical_not(rows.any(axis=1))
    if is_zero.all():
        return f"the {kind} holds nothing but zeros"
    edges = np.flatnonzero(np.diff(np.r_[False, is_zero, False].astype(np.int8)))
    opposite = int(np.argmin(is_zero)), int(np.argmin(is_zero[::-1]))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - first < 2 or (end - first) * rows.shape[1] < _TAIL:
            continue
        above, below = rows[first - 1] if first else None, rows[end] if end < len(rows) else None
        is_cut = (above is not None and _is_cut(above)) or (below is not None and _is_cut(below[::-1]))
        is_bottom, is_top = end == len(rows), first == 0
        is_border = (is_bottom and opposite[0] * 2 >= end - first) or (is_top and opposite[1] * 2 >= end)
        is_abrupt = all(row is None or (row > 8).mean() > 0.9 for row in (above, below))
        if is_cut or ((end - first) * 10 >= len(rows) and is_abrupt and not is_border):
            return f"zeros replace a part of the {kind}"
    return None


def _is_cut(row: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a row ends in zeros while the rest of it has hardly any."""
    zeros = int(np.argmax(row[::-1] != 0))
    rest = row[: len(row) - zeros]
    return zeros >= 8 and bool((rest > 8).mean() > 0.5 and (rest > 0).mean() > 0.95)
