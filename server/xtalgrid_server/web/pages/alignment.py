"""How a drop's pictures lie on each other: those of other inspections, and those in UV or other light."""

from __future__ import annotations

import msgspec

from xtalgrid_core.images import read_small
from xtalgrid_core.registration import SIDE, Unaligned, find_shift

from ...config import Config
from ...domain.images import ImageRow
from ...steps.pack import read_original
from ..cache.disk import DiskCache
from .pictures import content_name

_MAX_BYTES = 1024 * 1024
"""Of some 60 bytes a pair."""


class Alignment(msgspec.Struct, frozen=True):
    """By how much a picture must be moved to lie on another, or why it can't be.

    Attributes
    ----------
    right, down
        Fractions of the other picture's width and height.
    problem
        Why they can't be aligned; empty if they can.
    """

    right: float = 0.0
    down: float = 0.0
    problem: str = ""


class Alignments:
    """Alignments of pictures as JSON, found on request and cached under ``home/alignments``, by what the files are."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cache = DiskCache(config.home / "alignments", _MAX_BYTES, ".json")

    def find(self, picture: ImageRow, other: ImageRow) -> tuple[str, bytes | None]:
        """Return the name of a pair of pictures, and the JSON of its `Alignment` if that was found before.

        Raises
        ------
        ImageError
            If one of the originals cannot be read.
        """
        name = content_name(self._config, picture, other)
        return name, self._cache.read(name)

    def make(self, picture: ImageRow, other: ImageRow, name: str) -> bytes:
        """Find by how much `other` must be moved to lie on `picture`, and keep it; see `find`."""
        pixels = [read_small(read_original(self._config, each), SIDE) for each in (picture, other)]
        found = find_shift(*pixels)
        if isinstance(found, Unaligned):
            alignment = Alignment(problem=str(found))
        else:
            alignment = Alignment(round(found.right, 5), round(found.down, 5))
        data = msgspec.json.encode(alignment)
        self._cache.write(name, data)
        return data
