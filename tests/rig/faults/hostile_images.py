"""Image files as imagers, networks and people break them, made from whole ones.

Each kind is a function of a rendered well and random numbers.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from xtalgrid_core.images import MAX_PIXELS
from xtalgrid_core.wire import MAX_IMAGE_BYTES

Pixels = npt.NDArray[np.uint8]
SCORED, FAILED, EITHER = "scored", "failed", "either"


@dataclass(frozen=True, slots=True)
class Broken:
    """A file, and what may become of it: ``scored``, ``failed`` or ``either``."""

    kind: str
    data: bytes
    expected: str


def broken_image(wells: Sequence[Pixels], rng: random.Random) -> Broken:
    """Make a file of a random kind; the largest readable ones are rare, since each takes seconds."""
    kinds = LARGE if rng.random() < 0.01 else _KINDS
    kind = rng.choice(list(kinds))
    expected, make = kinds[kind]
    return Broken(kind, make(rng.choice(wells), rng), expected)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _file(well: Pixels, rng: random.Random, kinds: Sequence[str] = ("JPEG", "PNG", "TIFF")) -> bytes:
    kind = rng.choice(kinds)
    if kind == "TIFF":
        return _saved(Image.fromarray(well), kind, compression=rng.choice((None, "tiff_lzw", "tiff_deflate")))
    return _saved(Image.fromarray(well), kind, **({"quality": 88} if kind == "JPEG" else {"compress_level": 1}))


def _flipped(well: Pixels, rng: random.Random) -> bytes:
    changed = bytearray(_file(well, rng))
    first = len(changed) if rng.random() < 0.5 else 600  # half the time only in the headers
    for _ in range(rng.choice((1, 3, 20, 200))):
        changed[rng.randrange(min(first, len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(well: Pixels, rng: random.Random) -> bytes:
    """Overwrite a part of the file with random bytes or zeros, as a bad block of a disk does."""
    changed = bytearray(_file(well, rng))
    start = rng.randrange(len(changed))
    length = min(rng.choice((512, 4096, 65_536)), len(changed) - start)
    changed[start : start + length] = rng.choice((bytes(length), rng.randbytes(length)))
    return bytes(changed)


def _truncated(well: Pixels, rng: random.Random) -> bytes:
    data = _file(well, rng)
    return data[: rng.randrange(1, len(data) - 400)]


def _other_format(well: Pixels, rng: random.Random) -> bytes:
    kind = rng.choice(("WEBP", "PPM", "JPEG2000", "ICO"))
    return _saved(Image.fromarray(well).resize((200, 160)), kind)


def _animated(well: Pixels, rng: random.Random) -> bytes:
    """Make an animated PNG or GIF, or a multi-page TIFF, of which the first frame is the well."""
    frames = [Image.fromarray(np.roll(well, 40 * n, axis=0)) for n in range(3)]
    return _saved(frames[0], rng.choice(("PNG", "TIFF", "GIF")), save_all=True, append_images=frames[1:])


def _animated_elsewhere(well: Pixels, rng: random.Random) -> bytes:
    frames = [Image.fromarray(np.roll(well, 40 * n, axis=0)).resize((160, 120)) for n in range(3)]
    return _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def _deep(well: Pixels, rng: random.Random) -> bytes:
    bits = rng.choice((10, 12, 14, 16))
    grey = well.mean(axis=2) / 255 * (2**bits - 1)
    return _saved(Image.fromarray(grey.astype(np.uint16)), rng.choice(("PNG", "TIFF")))


def _float(well: Pixels, rng: random.Random) -> bytes:
    grey = well.mean(axis=2).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf, 1e38, -1e38):
        grey[rng.randrange(len(grey)), rng.randrange(len(grey[0]))] = value
    return _saved(Image.fromarray(grey), "TIFF")


def _exif(well: Pixels, rng: random.Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = rng.choice((2, 3, 6, 8, 0, 99))
    exif[0x010E] = "x" * rng.randrange(60_000)
    return _saved(Image.fromarray(well), rng.choice(("JPEG", "PNG", "TIFF")), exif=exif)


def _broken_exif(well: Pixels, rng: random.Random) -> bytes:
    return _saved(
        Image.fromarray(well), rng.choice(("JPEG", "PNG")), exif=b"Exif\0\0" + rng.randbytes(rng.randrange(900))
    )


def _profile(well: Pixels, rng: random.Random) -> bytes:
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = rng.choice((whole[: rng.randrange(len(whole))], rng.randbytes(3000), b"", whole * 20))
    return _saved(Image.fromarray(well), rng.choice(("JPEG", "PNG", "TIFF")), icc_profile=profile)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """Write a PNG by hand; `data` is its packed pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


