"""A disk cache: a folder of files of bounded size, from which the oldest files are removed first."""

from __future__ import annotations

import threading
from pathlib import Path

from xtalgrid_core.files import write_atomically

from ...domain.log import log

_FILL_AFTER_CLEANING = 0.8
"""How full the cache is after the oldest files were removed, as a fraction of its limit."""


class DiskCache:
    """Files by name in one folder; all of them may be removed at any time.

    Parameters
    ----------
    max_bytes
        Size of all files together, at most.
    suffix
        Suffix of the files, such as ``.jpg``.
    """

    def __init__(self, folder: Path, max_bytes: int, suffix: str) -> None:
        self._folder, self._max_bytes, self._suffix = folder, max_bytes, suffix
        self._bytes: int | None = None  # not counted yet
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if it is not in the cache."""
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Store a file. A full disk is only logged: the caller has the data all the same."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            self._make_room(len(data))
        except OSError as error:
            log.warning("viewer: could not cache %s: %s", path.name, error)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}{self._suffix}"

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._bytes is not None and self._bytes + added <= self._max_bytes:
                self._bytes += added
                return
            files = []
            for path in self._folder.glob(f"*/*{self._suffix}"):
                try:
                    about = path.stat()
                except OSError:
                    continue  # another process removed it
                files.append((about.st_mtime_ns, about.st_size, path))
            self._bytes = sum(size for _, size, _ in files)
            if self._bytes <= self._max_bytes:
                return
            for _, size, path in sorted(files):
                path.unlink(missing_ok=True)
                self._bytes -= size
                if self._bytes <= self._max_bytes * _FILL_AFTER_CLEANING:
                    return
