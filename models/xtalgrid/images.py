"""What may be scored: files, bytes, PIL images and arrays, all brought to an image file."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_scoring.failures import read_file

ImageLike = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]

ONE_IMAGE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
"""What is meant as one image, though most of it can be iterated over."""


@dataclass(slots=True)
class Source:
    """Where an image comes from, to be read again for its frame and its class maps.

    Attributes
    ----------
    name
        For people: a path, or what kind of thing it was.
    given
        A file, or its bytes.
    sha256
        Of what was read first; a file that is another one later is refused.
    """

    name: str
    given: Path | bytes
    sha256: str = field(default="")

    @classmethod
    def of(cls, image: ImageLike) -> Source:
        """Take what was given to be scored.

        Raises
        ------
        ConfigError
            When it is no image.
        """
        if isinstance(image, bytes | bytearray | memoryview):
            return cls(f"{len(image):,} bytes", bytes(image))
        if isinstance(image, Image.Image):
            return cls(
                str(getattr(image, "filename", "")) or f"{image.width}×{image.height} {image.mode}", _tiff(image)
            )
        if isinstance(image, np.ndarray):
            return cls(f"array {image.shape}", _tiff(_from_array(image)))
        if isinstance(image, str | os.PathLike):
            path = Path(image).expanduser()
            return cls(os.fspath(path), path)
        raise ConfigError(
            f"{type(image).__name__} is no image; give a path, a file's bytes, a PIL image, or an array (M, N[, 3])"
        )

    def read(self) -> bytes:
        """Return the image file's bytes.

        Raises
        ------
        ImageError
            When it cannot be read, or is not the one that was read before.
        """
        data = self.given if isinstance(self.given, bytes) else read_file(self.given)
        found = hashlib.sha256(data).hexdigest()
        if self.sha256 and found != self.sha256:
            raise ImageError(FailureReason.HASH_DIFFERS, "it changed since it was scored; score it again")
        self.sha256 = found
        return data


@contextmanager
def naming(source: Source) -> Iterator[None]:
    """Have an `ImageError` say which image it is about."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.reason, f"{source.name}: {error.detail}") from None


def _from_array(pixels: npt.NDArray[Any]) -> Image.Image:
    shape_is_right = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    is_grey = pixels.ndim == 2
    if (
        not shape_is_right
        or pixels.size == 0
        or not (pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and is_grey))
    ):
        raise ConfigError(
            f"an array {pixels.shape} of {pixels.dtype}; expected (M, N) or (M, N, 3) of uint8, or (M, N) of uint16"
            + "; from 0..1: (pixels * 255).astype('uint8')" * (pixels.dtype.kind == "f")
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _tiff(image: Image.Image) -> bytes:
    """All modes of Pillow, without loss."""
    stream = io.BytesIO()
    try:
        image.save(stream, "TIFF")
    except (OSError, ValueError) as error:
        raise ConfigError(f"a PIL image of mode {image.mode} that cannot be read: {error}; give RGB or L") from error
    return stream.getvalue()
