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
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

_TAIL = 4096
_ZEROS = bytes(256)
"""Zeros in a row that compressed data never hold, except for large surfaces of one colour."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_HUFFMAN_TABLES, _START_OF_SCAN, _END_OF_IMAGE, _RESTART_INTERVAL = 0xC4, 0xDA, 0xD9, 0xDD
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by the PNG's colour type."""
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced PNG."""
_INFLATED_AT_ONCE = 2**20
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_BMP_FIRST_HEADER = struct.Struct("<4xHHHH")
_BMP_HEADER = struct.Struct("<4xiiHHII")
"""Width, height, planes, bits per pixel; then compression, and length of packed data."""
_BMP_PACKED = (1, 2)
_FRAMES, _PROGRESSIVE = {0xC0, 0xC1, 0xC2}, 0xC2
_FREE = 0xE0
"""The first of the segments for programs and comments, which may hold anything."""
_LOST = 150
"""Blocks of a JPEG that 256 zeros stand for, at least."""
_SAME = 0.2
"""Difference of the levels of two units whose brightness is the same, but for rounding."""
_ZEROS_IN_JPEG = "zeros replace a part of the JPEG"
_UNCOMPRESSED, _DEFLATE, _SEPARATE, _FLOAT, _INKS = 1, (8, 32946), 2, 3, 5
"""Values of a TIFF's tags."""
_SAMPLE_TYPES = {("u", 8), ("u", 16), ("u", 32), ("f", 32), ("f", 64)}


