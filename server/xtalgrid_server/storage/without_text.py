"""Image files without what is written in them: what a volunteer's disk gets to see of an original.

Left out are EXIF, XMP, IPTC, comments, thumbnails, further pictures and pages, private parts, and whatever follows the
image. What decides over pixels or colours stays as it is: the compressed data, JFIF's and Adobe's segments, colour
profiles, palettes, and a TIFF's tags for its pixels, of which orientation is one. Nothing is compressed again, so the
picture's score stays the same to the last digit.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image

from xtalgrid_core.images import read_image


def without_text(data: bytes) -> tuple[bytes, str | None]:
    """Return an image file without text, and None; or its pixels as a PNG, and why its parts cannot be told apart.

    Raises
    ------
    ImageError
        If its parts cannot be told apart and it cannot be decoded either.
    """
    clean = next((clean for head, clean in _FORMATS.items() if data.startswith(head)), None)
    try:
        if clean is None:
            raise ValueError("its format is not known")
        return clean(data), None
    except (ValueError, LookupError, ArithmeticError, struct.error) as error:
        pixels = io.BytesIO()
        Image.fromarray(read_image(data)).save(pixels, "PNG", compress_level=1)
        return pixels.getvalue(), str(error)


# ---- JPEG ----------------------------------------------------------------------------------------------------------

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START, _END, _SCAN, _JFIF, _PROFILE, _ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xE2, 0xEE
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_FOR_PIXELS = {*range(0xC0, 0xD0), 0xDB, 0xDD}
"""Frames, Huffman and arithmetic tables, quantization tables, restart interval."""


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while (marker := _MARKER.search(data, at)) is not None:
        begin, kind = marker.start(), data[marker.start() + 1]
        if kind == _END:
            return b"".join((*kept, b"\xff\xd9"))
        if kind == _START:
            raise ValueError("a second JPEG begins inside the first")
        if kind in _WITHOUT_LENGTH:
            at = begin + 2
            continue
        at = begin + 2 + struct.unpack_from(">H", data, begin + 2)[0]
        content = data[begin + 4 : at]
        if kind == _SCAN:
            end = _END_OF_SCAN.search(data, at)
            at = end.start() if end else len(data)
            kept.append(data[begin:at])
        elif kind in _FOR_PIXELS or (kind == _PROFILE and content.startswith(b"ICC_PROFILE\0")):
            kept.append(data[begin:at])
        elif kind == _JFIF and content.startswith(b"JFIF\0") and len(content) >= 14:
            kept.append(b"\xff\xe0\0\x10" + content[:12] + b"\0\0")  # its thumbnail has no rows and columns
        elif kind == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12:
            kept.append(b"\xff\xee\0\x0e" + content[:12])
    raise ValueError("the JPEG's end marker is missing")


# ---- PNG -----------------------------------------------------------------------------------------------------------

_CHUNKS = {
    b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"IDAT": 2**31, b"IEND": 0,
    b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"iCCP": 2**31, b"sBIT": 4, b"pHYs": 9, b"bKGD": 6,
}  # fmt: skip
"""The chunks that stay, and their largest lengths."""


def _png(data: bytes) -> bytes:
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind not in _CHUNKS:
            continue
        if kind == b"iCCP":
            content = b"profile" + content[content.index(b"\0") :]  # in place of the name that somebody gave it
        content = content[: _CHUNKS[kind]]
        kept.append(struct.pack(">I", len(content)) + kind + content)
        kept.append(struct.pack(">I", zlib.crc32(kind + content)))
        if kind == b"IEND":
            return b"".join(kept)
    raise ValueError("the PNG's end chunk is missing")


# ---- GIF -----------------------------------------------------------------------------------------------------------

_EXTENSION, _GRAPHIC_CONTROL, _FRAME = 0x21, 0xF9, 0x2C


def _gif(data: bytes) -> bytes:
    at = 13 + _colours(data[10])
    kept = [data[:at]]
    while True:
        begin, kind = at, data[at]
        if kind == _FRAME:
            at += 11 + _colours(data[at + 9])
        elif kind == _EXTENSION:
            at += 2
        else:
            raise ValueError("the GIF has no frame")
        while data[at]:
            at += 1 + data[at]
        at += 1
        if kind == _FRAME:  # the first one; no other is scored
            return b"".join((*kept, data[begin:at], b";"))
        if data[begin + 1] == _GRAPHIC_CONTROL and at - begin == 8:
            kept.append(data[begin:at])


def _colours(flags: int) -> int:
    """Return the number of bytes of a table of colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


