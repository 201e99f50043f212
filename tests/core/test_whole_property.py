"""Whole files and damaged ones of many encodings; the oracle is how the file was made, or what Pillow decodes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from xtalgrid_core.whole import missing_end

tifffile = pytest.importorskip("tifffile")

_NOISE = np.random.default_rng(3).integers(-12, 13, (320, 480, 3))
_SHADE = np.linspace(120, 220, 480)[None, :, None] + np.linspace(0, 20, 320)[:, None, None]
WELL = np.clip(_SHADE + _NOISE, 1, 255).astype(np.uint8)


def masked(colour: int) -> np.ndarray:
    """A round window, as some imagers have, in a surface of one colour."""
    mask = Image.new("L", (480, 320))
    ImageDraw.Draw(mask).ellipse((90, 10, 390, 310), fill=255)
    return np.where(np.asarray(mask)[:, :, None] > 0, WELL, np.uint8(colour))


PICTURES = (WELL, masked(0), masked(255))
jpegs = st.fixed_dictionaries(
    {"quality": st.integers(40, 98)},
    optional={
        "optimize": st.just(True),
        "progressive": st.just(True),
        "subsampling": st.sampled_from([0, 1, 2]),
        "restart_marker_rows": st.integers(1, 3),
    },
)
tiffs = st.builds(
    lambda kind, layout: kind | layout,
    st.sampled_from([{}, {"byteorder": ">"}, {"bigtiff": True}]),
    st.sampled_from([{}, {"compression": "zlib"}, {"tile": (64, 64)}, {"tile": (128, 96)}, {"tile": (256, 256)}]),
)


def jpeg(picture: np.ndarray, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", **options)
    return stream.getvalue()


def tiff(picture: np.ndarray, options: dict[str, Any], planar: bool = False, bits: int = 8) -> bytes:
    pixels = picture if bits == 8 else picture.astype(np.uint16) << (bits - 8)
    if planar:
        pixels, options = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), options | {"planarconfig": "separate"}
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="rgb", **options)
    return stream.getvalue()


def is_whole(data: bytes) -> bool:
    return missing_end(io.BytesIO(data)) is None


@settings(max_examples=40)
@given(st.sampled_from(PICTURES), jpegs, st.binary(max_size=300))
def test_a_whole_jpeg_is_whole_whatever_its_encoding(picture, options, trailer):
    assert is_whole(jpeg(picture, options) + trailer)


@settings(max_examples=25)
@given(st.sampled_from(PICTURES), tiffs, st.booleans(), st.sampled_from([8, 12, 16]))
def test_a_whole_tiff_is_whole_whatever_its_layout(picture, options, planar, bits):
    assert is_whole(tiff(picture, options, planar, bits))


@pytest.mark.parametrize(("colours", "whole"), [((2,), True), ((1,), False), ((1, 2), True), ((0, 1), False)])
@pytest.mark.parametrize("options", [{}, {"tile": (64, 64)}, {"byteorder": ">"}])
def test_colours_that_the_light_lacks_are_no_damage(options, colours, whole):
    """Fluorescence is blue alone; a file whose last planes are zeros may still be on its way."""
    picture = np.zeros_like(WELL)
    picture[:, :, colours] = WELL[:, :, colours]
    assert is_whole(tiff(picture, options, planar=True)) is whole


@settings(max_examples=40)
@given(jpegs, st.floats(0.1, 0.9), st.integers(256, 20_000))
def test_zeros_in_a_jpeg(options, where, length):
    data = jpeg(WELL, options)
    scan = data.index(b"\xff\xda") + 20
    begin = scan + int((len(data) - 2 - scan) * where)
    end = min(begin + length, len(data) - 2)
    if end - begin >= 256:
        damaged = data[:begin] + bytes(end - begin) + data[end:]
        assert not is_whole(damaged) or is_hardly_changed(data, damaged)


def is_hardly_changed(data: bytes, damaged: bytes) -> bool:
    """Zeros in what pads a tile, or among the last bits of a progressive JPEG's brightness, can't be seen."""
    before, after = (np.asarray(Image.open(io.BytesIO(file)), int) for file in (data, damaged))
    return bool(np.abs(before - after).max() <= 8)


@settings(max_examples=25)
@given(tiffs, st.booleans(), st.sampled_from([8, 12, 16]), st.floats(0.1, 0.85))
def test_a_tiff_whose_rest_is_zeros(options, planar, bits, share):
    """A share that makes a file at its full length, and is filled from the front; the directory is at the front."""
    data = tiff(WELL, options, planar, bits)
    begin = int(len(data) * share)
    damaged = data[:begin] + bytes(len(data) - begin)
    assert not is_whole(damaged) or is_hardly_changed(data, damaged)


@settings(max_examples=20)
@given(tiffs, jpegs, st.floats(0, 0.99))
def test_a_file_that_breaks_off(tiff_options, jpeg_options, share):
    for data in (tiff(WELL, tiff_options), jpeg(WELL, jpeg_options)):
        assert not is_whole(data[: int(len(data) * share)])


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {"quality": 30, "optimize": True}])
def test_a_large_surface_of_one_colour_is_no_damage(colour, options):
    """Optimised tables write it as thousands of zeros: a large camera's picture with a caption below."""
    picture = np.array(Image.fromarray(WELL).resize((2560, 1920)))
    picture[1300:] = colour
    data = jpeg(picture, options)
    assert bytes(4096) in data
    assert is_whole(data)


