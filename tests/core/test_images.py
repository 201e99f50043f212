import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded, well
from xtalgrid_core import images
from xtalgrid_core.chops import Box
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.images import (
    Levels,
    WellImage,
    classifier_view,
    image_size,
    network_input,
    read_image,
    read_small,
    resize,
    segmenter_view,
)

GREY = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (80, 1))
COLOUR = np.stack([GREY, GREY.T[:80, :80].repeat(2, axis=1)[:, :100], 255 - GREY], axis=2)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and that holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "error"), [("PNG", 0), ("TIFF", 0), ("BMP", 0), ("GIF", 40), ("JPEG", 30)])
def test_colour_images_of_all_formats(kind, error):
    image = read_image(saved(Image.fromarray(COLOUR), kind))
    assert image.dtype == np.uint8
    assert image.shape == (80, 100, 3)
    assert np.abs(image.astype(int) - COLOUR).max() <= error


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_all_kinds_of_pixels_become_rgb(mode):
    black_and_white = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8)).convert("RGB")
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    image = read_image(saved(black_and_white.convert(mode), kind))
    assert image.shape == (80, 100, 3)
    assert np.abs(image.astype(int) - np.asarray(black_and_white)).max() <= 3


@pytest.mark.parametrize("kind", ["BMP", "GIF"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_the_depths_of_other_formats_become_the_same_rgb(mode, kind):
    image = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8)).convert("RGB").convert(mode)
    if mode == "P":
        image = image.quantize(2)
    expected = np.where(GREY > 127, 255, 0)
    assert np.abs(read_image(saved(image, kind))[:, :, 1].astype(int) - expected).max() <= 3


def test_alpha_is_ignored():
    transparent = np.dstack([COLOUR, np.zeros((80, 100), np.uint8)])
    assert (read_image(saved(Image.fromarray(transparent), "PNG")) == COLOUR).all()


@pytest.mark.parametrize(("bits", "kind"), [(8, "TIFF"), (12, "PNG"), (12, "TIFF"), (16, "PNG"), (16, "TIFF")])
def test_16_bit_images_are_scaled_by_the_cameras_depth(bits, kind):
    raw = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    image = read_image(saved(Image.fromarray(raw), kind))
    assert np.abs(image[:, :, 0].astype(int) - GREY).max() <= 1
    assert (image[:, :, 0] == image[:, :, 2]).all()


def test_float_images_with_nan_are_read():
    values = GREY.astype(np.float32)
    values[0, 0] = np.nan
    assert read_image(saved(Image.fromarray(values), "TIFF"))[0, 0].tolist() == [0, 0, 0]


def test_the_first_page_of_a_tiff_is_read():
    second = Image.fromarray(np.zeros_like(COLOUR))
    data = saved(Image.fromarray(COLOUR), "TIFF", save_all=True, append_images=[second])
    assert (read_image(data) == COLOUR).all()


def test_orientation_is_that_of_the_file():
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90°"
    assert read_image(saved(Image.fromarray(COLOUR), "JPEG", exif=exif)).shape == (80, 100, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", FailureReason.NOT_AN_IMAGE),
        (b"well A01: no image taken\n", FailureReason.NOT_AN_IMAGE),
        (b"\xff\xd8\xff\xe0" + b"\0" * 10, FailureReason.NOT_AN_IMAGE),
        (saved(Image.new("RGB", (100, 100)), "WEBP"), FailureReason.NOT_AN_IMAGE),
        (encoded(COLOUR, "BMP")[:9000], FailureReason.TRUNCATED),
        (encoded(COLOUR, "GIF")[:3000], FailureReason.TRUNCATED),
        (encoded(COLOUR)[:60], FailureReason.TRUNCATED),
        (encoded(COLOUR, "JPEG")[:-400], FailureReason.TRUNCATED),
        (encoded(COLOUR, "TIFF")[:9000], FailureReason.TRUNCATED),
        (encoded(COLOUR[:1, :1]), FailureReason.TOO_SMALL),
        (encoded(COLOUR[:63]), FailureReason.TOO_SMALL),
        (png_claiming(20_000, 20_000), FailureReason.TOO_LARGE),
        (png_claiming(6_001, 4_000), FailureReason.TOO_LARGE),
        (png_claiming(6_000, 4_000), FailureReason.TRUNCATED),
    ],
)
def test_other_files_fail_with_a_reason(data, reason):
    with pytest.raises(ImageError) as caught:
        read_image(data)
    assert caught.value.reason is reason


