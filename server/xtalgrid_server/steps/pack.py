"""Build a work unit: a zip of the manifest and the images under neutral names, the same bytes each time it is built.

The images travel `without_text`. The ledger's manifest has the SHA-256 of the originals, by which an image is known
here; the manifest in the zip has those of the files beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import Pixels, image_size, read_image
from xtalgrid_core.whole import missing_end
from xtalgrid_scoring.failures import read_limited

from ..config import Config
from ..domain.images import FileState, ImageRow, file_time
from ..domain.log import log
from ..imager.source import image_path as image_path
from ..ledger.shapes import DropImage
from ..storage.originals import open_original
from ..storage.without_text import without_text

MIN_WORKER = "0.1.0"
"""The oldest worker that scores as this server expects; docs/releasing.md says when to raise it."""

_YOUNG_NS = 3_000_000_000
"""A file this young may change again without a new time: some file systems count in steps of two seconds."""


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """An image file that exists, is readable and complete."""

    image: ImageRow
    path: Path
    file: FileState
    size: int
    height: int
    width: int


def read_original(config: Config, image: ImageRow) -> bytes:
    """Read the bytes of an image's file, without looking at them.

    Raises
    ------
    ImageError
        If it is larger than ``wire.MAX_IMAGE_BYTES``, or cannot be opened; see `open_original`.
    """
    return read_file(config, image)[0]


def read_file(config: Config, image: ImageRow) -> tuple[bytes, FileState]:
    """Read an image's file once, without looking at it; for errors see `read_original`."""
    path = image_path(config, image)
    with open_original(config, path) as stream:
        status = os.fstat(stream.fileno())
        if status.st_size > wire.MAX_IMAGE_BYTES:
            raise ImageError(
                FailureReason.TOO_LARGE, f"{status.st_size} bytes; at most {wire.MAX_IMAGE_BYTES} are read"
            )
        try:
            data = read_limited(stream, path.name, wire.MAX_IMAGE_BYTES)
        except OSError as error:
            raise ImageError(FailureReason.UNREADABLE_FILE, f"cannot read {path}: {error}") from error
    is_young = abs(time.time_ns() - file_time(status)) < _YOUNG_NS
    return data, FileState(hashlib.sha256(data).hexdigest(), len(data), 0 if is_young else file_time(status))


def read_scored(config: Config, image: DropImage) -> Pixels:
    """Read the image that was scored.

    Raises
    ------
    ImageError
        If it can't be read, or its file was replaced since.
    """
    data, file = read_file(config, image)
    if file.sha256 != image.sha256:
        raise ImageError(FailureReason.HASH_DIFFERS, "its file changed after it was scored; it will be scored again")
    return read_image(data)


def check_image(config: Config, image: ImageRow, data: bytes, file: FileState) -> CheckedImage:
    """Check that an image's file is an image, complete, and can travel.

    Raises
    ------
    ImageError
        If it is not; says what is wrong.
    """
    path = image_path(config, image)
    height, width = image_size(data)
    if (why := missing_end(io.BytesIO(data))) is not None:
        raise ImageError(FailureReason.TRUNCATED, f"{path}: {why}; still being written?")
    without_text(data)  # which raises if no worker could get it
    return CheckedImage(image, path, file, len(data), height, width)


def make_manifest(config: Config, options: wire.Options, images: Sequence[CheckedImage]) -> wire.Manifest:
    """Make the manifest of a unit, whose name is a hash of what it asks for: the same unit is never made twice."""
    entries = tuple(
        wire.ImageEntry(
            number=number,
            file=f"{number:03d}{_neutral_suffix(checked.path)}",
            inspect_id=checked.image.inspect_id,
            sha256=checked.file.sha256,
            height=checked.height,
            width=checked.width,
            pixel_size_um=config.imager.pixel_size_um,
        )
        for number, checked in enumerate(images)
    )
    manifest = wire.Manifest(schema=wire.SCHEMA, unit="xg", min_worker=MIN_WORKER, options=options, images=entries)
    names = "\n".join(f"{c.image.inspect_id} {c.image.image_name}" for c in images)
    digest = hashlib.sha256(config.imager.source.encode() + wire.encode(manifest) + names.encode()).hexdigest()
    return msgspec.structs.replace(manifest, unit=f"xg_{digest[:24]}")


def write_unit(config: Config, path: Path, manifest: wire.Manifest, images: Sequence[ImageRow]) -> int:
    """Write the zip, completely or not at all; return the number of images in it.

    An image whose file has disappeared or is not the one that was planned is left out; the worker reports it as
    missing.

    Raises
    ------
    OSError
        If the zip cannot be written, such as on a full disk; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    # stored, not deflated: images are compressed already
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        entries = []
        for entry, image in zip(manifest.images, images, strict=True):
            try:
                data, file = read_file(config, image)
                if file.sha256 != entry.sha256:
                    raise ImageError(FailureReason.HASH_DIFFERS, "the file changed after it was planned")
                data, why = without_text(data)
            except ImageError as error:
                log.warning("%s left out of unit %s: %s", image.image_name, manifest.unit, error)
                entries.append(entry)
                continue
            if why is not None:
                log.warning("%s: %s; unit %s holds a PNG of its pixels", image.image_name, why, manifest.unit)
            archive.writestr(_member(entry.file), data)
            number += 1
            entries.append(msgspec.structs.replace(entry, sha256=hashlib.sha256(data).hexdigest()))
        travelling = msgspec.structs.replace(manifest, images=tuple(entries))
        archive.writestr(_member(wire.MANIFEST_NAME), wire.encode(travelling))
    return number


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _neutral_suffix(path: Path) -> str:
    return path.suffix.lower()[:5] or ".img"
