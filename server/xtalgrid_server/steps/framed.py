"""Framed images, drawn on the server from the original and the boxes: no pixel comes from a volunteer's computer."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from pathlib import Path

from xtalgrid_core.errors import ImageError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.frames import SUFFIX, frame
from xtalgrid_core.images import Pixels, read_image
from xtalgrid_core.outcomes import Group, Outcome

from ..config import Config
from ..domain.log import log
from ..ledger.shapes import ScoredImage
from ..storage.permissions import outside
from .pack import read_original, read_scored

_DAY = 24 * 3600
_OF_ONE_FILE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY, errno.EISDIR)
"""Errors by which a file can't be replaced, as one that a person looks at over a Windows share."""
_LONGEST = 255
"""Bytes of a file's name."""


def wants_frame(outcome: Outcome) -> bool:
    """Tell whether ``frames = "crystals"`` includes an outcome: crystals, and what a person should look at."""
    return outcome.group is Group.CRYSTAL or outcome is Outcome.UNDECIDED


def framed_path(config: Config, score: ScoredImage) -> Path:
    """Return the path of a score's framed image, drawn or not; a hash stands for the end of a very long name."""
    stem = Path(score.image_name).stem
    if len(stem.encode()) + len(SUFFIX) > _LONGEST:
        digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
        stem = stem.encode()[: _LONGEST - len(SUFFIX) - len(digest)].decode(errors="ignore") + digest
    return config.frames_dir / score.barcode / str(score.inspection) / f"{stem}{SUFFIX}"


def framed_jpeg(config: Config, score: ScoredImage) -> bytes:
    """Draw a score's framed image, as JPEG.

    Raises
    ------
    ImageError
        If the original can no longer be read.
    """
    return _jpeg(read_image(read_original(config, score)), score)


def _jpeg(pixels: Pixels, score: ScoredImage) -> bytes:
    picture = frame(pixels, score.answer)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def forget_old_frames(config: Config) -> int:
    """Delete framed images older than ``publish.frames_days``, at most once a day, and return how many."""
    days, stamp = config.publish.frames_days, config.home / "frames-looked-through"
    if not days or (stamp.exists() and 0 <= time.time() - stamp.stat().st_mtime < _DAY):
        return 0
    stamp.touch()
    oldest, forgotten = time.time() - days * _DAY, 0
    for path in config.frames_dir.glob(f"*/*/*{SUFFIX}"):
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
                forgotten += 1
        except OSError as error:  # such as one that a person looks at over a Windows share, or another account's
            log.warning("old framed image %s stays: %s", path, error.strerror)
    return forgotten


def draw_framed(config: Config, score: ScoredImage) -> Path | None:
    """Draw a score's framed image into the frames folder; log a warning and return None if that can't be done.

    Raises
    ------
    OSError
        If none could be written there, as on a full disk.
    """
    path = framed_path(config, score)
    try:
        data = _jpeg(read_scored(config, score), score)
    except ImageError as error:
        log.warning("framed image of %s: %s", score.image_name, error)
        return None
    with outside(config.home, path):  # XtalTrak shows it to people
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(path, data)
        except OSError as error:
            if error.errno not in _OF_ONE_FILE or not os.access(path.parent, os.W_OK):
                raise
            log.warning("framed image of %s: cannot replace %s: %s", score.image_name, path, error.strerror)
            return None
    return path