@pytest.mark.parametrize(("kind", "error"), [("PNG", 0), ("TIFF", 0), ("BMP", 0), ("GIF", 0), ("JPEG", 8)])
def test_views_of_a_file_agree_with_those_of_its_pixels(kind, error):
    data = saved(Image.fromarray(well(height=1000, width=1300)), kind)
    whole, file, box = read_image(data), WellImage(data), Box(300, 17, 501, 900)
    assert (file.height, file.width) == (1000, 1300)
    levels = Levels.of(whole)
    part = classifier_view(whole[300:801, 17:917], levels, 0.7).astype(int)
    for view, expected in (
        (file.segmenter_view(), segmenter_view(whole, levels).astype(int)),
        (file.classifier_view(box, 0.7), part),
    ):
        assert view.shape == expected.shape
        assert np.abs(view - expected).mean() < (0.5 if error else 0.01)  # a JPEG is measured at half its scale
        assert np.abs(view - expected).max() <= error


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_resizing_a_large_file_in_strips_changes_nothing(kind):
    small = well(height=290, width=300)
    data = saved(Image.fromarray(small).resize((3000, 2900)), kind)
    whole, file, box = read_image(data), WellImage(data), Box(10, 0, 2880, 3000)
    view = file.classifier_view(box, 0.31)
    levels = Levels.of(small)
    assert np.abs(view.astype(int) - classifier_view(whole[10:2890], levels, 0.31)).mean() < 2
    assert np.abs(file.classifier_view(box, 1.0).astype(int) - levels.apply(whole[10:2890])).mean() < 2


def test_deep_and_palette_images_in_parts():
    deep = Image.fromarray(GREY.astype(np.uint16) * 16)  # 12 bits; a dark part alone would look like 8
    palette = Image.fromarray(COLOUR).convert("P")
    for image in (deep, palette):
        data = saved(image, "PNG")
        whole = read_image(data)
        view = WellImage(data).classifier_view(Box(3, 5, 40, 7), 1.0)
        assert (view == Levels.of(whole).apply(whole)[3:43, 5:12]).all()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_file_cut_anywhere_fails_and_never_scores(cut):
    data = encoded(well(), "JPEG")
    part = data[: len(data) * cut // 40]
    for read in (
        read_image,
        lambda part: WellImage(part).segmenter_view(),
        lambda part: WellImage(part).classifier_view(Box(0, 0, 9, 9), 1.0),
    ):
        with pytest.raises(ImageError):
            read(part)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 7}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_an_incomplete_jpeg_is_truncated_but_a_grey_one_is_not(mode, options):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    pixels[128:] = 128  # like missing data, which libjpeg fills with grey
    whole = saved(Image.fromarray(pixels).convert(mode), "JPEG", **options)
    WellImage(whole).segmenter_view()
    frame = whole.index(bytes((8, 1, 0, 1, 64)))  # bits, height, width
    taller = whole[:frame] + bytes((8, 1, 64, 1, 64)) + whole[frame + 5 :]
    for read in (read_image, lambda data: WellImage(data).segmenter_view()):
        with pytest.raises(ImageError, match="ends before the image") as caught:
            read(taller)
        assert caught.value.reason is FailureReason.TRUNCATED


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (saved(Image.new("RGB", (100, 100)), "WEBP"), "a WebP file, whatever its name; save it as PNG or TIFF"),
        (saved(Image.new("RGB", (100, 100)), "JPEG2000"), "a JPEG 2000 file"),
        (bytes(4) + b"ftypavif", "a HEIC or AVIF file"),
        (
            saved(Image.new("L", (100, 100)), "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"),
            "a JPEG that is",
        ),
        (b"II\xbc\x01 " + bytes(8), "an HD Photo"),
        # a TIFF of 64-bit floating-point numbers: size, bits, kind of number, and where the pixels are
        (
            b"II*\0\x08\0\0\0\x06\0"
            + b"".join(
                struct.pack("<HHII", tag, 3, 1, value)
                for tag, value in ((256, 64), (257, 64), (258, 64), (262, 1), (273, 86), (339, 3))
            )
            + bytes(4 + 8 * 64 * 64),
            "whose kind of pixels is not read",
        ),
        (saved(Image.new("L", (100, 100)), "TIFF")[:20], "a TIFF that ends early"),
        (b"well A01: no image taken", "not a JPEG, PNG, TIFF, BMP, GIF file"),
    ],
)
def test_a_file_that_is_not_read_is_named(data, said):
    with pytest.raises(ImageError, match=said):
        read_image(data)


