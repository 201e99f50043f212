"""Images that can be scored: files, bytes, PIL images and arrays, all converted to an image file."""

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

from xtalgrid_core.depth import deep_colour
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_scoring.failures import read_file

ImageLike = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]

_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF."""

ONE_IMAGE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
"""Types of a single image, although most of them are iterable."""


@dataclass(slots=True)
class Source:
    """The source of an image, which is read again for its frame and its class maps.

    Attributes
    ----------
    name
        For messages: the path, or a description of the object.
    content
        A file, or its bytes.
    sha256
        Hash of the bytes at the first read; if the file has changed since, it is refused.
    """

    name: str
    content: Path | bytes
    sha256: str = field(default="")

    @classmethod
    def of(cls, image: ImageLike) -> Source:
        """Make a source from the user's object.

        Raises
        ------
        ConfigError
            If it is not an image.
        """
        if isinstance(image, bytes | bytearray | memoryview):
            return cls(f"{len(image):,} bytes", bytes(image))
        if isinstance(image, Image.Image):
            _refuse_misread(image)
            return cls(
                str(getattr(image, "filename", "")) or f"{image.width}×{image.height} {image.mode}", _tiff(image)
            )
        if isinstance(image, np.ndarray):
            return cls(f"array {image.shape}", _tiff(_from_array(image)))
        if isinstance(image, str | os.PathLike):
            path = _home(Path(image))
            return cls(os.fspath(path), path)
        raise ConfigError(
            f"{type(image).__name__} is not an image; give a path, a file's bytes, a PIL image, or an array (M, N[, 3])"
        )

    def read(self) -> bytes:
        """Return the image file's bytes.

        Raises
        ------
        ImageError
            If the file cannot be read, or has changed since it was first read.
        """
        data = self.content if isinstance(self.content, bytes) else read_file(self.content)
        sha256 = hashlib.sha256(data).hexdigest()
        if self.sha256 and sha256 != self.sha256:
            raise ImageError(FailureReason.HASH_DIFFERS, "the file has changed since it was scored; score it again")
        self.sha256 = sha256
        return data


@contextmanager
def naming(source: Source) -> Iterator[None]:
    """Add the image's name to an `ImageError`."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.reason, f"{source.name}: {error.detail}") from None


def _home(path: Path) -> Path:
    """Return a path with ``~`` replaced by the home folder, unless a file has such a name."""
    if not os.fspath(path).startswith("~") or os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


def _refuse_misread(image: Image.Image) -> None:
    """Refuse pixels that Pillow has not as they are in the file, which is read rightly by its path.

    Raises
    ------
    ConfigError
        If it has 16 bits a channel in the file, of which Pillow keeps 8, or 16 with black and white interchanged.
    """
    tags = getattr(image, "tag_v2", {})
    is_deep = 16 in tags.get(_BITS, ())
    is_cut = is_deep and not image.mode.startswith("I")
    try:
        is_cut = is_cut or deep_colour(image) is not None
    except ValueError:  # it is refused with a reason when it is read
        return
    if is_cut or (is_deep and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO):
        raise ConfigError("Pillow misreads images of this kind of 16 bits; give the file's path or its bytes instead")


def _from_array(pixels: npt.NDArray[Any]) -> Image.Image:
    if pixels.dtype.kind == "u":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)  # FITS and some TIFFs are big-endian
    shape_is_right = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    is_grey = pixels.ndim == 2
    if (
        not shape_is_right
        or pixels.size == 0
        or not (pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and is_grey))
    ):
        raise ConfigError(
            f"cannot score an array {pixels.shape} of {pixels.dtype}; give (M, N) or (M, N, 3) of uint8, "
            "or (M, N) of uint16" + "; to convert 0..1: (pixels * 255).astype('uint8')" * (pixels.dtype.kind == "f")
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _tiff(image: Image.Image) -> bytes:
    """Encode an image as TIFF, which holds nearly all of Pillow's modes without loss."""
    stream = io.BytesIO()
    try:
        image.save(stream, "TIFF", compression="raw")  # by default, as in its file: perhaps JPEG once more
    except AssertionError as error:  # Pillow asserts that the file is open
        raise ConfigError(
            f"a PIL image of mode {image.mode} was closed before it was read; give the file's path"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read a PIL image of mode {image.mode}: {error}; convert it to RGB or L") from error
    return stream.getvalue()
