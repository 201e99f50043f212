"""Image decoding and preprocessing, the same for training and scoring.

The steps are: `read_image` (bytes → RGB) → `Levels` (correct exposure and colour cast) → `resize` to the reference
scale → `network_input`. `WellImage` does all but the last step for a file to be scored. Networks must be trained on
images that went through the same steps, or they will not match what they see in use.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from .chops import Box
from .depth import Scale, deep_colour, eight_bits, is_deep_gray
from .errors import FailureReason, ImageError
from .whole import ends_early

Pixels = npt.NDArray[np.uint8]
"""An RGB image, ``(H, W, 3)``."""

FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
"""The formats that are read, by Pillow's names, with their suffixes; of files with the same stem, the first is read."""

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_FORMATS = (
    (0, b"\xff\xd8\xff", "a JPEG that is broken, or of a kind that is not read"),
    (0, b"RIFF", "a WebP file"),
    (0, b"II\xbc", "an HD Photo (JPEG XR) file"),
    (4, b"jP", "a JPEG 2000 file"),
    (0, b"\xffO\xffQ", "a JPEG 2000 file"),
    (4, b"ftyp", "a HEIC or AVIF file"),
    (0, b"%PDF", "a PDF file"),
)
"""Formats that are not read, by the bytes at a position of their files."""

_JPEG = ("JPEG", "MPO")
"""Pillow's names of JPEG; MPO has further pictures behind the first."""

MIN_SIDE = 64
"""Minimum pixels along each side of a well image."""

MAX_PIXELS = 24_000_000
"""Maximum pixels of an image (6,000×4,000, a large camera).

With this size a worker needs 400 MB. It is checked before decoding, because a malicious file may claim any size.
"""

_MIN_CONTRAST = 4
"""Difference of dark and bright, of 255, up to which an image shows nothing; 759 real ones have 39 and more."""

_BLACK, _LIT = 32, 140
"""Brightness, of 255, up to which a quarter and nine tenths of a UV picture's pixels are."""

SEGMENTER_SIDE = 256
"""Side of the square that a whole image is resized to for the segmenter."""

_REDUCED = 3 * SEGMENTER_SIDE // 2
"""Minimum side of a reduced JPEG: with fewer pixels the view would be sharper than that of the full image."""

MEAN_RGB = (123.0, 117.0, 104.0)
"""Mean to subtract from pixels: that of ImageNet, as in the pretrained SqueezeNet weights that we fine-tune."""

_STRIP = 256
"""Rows per strip, where a copy of a large image would take too much memory."""

_LARGE = 8_000_000
"""Pixels above which an image is resized in strips; applies to input and output."""

_GAP = 3.0
"""Pillow's ``reducing_gap``: reductions by more than this factor begin with a fast one by a whole number."""

_FILTER = Image.Resampling.BILINEAR

ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half-written file must fail, not score as a half-grey well


def read_image(data: bytes) -> Pixels:
    """Decode an image of any of the `FORMATS` into 8-bit RGB.

    Handles 8- and 16-bit grey and colour, palette, CMYK and floating point. Alpha is dropped, since it means nothing
    in imagers' files. Pixels of more than 8 bits are scaled from the depth of the camera; see `depth`. Only the first
    of several pages or frames is read. EXIF orientation is ignored, so that boxes are in pixels of the file as stored;
    a TIFF is turned as its own tag says.

    Returns
    -------
    ``(H, W, 3)`` uint8

    Raises
    ------
    ImageError
        `NOT_AN_IMAGE`, `TRUNCATED`, `TOO_SMALL` (a side below `MIN_SIDE`) or `TOO_LARGE` (more than `MAX_PIXELS`).
    """
    source = _Source(data)
    return source.rgb(source.whole)


def read_uv(data: bytes) -> Pixels:
    """Decode an image in UV light as `read_image` does; one of more than 8 bits is scaled by its few bright places."""
    source = _Source(data, on_black=True)
    return source.rgb(source.whole)


def read_small(data: bytes, side: int) -> Pixels:
    """Decode an image as `read_image` does, reduced so that its longer side is at most `side` pixels.

    Of a JPEG, only as much is decoded as that needs. Raises what `read_image` does.
    """
    height, width = image_size(data)
    part = min(side / max(height, width), 1.0)
    small = max(round(height * part), 1), max(round(width * part), 1)
    source = _Source(data, small[::-1])
    return source.resized(source.whole, *small)


class Picture(Protocol):
    """A well image as the networks see it: from a file (`WellImage`), or from pixels in memory (`WellPixels`)."""

    height: int
    width: int

    def part(self, box: Box) -> Pixels:
        """Return a part of the image as decoded at full scale, ``(height, width, 3)``."""
        ...

    def segmenter_view(self) -> Pixels:
        """Return the segmenter's view of the whole image; see `segmenter_view`."""
        ...

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """Return the classifier's view of a part of the image, with the levels of the whole; see `classifier_view`."""
        ...