def missing_end(stream: IO[bytes]) -> str | None:
    """Return why an image file is incomplete, or None if it is complete.

    A JPEG must have its end marker, a PNG its end chunk and a GIF its trailer, whatever follows them; the parts of a
    TIFF's first page and the rows of a BMP must lie within the file. None of them may hold zeros in place of data. A
    PNG's checksums must be right, and its data as long as its rows; of a JPEG with restart markers, none may be
    missing. Files of other formats are taken for complete, unless they begin with zeros.

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
        if not is_complete:
            return "the JPEG's end marker is missing"
        return "a part of the JPEG is missing" if _lacks_restarts(data) else _zeros_in_jpeg(data)
    if head.startswith(b"\x89PNG"):
        return _missing_in_png(stream.read())
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0")):
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


def _lacks_restarts(data: bytes) -> bool:
    """Tell whether restart markers are missing, which a JPEG may have between its parts and are counted from 0 to 7."""
    if b"\xff\xdd" not in data:
        return False
    interval, frame = 0, b""
    markers = [*_markers(data), (_END_OF_IMAGE, len(data))]
    for (kind, at), (_, end) in itertools.pairwise(markers):
        segment = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if kind == _RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif kind in _FRAMES and len(segment) > 7:
            frame = segment
        elif kind == _START_OF_SCAN and interval and frame:
            found = list(_RESTART.finditer(data, at, end))
            units = _units(frame) if segment[:1] == frame[5:6] else 0  # a scan of some colours has others
            if (
                len(found) < -(-units // interval) - 1
                or any(match.group()[1] & 7 != number % 8 for number, match in enumerate(found))
                or any(before.end() == after.start() for before, after in itertools.pairwise(found))
            ):
                return True
    return False


def _units(frame: bytes) -> int:
    """Return the number of units that a scan of all colours of a frame is made of."""
    rows, cols = _luma_block(frame)
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return -(-height // rows) * -(-width // cols)


def _zeros_in_jpeg(data: bytes) -> str | None:
    """Return that zeros replace a part of a JPEG, or None."""
    if _ZEROS not in data:
        return None
    try:
        return _ZEROS_IN_JPEG if _has_lost_data(data) else None
    except (LookupError, ValueError):  # its segments are broken
        return _ZEROS_IN_JPEG


def _has_lost_data(data: bytes) -> bool:
    """Tell whether zeros in a JPEG stand for nothing that was drawn."""
    firsts: dict[int, int] = {}
    unit, progressive = (8, 8), False
    is_ambiguous = False
    markers = list(_markers(data))
    if not markers or markers[-1][0] != _END_OF_IMAGE:
        markers.append((_END_OF_IMAGE, len(data)))
    for (kind, at), (_, end) in itertools.pairwise(markers):  # what follows the end of the image does not count
        behind = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : behind]
        has_zeros = data.find(_ZEROS, behind if kind >= _FREE else at, end) >= 0
        if kind == _HUFFMAN_TABLES:
            firsts.update(_first_symbols(segment))
        elif kind in _FRAMES:
            unit, progressive = _luma_block(segment), kind == _PROGRESSIVE
        if has_zeros and not (kind == _START_OF_SCAN and _is_flat_possible(segment, firsts, progressive)):
            return True
        is_ambiguous = is_ambiguous or has_zeros
    return is_ambiguous and not _is_flat(data, unit, progressive)


def _first_symbols(tables: bytes) -> Iterator[tuple[int, int]]:
    """Yield class and number of each Huffman table, in one byte as in the file, and the symbol that zeros stand for."""
    at = 0
    while at + 17 < len(tables):
        yield tables[at], tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])


def _luma_block(frame: bytes) -> tuple[int, int]:
    """Return height and width in pixels of the units that a scan of this frame is made of."""
    factors = frame[7::3] if frame[5] > 1 else b"\x11"
    return 8 * max(factor & 15 for factor in factors), 8 * max(factor >> 4 for factor in factors)


def _is_flat_possible(scan: bytes, firsts: dict[int, int], progressive: bool) -> bool:
    """Tell whether zeros in a scan may stand for a surface of one colour: each unchanged, and without detail."""
    tables = scan[2 : 1 + 2 * scan[0] : 2]
    if progressive:
        first, _, approximation = scan[1 + 2 * scan[0] :][:3]
        is_refinement = approximation >> 4 > 0
        return first == 0 and (is_refinement or all(firsts.get(table >> 4) == 0 for table in tables))
    return all(firsts.get(table >> 4) == 0 == firsts.get(0x10 | table & 15) for table in tables)


def _is_flat(data: bytes, unit: tuple[int, int], progressive: bool) -> bool:
    """Tell whether a JPEG has surfaces of one colour, which were drawn: nearly black or nearly white.

    Lost data leave surfaces too. They continue the block before, with its brightness but not its detail. In a
    progressive JPEG, only the brightness is lost.
    """
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.draft("L", image.size)
            luma = np.asarray(image.convert("L"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True  # too large, but complete as far as we know
    except (OSError, SyntaxError, ValueError, EOFError):
        return False
    luma = np.pad(luma, [(0, -side % step) for side, step in zip(luma.shape, unit, strict=True)], mode="edge")
    rows, cols = unit[0] // 8, unit[1] // 8
    units = luma.reshape(luma.shape[0] // unit[0], rows, 8, -1, cols, 8).transpose(0, 3, 1, 4, 2, 5)
    blocks = units.reshape(-1, 64)
    level, is_plain = blocks.mean(axis=1), blocks.min(axis=1) == blocks.max(axis=1)
    edges = np.flatnonzero(np.r_[True, np.abs(np.diff(level)) > _SAME, True])
    is_drawn = False
    for first, end in itertools.pairwise(edges.tolist()):
        plain = int(np.count_nonzero(is_plain[first:end]))
        is_extreme = not 2 < level[first] < 253 or (is_plain[first] and not 16 < level[first] < 240)
        if (plain >= _LOST and not is_extreme) or (progressive and end - first - plain >= _LOST):
            return False
        is_drawn = is_drawn or plain >= _LOST
    return is_drawn


def _missing_in_png(data: bytes) -> str | None:
    """Walk a PNG's chunks to its end chunk, compare their checksums, and inflate its data."""
    at, length_of_rows, inflated = 8, 0, 0
    inflating = zlib.decompressobj()
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        checksum = data[end : end + 4]
        if len(checksum) == 4 and zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(checksum, "big"):
            return "a part of the PNG has another checksum"
        if kind == b"IHDR":
            length_of_rows = _length_of_rows(data[at + 8 : end])
        elif kind == b"IDAT":
            rest = data[at + 8 : end]
            while rest and inflated < length_of_rows:
                try:
                    inflated += len(inflating.decompress(rest, _INFLATED_AT_ONCE))
                except zlib.error:
                    return "a part of the PNG is broken"
                rest = inflating.unconsumed_tail
        elif kind == b"IEND":
            return "the PNG's data end early" if inflated < length_of_rows else None
        at = end + 4
    return "the PNG's end chunk is missing"


