"""Atomic file writing: a reader sees the old content or the new, never a part, even if the writer is killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

Wait = Callable[[OSError], None]
"""What to do if a file cannot be written: return to try again, or raise the error."""


def give_up(error: OSError) -> None:
    """Raise the error."""
    raise error


def keep_trying(write: Callable[[], T], wait: Wait) -> T:
    """Call `write` until it succeeds or `wait`, which is called with its error, raises."""
    while True:
        try:
            return write()
        except OSError as error:
            wait(error)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a stream whose content replaces the file when the block ends without an error.

    The content is written to a temporary file in the same folder, flushed to disk, and renamed. Who may read it is for
    the process's umask to say, as with any new file.

    Raises
    ------
    OSError
        If the disk is full or the folder not writable. It names the file; the old file, if any, is unchanged, and no
        temporary file is left behind.
    """
    temporary = None
    try:
        new = path.with_name(f".{path.name[:32]}.{os.urandom(8).hex()}.part")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        temporary = new
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename or ".part").endswith(".part"):
            error.filename = str(path)  # not set for a full disk; the temporary name otherwise
        raise


def readable(name: str) -> str:
    """Return a file name as text that a database and a terminal take.

    Bytes that are not UTF-8, as in names from old Windows shares, are read as Windows-1252, or else as Latin-1. Python
    shows such bytes as lone surrogates, which cannot be encoded.
    """
    if not any("\udc80" <= character <= "\udcff" for character in name):
        return name
    text = ""
    for character in name:
        byte = ord(character) - 0xDC00
        if not 0x80 <= byte <= 0xFF:
            text += character
            continue
        try:
            text += bytes([byte]).decode("cp1252")
        except UnicodeDecodeError:
            text += chr(byte)
    return text


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely or not at all; see `replacing`."""
    with replacing(path) as stream:
        stream.write(data)