class WellPixels:
    """A well image in memory, ``(H, W, 3)``; see `Picture`."""

    def __init__(self, pixels: Pixels) -> None:
        self.height, self.width = pixels.shape[:2]
        self._pixels = pixels

    def part(self, box: Box) -> Pixels:
        """Return a part of the image."""
        return self._pixels[box.row : box.row + box.height, box.col : box.col + box.width]

    def segmenter_view(self) -> Pixels:
        """Return the segmenter's view of the whole image."""
        check_contrast(self._small)
        return self._levels.apply(self._small)

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """Return the classifier's view of a part of the image."""
        return classifier_view(self.part(part), self._levels, to_reference)

    @cached_property
    def _small(self) -> Pixels:
        return resize(self._pixels, SEGMENTER_SIDE, SEGMENTER_SIDE)

    @cached_property
    def _levels(self) -> Levels:
        return Levels.of(self._small)


class WellImage:
    """A well image in a file, decoded only as far as the networks need; see `Picture`.

    For the segmenter, libjpeg decodes a JPEG directly at a quarter of the scale or so; at full scale only the drop is
    converted to an array. Files of other formats are decoded once. A large image is never converted as a whole, so that
    there is no second copy beside Pillow's own.

    Parameters
    ----------
    data
        The file's bytes.

    Raises
    ------
    ImageError
        See `read_image`; also raised by the methods.
    """

    def __init__(self, data: bytes) -> None:
        with _open(data) as image:
            self.height, self.width = image.height, image.width
            self._is_jpeg = image.format in _JPEG
        self._data = data
        self._source: _Source | None = None

    def part(self, box: Box) -> Pixels:
        """Return a part of the image as decoded at full scale, ``(height, width, 3)``."""
        return self._decoded().rgb(box)

    @property
    def looks_like_uv(self) -> bool:
        """Whether the image is dark, as in UV light; see `looks_like_uv`."""
        return looks_like_uv(self._small)

    def segmenter_view(self) -> Pixels:
        """Return the segmenter's view of the whole image; see `segmenter_view`."""
        return self._levels.apply(self._small)

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """Return the classifier's view of a part of the image, with the levels of the whole; see `classifier_view`."""
        return self._decoded().levelled(part, *_at_reference(part.height, part.width, to_reference), self._levels)

    @cached_property
    def _small(self) -> Pixels:
        source = _Source(self._data, (_REDUCED, _REDUCED)) if self._is_jpeg else self._decoded()
        small = source.resized(source.whole, SEGMENTER_SIDE, SEGMENTER_SIDE)
        check_contrast(small)
        return small

    @cached_property
    def _levels(self) -> Levels:
        return Levels.of(self._small)

    def _decoded(self) -> _Source:
        if self._source is None:
            self._source = _Source(self._data)
            self._data = self._data if self._is_jpeg else b""  # an uncompressed TIFF is as large as its pixels
        return self._source


def check_contrast(image: Pixels) -> None:
    """Check that an image, ``(H, W, 3)``, shows anything at all.

    Raises
    ------
    ImageError
        `NOT_AN_IMAGE` if nearly all pixels have one colour, as without a lamp: it must not be scored as a clear drop.
    """
    low, high = _percentiles(image, 1, 99)
    if (high - low).max() <= _MIN_CONTRAST:
        colour = ", ".join(f"{value:.0f}" for value in (low + high) / 2)
        raise ImageError(FailureReason.NOT_AN_IMAGE, f"it shows nothing: all of it is RGB {colour}; check the lamp")


def _percentiles(image: Pixels, *ranks: float) -> list[npt.NDArray[np.float64]]:
    """Return percentiles of each channel of an image, ``(H, W, 3)``, as `np.percentile` does, but from counts."""
    counts = np.array(Image.fromarray(image).histogram()).reshape(3, 256).cumsum(axis=1)
    last = counts[0, -1] - 1
    percentiles = []
    for rank in ranks:
        below, part = divmod(rank / 100 * last, 1)
        lower, upper = ((counts <= at).sum(axis=1) for at in (below, min(below + 1, last)))
        percentiles.append(lower + (upper - lower) * part)
    return percentiles


def looks_like_uv(image: Pixels) -> bool:
    """Tell whether an image, ``(H, W, 3)``, is dark, as in UV light: much of it is black, and no lamp lights the rest.

    So are pictures by SHG, in dark field and between crossed polarisers. docs/decisions/0022-light.md says how often
    the rule is right on real images.
    """
    brightness = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
    black, unlit = (np.count_nonzero(brightness <= level) for level in (_BLACK, _LIT))
    return bool(black >= 0.25 * brightness.size and unlit >= 0.9 * brightness.size)


