"""Class maps: where in a drop the classifier saw what, computed by a worker process when somebody asks, and kept."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..config import Config
from ..imager.rows import ImageRow
from ..ledger.records import ScoreOrigin
from ..steps import log
from ..work.pack import read_original
from .kept import Kept

GROUPS = tuple(str(group) for group in SCORED_GROUPS)

_SECONDS = 120.0
_BUSY = "Another map is being made; try again in a moment."


class ClassMaps:
    """The class maps of one configuration, as PNG files with transparency, kept under ``home/maps``.

    The server does not run networks: ``xtalgrid-worker classmap`` does, as a process, one at a time.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._kept = Kept(config.home / "maps", config.viewer.thumbnails_mb * 1024 * 1024, ".png")
        self._one = threading.Lock()

    def get(self, image: ImageRow, origin: ScoreOrigin, group: str) -> bytes:
        """The map of a group over an image, by the models that scored it.

        Raises
        ------
        ImageError
            When the image cannot be read.
        XtalgridError
            When no worker can be run here, or it could not make the map.
        """
        name = f"{origin.score.score_id:012d}-{group}"
        found = self._kept.read(name)
        if found is not None:
            return found
        if not self._one.acquire(timeout=10):
            raise XtalgridError(_BUSY)
        try:
            made = self._kept.read(name)
            return made if made is not None else self._make(image, origin)[group]
        finally:
            self._one.release()

    def _make(self, image: ImageRow, origin: ScoreOrigin) -> dict[str, bytes]:
        if importlib.util.find_spec("xtalgrid_worker") is None or importlib.util.find_spec("onnxruntime") is None:
            raise XtalgridError("Class maps need the worker: install xtalgrid with onnxruntime beside the server.")
        data = read_original(self._config, image)
        with tempfile.TemporaryDirectory(prefix="xtalgrid-map-") as folder:
            path, out = Path(folder) / "image", Path(folder) / "maps"
            path.write_bytes(data)
            command = [sys.executable, "-m", "xtalgrid_worker.cli", "classmap", str(path), "--out", str(out)]
            command += ["--segmenter", origin.options.segmenter, "--classifier", origin.options.classifier]
            if self._config.weights.is_dir():
                command += ["--weights", str(self._config.weights)]
            answer = origin.score.answer
            if isinstance(answer, wire.Scored):
                command += ["--pixel-size", repr(answer.pixel_size_um)]
            try:
                done = subprocess.run(
                    command, capture_output=True, timeout=_SECONDS, stdin=subprocess.DEVNULL, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise XtalgridError(f"The worker made no map within {_SECONDS:.0f} seconds.") from error
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().splitlines()
                log.error("viewer: no class map of %s: %s", image.image_name, said[-1] if said else done.returncode)
                raise XtalgridError(f"The worker could not make this map: {said[-1] if said else 'it gave no reason'}")
            made = {group: (out / f"{group}.png").read_bytes() for group in GROUPS}
        for group, png in made.items():
            self._kept.write(f"{origin.score.score_id:012d}-{group}", png)
        return made