def test_size_is_known_without_decoding():
    assert image_size(png_claiming(2560, 1920)) == (1920, 2560)


def test_levels_correct_exposure_and_colour_cast():
    bright = well(height=300, width=400)
    dim = (bright * np.array([0.4, 0.5, 0.6])).astype(np.uint8)
    assert np.abs(Levels.of(dim).apply(dim).astype(int) - Levels.of(bright).apply(bright)).max() <= 4
    assert Levels.of(dim).apply(dim)[0, -1].tolist() == pytest.approx([220] * 3, abs=2)


def test_levels_of_a_black_image_are_limited():
    assert Levels.of(np.zeros((100, 100, 3), np.uint8)).gains == (4.0, 4.0, 4.0)


def test_views_have_the_networks_sizes():
    image = well(height=960, width=1280)
    levels = Levels.of(image)
    assert segmenter_view(image, levels).shape == (256, 256, 3)
    assert classifier_view(image, levels, 2.0).shape == (1920, 2560, 3)
    assert classifier_view(image[:3, :3], levels, 0.1).shape == (1, 1, 3)
    assert network_input(np.zeros((5, 256, 256, 3), np.uint8)).shape == (5, 3, 256, 256)


def test_network_input_is_rgb_minus_the_imagenet_mean():
    pixel = network_input(np.array([[[[255, 117, 0]]]], np.uint8))
    assert pixel.ravel().tolist() == [255 - 123, 0, -104]
    assert pixel.dtype == np.float32


def test_resizing_keeps_the_mean():
    fine = np.zeros((512, 512, 3), np.uint8)
    fine[::2] = 200
    assert resize(fine, 64, 64).mean() == pytest.approx(100, abs=2)


@pytest.mark.parametrize(("height", "width"), [(900, 700), (410, 333), (601, 1000)])
def test_resizing_in_strips_agrees_with_resizing_at_once(monkeypatch, height, width):
    image = np.random.default_rng(0).integers(0, 256, (601, 500, 3), np.uint8)
    whole = resize(image, height, width)
    monkeypatch.setattr(images, "_LARGE", 0)
    by_strips = resize(image, height, width)
    assert by_strips.shape == whole.shape
    assert np.abs(by_strips.astype(int) - whole).max() <= 1  # positions are rounded slightly differently


def test_levels_are_applied_to_every_row_of_a_tall_image():
    image = np.random.default_rng(0).integers(0, 256, (600, 20, 3), np.uint8)
    levelled = Levels((1.0, 0.5, 2.0)).apply(image)
    assert (levelled == np.minimum(np.rint(image * np.array([1.0, 0.5, 2.0])), 255)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_small_copy_shows_what_the_image_shows(kind):
    """Quarters of different shades, decoded at an eighth of the size or so, and never enlarged."""
    image = Image.new("RGB", (1600, 1200), (30, 30, 30))
    image.paste((200, 60, 60), (800, 0, 1600, 600))
    stream = io.BytesIO()
    image.save(stream, kind)
    small = read_small(stream.getvalue(), 200)
    assert small.shape == (150, 200, 3)
    assert small[30, 150].tolist() == pytest.approx([200, 60, 60], abs=4)
    assert small[120, 50].tolist() == pytest.approx([30, 30, 30], abs=4)
    assert read_small(stream.getvalue(), 5000).shape == (1200, 1600, 3)
