"""Sources of a unit's images: the zip of a work unit, or image files named by a user.

Both have a manifest and return the bytes of one image at a time; nothing is unpacked to disk.
"""

from __future__ import annotations

import errno
import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError, ManifestError
from xtalgrid_scoring.failures import read_file, read_limited

MAX_MANIFEST_BYTES = 16 * 1024 * 1024

MAX_DIRECTORY_BYTES = 1024 * 1024
"""Maximum size of the zip's central directory; with `wire.MAX_IMAGES` names it takes 280 kB."""


class Source(Protocol):
    """A manifest and its images."""

    manifest: wire.Manifest
    digest: str
    """SHA-256 of the manifest, which ties a checkpoint to it."""

    def read(self, entry: wire.ImageEntry) -> bytes:
        """Read one image.

        Raises
        ------
        ImageError
            If it is broken, missing, or differs from the manifest.
        OSError
            If the disk or share does not respond, which says nothing about the image.
        """
        ...


class WorkUnit:
    """A work unit's zip file, open for reading. Use it in a ``with`` statement.

    Raises
    ------
    ManifestError
        If the file is not a zip, has no valid manifest, or contains two files with the same name.
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            _check_directory(path)
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ManifestError(f"{path}: not a work unit: {error}; fetch it again") from error
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
        except OSError:
            self._zip.close()
            raise
        self.digest = hashlib.sha256(data).hexdigest()

    def __enter__(self) -> WorkUnit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

    def read(self, entry: wire.ImageEntry) -> bytes:
        """Read one image and check its SHA-256; see `Source.read`."""
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
            raise ImageError(
                FailureReason.UNREADABLE_FILE, f"{name} uses the unsupported compression method {info.compress_type}"
            )
        try:
            with self._zip.open(info) as stream:
                return read_limited(stream, name, limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a place before the zip's beginning
                error.filename = self._zip.filename
                raise
            raise ImageError(FailureReason.UNREADABLE_FILE, f"cannot unpack {name}: {error}") from error


class ImageFiles:
    """Image files named by a user, as a unit; files that cannot be read get an entry too."""

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
        names = "\0".join(str(path) for path in self._paths)
        self.digest = hashlib.sha256(wire.encode(self.manifest) + names.encode(errors="surrogateescape")).hexdigest()

    def path(self, entry: wire.ImageEntry) -> Path:
        """Return the path of an entry's file."""
        return self._paths[entry.number]

    def read(self, entry: wire.ImageEntry) -> bytes:
        """Read one image and check that it hasn't changed since the run began."""
        return _checked(read_file(self.path(entry)), entry)

    @staticmethod
    def _sha256(path: Path) -> str:
        try:
            return hashlib.sha256(read_file(path)).hexdigest()
        except ImageError:
            return hashlib.sha256().hexdigest()  # `read` will report what is wrong with it


def image_files(
    paths: Iterable[Path], suffixes: Sequence[str], frame_suffix: str, own: Iterable[str] = ()
) -> tuple[list[Path], Counter[str]]:
    """Return the given files, and the images in the given folders, each file once; and count what else is there.

    Files keep the given order; those of a folder are sorted by name. The rest of a folder is counted by suffix, without
    hidden files, framed images, and files that we write ourselves (names in `own`).
    """
    files: dict[Path, None] = {}
    others: Counter[str] = Counter()
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        for file in sorted(path.iterdir()):
            suffix = file.suffix.lower()
            if file.name[0] == "." or file.name.endswith(frame_suffix) or file.name in own:
                continue
            if suffix in suffixes:
                files[file] = None
            else:
                others["subfolder" if file.is_dir() else suffix or "file without suffix"] += 1
    return list(files), others


def _check_directory(path: Path) -> None:
    """Reject a zip whose central directory would fill the memory; files that are not zips are left to `zipfile`.

    Raises
    ------
    zipfile.BadZipFile
        If the directory is too large, or the zip uses Zip64, the format for more than 65,535 files.
    """
    with path.open("rb") as stream:
        stream.seek(max(stream.seek(0, 2) - 65_557, 0))  # end record (22 bytes), comment, Zip64 locator
        tail = stream.read()
    at = len(tail) - 22 if tail[-22:-18] == b"PK\5\6" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\5\6")
    if at < 0:
        return
    if tail[max(at - 20, 0) : at].startswith(b"PK\6\7"):
        raise zipfile.BadZipFile("work units don't use Zip64")
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"its directory has {size:,} bytes; at most {MAX_DIRECTORY_BYTES:,} are read")


def _checked(data: bytes, entry: wire.ImageEntry) -> bytes:
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry.sha256:
        raise ImageError(FailureReason.HASH_DIFFERS, f"SHA-256 is {sha256[:12]}…, in the manifest {entry.sha256[:12]}…")
    return data
