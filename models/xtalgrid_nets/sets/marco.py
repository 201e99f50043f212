"""Unpack MARCO's shards into image files with a table of their labels (Bruno et al. 2018)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from xtalgrid_core.files import replacing, write_atomically

from .format import SetError, text_lines
from .labels import Labels
from .sources import LabelledWell, from_marco

TABLE = "labels.csv"


def unpack(
    shards: Sequence[Path], out: Path, labels: Labels, on_well: Callable[[], None] = lambda: None
) -> tuple[int, dict[str, str]]:
    """Write each whole well of the shards to a file, with ``labels.csv`` (image, label, source) beside them.

    Returns
    -------
    The number of wells written, and the reason for each that could not be.

    Raises
    ------
    SetError
        If `out` already holds a table.
    """
    if (out / TABLE).exists():
        raise SetError(f"{out / TABLE} already exists; give another folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    written = 0
    with replacing(out / TABLE) as stream:
        table = csv.writer(text_lines(stream), lineterminator="\n")
        table.writerow(("image", "label", "source"))
        for entry in from_marco(shards, labels):
            if isinstance(entry, LabelledWell) and isinstance(entry.data, bytes):
                name = f"images/{entry.image.replace('#', '-')}{_suffix(entry.data)}"
                write_atomically(out / name, entry.data)
                table.writerow((name, str(entry.label), entry.source))
                written += 1
            elif not isinstance(entry, LabelledWell):
                failed[entry.image] = entry.reason
            on_well()
    return written, failed


def _suffix(data: bytes) -> str:
    return ".png" if data.startswith(b"\x89PNG") else ".jpg"
