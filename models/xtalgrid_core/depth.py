"""Bring images of more than 8 bits a channel to 8: grey and colour, whatever part of the range the camera uses.

A camera of 10, 12 or 14 bits writes files of 16, in which its pictures would be dark. Its depth is judged by nearly the
brightest pixel: a scale bar or a caption burnt in at the file's white must not count.
"""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_CAMERAS = (8, 10, 12, 14, 16)
"""Bits of cameras."""

_BRIGHTEST = 99.0
"""Percentile by which the depth is judged."""

_BRIGHTEST_ON_BLACK = 99.99
"""The same of pictures in UV light, where a few glowing crystals are all that is bright."""

_MARKS = 0.25
"""Part of an image up to which pixels at the file's white are a scale bar or a caption."""

_FEW = 0.01
"""Part of an image below zero that sharpening and noise leave."""

_WHITE_OF_FILE = 65535

_SAMPLE = 4
"""Every so many pixels in each direction are looked at."""

_STRIP = 256
_KIND_OF_PAGE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
"""Tags of TIFF."""
_PREVIEW, _WHITE_IS_ZERO, _SIGNED = 1, 0, 2


def is_deep_gray(image: Image.Image) -> bool:
    """Tell whether an image is grey with 16 or 32 bits, or with floating-point numbers."""
    return image.mode.startswith(("I", "F"))


def deep_colour(image: Image.Image) -> str | None:
    """Return Pillow's raw mode of an image of 16 bits a channel that is not loaded yet; None for any other image.

    Of such an image, Pillow keeps each channel's high byte only.

    Raises
    ------
    ValueError
        If the channels lie in separate planes, which Pillow reads wrongly, or `_refuse` raises it.
    """
    _refuse(image)
    modes = [
        arguments if isinstance(arguments, str) else str((arguments or [""])[0])  # a GIF's first is a number
        for *_, arguments in getattr(image, "tile", ())
    ]
    if modes and all(re.fullmatch(r"(LA|RGB|RGBA|RGBX|RGBa);16[BLN]", mode) for mode in modes):
        return modes[0]
    if len(image.getbands()) >= 3 and 16 in getattr(image, "tag_v2", {}).get(_BITS, ()):
        raise ValueError("16 bits a channel in separate planes; save it with interleaved channels, or with 8 bits")
    return None


def _refuse(image: Image.Image) -> None:
    """Refuse a kind of pixels that Pillow reads wrongly, or that is no photograph; the image is not loaded yet.

    Raises
    ------
    ValueError
        If it has 1 bit a pixel, signed numbers of 8 bits, or CMYK of 16; or if the first page of a TIFF is a preview.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, ())
    if image.mode == "1":
        raise ValueError("black and white only, 1 bit a pixel; save it with 8 bits")
    if tags.get(_KIND_OF_PAGE, 0) & _PREVIEW:
        raise ValueError("the TIFF's first page is a preview; save the picture alone, or first")
    if 8 in bits and _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("signed numbers of 8 bits; save it with unsigned numbers")
    if 16 in bits and image.mode == "CMYK":
        raise ValueError("CMYK of 16 bits a channel; save it as RGB, or with 8 bits")


class Scale:
    """How an image's values become 0..255: by the camera's white, from the other end where white is zero.

    With `on_black`, a few bright places on black are what the image shows, as in UV light.

    Raises
    ------
    ValueError
        If values are below zero, as in differences and signed numbers, or are read as such: black is not known.
    """

    def __init__(self, image: Image.Image, on_black: bool = False) -> None:
        sample = np.concatenate(
            [_values(image, top)[::_SAMPLE, ::_SAMPLE].ravel() for top in range(0, image.height, _STRIP)]
        )
        if np.mean(sample < 0) > _FEW:
            raise ValueError("values below zero or beyond 2,147,483,647; save it with unsigned numbers of 16 bits")
        tags = getattr(image, "tag_v2", {})
        self._is_inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        is_real = image.mode == "F"
        sample = _without_marks(sample, float(sample.max()) if is_real else _WHITE_OF_FILE)
        # The darkest pixel of an inverted image has the largest value, and hardly any camera sees no dark pixel.
        top = float(sample.max() if self._is_inverted else np.percentile(sample, _rank(on_black)))
        if is_real and top < 2:  # sharpening goes beyond 1
            self._white = 1.0
        else:
            self._white = next((2.0**bits - 1 for bits in _CAMERAS if top < 2**bits), max(top, 1.0))

    def apply(self, strip: Image.Image) -> npt.NDArray[np.uint8]:
        """Return a part of the image as ``(height, width)`` uint8."""
        values = _finite(strip)
        if self._is_inverted:
            values = self._white - values
        scaled: npt.NDArray[np.uint8] = np.clip(values * (255.0 / self._white), 0, 255).astype(np.uint8)
        return scaled


def _rank(on_black: bool) -> float:
    return _BRIGHTEST_ON_BLACK if on_black else _BRIGHTEST


def eight_bits(data: bytes, high: Image.Image, raw: str, on_black: bool = False) -> Image.Image:
    """Return an image of 16 bits a channel as 8-bit RGB.

    Parameters
    ----------
    data
        The file.
    high
        The decoded image: each channel's high byte.
    raw
        Its raw mode; see `deep_colour`.
    on_black
        Whether a few bright places on black are what it shows, as in UV light.
    """
    sample = np.asarray(high.convert("RGB"))[::_SAMPLE, ::_SAMPLE].max(axis=2)
    brightest = np.percentile(_without_marks(sample, 255), _rank(on_black))
    bits = next(bits for bits in _CAMERAS if brightest < 2 ** max(bits - 8, 0))
    if bits == 16:
        return high.convert("RGB")
    low = _low_bytes(data, raw)
    white = 2.0**bits - 1
    scaled = Image.new("RGB", high.size)
    for top in range(0, high.height, _STRIP):
        box = (0, top, high.width, min(top + _STRIP, high.height))
        values = np.asarray(high.crop(box).convert("RGB"), np.float32) * 256
        values += np.asarray(low.crop(box).convert("RGB"))
        scaled.paste(Image.fromarray(np.clip(values * (255.0 / white), 0, 255).astype(np.uint8)), (0, top))
    return scaled


def _low_bytes(data: bytes, raw: str) -> Image.Image:
    """Decode the other byte of each channel: Pillow takes the high one by the order that the raw mode names."""
    if raw.startswith("LA"):  # in no other order; both bytes of both channels are four of 8 bits
        image = Image.open(io.BytesIO(data))
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        return image.getchannel("G").convert("RGB")
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[raw[-1]]
    image = Image.open(io.BytesIO(data))
    image.tile = [
        tile._replace(args=raw[:-1] + swapped if isinstance(tile.args, str) else (raw[:-1] + swapped, *tile.args[1:]))
        for tile in image.tile
        if tile.args is not None
    ]
    image.load()
    return image


def _without_marks(sample: npt.NDArray[Any], white: float) -> npt.NDArray[Any]:
    """Return a sample without the file's white, unless that is a large part of the image."""
    rest = sample[sample != white]
    return rest if len(rest) >= (1 - _MARKS) * len(sample) else sample


def _values(image: Image.Image, top: int) -> npt.NDArray[np.float64]:
    return _finite(image.crop((0, top, image.width, min(top + _STRIP, image.height))))


def _finite(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
