"""What is in a folder: its image files, and how many files of which other kinds."""

from __future__ import annotations

import collections
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xtalgrid_core.files import SYSTEM_FOLDERS
from xtalgrid_core.images import SUFFIXES

from ...config import Config

NOT_SCORED = "{}, which this naming convention does not score"
SECOND_FORMAT = "another format of an image"
UNREADABLE = "folder that cannot be read"
EMPTY = "empty folder where images were (is its share mounted?)"
SUBFOLDER = "subfolder (--recursive includes it)"
LINK = "link to a folder (import that folder itself)"
DEAD_LINK = "link that leads nowhere"
OWN = "folder with xtalgrid's own data"
SYSTEM = "folder of deleted files, thumbnails or snapshots"


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's image files, sorted by stem and format, and the number of its other files by kind.

    A kind is a suffix in small letters, or a description.
    """

    folder: Path
    files: list[os.DirEntry[str]] = field(default_factory=list)
    others: collections.Counter[str] = field(default_factory=collections.Counter)


def own_folders(config: Config, folder: Path) -> frozenset[Path]:
    """Return the folders below another one with what we write ourselves, such as the home in ``run --recursive .``."""
    root = folder.resolve()
    ours = (each.resolve() for each in (config.home, config.image_root, config.frames_dir))
    return frozenset(folder / each.relative_to(root) for each in ours if root in each.parents)


def walk(folder: Path, recursive: bool = True, own: Container[Path] = ()) -> Iterator[Listing]:
    """Yield a folder and its subfolders, sorted by name; hidden files and folders don't count.

    Not entered are our `own` folders, links to folders, and folders that hold deleted files, thumbnails or snapshots.
    """
    listing, folders = Listing(folder), list[str]()
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        listing.others[UNREADABLE] += 1
        entries = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  faster than Path
        if _is_folder(entry):
            if (kind := _not_entered(entry, folder, own)) is not None:
                listing.others[kind] += 1
            else:
                folders.append(entry.name)
        elif suffix in SUFFIXES:
            listing.files.append(entry)
        else:
            listing.others[suffix or "file without suffix"] += 1
    listing.files.sort(key=lambda e: (Path(e.name).stem, SUFFIXES.index(Path(e.name).suffix.lower())))
    if folders and not recursive:
        listing.others[SUBFOLDER] += len(folders)
    yield listing
    for name in folders if recursive else ():
        yield from walk(folder / name, own=own)


def _not_entered(entry: os.DirEntry[str], folder: Path, own: Container[Path]) -> str | None:
    """Return what a subfolder is that is not entered; None for any other."""
    if entry.is_symlink():
        return LINK
    if folder / entry.name in own:
        return OWN
    return SYSTEM if entry.name.lower() in SYSTEM_FOLDERS else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or through a folder that cannot be read
        return False