# ---- BMP -----------------------------------------------------------------------------------------------------------

_CORE_HEADER, _PROFILE_FIELDS = 12, slice(14 + 112, 14 + 124)
_PACKED, _MASKS = (1, 2), {3: 12, 6: 16}
"""Values of the compression: run lengths; the bytes of the masks of colours behind the header of 40 bytes."""


def _bmp(data: bytes) -> bytes:
    begin, header = struct.unpack_from("<II", data, 10)
    is_core = header == _CORE_HEADER
    width, height, _, bits = struct.unpack_from("<HHHH" if is_core else "<iiHH", data, 18)
    compression, length, _, _, colours = (0, 0, 0, 0, 0) if is_core else struct.unpack_from("<IIiiI", data, 30)
    if compression not in _PACKED:
        length = (width * bits + 31) // 32 * 4 * abs(height)
    elif not length:
        raise ValueError("the BMP does not say how long its data are")
    table = (colours or 2**bits) * (3 if is_core else 4) if bits <= 8 else 0
    described = 14 + header + (_MASKS.get(compression, 0) if header == 40 else 0) + table
    if length <= 0 or not described <= begin <= begin + length <= len(data):
        raise ValueError("parts of the BMP overlap or are missing")
    kept = bytearray(begin + length)
    kept[:described], kept[begin:] = data[:described], data[begin : begin + length]
    kept[2:10] = struct.pack("<IHH", len(kept), 0, 0)
    if header >= 124:
        kept[_PROFILE_FIELDS] = bytes(12)  # a profile, or the name of its file, stands behind the image
    return bytes(kept)


# ---- TIFF ----------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _ROWS = (
    256, 257, 258, 259, 262, 274, 277, 278,
)  # fmt: skip
_PLANES, _TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES, _XMP = 284, 322, 323, 347, 700
_STRIPS, _TILES = (273, 279), (324, 325)
"""Tags of the parts' offsets, and of their numbers of bytes."""
_TAGS = {
    254, 255, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, *_STRIPS, _ORIENTATION, _SAMPLES, _ROWS,
    280, 281, 282, 283, _PLANES, 290, 291, 292, 293, 296, 301, 317, 318, 319, 320, _TILE_WIDTH, _TILE_HEIGHT, *_TILES,
    332, 334, 336, 338, 339, 340, 341, 342, _JPEG_TABLES, 529, 530, 531, 532, 34675,
}  # fmt: skip
"""The tags that stay: those of pixels and colours."""
_TYPES = {1: "B", 3: "H", 4: "I", 5: "Q", 6: "b", 7: "B", 8: "h", 9: "i", 10: "q", 11: "f", 12: "d", 16: "Q", 17: "q"}
"""Types of values but text, for `struct`; a fraction is taken as one number."""
_TEXT = 2
_UNCOMPRESSED, _OLD_JPEG, _NEW_JPEG, _YCBCR, _SEPARATE = 1, 6, 7, 6, 2
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(=\"|>)[0-9]")


class _Tag(NamedTuple):
    """An entry of a TIFF's directory: where it lies and where its values lie, with their number and type."""

    entry: int
    begin: int
    end: int
    number: int
    kind: int


