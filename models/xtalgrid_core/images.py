"""The one image decoder, and the one preprocessing, for training and scoring alike.

The way of the pixels: `read_image` (bytes → RGB) → `Levels` (exposure and colour cast taken out) → `resize` to the reference scale →
`network_input`; of a file that is scored, `WellImage` goes all this way but the last step. Whoever trains a network on anything else trains it for other pictures than it will see.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from .chops import Box
from .errors import FailureReason, ImageError
from .whole import ends_early

Pixels = npt.NDArray[np.uint8]
"""An RGB image, ``(H, W, 3)``."""

FORMATS = ("JPEG", "PNG", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")

MIN_SIDE = 64
"""Below this many pixels a side is no well image."""

MAX_PIXELS = 24_000_000
"""More pixels than this (6,000×4,000, a large camera's) are refused before decoding: a worker that holds them takes 400 MB, a hostile file may claim any number."""

SEGMENTER_SIDE = 256
"""The segmenter sees a whole image squeezed to a square of this side."""

_REDUCED = 3 * SEGMENTER_SIDE // 2
"""Least side of a reduced JPEG: with fewer pixels the segmenter would see a sharper picture than that of a full one."""

MEAN_RGB = (123.0, 117.0, 104.0)
"""Subtracted from the pixels: the ImageNet mean that the SqueezeNet weights we start from were trained with."""

_STRIP = 256
"""Rows that are worked on at once where a copy of a large image would count."""

_LARGE = 8_000_000
"""Pixels from which an image is resized by strips, be it what is given or what is made."""

_GAP = 3.0
"""An image that is not large, and is made smaller than by this factor, is first reduced by a whole number, which is quicker."""

_FILTER = Image.Resampling.BILINEAR

ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half-written file must fail, not score as a half-grey well


def read_image(data: bytes) -> Pixels:
    """Decode a JPEG, PNG or TIFF image into 8-bit RGB.

    8- and 16-bit, gray, palette, RGB, RGBA and CMYK are read; alpha is dropped (imagers' alpha means nothing). 16-bit
    pixels are scaled by the smallest camera depth (8, 10, 12, 14, 16 bits) that holds the largest of them. Of several
    pages or frames the first is taken. EXIF orientation is not applied: boxes are in pixels of the file as stored.

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


class Picture(Protocol):
    """A well image as the two networks see it: a file (`WellImage`), or pixels in memory (`WellPixels`)."""

    height: int
    width: int

    def segmenter_view(self) -> Pixels:
        """What the segmenter sees: `segmenter_view` of the whole image, ``(SEGMENTER_SIDE, SEGMENTER_SIDE, 3)``."""
        ...

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """What is cut into chops of a part, which lies inside the image: levelled as the whole, at the reference scale."""
        ...


class WellPixels:
    """A well image that is in memory already, ``(H, W, 3)``; see `Picture`."""

    def __init__(self, pixels: Pixels) -> None:
        self.height, self.width = pixels.shape[:2]
        self._pixels = pixels
        self._levels = Levels.of(pixels)

    def segmenter_view(self) -> Pixels:
        """The whole image, levelled."""
        return segmenter_view(self._pixels, self._levels)

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """A part, levelled, at the reference scale."""
        pixels = self._pixels[part.row : part.row + part.height, part.col : part.col + part.width]
        return classifier_view(pixels, self._levels, to_reference)


class WellImage:
    """An image file, as the two networks see it, decoded no further than they ask.

    Of a JPEG the segmenter needs a quarter of the scale, which libjpeg decodes without computing the rest, and of the full scale only
    the drop is brought into an array. PNG and TIFF files are decoded once. A large picture is never whole in an array beside Pillow's own.

    Parameters
    ----------
    data
        The file's bytes.

    Raises
    ------
    ImageError
        See `read_image`; by each method too.
    """

    def __init__(self, data: bytes) -> None:
        with _open(data) as image:
            self.height, self.width = image.height, image.width
            self._is_jpeg = image.format == "JPEG"
        self._data = data
        self._source: _Source | None = None

    def segmenter_view(self) -> Pixels:
        """What the segmenter sees: `segmenter_view` of the whole image, ``(SEGMENTER_SIDE, SEGMENTER_SIDE, 3)``."""
        return self._levels.apply(self._small)

    def classifier_view(self, part: Box, to_reference: float) -> Pixels:
        """What is cut into chops of a part, which lies inside the image: levelled as the whole, at the reference scale; see `classifier_view`."""
        view = self._decoded().resized(part, *_at_reference(part.height, part.width, to_reference))
        return self._levels.apply(view, out=view if view.flags.writeable else None)

    @cached_property
    def _small(self) -> Pixels:
        source = _Source(self._data, (_REDUCED, _REDUCED)) if self._is_jpeg else self._decoded()
        return source.resized(source.whole, SEGMENTER_SIDE, SEGMENTER_SIDE)

    @cached_property
    def _levels(self) -> Levels:
        return Levels.of(self._small)

    def _decoded(self) -> _Source:
        if self._source is None:
            self._source = _Source(self._data)
            self._data = self._data if self._is_jpeg else b""  # a raw TIFF is as large as its picture
        return self._source


def image_size(data: bytes) -> tuple[int, int]:
    """(height, width) of an image from its header alone, checked as in `read_image`, which see for the errors."""
    with _open(data) as image:
        return image.height, image.width


def _open(data: bytes) -> Image.Image:
    if not data:
        raise ImageError(FailureReason.NOT_AN_IMAGE, "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warnings; the limit below is ours
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(FailureReason.NOT_AN_IMAGE, f"no {', '.join(FORMATS)} file, whatever its name says") from error
    except Image.DecompressionBombError as error:
        raise ImageError(FailureReason.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(FailureReason.TRUNCATED, f"the image's header is broken ({error})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(FailureReason.TOO_LARGE, f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read")
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            FailureReason.TOO_SMALL, f"{width}×{height} pixels; a well image has at least {MIN_SIDE} a side"
        )
    return image


class _Source:
    """A decoded file as Pillow holds it, 4 bytes a pixel and less; its parts become RGB when they are asked for.

    Of a JPEG with `draft`, it is reduced to ½, ¼ or ⅛ of the scale, to not less than this width and height.
    """

    def __init__(self, data: bytes, draft: tuple[int, int] | None = None) -> None:
        with _open(data) as image:
            try:
                if draft is not None:
                    image.draft(None, draft)
                image.load()
            except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
                raise ImageError(
                    FailureReason.TRUNCATED, f"the file ends or breaks inside the image ({error})"
                ) from error
        if image.format == "JPEG" and ends_early(data, image):
            raise ImageError(FailureReason.TRUNCATED, "the file's data end before its picture does")
        self._image = image
        self._is_deep = image.mode.startswith(("I", "F"))  # 16- or 32-bit gray
        self._white = _white(image) if self._is_deep else 255.0
        self.whole = Box(0, 0, image.height, image.width)

    def rgb(self, box: Box) -> Pixels:
        """The pixels of a box, ``(box.height, box.width, 3)``, brought to RGB by strips: no second large copy is made."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for top in range(0, box.height, _STRIP):
            rows = pixels[top : top + _STRIP]
            strip = self._image.crop((box.col, box.row + top, box.col + box.width, box.row + top + len(rows)))
            if self._is_deep:
                rows[:] = np.clip(_finite(strip) * (255.0 / self._white), 0, 255).astype(np.uint8)[:, :, None]
            else:
                strip = strip.convert("RGBA") if strip.mode == "P" else strip
                rows[:] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
        return pixels

    def resized(self, box: Box, height: int, width: int) -> Pixels:
        """What `resize` makes of a box; by strips, which is the same to a step of 255, where a copy would count."""
        if (box.height, box.width) == (height, width):
            return self.rgb(box)
        is_reduced_first = max(box.height / height, box.width / width) > _GAP
        is_small = is_reduced_first or box.height * box.width <= _LARGE // 2
        if is_small and not _is_large(box.height, box.width, height, width):
            return resize(self.rgb(box), height, width)
        return _resized_by_strips(
            lambda top, bottom: self.rgb(Box(box.row + top, box.col, bottom - top, box.width)),
            (box.height, box.width),
            (height, width),
        )


def _white(image: Image.Image) -> float:
    """The largest value of the camera that took a deep gray image: of 8, 10, 12, 14 or 16 bits, or what the image holds."""
    strips = (
        image.crop((0, top, image.width, min(top + _STRIP, image.height))) for top in range(0, image.height, _STRIP)
    )
    top = max(float(_finite(strip).max()) for strip in strips)
    return next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if top < 2**bits), max(top, 1.0))


