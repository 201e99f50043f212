"""Complete files, and files that are still being written by an imager or a copy."""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from xtalgrid_core.whole import missing_end

NOISE = Image.effect_noise((96, 64), 80).convert("RGB")
LARGE = Image.effect_noise((640, 480), 30).convert("RGB")
KINDS = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "tiff": ("TIFF", {}),
    "bigtiff": ("TIFF", {"big_tiff": True}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff jpeg": ("TIFF", {"compression": "jpeg"}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
}


def saved(kind: str, image: Image.Image = NOISE) -> bytes:
    name, options = KINDS[kind]
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def is_whole(data: bytes) -> bool:
    return missing_end(io.BytesIO(data)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_complete_with_its_last_byte_and_not_before(kind: str) -> None:
    data = saved(kind)
    assert is_whole(data)
    assert [n for n in range(8, len(data), 7) if is_whole(data[:n])] == []
    assert missing_end(io.BytesIO(b"")) == "the file is empty"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "after",
    [
        bytes(64),
        b"what a camera writes behind its picture",
        bytes(range(256)) * 40,
        bytes(70_000),
        b"x" + bytes(5000) + b"y",
    ],
)
def test_data_after_the_end_are_allowed(kind: str, after: bytes) -> None:
    assert is_whole(saved(kind) + after)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.3, 0.7), (0.4, 0.5)])
def test_zeros_in_place_of_data(kind: str, first: float, last: float) -> None:
    data = saved(kind, LARGE)
    begin, end = (int(len(data) * part) for part in (first, last))
    assert is_whole(data)
    assert not is_whole(data[:begin] + bytes(end - begin) + data[end:])


def test_zeros_in_floating_point_numbers_that_have_a_nan() -> None:
    pixels = np.asarray(LARGE.convert("L"), np.float32) / 255
    pixels[:2, :2] = np.nan
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF")
    data = stream.getvalue()
    half = len(data) // 2
    assert is_whole(data) and not is_whole(data[:half] + bytes(len(data) - half))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_black_in_a_picture_is_no_damage(options: dict[str, bool]) -> None:
    """A round mask, black bars, and a banner with text, in each format."""
    for box in ((0, 0, 640, 60), (0, 420, 640, 480)):
        picture = LARGE.copy()
        picture.paste((0, 0, 0), box)
        if box[1] == 0:
            picture.paste((0, 0, 0), (0, 430, 640, 480))
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).ellipse((60, 20, 580, 470), fill=255)
        masked = Image.composite(LARGE, Image.new("RGB", picture.size), mask)
        for image in (picture if box[1] == 0 else masked, masked.convert("L")):
            for name in ("TIFF", "PNG", "JPEG", "BMP", "GIF"):
                stream = io.BytesIO()
                image.save(stream, name, **(options if name == "JPEG" else {}))
                assert is_whole(stream.getvalue()), (box, name)


