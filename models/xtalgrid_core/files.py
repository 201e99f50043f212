"""Writing files so that a reader sees the old content or the new, never a part, whatever kills the writer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes the file when the block ends well.

    It is written under a temporary name in the same folder, flushed to disk, and renamed into place.

    Raises
    ------
    OSError
        When the disk is full or the folder cannot be written, with the file's name; the old file, if any, is untouched and no part is left.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename or ".part").endswith(".part"):
            error.filename = str(path)  # a full disk has none, a closed folder that of the part
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; see `replacing`."""
    with replacing(path) as stream:
        stream.write(data)
