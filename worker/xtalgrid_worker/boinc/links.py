"""A job's files: the slot contains BOINC's links under logical names, which lead to files in the project's folder.

Weights sent beside the work unit are also links: ``weights.json`` is their manifest
(`xtalgrid_core.weights.WeightsManifest`), in which each `file` is a logical name.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.files import write_atomically
from xtalgrid_core.weights import MANIFEST, read_manifest

_LINE = 512


def resolve(slot: Path, name: str) -> Path:
    """Resolve a logical name: follow its soft link, if it is one (``boinc_resolve_filename``).

    A soft link is a file with one line, ``<soft_link>PATH</soft_link>``, where the path is relative to the slot.
    """
    path = slot / name
    if path.is_symlink():
        return path
    try:
        with path.open("rb") as stream:
            line = stream.readline(_LINE)
    except OSError:
        return path
    match = re.match(rb"\s*<soft_link>(.+?)</soft_link>", line)
    return slot / match[1].decode() if match else path


def weights_folder(slot: Path) -> Path | None:
    """Make a folder of the weights sent beside the work unit, with their links resolved; None if there are none.

    Raises
    ------
    BrokenModel
        If ``weights.json`` does not follow the format.
    OSError
        If the folder cannot be written.
    """
    source = resolve(slot, wire.WEIGHTS_FILE)
    if not source.is_file():
        return None
    folder = slot / "weights"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / MANIFEST, source.read_bytes())
    try:
        manifest = read_manifest(folder)
    except BrokenModel as error:
        raise BrokenModel(f"{wire.WEIGHTS_FILE}: {error.__cause__}; make the work unit again") from error
    for entry in manifest.models:
        _place(resolve(slot, entry.file), folder / entry.file)
    return folder


def _place(file: Path, target: Path) -> None:
    """Give a file another name: by a hard link where the file system has them, otherwise by a copy."""
    if not file.is_file():
        return  # who loads it says that it is missing
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