_CLAIMS = ((30_000, 30_000), (5_000, 5_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (0, 900))


def _claims(well: Pixels, rng: random.Random) -> bytes:
    """Write a PNG header that claims more pixels than there are, or than there can be."""
    return _png(*rng.choice(_CLAIMS), zlib.compress(bytes(3000)))


def _jpeg_claims(well: Pixels, rng: random.Random) -> bytes:
    """Do the same to a JPEG; as long as it has an end marker, libjpeg silently fills what is missing with grey."""
    width, height = rng.choice(_CLAIMS)
    data = bytearray(_file(well, rng, ["JPEG"]))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", min(height, 65_535), min(width, 65_535))
    return bytes(data)


def _packed_bomb(well: Pixels, rng: random.Random) -> bytes:
    """Pack 100 MB or more into 100 kB: pixels after the last one, text, or a colour profile."""
    bomb = zlib.compress(bytes(100_000_000), 1)
    match rng.randrange(3):
        case 0:
            return _png(800, 600, bomb)
        case 1:
            return _png(800, 600, zlib.compress(bytes(801 * 3 * 600)), more=_chunk(b"zTXt", b"Comment\0\0" + bomb))
        case _:
            return _png(800, 600, zlib.compress(bytes(801 * 3 * 600)), more=_chunk(b"iCCP", b"profile\0\0" + bomb))


def _large_bomb(well: Pixels, rng: random.Random) -> bytes:
    """Pack a whole picture with more pixels than we read into a small file."""
    kind = rng.choice(("PNG", "TIFF", "GIF", "WEBP"))
    if kind == "GIF":
        return _saved(Image.new("P", (12_000, 12_000)), kind)
    if kind == "WEBP":
        return _saved(Image.new("RGB", (16_000, 2_200)), kind, quality=1, method=0)
    options = {"compression": "tiff_deflate"} if kind == "TIFF" else {}
    return _saved(Image.new("1", (12_000, 12_000)), kind, **options)


def _tiff_tags(well: Pixels, rng: random.Random) -> bytes:
    """Make a TIFF whose tags hold wrong offsets and counts, or whose pages form a loop."""
    data = bytearray(_file(well, rng, ["TIFF"]))
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    for _ in range(rng.randint(1, 3)):
        at = start + 2 + 12 * rng.randrange(count)
        place = at + rng.choice((0, 2, 4, 8))
        data[place : place + 4] = rng.choice(
            (b"\xff\xff\xff\xff", bytes(4), rng.randbytes(4), struct.pack("<I", start))
        )
    if rng.random() < 0.2:
        data[start + 2 + 12 * count : start + 6 + 12 * count] = struct.pack("<I", start)
    return bytes(data)


def _scans(well: Pixels, rng: random.Random) -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    data = _saved(Image.fromarray(well), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * rng.choice((1, 10, 60)) + b"\xff\xd9"


def _small(well: Pixels, rng: random.Random) -> bytes:
    size = rng.choice(((1, 1), (63, 900), (900, 63), (2, 30_000)))
    return _saved(Image.new("RGB", size), rng.choice(("PNG", "JPEG", "TIFF")))


def _flat(well: Pixels, rng: random.Random) -> bytes:
    size = rng.choice(((64, 64), (1000, 64), (300, 8000), (900, 700)))
    return _saved(Image.new("RGB", size, rng.choice(("black", "white", "red", "#dcdcdc"))), "PNG")


def _noise(well: Pixels, rng: random.Random) -> bytes:
    return _saved(Image.frombytes("RGB", (400, 300), rng.randbytes(360_000)), rng.choice(("PNG", "TIFF")))


def _interlaced(well: Pixels, rng: random.Random) -> bytes:
    """Write an Adam7 PNG's seven passes by hand; Pillow reads such files but can't write them."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = (line for top, left, down, right in passes for line in well[top::down, left::right])
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in rows), 1)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", well.shape[1], well.shape[0], 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _mode(mode: str, kind: str) -> Callable[[Pixels, random.Random], bytes]:
    return lambda well, rng: _saved(Image.fromarray(well).convert(mode), kind)


def _largest(mode: str, kind: str) -> Callable[[Pixels, random.Random], bytes]:
    """Enlarge a well to as many pixels as we read."""

    def make(well: Pixels, rng: random.Random) -> bytes:
        side = int(MAX_PIXELS**0.5)
        large = Image.fromarray(well).resize((side, side), Image.Resampling.NEAREST)
        options = {"JPEG": {"quality": 88}, "PNG": {"compress_level": 1}, "TIFF": {"compression": "tiff_lzw"}}[kind]
        if mode == "I;16":
            return _saved(Image.fromarray(np.asarray(large.convert("L"), np.uint16) * 257), kind, **options)
        return _saved(large.convert("L").convert(mode) if mode == "F" else large.convert(mode), kind, **options)

    return make


def _largest_raw(well: Pixels, rng: random.Random) -> bytes:
    """Enlarge a well to as many bytes as we read."""
    side = int(((MAX_IMAGE_BYTES - 4096) / 3) ** 0.5)
    return _saved(Image.fromarray(well).resize((side, side), Image.Resampling.NEAREST), "TIFF")


def _whole(well: Pixels, rng: random.Random) -> bytes:
    return _file(well, rng)


_KINDS: dict[str, tuple[str, Callable[[Pixels, random.Random], bytes]]] = {
    "whole (any extension)": (SCORED, _whole),
    "truncated": (FAILED, _truncated),
    "bits flipped": (EITHER, _flipped),
    "a block overwritten": (EITHER, _overwritten),
    "empty or text": (FAILED, lambda well, rng: rng.choice((b"", b"no image taken\n", b"\xff\xd8\xff", bytes(5000)))),
    "random bytes": (FAILED, lambda well, rng: rng.randbytes(rng.randrange(1, 90_000))),
    "WebP, PPM, … by another name": (FAILED, _other_format),
    "BMP": (SCORED, lambda well, rng: _saved(Image.fromarray(well), "BMP")),
    "animated WebP": (FAILED, _animated_elsewhere),
    "several frames or pages": (SCORED, _animated),
    "10 to 16 bits": (SCORED, _deep),
    "floats with NaN and infinity": (SCORED, _float),
    "CMYK JPEG": (SCORED, _mode("CMYK", "JPEG")),
    "CMYK TIFF": (SCORED, _mode("CMYK", "TIFF")),
    "palette": (SCORED, _mode("P", "PNG")),
    "alpha": (SCORED, _mode("RGBA", "PNG")),
    "grey with alpha": (SCORED, _mode("LA", "PNG")),
    "black and white": (FAILED, _mode("1", "TIFF")),
    "progressive JPEG": (SCORED, lambda well, rng: _saved(Image.fromarray(well), "JPEG", progressive=True)),
    "progressive JPEG, many scans": (EITHER, _scans),
    "interlaced PNG": (SCORED, _interlaced),
    "EXIF: turned, long": (SCORED, _exif),
    "EXIF: broken": (EITHER, _broken_exif),
    "broken colour profile": (EITHER, _profile),
    "PNG header that claims too much": (FAILED, _claims),
    "JPEG header that claims too much": (EITHER, _jpeg_claims),
    "TIFF tags": (EITHER, _tiff_tags),
    "too small": (FAILED, _small),
    "flat, or very long": (EITHER, _flat),
    "noise": (SCORED, _noise),
}

LARGE: dict[str, tuple[str, Callable[[Pixels, random.Random], bytes]]] = {
    "bomb: PNG chunks": (EITHER, _packed_bomb),
    "bomb: PNG, TIFF, GIF, WebP": (FAILED, _large_bomb),
    "largest RGB PNG": (SCORED, _largest("RGB", "PNG")),
    "largest RGBA PNG": (SCORED, _largest("RGBA", "PNG")),
    "largest 16-bit PNG": (SCORED, _largest("I;16", "PNG")),
    "largest CMYK TIFF": (SCORED, _largest("CMYK", "TIFF")),
    "largest float TIFF": (SCORED, _largest("F", "TIFF")),
    "largest raw TIFF": (SCORED, _largest_raw),
    "largest JPEG": (SCORED, _largest("RGB", "JPEG")),
}
