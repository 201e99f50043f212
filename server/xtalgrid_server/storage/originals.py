"""The one reader of originals: regular files that lie in a folder which an operator named.

These are the image root, ``imager.linked_folders``, those of ``imager.ispyb.paths``, and each folder that was imported
or is watched. Symbolic links are
followed first, and the file they lead to must lie in one of them (docs/decisions/0023-where-originals-may-lie.md).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.files import write_atomically

from ..config import EMBEDDED, Config

_IMPORTED = "imported-folders"
"""File under home with the paths of the folders that were imported, each followed by a zero byte."""

_TO_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_TO_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def note_earlier_imports(config: Config) -> None:
    """Note the folders to which an earlier version, which did not note what it imported, made links; once."""
    file = config.home / _IMPORTED
    if file.is_file():
        return
    is_new = not (config.home / EMBEDDED).exists()
    links = () if is_new else (path for path in config.image_root.glob("*/*/*") if path.is_symlink())
    _note(file, sorted({link.readlink().parent for link in links}))


def trust(config: Config, folder: Path) -> None:
    """Note a folder from which an operator imports images, so that links from the image root may lead there."""
    noted, real = _imported(config), folder.resolve()
    if {known.resolve() for known in noted}.isdisjoint((real, *real.parents)):
        _note(config.home / _IMPORTED, [*noted, folder.absolute()])


def _note(file: Path, folders: Iterable[Path]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, b"".join(os.fsencode(folder) + b"\0" for folder in folders))


def _imported(config: Config) -> list[Path]:
    """Return the folders that were imported."""
    file = config.home / _IMPORTED
    names = file.read_bytes().split(b"\0")[:-1] if file.is_file() else []
    return [Path(os.fsdecode(name)) for name in names]


def open_original(config: Config, path: Path) -> BinaryIO:
    """Open an image's file for reading.

    Raises
    ------
    ImageError
        If it does not exist or cannot be opened, is not a regular file, or lies in no folder that an operator named.
    """
    try:
        real, folder = _located(config, path)
        handle = _open_below(folder, real.relative_to(folder).parts)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    raise _not_regular(path)


def original_status(config: Config, path: Path) -> os.stat_result:
    """Return size, times and so on of an image's file, without opening it; for errors see `open_original`."""
    try:
        status = _located(config, path)[0].lstat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)
    return status


def _unreadable(path: Path, error: OSError | ValueError) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError(
            FailureReason.MISSING_FILE, f"no such file {path}; the imager may still be writing it, or it was moved"
        )
    return ImageError(FailureReason.UNREADABLE_FILE, f"cannot read {path}: {error}; check its permissions")


def _not_regular(path: Path) -> ImageError:
    return ImageError(FailureReason.UNREADABLE_FILE, f"{path} is not a regular file")


def _located(config: Config, path: Path) -> tuple[Path, Path]:
    """Follow all links; return where the file really is, and the operator's folder in which it lies."""
    real = Path(os.path.realpath(path, strict=True))
    others = (*config.imager.linked_folders, *config.imager.ispyb.paths.values())
    named = (config.image_root, *(Path(folder).expanduser() for folder in others))
    for is_fresh in (False, True):  # another process may have imported a folder since
        folders = _resolved(config, named, is_fresh)
        if (folder := next((above for above in real.parents if above in folders), None)) is not None:
            return real, folder
    where, remedy = "imager.image_root and imager.linked_folders", "add its folder to imager.linked_folders"
    if not config.imager.url:
        where, remedy = f"{where} and the imported folders", f"{remedy} or import that folder itself"
    raise ImageError(
        FailureReason.UNREADABLE_FILE, f"{path} leads to {real}, outside {where}; if images lie there, {remedy}"
    )


_known: dict[tuple[object, ...], frozenset[Path]] = {}
"""What `_resolved` returned last."""


def _resolved(config: Config, named: tuple[Path, ...], is_fresh: bool) -> frozenset[Path]:
    """Return the folders that an operator named, without links in their paths."""
    key = (config.home, config.imager.url, *named)
    if is_fresh or key not in _known:
        imported = () if config.imager.url else _imported(config)
        _known[key] = frozenset(folder.resolve() for folder in (*named, *imported))
    return _known[key]


def _open_below(folder: Path, parts: tuple[str, ...]) -> int:
    """Open a file below a folder without following any link, so that none put there since leads elsewhere."""
    if os.open not in os.supports_dir_fd:
        return os.open(folder.joinpath(*parts), _TO_FILE)
    above = os.open(folder, _TO_FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _TO_FOLDER, dir_fd=above)
            os.close(above)
            above = below
        return os.open(parts[-1], _TO_FILE, dir_fd=above)
    finally:
        os.close(above)