def _finite(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


@dataclass(frozen=True, slots=True)
class Levels:
    """Gain of each colour channel that brings a well's bright ground to one white, whatever lamp and exposure."""

    gains: tuple[float, float, float]

    WHITE = 220
    """Where the bright ground goes, of 255."""

    @classmethod
    def of(cls, image: Pixels) -> Levels:
        """Measure on a whole image, ``(H, W, 3)``, of any scale: the 90th percentile of each channel, gains limited to 0.5..4.

        It is that of the picture as the segmenter sees it, so that the camera's noise counts as little as the scale.
        """
        bright = np.percentile(resize(image, SEGMENTER_SIDE, SEGMENTER_SIDE).reshape(-1, 3), 90, axis=0)
        red, green, blue = (float(np.clip(cls.WHITE / max(value, 1.0), 0.5, 4.0)) for value in bright)
        return cls((red, green, blue))

    def apply(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """The image, ``(H, W, 3)``, with its channels multiplied by the gains and clipped to 255; in `out`, which may be the image."""
        ramp = np.arange(256, dtype=np.float64)
        table = np.concatenate([np.minimum(np.rint(ramp * gain), 255) for gain in self.gains]).astype(np.uint8).tolist()
        levelled = np.empty(image.shape, np.uint8) if out is None else out
        for top in range(0, len(image), _STRIP):
            levelled[top : top + _STRIP] = np.asarray(Image.fromarray(image[top : top + _STRIP]).point(table))
        return levelled


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Resample to (height, width), at least 1×1, with antialiasing (Pillow's reducing bilinear filter)."""
    height, width = max(height, 1), max(width, 1)
    if image.shape[:2] == (height, width):
        return image
    if not _is_large(image.shape[0], image.shape[1], height, width):
        return np.asarray(Image.fromarray(image).resize((width, height), _FILTER, reducing_gap=_GAP))
    return _resized_by_strips(lambda top, bottom: image[top:bottom], (image.shape[0], image.shape[1]), (height, width))


def _is_large(rows: int, cols: int, height: int, width: int) -> bool:
    return max(height * width, rows * cols) > _LARGE


def _resized_by_strips(rows_of: Callable[[int, int], Pixels], old: tuple[int, int], new: tuple[int, int]) -> Pixels:
    """Resample a picture of `old` (height, width) to `new`; of the old one `rows_of` gives the rows from first to last."""
    height, width = new
    resized = np.empty((height, width, 3), np.uint8)
    scale = old[0] / height
    reach = math.ceil(max(scale, 1)) + 1  # rows beyond a strip that its own are made from
    rows = max(round(_STRIP / max(scale, 1)), 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first = max(math.floor(top * scale) - reach, 0)
        strip = Image.fromarray(rows_of(first, min(math.ceil(bottom * scale) + reach, old[0])))
        box = (0, top * scale - first, old[1], min(bottom * scale - first, strip.height))
        resized[top:bottom] = np.asarray(strip.resize((width, bottom - top), _FILTER, box=box))
    return resized


def network_input(images: Pixels) -> npt.NDArray[np.float32]:
    """Bring images, ``(N, H, W, 3)`` uint8 RGB, into the networks' form: ``(N, 3, H, W)`` float32, 0..255 minus the mean."""
    centred = np.ascontiguousarray(np.moveaxis(images, 3, 1), np.float32)
    centred -= np.array(MEAN_RGB, np.float32).reshape(3, 1, 1)
    return centred


def segmenter_view(image: Pixels, levels: Levels) -> Pixels:
    """What the segmenter sees of an image, ``(H, W, 3)``: all of it, levelled, as ``(SEGMENTER_SIDE, SEGMENTER_SIDE, 3)``."""
    return levels.apply(resize(image, SEGMENTER_SIDE, SEGMENTER_SIDE))


def classifier_view(image: Pixels, levels: Levels, to_reference: float) -> Pixels:
    """What is cut into chops, of an image or a crop, ``(H, W, 3)``: levelled, at the reference scale."""
    return levels.apply(resize(image, *_at_reference(image.shape[0], image.shape[1], to_reference)))


def _at_reference(height: int, width: int, to_reference: float) -> tuple[int, int]:
    return max(round(height * to_reference), 1), max(round(width * to_reference), 1)
