"""Files of a format that has several: in a new folder, or in one zip file."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import STANDARD_OUTPUT

Add = Callable[[str, bytes], None]
"""Add a file: its path, with slashes, and its content."""


@contextmanager
def zip_of(stream: IO[bytes]) -> Iterator[Add]:
    """Write files into a zip file; it takes half a kilobyte of memory a file."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        yield archive.writestr


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
