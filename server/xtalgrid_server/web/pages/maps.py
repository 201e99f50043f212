"""Class maps: where in a drop the classifier saw which class. Drawn by a scoring process on request, and cached."""

from __future__ import annotations

import importlib.util
import threading
from weakref import WeakValueDictionary

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, XtalgridError
from xtalgrid_core.outcomes import SCORED_GROUPS
from xtalgrid_scoring.map_files import seen_in
from xtalgrid_scoring.pool import Pool

from ...config import Config
from ...domain.log import log
from ...ledger.shapes import ScoredImage
from ...steps.pack import read_original
from ..cache.disk import DiskCache

GROUPS = tuple(str(group) for group in SCORED_GROUPS)

_SECONDS = 120.0
_PATIENCE = 10.0


class ClassMaps:
    """The class maps of one configuration: PNG files with transparency, cached under ``home/maps``.

    The server itself runs no networks. The processes of a pool do, and they end when nobody asks for maps.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cache = DiskCache(config.home / "maps", config.viewer.thumbnails_mb * 1024 * 1024, ".png")
        self._pool = Pool(
            config.viewer.map_processes,
            seconds=_SECONDS,
            memory_mb=config.viewer.map_memory_mb,
        )
        self._lock = threading.Lock()
        self._drawing: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def find(self, score_id: int, group: str) -> bytes | None:
        """Return a map that was drawn before."""
        return self._cache.read(_name(score_id, group))

    def find_all(self, score_id: int) -> dict[str, bytes] | None:
        """Return the maps of all groups that were drawn before; None if one is missing or of an earlier version."""
        maps = {group: self.find(score_id, group) for group in GROUPS}
        found = {group: png for group, png in maps.items() if png is not None and seen_in(png) is not None}
        return found if len(found) == len(GROUPS) else None

    def get(self, score: ScoredImage, options: wire.Options) -> dict[str, bytes]:
        """Return the maps of all groups over an image, by the models and options of one of its scores.

        Raises
        ------
        ImageError
            If the image cannot be read, or takes a process too long or too much memory.
        Busy
            If another request takes long to draw this image's maps.
        XtalgridError
            If no maps can be drawn here, or not with these models.
        """
        score_id = score.score_id
        with self._lock:
            drawing = self._drawing.setdefault(score_id, threading.Lock())
        if not drawing.acquire(timeout=_PATIENCE):
            raise Busy("This map is being drawn; try again in a moment.")
        try:  # another request may have drawn them
            return self.find_all(score_id) or self._make(score, options)
        finally:
            drawing.release()

    def _make(self, score: ScoredImage, options: wire.Options) -> dict[str, bytes]:
        if importlib.util.find_spec("onnxruntime") is None:
            raise XtalgridError("Class maps need onnxruntime on this server; install it with: pip install onnxruntime")
        answer, weights = score.answer, self._config.weights
        try:
            maps = self._pool.class_maps(
                read_original(self._config, score),
                options,
                pixel_size_um=answer.pixel_size_um if isinstance(answer, wire.Scored) else None,
                folders=[weights] if weights.is_dir() else [],
            )
        except XtalgridError as error:
            log.error("viewer: no class map of %s: %s", score.image_name, error)
            raise
        drawn = {str(group): png for group, png in maps.items()}
        for group, png in drawn.items():
            self._cache.write(_name(score.score_id, group), png)
        return drawn


def _name(score_id: int, group: str) -> str:
    return f"{score_id:012d}-{group}"