def _length_of_rows(header: bytes) -> int:
    """Return the number of bytes of a PNG's rows, as its header says; 0 if the header is broken."""
    if len(header) < 13 or header[9] not in _PNG_SAMPLES:
        return 0
    width, height, bits, is_interlaced = *struct.unpack_from(">II", header), header[8], header[12]
    bits *= _PNG_SAMPLES[header[9]]
    passes = _PNG_PASSES if is_interlaced else ((0, 0, 1, 1),)
    sizes = (((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in passes)
    return sum((1 + (columns * bits + 7) // 8) * rows for columns, rows in sizes if columns > 0 and rows > 0)


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
    if not rows.any():
        return "the BMP holds nothing but zeros"
    return "zeros replace a part of the BMP" if _zeros_in_rows(rows) else None


def _missing_in_tiff(stream: IO[bytes], size: int) -> str | None:
    try:
        with warnings.catch_warnings(action="error"):  # Pillow warns if a tag's data lie beyond the end
            warnings.filterwarnings("ignore", "Metadata Warning")  # harmless: a tag with too many values
            page = _Page(stream)
    except (OSError, ArithmeticError, ValueError, TypeError, LookupError, SyntaxError, struct.error, Warning) as error:
        return f"cannot read the TIFF's directory: {error}"
    if not page.parts or any(offset == 0 or offset + count > size for offset, count in page.parts):
        return "parts of the TIFF are missing"
    parts = [_read(stream, offset, count) for offset, count in page.parts]
    if page.compression != _UNCOMPRESSED:
        zeros = (part for part in parts if _ZEROS in part)
        is_damaged = any(page.compression not in _DEFLATE or not _is_inflated(part) for part in zeros)
    elif not any(map(any, parts)):
        return "the TIFF holds nothing but zeros"
    else:
        try:
            planes = [*page.planes(parts)]
            # A plane of zeros before one with data is a colour that the light lacks: planes are written in their order.
            has_data = [bool(plane.any()) for plane in planes]
            is_damaged = any(
                _zeros_in_rows(page.pixels(plane), page.has_inks) or _zeros_in_tiles(plane, page.length)
                for number, plane in enumerate(planes)
                if has_data[number] or not any(has_data[number:])
            )
        except ValueError:  # its tags don't fit its parts, which decoding will tell
            is_damaged = False
    return "zeros replace a part of the TIFF" if is_damaged else None


class _Page:
    """The first page of a TIFF, whatever its kind of pixels.

    Attributes
    ----------
    compression
        Its tag's value.
    has_inks
        Whether zeros are white, as in CMYK.
    length
        Samples of a row of a strip or a tile.
    parts
        Offset and number of bytes of each strip or tile. Some programs leave out the numbers, or give the last strip
        that of a full one.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        stream.seek(0)
        head = stream.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head + stream.read(8) if head[2] == 43 else head)
        stream.seek(tags.next)
        tags.load(stream)
        self.compression = tags.get(259, _UNCOMPRESSED)
        self.has_inks = tags.get(262) == _INKS
        self._width, self._height = int(tags[256]), int(tags[257])
        self._is_tiled = 322 in tags
        rows = min(int(tags.get(278, self._height)), self._height)
        columns, self._rows = (int(tags[322]), int(tags[323])) if self._is_tiled else (self._width, rows)
        bits, samples = int(tags.get(258, (1,))[0]), int(tags.get(277, 1))
        self._planes, self._samples = (samples, 1) if tags.get(284) == _SEPARATE else (1, samples)
        kind = ("f" if tags.get(339, (1,))[0] == _FLOAT else "u", bits)
        order = "<" if tags.prefix == b"II" else ">"
        self._type = np.dtype(f"{order}{kind[0]}{bits // 8}" if kind in _SAMPLE_TYPES else "u1")
        self.length = -(-columns * self._samples * bits // (8 * self._type.itemsize))
        offsets, counts = (324, 325) if self._is_tiled else (273, 279)
        sizes = itertools.chain(tags.get(counts, ()), itertools.repeat(0))
        self.parts = [
            (int(offset), self._size(number, int(count)))
            for number, (offset, count) in enumerate(zip(tags.get(offsets, ()), sizes, strict=False))
        ]

    def _size(self, number: int, count: int) -> int:
        if self.compression != _UNCOMPRESSED:
            return count or 1
        first = 0 if self._is_tiled else number % -(-self._height // self._rows) * self._rows
        rows = self._rows if self._is_tiled else min(self._rows, self._height - first)
        full = rows * self.length * self._type.itemsize
        return min(count, full) or full

    def planes(self, parts: Sequence[bytes]) -> Iterator[npt.NDArray[Any]]:
        """Yield each plane's samples, ``(rows, samples)``, with tiles in their places; bytes if they are packed.

        Parts that are shorter than their rows, as of subsampled colours, yield nothing.
        """
        if any(len(part) % (self.length * self._type.itemsize) for part in parts) or len(parts) % self._planes:
            return
        samples = np.frombuffer(b"".join(parts), self._type).reshape(-1, self.length)
        if self._type.kind == "f":
            samples = np.nan_to_num(samples)
        for rows in np.split(samples, self._planes):
            if self._is_tiled:
                across = -(-self._width * self._samples // self.length)
                tiles = rows.reshape(-1, across, self._rows, self.length).swapaxes(1, 2)
                yield tiles.reshape(-1, across * self.length)[: self._height, : self._width * self._samples]
            else:
                yield rows

    def pixels(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the largest sample of each pixel, ``(rows, pixels)``, where a plane has alpha or black beside colours.

        Alpha and black may be zero in all of a picture.
        """
        if self._samples < 4 or plane.shape[1] % self._samples:
            return plane
        pixels: npt.NDArray[Any] = plane.reshape(len(plane), -1, self._samples).max(axis=2)
        return pixels


def _is_inflated(part: bytes) -> bool:
    """Tell whether a part compressed by Deflate, which has a checksum, is right."""
    try:
        return zlib.decompress(part) != b""
    except zlib.error:
        return False


def _read(stream: IO[bytes], offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _zeros_in_rows(rows: npt.NDArray[Any], has_inks: bool = False) -> bool:
    """Tell whether zeros replace a part of uncompressed rows, ``(rows, samples)``.

    Black surfaces are zeros too, so a run of zeros must end in a row in a way that no picture does: on one side only,
    beside bright pixels; or take a tenth of the rows at once, with no such border on the other side of the picture.
    Of inks, zeros are white, which has margins of any size: there, the row beyond one that ends in zeros must have no
    such end, and rows are missing only from a picture that reaches the other edges of its page.
    """
    dark = _dark(rows)
    is_shown: npt.NDArray[np.bool_] = np.any(rows != 0, axis=1)
    opposite = int(np.argmax(is_shown)), int(np.argmax(is_shown[::-1]))
    if has_inks and not is_shown.any():  # black ink, in a plane of its own
        return False
    on_paper = has_inks and not (rows[:, 0].any() and rows[:, -1].any())
    edges = np.flatnonzero(np.diff(np.r_[False, ~is_shown, False].astype(np.int8)))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - first < 2 or (end - first) * rows.shape[1] * rows.itemsize < _TAIL:
            continue
        above, below = rows[first - 1] if first else None, rows[end] if end < len(rows) else None
        cut = [above, None if below is None else below[::-1]]
        if has_inks:
            beyond = rows[max(first - 2, 0), -1], rows[min(end + 1, len(rows) - 1), 0]
            cut = [row if ink else None for row, ink in zip(cut, beyond, strict=True)]
        is_cut = any(row is not None and _is_cut(row, dark) for row in cut)
        is_bottom, is_top = end == len(rows), first == 0
        margin = opposite[0] if is_bottom else opposite[1] if is_top else 0
        is_border = on_paper or margin * 2 >= (1 if has_inks else end - first)
        is_abrupt = all(row is None or (row > dark).mean() > 0.9 for row in (above, below))
        if is_cut or ((end - first) * 10 >= len(rows) and is_abrupt and not is_border):
            return True
    return False


def _zeros_in_tiles(rows: npt.NDArray[Any], length: int) -> bool:
    """Tell whether zeros replace rows of a tile, `length` samples wide, just beside bright pixels of its neighbour."""
    is_bright = rows > _dark(rows)
    lost = [
        np.count_nonzero(is_bright[:, at - 1] & np.all(rows[:, at : at + length] == 0, axis=1))
        for at in range(length, rows.shape[1], length)
    ]
    return any(number * length * rows.itemsize >= _TAIL for number in lost)


def _dark(rows: npt.NDArray[Any]) -> float:
    """Return the level up to which a sample is dark."""
    return float(np.percentile(rows[:: len(rows) // 100 + 1], 99)) / 32


def _is_cut(row: npt.NDArray[Any], dark: float) -> bool:
    """Tell whether a row ends in zeros while the rest of it has hardly any."""
    zeros = int(np.argmax(row[::-1] != 0))
    rest = row[: len(row) - zeros]
    return zeros >= 8 and bool((rest > dark).mean() > 0.5 and (rest > 0).mean() > 0.95)