class _Tiff:
    """The first page of a TIFF: its directory, and where the parts of its image lie."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._is_big = 43 in data[2:4]
        self.directory = self._number("Q", 8) if self._is_big else self._number("I", 4)
        count, self.entry_size = ("Q", 20) if self._is_big else ("H", 12)
        self.first = self.directory + struct.calcsize(f"={count}")
        self.count, self.number = count, self._number(count, self.directory)
        self.end = self.first + self.number * self.entry_size + (8 if self._is_big else 4)
        if self.end > len(data):
            raise ValueError("the TIFF's directory lies beyond its end")
        self.tags = dict(self._tags())

    def pack(self, kind: str, value: int) -> bytes:
        return struct.pack(self._order + kind, value)

    def _number(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(self._order + kind, self._data, at)[0])

    def _tags(self) -> Iterator[tuple[int, _Tag]]:
        count, room = ("Q", 8) if self._is_big else ("I", 4)
        for entry in range(self.first, self.first + self.number * self.entry_size, self.entry_size):
            tag, kind, number = struct.unpack_from(f"{self._order}HH{count}", self._data, entry)
            if (tag not in _TAGS or kind not in _TYPES) and tag != _XMP:
                continue
            size = number * struct.calcsize(f"={_TYPES.get(kind, 'B')}")
            value = entry + self.entry_size - room
            begin = value if size <= room else self._number(count, value)
            if begin + size > len(self._data):
                raise ValueError(f"the values of the TIFF's tag {tag} lie beyond its end")
            yield tag, _Tag(entry, begin, begin + size, number, kind)

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        if tag not in self.tags:
            return default
        found = self.tags[tag]
        return struct.unpack_from(f"{self._order}{found.number}{_TYPES[found.kind]}", self._data, found.begin)

    def value(self, tag: int, default: int) -> int:
        return int(self.values(tag, (default,))[0])

    def parts(self) -> list[tuple[int, int]]:
        """Return begin and end of each strip or tile."""
        is_tiled = _TILES[0] in self.tags
        offsets, counts = map(self.values, _TILES if is_tiled else _STRIPS)
        if self.value(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED and self.value(_PHOTOMETRIC, 0) != _YCBCR:
            counts = tuple(self._sizes(len(offsets), is_tiled))  # some programs write others, or none
        if not offsets or len(offsets) != len(counts) or not all(counts):
            raise ValueError("the TIFF does not say where its image lies")
        return [(offset, offset + count) for offset, count in zip(offsets, counts, strict=True)]

    def _sizes(self, number: int, is_tiled: bool) -> Iterator[int]:
        width, height = self.value(_WIDTH, 0), self.value(_HEIGHT, 0)
        samples = 1 if self.value(_PLANES, 1) == _SEPARATE else self.value(_SAMPLES, 1)
        rows = self.value(_TILE_HEIGHT, 0) if is_tiled else min(self.value(_ROWS, height), height)
        row = -(-(self.value(_TILE_WIDTH, 0) if is_tiled else width) * samples * self.value(_BITS, 1) // 8)
        for strip in range(number):
            first = 0 if is_tiled else strip % -(-height // rows) * rows
            yield row * (rows if is_tiled else min(rows, height - first))


def _tiff(data: bytes) -> bytes:
    """Copy what the first page's pixels need to the same places; everything between becomes zeros."""
    tiff = _Tiff(data)
    compression = tiff.value(_COMPRESSION, _UNCOMPRESSED)
    if compression == _OLD_JPEG:
        raise ValueError("JPEG inside TIFF in the old way")
    xmp = tiff.tags.pop(_XMP, None)
    if xmp and _ORIENTATION not in tiff.tags and _XMP_ORIENTATION.search(data, xmp.begin, xmp.end):
        raise ValueError("only the TIFF's XMP says how it is turned")
    values = {
        (tag.begin, tag.end)
        for tag in tiff.tags.values()
        if tag.end > tag.entry + tiff.entry_size or tag.begin < tag.entry
    }
    parts = set(tiff.parts())
    used = sorted({(0, 16 if tiff.entry_size == 20 else 8), (tiff.directory, tiff.end)} | values | parts)
    if any(end > begin for (_, end), (begin, _) in itertools.pairwise(used)) or used[-1][1] > len(data):
        raise ValueError("parts of the TIFF overlap or are missing")
    kept = bytearray(used[-1][1])
    for begin, end in used:
        kept[begin:end] = data[begin:end]
    if compression == _NEW_JPEG:
        tables = tiff.tags.get(_JPEG_TABLES)
        for begin, end in parts | ({(tables.begin, tables.end)} if tables else set()):
            kept[begin:end] = _jpeg(data[begin:end]).ljust(end - begin, b"\0")
    entries = [data[tag.entry : tag.entry + tiff.entry_size] for tag in tiff.tags.values()]
    directory = b"".join((tiff.pack(tiff.count, len(entries)), *entries))
    kept[tiff.directory : tiff.end] = directory.ljust(tiff.end - tiff.directory, b"\0")
    return bytes(kept)


_FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
    b"GIF8": _gif,
    b"BM": _bmp,
}
