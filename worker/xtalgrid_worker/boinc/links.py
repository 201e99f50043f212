"""A job's files: in the slot they have their logical names, and are links that BOINC made; they lie in the project's folder.

Weights that came beside the work unit are a folder of weights whose files are such links: ``weights.json`` is its manifest
(`xtalgrid_core.weights.WeightsManifest`), and each `file` it names is a logical name.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.files import write_atomically
from xtalgrid_core.weights import MANIFEST, read_manifest

CHECKPOINT = f"{wire.RESULT_FILE}.checkpoint"

_LINE = 512


def resolve(slot: Path, name: str) -> Path:
    """The file that a logical name stands for: where its soft link leads, or else the name itself (``boinc_resolve_filename``).

    A soft link is a file with one line, ``<soft_link>PATH</soft_link>``, and leads from the slot.
    """
    path = slot / name
    if path.is_symlink():
        return path
    try:
        with path.open("rb") as stream:
            line = stream.readline(_LINE)
    except OSError:
        return path
    found = re.match(rb"\s*<soft_link>(.+?)</soft_link>", line)
    return slot / found[1].decode() if found else path


def weights_folder(slot: Path) -> Path | None:
    """A folder of the weights that came beside the work unit, made of their links; None if there are none.

    Raises
    ------
    BrokenModel
        When ``weights.json`` does not follow the format.
    OSError
        When the folder cannot be written.
    """
    listed = resolve(slot, wire.WEIGHTS_FILE)
    if not listed.is_file():
        return None
    folder = slot / "weights"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / MANIFEST, listed.read_bytes())
    try:
        manifest = read_manifest(folder)
    except BrokenModel as error:
        raise BrokenModel(f"{wire.WEIGHTS_FILE}: {error.__cause__}; make the work unit again") from error
    models = tuple(
        msgspec.structs.replace(entry, file=str(resolve(slot, entry.file).absolute())) for entry in manifest.models
    )
    write_atomically(folder / MANIFEST, msgspec.json.encode(msgspec.structs.replace(manifest, models=models)))
    return folder