def test_the_end_marker_of_a_thumbnail_does_not_count() -> None:
    """An APP1 segment contains a whole JPEG, as from cameras, and the file breaks off 500 bytes after it."""
    picture, thumbnail = saved("jpeg"), saved("jpeg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = picture[:2] + segment + picture[2:]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(picture))))
    assert is_whole(data)
    assert missing_end(io.BytesIO(data[: 2 + len(segment) + 500])) == "the JPEG's end marker is missing"


def png_of(rows: bytes, side: int, *, interlaced: bool) -> bytes:
    """A grey PNG of these rows, with right checksums."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("length", "interlaced"), [(72, False), (79, True)])
def test_a_png_has_all_its_rows(length: int, interlaced: bool) -> None:
    """Eight rows of a filter and eight pixels; interlaced, 1 + 1 + 1 + 2 + 2 + 4 + 4 rows of 1, 1, 2, 2, 4, 4, 8."""
    assert missing_end(io.BytesIO(png_of(bytes(length), 8, interlaced=interlaced))) is None
    assert missing_end(io.BytesIO(png_of(bytes(length - 1), 8, interlaced=interlaced))) == "the PNG's data end early"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_has_all_its_parts_between_restarts(mode: str, progressive: bool) -> None:
    stream = io.BytesIO()
    picture = Image.effect_noise((301, 203), 80).convert(mode)
    picture.save(stream, "JPEG", restart_marker_rows=1, progressive=progressive)
    data = stream.getvalue()
    assert missing_end(io.BytesIO(data)) is None
    at = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    assert missing_end(io.BytesIO(data[: at[3]] + data[at[4] :])) == "a part of the JPEG is missing"
    assert missing_end(io.BytesIO(data[: at[3] + 2] + data[at[4] :])) == "a part of the JPEG is missing"
    assert missing_end(io.BytesIO(data[: at[1]] + data[at[9] :])) == "a part of the JPEG is missing"


def test_other_formats_are_taken_for_complete() -> None:
    assert is_whole(b"RIFF....WEBP and so on")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp_files_of_any_depth_and_odd_width(mode: str) -> None:
    """Rows are padded to four bytes; 32 bits a pixel have a fourth byte that means nothing."""
    picture = LARGE.crop((0, 0, 637, 480))
    image = picture.quantize(200) if mode == "P" else picture.convert(mode)
    if mode == "RGBA":
        image.putalpha(0)
    stream = io.BytesIO()
    image.save(stream, "BMP")
    data = stream.getvalue()
    half = len(data) // 2
    assert is_whole(data)
    assert not is_whole(data[:-1])
    assert not is_whole(data[:half] + bytes(len(data) - half))


def test_a_packed_bmp_is_complete_with_its_last_byte() -> None:
    """Windows' run-length encoding: 64 rows of 96 pixels, each as one run, and its end."""
    rows = b"".join(bytes((96, 40 + row % 50, 0, 0)) for row in range(64)) + b"\0\1"
    colours = bytes(value for level in range(256) for value in (level, level, level, 0))
    size = 54 + len(colours) + len(rows)
    header = b"BM" + struct.pack("<IHHI", size, 0, 0, 54 + len(colours))
    header += struct.pack("<IiiHHIIiiII", 40, 96, 64, 1, 8, 1, len(rows), 0, 0, 0, 0)
    data = header + colours + rows
    with Image.open(io.BytesIO(data)) as image:
        assert image.convert("L").getpixel((5, 63)) == 40
    assert is_whole(data)
    assert not is_whole(data[:-1])


def test_a_gif_ends_with_the_trailer_of_its_last_frame() -> None:
    stream = io.BytesIO()
    frames = [LARGE.crop((0, 0, 96, 64)).rotate(90 * n) for n in range(3)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], comment=b"a comment", duration=40)
    data = stream.getvalue()
    assert is_whole(data)
    assert [n for n in range(8, len(data)) if is_whole(data[:n])] == []


@pytest.mark.parametrize("kind", [0xC0, 0xC2, 0xC4, 0xDA, 0xDD])
def test_a_jpeg_whose_segments_are_broken_is_no_error(kind: int) -> None:
    data = b"\xff\xd8\xff" + bytes([kind]) + b"\0\2" + b"\xff\xda\0\2" + bytes(600) + b"\xff\xd9"
    assert missing_end(io.BytesIO(data)) == "zeros replace a part of the JPEG"


def test_a_tiff_whose_tags_do_not_fit_its_parts_stops_nothing():
    """Tiles of another width than the image is made of; whether it can be read, decoding will tell."""
    tifffile = pytest.importorskip("tifffile", reason="writes a TIFF in tiles (extra train)")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.tile(np.arange(320, dtype=np.uint16), (240, 1)), tile=(128, 96))
    data = stream.getvalue()
    assert missing_end(io.BytesIO(data)) is None
    width, other = (struct.pack("<HHII", 322, 4, 1, columns) for columns in (96, 64))
    assert width in data
    assert missing_end(io.BytesIO(data.replace(width, other))) is None
