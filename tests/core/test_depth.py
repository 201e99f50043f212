"""The same well in other depths, written by tifffile and by hand, is the same 8-bit image."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import WellImage, read_image

tifffile = pytest.importorskip("tifffile")

_LEVELS = np.random.default_rng(1).random((300, 400)) * 180 + 40
_LEVELS[100:200, 150:250] *= 0.3
GRAY = _LEVELS
COLOUR = np.stack([_LEVELS, _LEVELS * 0.9, _LEVELS * 0.8], axis=2)
BAR = (slice(280, 284), slice(300, 380))
DEPTHS = (10, 12, 14, 16)


def in_depth(levels: np.ndarray, bits: int) -> np.ndarray:
    return np.minimum(levels * 2 ** (bits - 8), 2**bits - 1).astype(np.uint16)


def with_scale_bar(pixels: np.ndarray) -> np.ndarray:
    marked = pixels.copy()
    marked[BAR] = 65535
    return marked


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits, which Pillow cannot write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def differs(data: bytes, levels: np.ndarray) -> int:
    """The largest difference from the 8-bit image, scale bar apart."""
    expected = levels.astype(np.uint8) if levels.ndim == 3 else np.repeat(levels.astype(np.uint8)[:, :, None], 3, 2)
    difference = np.abs(read_image(data).astype(int) - expected)
    difference[BAR] = 0
    return int(difference.max())


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("levels", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("mark", [with_scale_bar, np.copy], ids=["scale bar", "plain"])
def test_a_camera_of_any_depth(bits, levels, mark):
    pixels = mark(in_depth(levels, bits))
    photometric = "rgb" if levels is COLOUR else "minisblack"
    assert differs(png(pixels), levels) <= 1
    for order in "<>":
        for compression in (None, "zlib"):
            data = tiff(pixels, byteorder=order, compression=compression, photometric=photometric)
            assert differs(data, levels) <= 1, (order, compression)


@pytest.mark.parametrize("bits", DEPTHS)
def test_white_is_zero(bits):
    assert differs(tiff(2**bits - 1 - in_depth(GRAY, bits), photometric="miniswhite"), GRAY) <= 2


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_floating_point(white):
    assert differs(tiff((GRAY / 255 * white).astype(np.float32)), GRAY) <= 1


def test_separate_planes_of_16_bits_are_refused():
    planes = np.ascontiguousarray(np.moveaxis(in_depth(COLOUR, 16), 2, 0))
    with pytest.raises(ImageError, match="separate planes"):
        read_image(tiff(planes, photometric="rgb", planarconfig="separate"))


def test_8_bits_are_as_pillow_decodes_them():
    stream = io.BytesIO()
    Image.fromarray(COLOUR.astype(np.uint8)).save(stream, "PNG")
    assert differs(stream.getvalue(), COLOUR) == 0


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_an_image_that_shows_nothing_is_not_scored(level):
    noise = np.random.default_rng(2).integers(0, 2, (300, 400, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.clip(noise.astype(int) + level, 0, 255).astype(np.uint8)).save(stream, "PNG")
    with pytest.raises(ImageError, match="it shows nothing"):
        WellImage(stream.getvalue()).segmenter_view()


def captioned(pixels: np.ndarray, rows: int, value: float) -> np.ndarray:
    """Burn a caption in at the bottom."""
    marked = pixels.copy()
    if rows:
        marked[-rows:] = value
    return marked


@settings(max_examples=40)
@given(
    bits=st.sampled_from(DEPTHS),
    levels=st.sampled_from([GRAY, COLOUR]),
    caption=st.integers(0, 60),
    kind=st.sampled_from(["tiff", "png", "white is zero", "float", "alpha"]),
    gain=st.floats(0.8, 1.15),
)
def test_any_depth_is_the_8_bit_image(bits, levels, caption, kind, gain):
    """Whatever part of 16 bits a camera uses, and however much a caption at the file's white covers."""
    levels = captioned(np.floor(levels * gain), caption, 255)
    pixels = captioned(in_depth(levels, bits), caption, 65535)
    gray = levels if levels.ndim == 2 else levels[:, :, 0]
    if kind == "tiff":
        data, expected = tiff(pixels, photometric="rgb" if levels.ndim == 3 else "minisblack"), levels
    elif kind == "png":
        data, expected = png(pixels), levels
    elif kind == "white is zero":
        flipped = captioned(2**bits - 1 - in_depth(gray, bits), caption, 0)
        data, expected = tiff(flipped, photometric="miniswhite"), gray
    elif kind == "float":
        data, expected = tiff((gray / 255).astype(np.float32)), gray
    else:
        data, expected = png_with_alpha(captioned(in_depth(gray, bits), caption, 65535)), gray
    assert differs(data, expected) <= 2


def png_with_alpha(pixels: np.ndarray) -> bytes:
    """A PNG of 16-bit gray and alpha."""
    data = png(np.dstack([pixels, np.full_like(pixels, 65535)]))
    head = data[12:24] + struct.pack(">BBBBB", 16, 4, 0, 0, 0)
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def test_a_black_caption_where_white_is_zero():
    """At 65,535, far beyond the camera's 12 bits."""
    data = tiff(with_scale_bar(4095 - in_depth(GRAY, 12)), photometric="miniswhite")
    assert differs(data, GRAY) <= 2


def test_sharpening_beyond_white():
    values = (GRAY / 255).astype(np.float32)
    values[::10] *= 1.3
    values[BAR] = 0
    expected = GRAY.copy()
    expected[::10] = np.minimum(GRAY[::10] * 1.3, 255)
    assert differs(tiff(values), expected) <= 1


def preview_first() -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as pages:
        pages.write(COLOUR[::4, ::4].astype(np.uint8), photometric="rgb", subfiletype=1)
        pages.write(COLOUR.astype(np.uint8), photometric="rgb")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff((GRAY * 257 - 32768).astype(np.int16)), "below zero"),
        (tiff((GRAY - 128).astype(np.int8)), "signed"),
        (tiff(((GRAY - 130) / 50).astype(np.float32)), "below zero"),
        (tiff(GRAY.astype(np.uint32) * 2**24), "below zero or beyond 2,147,483,647"),
        (tiff(np.dstack([in_depth(COLOUR, 16)] * 2)[:, :, :4], photometric="separated"), "CMYK of 16 bits"),
        (tiff(GRAY > 128, photometric="minisblack"), "1 bit a pixel"),
        (preview_first(), "first page is a preview"),
    ],
    ids=["int16", "int8", "difference", "uint32", "cmyk", "bilevel", "preview"],
)
def test_what_would_be_read_wrongly_is_refused(data, why):
    with pytest.raises(ImageError, match=why):
        read_image(data)


def test_the_first_of_several_pictures_in_a_jpeg_must_be_complete():
    """MPO, as cameras write it: here the first picture's end marker stands too early."""
    stream = io.BytesIO()
    picture = Image.fromarray(COLOUR.astype(np.uint8))
    picture.save(stream, "MPO", save_all=True, append_images=[picture.resize((80, 60))])
    data = stream.getvalue()
    assert np.abs(read_image(data).astype(int) - COLOUR).mean() < 20
    first = data.index(b"\xff\xd9")
    with pytest.raises(ImageError, match="ends before the image is complete"):
        read_image(data[: first // 2] + b"\xff\xd9")
