"""A training set on disk: a folder of arrays, which may be larger than memory, and the well behind each row.

==================  ===================================================================================================
``chops.npy``       (N, 256, 256, 3) uint8 RGB, levelled, at the reference scale: what the classifier sees
``labels.npy``      (N,) uint8, rank in `xtalgrid_core.outcomes.CLASSES`
``wells.npy``       (N,) int64, row of ``wells.csv``
``patches.npy``     (M, 448, 448, 3) uint8, optional: chops with context, for dense training
``patch_labels.npy`` (M, 5, 5) uint8: labels of the 256×256 windows at rows and columns `PATCH_STARTS`; `NO_LABEL`
                    where the content is ambiguous
``patch_wells.npy`` (M,) int64
``patch_hints.npy`` (M, 1056) float16, optional: what MARCO's network sees in each patch (`teach`)
``patch_losses.npy`` (M,) float32, with them: how far given weights are wrong about it
``views.npy``       (V, 256, 256, 3) uint8, optional: whole wells as the segmenter sees them
``masks.npy``       (V, 256, 256) uint8, 0 outside the drop, 255 inside
``view_wells.npy``  (V,) int64
``wells.csv``       well (row number), plate, source, image, outcome
``dataset.json``    how the set was made: builder, arguments, counts, what failed and why, SHA-256 of each array
==================  ===================================================================================================

Chops of one plate look alike, so validation holds out whole plates (`held_out`), never single chops or wells.
"""

from __future__ import annotations

import hashlib
from typing import IO, NamedTuple

import numpy as np

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import SEGMENTER_SIDE
from xtalgrid_core.outcomes import Group

PATCH = 448
"""Side of a patch: a chop with context on all sides."""

PATCH_STARTS = (0, 48, 96, 144, 192)
"""First rows and columns of a patch's labelled windows."""

NO_LABEL = 255
"""In ``patch_labels.npy``: the content of this window is ambiguous."""

RENDERED = "rendered"
"""The ``source`` of a rendered well."""

RECORD = "dataset.json"
TABLE = "wells.csv"
JOURNAL = "building.jsonl"

# Name → (shape of a row, type). Of each of the three kinds of rows, either all arrays exist or none.
KINDS: dict[str, dict[str, tuple[tuple[int, ...], type]]] = {
    "chops": {"chops": ((CHOP, CHOP, 3), np.uint8), "labels": ((), np.uint8), "wells": ((), np.int64)},
    "patches": {
        "patches": ((PATCH, PATCH, 3), np.uint8),
        "patch_labels": ((len(PATCH_STARTS),) * 2, np.uint8),
        "patch_wells": ((), np.int64),
    },
    "views": {
        "views": ((SEGMENTER_SIDE, SEGMENTER_SIDE, 3), np.uint8),
        "masks": ((SEGMENTER_SIDE, SEGMENTER_SIDE), np.uint8),
        "view_wells": ((), np.int64),
    },
}


class SetError(ConfigError):
    """A table or a training set can't be read or made; the message says what to do."""


def held_out(plate: str) -> bool:
    """Tell whether a plate is for validation only.

    Every tenth plate is, by the SHA-256 of its name, so that the choice is the same in every set.
    """
    return int(hashlib.sha256(plate.encode()).hexdigest(), 16) % 10 == 9


def any_of(group: Group) -> str:
    """Return the ``outcome`` in ``wells.csv`` of a well of which only the group is known: ``any crystal``."""
    return f"any {group}"


class WellRow(NamedTuple):
    """A row of ``wells.csv``: `outcome` as scored (a class, `any_of` a group, or empty), `source` the well's origin."""

    well: int
    plate: str
    source: str
    image: str
    outcome: str


class _Lines:
    """A text file for `csv`, on top of a binary stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.encode())
        return len(text)


def text_lines(stream: IO[bytes]) -> _Lines:
    """Wrap a stream of bytes so that `csv.writer` can write to it."""
    return _Lines(stream)
