"""A folder of files that can be made again, with a bound on its size: the oldest go first."""

from __future__ import annotations

import threading
from pathlib import Path

from xtalgrid_core.files import write_atomically

from ...domain.log import log

_KEPT_PART = 0.8
"""Part of the bound that is left when the oldest files are removed."""


class Kept:
    """Files by name in one folder; all of them may be removed at any time.

    Parameters
    ----------
    most
        Bytes of the files together, at most.
    suffix
        Of the files, such as ``.jpg``.
    """

    def __init__(self, folder: Path, most: int, suffix: str) -> None:
        self._folder, self._most, self._suffix = folder, most, suffix
        self._bytes: int | None = None  # not counted yet
        self._counting = threading.Lock()

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None where it is not there."""
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Keep a file; a full disk is logged and no more, since it must not hide what was made."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            self._make_room(len(data))
        except OSError as error:
            log.warning("viewer: %s not kept: %s", path.name, error)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}{self._suffix}"

    def _make_room(self, added: int) -> None:
        with self._counting:
            if self._bytes is not None and self._bytes + added <= self._most:
                self._bytes += added
                return
            files = []
            for path in self._folder.glob(f"*/*{self._suffix}"):
                try:
                    about = path.stat()
                except OSError:
                    continue  # removed by another process
                files.append((about.st_mtime_ns, about.st_size, path))
            self._bytes = sum(size for _, size, _ in files)
            if self._bytes <= self._most:
                return
            for _, size, path in sorted(files):
                path.unlink(missing_ok=True)
                self._bytes -= size
                if self._bytes <= self._most * _KEPT_PART:
                    return
