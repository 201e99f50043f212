"""Files of a format that has several: in a new folder, or in one zip file; and all files below a folder."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import STANDARD_OUTPUT

Add = Callable[[str, bytes], None]
"""Add a file: its path, with slashes, and its content. It raises `NameTaken`."""


class NameTaken(Exception):
    """There is a file of this name already, as where two images differ in their endings only."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A folder that cannot be read, below another one, and why."""

    folder: Path
    reason: str


def files_below(folder: Path, unread: list[Unread]) -> Iterator[Path]:
    """Yield the files below a folder, sorted by name, those of its subfolders last.

    Links to folders are followed, as data sets are often put together by them; no folder is read twice. Those that
    cannot be read are added to `unread`.
    """
    seen = set[tuple[int, int]]()

    def files_of(place: Path) -> Iterator[Path]:
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            there = sorted(place.iterdir())
        except OSError as error:
            unread.append(Unread(place.relative_to(folder), f"the folder cannot be read: {error.strerror}"))
            return
        folders = []
        for path in there:
            if os.path.isdir(path):  # noqa: PTH112  which is False where Path's raises an error
                folders.append(path)
            else:
                yield path
        for path in folders:
            yield from files_of(path)

    return files_of(folder)


@contextmanager
def zip_of(stream: IO[bytes]) -> Iterator[Add]:
    """Write files into a zip file; it takes half a kilobyte of memory a file."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, data: bytes) -> None:
            if name in archive.NameToInfo:
                raise NameTaken(name)
            archive.writestr(name, data)

        yield add


@contextmanager
def new_folder(folder: Path) -> Iterator[Add]:
    """Write files into a folder, which is there when the block ends without an error, whole or not at all.

    Raises
    ------
    ConfigError
        If it is there already and not empty, or no folder.
    """
    if folder == STANDARD_OUTPUT:
        raise ConfigError("-: this format is a folder; give a new folder, or a name that ends in .zip")
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise ConfigError(f"{folder}: is there already; give a new folder, or a name that ends in .zip")
    part = folder.with_name(f".{folder.name[:32]}.{os.urandom(8).hex()}.part")

    def add(name: str, data: bytes) -> None:
        path = part / name
        if path.exists():
            raise NameTaken(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    part.mkdir()
    try:
        yield add
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
