"""A small disk that can be filled to its last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A small file system in memory, mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 16, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:  # it is full
                    pass

    def make_room(self) -> None:
        """Give that space back."""
        self._filler.unlink(missing_ok=True)

    @contextmanager
    def holding(self, folder: Path) -> Iterator[None]:
        """Keep a folder and what is in it on this disk."""
        place = self.folder / folder.name
        folder.mkdir(exist_ok=True)
        shutil.copytree(folder, place, symlinks=True)
        subprocess.run(["mount", "--bind", str(place), str(folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def grow(self, size: str) -> None:
        """Give the disk another size, such as ``500m``."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[SmallDisk | None]:
    """Mount a small disk at a new folder; None where that is not allowed (it needs root)."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
