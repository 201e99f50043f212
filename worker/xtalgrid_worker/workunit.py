"""Where a unit's images come from: the zip of a work unit, or files somebody names.

Either has a manifest and gives the bytes of one image at a time; nothing is unpacked to disk.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError, ManifestError
from xtalgrid_scoring.failures import read_file, read_limited

MAX_MANIFEST_BYTES = 16 * 1024 * 1024

MAX_DIRECTORY_BYTES = 1024 * 1024
"""The zip's list of names, which is read before anything else: `wire.MAX_IMAGES` names of ours take 280 kB."""


class Source(Protocol):
    """A manifest and its images."""

    manifest: wire.Manifest
    digest: str
    """SHA-256 of the manifest: what a checkpoint belongs to."""

    def read(self, entry: wire.ImageEntry) -> bytes:
        """The bytes of one image; `ImageError` when they cannot be had or are not those of the manifest."""
        ...


class WorkUnit:
    """A work unit's zip file, open for reading. Use it in a ``with`` statement.

    Raises
    ------
    ManifestError
        When the file is no zip, has no usable manifest, or names a file twice.
    OSError
        When it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            _check_directory(path)
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ManifestError(f"{path}: no work unit: {error}; fetch it again") from error
        try:
            self._check_names(path)
            data = self._read(wire.MANIFEST_NAME, MAX_MANIFEST_BYTES)
            self.manifest = wire.decode_manifest(data)
        except ImageError as error:
            self._zip.close()
            raise ManifestError(f"{path}: {wire.MANIFEST_NAME}: {error}; make the work unit again") from error
        except ManifestError as error:
            self._zip.close()
            raise ManifestError(f"{path}: {error}") from error
        self.digest = hashlib.sha256(data).hexdigest()

    def __enter__(self) -> WorkUnit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

    def read(self, entry: wire.ImageEntry) -> bytes:
        """The bytes of one image, checked against its SHA-256."""
        return _checked(self._read(entry.file, wire.MAX_IMAGE_BYTES), entry)

    def _check_names(self, path: Path) -> None:
        names = self._zip.namelist()
        if len(set(names)) != len(names):
            raise ManifestError("two files have the same name; make the work unit again")

    def _read(self, name: str, limit: int) -> bytes:
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise ImageError(FailureReason.MISSING_FILE, f"{name} is not in the work unit") from None
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError(FailureReason.UNREADABLE_FILE, f"{name} is packed by method {info.compress_type}")
        try:
            with self._zip.open(info) as stream:
                return read_limited(stream, name, limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise ImageError(FailureReason.UNREADABLE_FILE, f"{name} cannot be unpacked ({error})") from error


class ImageFiles:
    """Image files somebody names, as a unit of their own; files that cannot be read are entries all the same."""

    def __init__(
        self,
        paths: Sequence[Path],
        options: wire.Options,
        pixel_size_um: float | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._paths = list(paths)
        entries = []
        for number, path in enumerate(self._paths):
            pause()
            entries.append(
                wire.ImageEntry(
                    number=number,
                    file=f"{number:03d}.img",
                    inspect_id=number,
                    sha256=self._sha256(path),
                    pixel_size_um=pixel_size_um,
                )
            )
        self.manifest = wire.Manifest(
            schema=wire.SCHEMA, unit="score", min_worker="0", options=options, images=tuple(entries)
        )
        named = "\0".join(str(path) for path in self._paths)
        self.digest = hashlib.sha256(wire.encode(self.manifest) + named.encode(errors="surrogateescape")).hexdigest()

    def path(self, entry: wire.ImageEntry) -> Path:
        """The file of an entry."""
        return self._paths[entry.number]

    def read(self, entry: wire.ImageEntry) -> bytes:
        """The bytes of one image, the same as when the run began."""
        return _checked(read_file(self.path(entry)), entry)

    @staticmethod
    def _sha256(path: Path) -> str:
        try:
            return hashlib.sha256(read_file(path)).hexdigest()
        except ImageError:
            return hashlib.sha256().hexdigest()  # `read` says what is wrong with it


def image_files(names: Iterable[Path], suffixes: Sequence[str], drawn: str) -> list[Path]:
    """The files that are meant: a file is itself, a folder the images in it, without those whose name ends in `drawn`.

    In the order given, a folder's by name, each once.
    """
    found: dict[Path, None] = {}
    for name in names:
        if name.is_dir():
            inside = [
                path
                for path in sorted(name.iterdir())
                if path.suffix.lower() in suffixes and not path.name.endswith(drawn) and not path.name.startswith(".")
            ]
            found.update(dict.fromkeys(inside))
        else:
            found[name] = None
    return list(found)


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of names would fill the memory; what is no zip at all is left to `zipfile`.

    Raises
    ------
    zipfile.BadZipFile
        When the list is longer than any of ours, or the zip is of the kind for more than 65,535 files (Zip64).
    """
    with path.open("rb") as stream:
        stream.seek(max(stream.seek(0, 2) - 65_557, 0))  # the end record of 22 bytes, a comment, and Zip64's locator
        tail = stream.read()
    at = len(tail) - 22 if tail[-22:-18] == b"PK\5\6" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\5\6")
    if at < 0:
        return
    if tail[max(at - 20, 0) : at].startswith(b"PK\6\7"):
        raise zipfile.BadZipFile("Zip64 is for more files than a work unit has")
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"its list of names has {size:,} bytes; at most {MAX_DIRECTORY_BYTES:,} are read")


def _checked(data: bytes, entry: wire.ImageEntry) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise ImageError(
            FailureReason.HASH_DIFFERS, f"SHA-256 is {found[:12]}…, the manifest says {entry.sha256[:12]}…"
        )
    return data