def without_tag(data: bytes, tag: int) -> bytes:
    """Remove a tag from the directory of a little-endian TIFF."""
    at = int.from_bytes(data[4:8], "little")
    number = int.from_bytes(data[at : at + 2], "little")
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(number)]
    left = [entry for entry in entries if int.from_bytes(entry[:2], "little") != tag]
    assert len(left) == number - 1
    directory = len(left).to_bytes(2, "little") + b"".join(left) + bytes(4 + 12)
    return data[:at] + directory + data[at + len(directory) :]


def test_a_tiff_without_byte_counts_is_whole():
    data = without_tag(tiff(WELL, {"rowsperstrip": 320}), 279)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), WELL)
    assert is_whole(data)
    assert not is_whole(data[:-1])


@pytest.mark.parametrize("pixels", [np.float64(WELL[:, :, 0]) / 255, np.dstack([WELL[:, :, 0]] * 2)])
def test_a_tiff_that_we_cannot_read_is_whole_all_the_same(pixels):
    """So that it fails at once, instead of being waited for."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="minisblack")
    assert is_whole(stream.getvalue())


def layers(mode: str, pixels: np.ndarray) -> np.ndarray:
    """The pixels as inks, without black, or with an alpha that an imager left at 0."""
    if mode == "CMYK":
        return np.asarray(Image.fromarray(pixels).convert("CMYK"))
    return np.dstack([pixels, np.zeros_like(pixels[:, :, 0])])


@pytest.mark.parametrize("mode", ["CMYK", "RGBA"])
@pytest.mark.parametrize(("first", "last"), [(0.3, 0.6), (0.5, 1), (0.9, 1)])
def test_zeros_in_a_tiff_with_an_empty_layer(mode, first, last):
    picture = layers(mode, np.clip(WELL, 1, 250))
    stream = io.BytesIO()
    Image.fromarray(picture, mode).save(stream, "TIFF")
    data = stream.getvalue()
    begin = data.index(picture.tobytes()[:64])
    first, last = begin + int(first * picture.size) + 101, begin + int(last * picture.size)
    assert is_whole(data)
    assert not is_whole(data[:first] + bytes(last - first) + data[last:])


@pytest.mark.parametrize("mode", ["CMYK", "RGBA"])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_round_window_in_a_tiff_with_an_empty_layer_is_no_damage(mode, colour):
    stream = io.BytesIO()
    Image.fromarray(layers(mode, masked(colour)), mode).save(stream, "TIFF")
    assert is_whole(stream.getvalue())


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"rowsperstrip": 16}, {"planarconfig": "separate"}])
@pytest.mark.parametrize(("first", "end"), [(0, 40), (100, 180), (200, 320), (288, 320)])
def test_whole_rows_of_inks_that_are_missing(options, first, end):
    """Pillow shows them as white paper; black ink, which is nowhere in this picture, is no damage."""
    picture = layers("CMYK", np.clip(WELL, 1, 250))
    damaged = picture.copy()
    damaged[first:end] = 0
    for pixels, expected in ((picture, True), (damaged, False)):
        stream = io.BytesIO()
        pixels = np.moveaxis(pixels, 2, 0) if "planarconfig" in options else pixels
        tifffile.imwrite(stream, np.ascontiguousarray(pixels), photometric="separated", **options)
        assert is_whole(stream.getvalue()) == expected


WIDTHS = [slice(0, 320), slice(0, 200), slice(100, 320), slice(4, 316), slice(0, 316)]


@pytest.mark.parametrize("rows", [slice(0, 150), slice(60, 180), slice(90, 240), slice(4, 200)])
@pytest.mark.parametrize("columns", WIDTHS)
def test_a_picture_on_white_paper_is_no_damage(rows, columns):
    """Unless it reaches all edges of its page but one: then rows are missing."""
    page = np.full((240, 320, 3), 255, np.uint8)
    page[rows, columns] = np.clip(WELL, 1, 250)[rows, columns]
    stream = io.BytesIO()
    Image.fromarray(layers("CMYK", page), "CMYK").save(stream, "TIFF")
    reaches_three_edges = columns == slice(0, 320) and 0 in (rows.start, 240 - rows.stop)
    assert is_whole(stream.getvalue()) != reaches_three_edges