def image_size(data: bytes | BinaryIO) -> tuple[int, int]:
    """Read the (height, width) of an image from its header; for checks and errors see `read_image`."""
    with _open(data) as image:
        return image.height, image.width


def _open(data: bytes | BinaryIO) -> Image.Image:
    if not data:
        raise ImageError(FailureReason.NOT_AN_IMAGE, "the file is empty")
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warnings; the limit below is ours
            image = Image.open(stream, formats=tuple(FORMATS))
    except UnidentifiedImageError as error:
        raise ImageError(FailureReason.NOT_AN_IMAGE, _unread(stream)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(FailureReason.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(FailureReason.TRUNCATED, f"the image's header is broken ({error})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(FailureReason.TOO_LARGE, f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read")
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            FailureReason.TOO_SMALL, f"{width}×{height} pixels; a well image has at least {MIN_SIDE} on each side"
        )
    return image


def _unread(stream: BinaryIO) -> str:
    """Say what a file is that Pillow does not read, and what to do."""
    stream.seek(0)
    head = stream.read(12)
    if head.startswith(_TIFF):
        return (
            "a TIFF that ends early, or whose kind of pixels is not read; copy it again, or save it with 8 or 16 bits"
        )
    kind = next((kind for at, magic, kind in _OTHER_FORMATS if head.startswith(magic, at)), None)
    if kind is not None:
        return f"{kind}, whatever its name; save it as PNG or TIFF"
    return f"not a {', '.join(FORMATS)} file, whatever its name; export it again"


class _Source:
    """A decoded file in Pillow's memory, at most 4 bytes per pixel; parts are converted to RGB on demand.

    With `draft`, a JPEG is decoded at ½, ¼ or ⅛ of its scale, but not below this width and height. For `on_black`
    see `Scale`.
    """

    def __init__(self, data: bytes, draft: tuple[int, int] | None = None, on_black: bool = False) -> None:
        with _open(data) as image:
            try:
                raw = deep_colour(image)
            except ValueError as error:
                raise ImageError(FailureReason.NOT_AN_IMAGE, str(error)) from error
            try:
                if draft is not None:
                    image.draft(None, draft)
                image.load()
            except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
                raise ImageError(
                    FailureReason.TRUNCATED, f"the file ends or breaks inside the image ({error})"
                ) from error
        if image.format in _JPEG and ends_early(data, image):
            raise ImageError(FailureReason.TRUNCATED, "the file ends before the image is complete")
        self._image = image if raw is None else eight_bits(data, image, raw, on_black)
        try:
            self._scale = Scale(image, on_black) if is_deep_gray(image) else None
        except ValueError as error:
            raise ImageError(FailureReason.NOT_AN_IMAGE, str(error)) from error
        self.whole = Box(0, 0, image.height, image.width)

    def rgb(self, box: Box) -> Pixels:
        """Return the pixels of a box, ``(height, width, 3)``, converted in strips to avoid a second large copy."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for top in range(0, box.height, _STRIP):
            rows = pixels[top : top + _STRIP]
            strip = self._image.crop((box.col, box.row + top, box.col + box.width, box.row + top + len(rows)))
            if self._scale is not None:
                rows[:] = self._scale.apply(strip)[:, :, None]
            else:
                strip = strip.convert("RGBA") if strip.mode == "P" else strip
                rows[:] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
        return pixels

    def resized(self, box: Box, height: int, width: int) -> Pixels:
        """Resize a box as `resize` does; in strips if a copy would be large, which changes pixels by at most 1."""
        if self._fits(box, height, width):
            return np.asarray(self._cut_out(box, height, width))
        return self._by_strips(box, height, width)

    def levelled(self, box: Box, height: int, width: int, levels: Levels) -> Pixels:
        """Resize a box as `resized` does, and bring it to the levels of its image."""
        if self._fits(box, height, width):
            return np.asarray(self._cut_out(box, height, width).point(levels.table))
        pixels = self._by_strips(box, height, width)
        return levels.apply(pixels, out=pixels)

    def _fits(self, box: Box, height: int, width: int) -> bool:
        """Whether there may be a second copy of a box and of what it is resized to."""
        is_reduced_first = max(box.height / height, box.width / width) > _GAP
        is_small = is_reduced_first or box.height * box.width <= _LARGE // 2
        return is_small and not _is_large(box.height, box.width, height, width)

    def _cut_out(self, box: Box, height: int, width: int) -> Image.Image:
        """Cut out a box and resize it, in Pillow's memory."""
        if self._image.mode == "RGB" and self._scale is None:
            part = self._image.crop((box.col, box.row, box.col + box.width, box.row + box.height))
        else:
            part = Image.fromarray(self.rgb(box))
        return part.resize((width, height), _FILTER, reducing_gap=_GAP)

    def _by_strips(self, box: Box, height: int, width: int) -> Pixels:
        if (box.height, box.width) == (height, width):
            return self.rgb(box)
        return _resized_by_strips(
            lambda top, bottom: self.rgb(Box(box.row + top, box.col, bottom - top, box.width)),
            (box.height, box.width),
            (height, width),
        )


@dataclass(frozen=True, slots=True)
class Levels:
    """Gains of the colour channels that bring the bright background to the same white for any lamp and exposure."""

    gains: tuple[float, float, float]

    WHITE = 220
    """Level of the bright background, of 255."""

    @classmethod
    def of(cls, image: Pixels) -> Levels:
        """Measure the levels of a whole image, ``(H, W, 3)``.

        They are based on each channel's 90th percentile; gains are limited to 0.5..4. The image is first resized as for
        the segmenter, so that the result depends on neither the scale nor the noise.
        """
        (bright,) = _percentiles(resize(image, SEGMENTER_SIDE, SEGMENTER_SIDE), 90)
        red, green, blue = (float(np.clip(cls.WHITE / max(value, 1.0), 0.5, 4.0)) for value in bright)
        return cls((red, green, blue))

    def apply(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Multiply the channels of an image, ``(H, W, 3)``, by the gains and clip to 255; `out` may be the image."""
        table = self.table
        levelled = np.empty(image.shape, np.uint8) if out is None else out
        for top in range(0, len(image), _STRIP):
            levelled[top : top + _STRIP] = np.asarray(Image.fromarray(image[top : top + _STRIP]).point(table))
        return levelled

    @property
    def table(self) -> list[int]:
        """The 256 new values of each channel in turn, as `PIL.Image.Image.point` takes them."""
        ramp = np.arange(256, dtype=np.float64)
        levels: list[int] = (
            np.concatenate([np.minimum(np.rint(ramp * gain), 255) for gain in self.gains]).astype(np.uint8).tolist()
        )
        return levels


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Resize to (height, width), at least 1×1, with antialiasing (Pillow's bilinear filter)."""
    height, width = max(height, 1), max(width, 1)
    if image.shape[:2] == (height, width):
        return image
    if not _is_large(image.shape[0], image.shape[1], height, width):
        return np.asarray(Image.fromarray(image).resize((width, height), _FILTER, reducing_gap=_GAP))
    return _resized_by_strips(lambda top, bottom: image[top:bottom], (image.shape[0], image.shape[1]), (height, width))


def _is_large(rows: int, cols: int, height: int, width: int) -> bool:
    return max(height * width, rows * cols) > _LARGE


def _resized_by_strips(rows_of: Callable[[int, int], Pixels], old: tuple[int, int], new: tuple[int, int]) -> Pixels:
    """Resize an image from `old` (height, width) to `new`; ``rows_of(top, bottom)`` returns rows of the old one."""
    height, width = new
    resized = np.empty((height, width, 3), np.uint8)
    scale = old[0] / height
    reach = math.ceil(max(scale, 1)) + 1  # rows beyond a strip that contribute to it
    rows = max(round(_STRIP / max(scale, 1)), 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first = max(math.floor(top * scale) - reach, 0)
        strip = Image.fromarray(rows_of(first, min(math.ceil(bottom * scale) + reach, old[0])))
        box = (0, top * scale - first, old[1], min(bottom * scale - first, strip.height))
        resized[top:bottom] = np.asarray(strip.resize((width, bottom - top), _FILTER, box=box))
    return resized


def network_input(images: Pixels) -> npt.NDArray[np.float32]:
    """Convert RGB images, ``(N, H, W, 3)``, to the networks' input: ``(N, 3, H, W)`` float32, 0..255 minus the mean."""
    centred = np.ascontiguousarray(np.moveaxis(images, 3, 1), np.float32)
    centred -= np.array(MEAN_RGB, np.float32).reshape(3, 1, 1)
    return centred


def segmenter_view(image: Pixels, levels: Levels) -> Pixels:
    """Return the segmenter's view of an image, ``(H, W, 3)``: levelled, ``(SEGMENTER_SIDE, SEGMENTER_SIDE, 3)``."""
    return levels.apply(resize(image, SEGMENTER_SIDE, SEGMENTER_SIDE))


def classifier_view(image: Pixels, levels: Levels, to_reference: float) -> Pixels:
    """Return the classifier's view of an image or a crop, ``(H, W, 3)``: levelled, at the reference scale."""
    return levels.apply(resize(image, *_at_reference(image.shape[0], image.shape[1], to_reference)))


def _at_reference(height: int, width: int, to_reference: float) -> tuple[int, int]:
    return max(round(height * to_reference), 1), max(round(width * to_reference), 1)
