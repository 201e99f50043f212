"""An image that cannot be scored: its reason and its words, the same whoever scores it."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import IO

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError

log = logging.getLogger(__name__)

_PIECE = 1024 * 1024


def failed(number: int, error: Exception) -> wire.Failed:
    """The answer for an image whose scoring raised this; what nobody foresaw is logged with its traceback."""
    if isinstance(error, ImageError):
        reason, detail = error.reason, error.detail
    elif isinstance(error, MemoryError):
        reason, detail = FailureReason.INTERNAL, "out of memory"
    else:
        log.error("image %d", number, exc_info=error)
        reason, detail = FailureReason.INTERNAL, repr(error)
    return wire.Failed(number=number, reason=reason, detail=wire.short_text(detail))


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises
    ------
    ImageError
        `MISSING_FILE`, `UNREADABLE_FILE`, or `TOO_LARGE` (more than `wire.MAX_IMAGE_BYTES`).
    """
    try:
        if path.exists() and not path.is_file():
            raise ImageError(FailureReason.UNREADABLE_FILE, "this is no file")
        with path.open("rb") as stream:
            return read_limited(stream, path.name, wire.MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise ImageError(FailureReason.MISSING_FILE, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(FailureReason.UNREADABLE_FILE, f"the file cannot be read ({error})") from error


def read_limited(stream: IO[bytes], name: str, limit: int) -> bytes:
    """All bytes of a stream; `ImageError` when there are more than `limit`."""
    held = io.BytesIO()
    while held.tell() <= limit and (piece := stream.read(min(_PIECE, limit + 1))):  # at once, zipfile holds it twice
        held.write(piece)
    if held.tell() > limit:
        raise ImageError(FailureReason.TOO_LARGE, f"{name} has more than {limit:,} bytes; no more are read")
    return held.getvalue()
