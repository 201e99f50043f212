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
from .pictures import content_name

GROUPS = tuple(str(group) for group in SCORED_GROUPS)

_SECONDS = 120.0
_PATIENCE = 10.0


class ClassMaps:
    """The class maps of one configuration: PNG files with transparency, cached under ``home/maps``.

    They are kept by what they were drawn from. The id of a score is given again once an older ledger was restored.

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

    def name(self, score: ScoredImage) -> str:
        """Return a name for what maps of a score are drawn from: its image's file as it is now, models and scale.

        Raises
        ------
        ImageError
            If the file cannot be read.
        """
        scale = score.answer.pixel_size_um if isinstance(score.answer, wire.Scored) else None
        return content_name(self._config, score, kind=f"{score.segmenter} {score.classifier} {scale}")

    def find(self, score: ScoredImage, group: str) -> bytes | None:
        """Return a map that was drawn before; for errors see `name`."""
        return self._cache.read(f"{self.name(score)}-{group}")

    def find_all(self, score: ScoredImage) -> dict[str, bytes] | None:
        """Return the maps of all groups that were drawn before; None if one is missing or of an earlier version.

        For errors see `name`.
        """
        name = self.name(score)
        maps = {group: self._cache.read(f"{name}-{group}") for group in GROUPS}
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
            return self.find_all(score) or self._make(score, options)
        finally:
            drawing.release()

    def _make(self, score: ScoredImage, options: wire.Options) -> dict[str, bytes]:
        if importlib.util.find_spec("onnxruntime") is None:
            raise XtalgridError("Class maps need onnxruntime on this server; install it with: pip install onnxruntime")
        answer, weights, name = score.answer, self._config.weights, self.name(score)
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
            self._cache.write(f"{name}-{group}", png)
        return drawn
