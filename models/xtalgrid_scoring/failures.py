"""Images that cannot be scored: the reason and the detail, the same for all ways of scoring."""

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
    """Return the answer for an image whose scoring raised this; unexpected errors are logged with their traceback."""
    if isinstance(error, ImageError):
        reason, detail = error.reason, error.detail
    elif isinstance(error, MemoryError):
        reason, detail = FailureReason.INTERNAL, "out of memory"
    else:
        log.error("image %d", number, exc_info=error)
        reason, detail = FailureReason.INTERNAL, repr(error)
    return wire.Failed(number=number, reason=reason, detail=wire.short_text(detail))


def read_file(path: Path) -> bytes:
    """Read an image file.

    Raises
    ------
    ImageError
        `MISSING_FILE`, `UNREADABLE_FILE`, or `TOO_LARGE` (more than `wire.MAX_IMAGE_BYTES`).
    """
    try:
        if path.exists() and not path.is_file():
            raise ImageError(FailureReason.UNREADABLE_FILE, "this is not a regular file")
        with path.open("rb") as stream:
            return read_limited(stream, path.name, wire.MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise ImageError(FailureReason.MISSING_FILE, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(FailureReason.UNREADABLE_FILE, f"cannot read the file: {error}") from error


def read_limited(stream: IO[bytes], name: str, limit: int) -> bytes:
    """Read a stream of at most `limit` bytes; longer ones raise `ImageError`."""
    buffer = io.BytesIO()
    # in pieces, because zipfile holds a single large read twice
    while buffer.tell() <= limit and (piece := stream.read(min(_PIECE, limit + 1))):
        buffer.write(piece)
    if buffer.tell() > limit:
        raise ImageError(FailureReason.TOO_LARGE, f"{name} has more than {limit:,} bytes, the maximum")
    return buffer.getvalue()
