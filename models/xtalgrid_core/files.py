"""Atomic file writing: a reader sees the old content or the new, never a part, even if the writer is killed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

SYSTEM_FOLDERS = frozenset(
    (
        *("#recycle", "@recycle", "$recycle.bin", "recycler", "lost+found"),
        *("@eadir", "__macosx", "#snapshot", "~snapshot", "@recently-snapshot", "system volume information"),
    )
)
"""Folders of deleted files, thumbnails and snapshots that file servers and systems add to a share, in small letters."""

STANDARD_OUTPUT = Path("-")
"""What a person names standard output by."""

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

    `STANDARD_OUTPUT`, and what is there and no file, such as a pipe or ``/dev/stdout``, is written to as it is.

    The content is written to a temporary file in the same folder, flushed to disk, and renamed. Who may read it is for
    the process's umask to say, as with any new file.

    Raises
    ------
    OSError
        If the disk is full or the folder not writable. It names the file; the old file, if any, is unchanged, and no
        temporary file is left behind.
    """
    if path == STANDARD_OUTPUT:
        with _standard_output() as stream:
            yield stream
        return
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            yield stream
        return
    if not path.name:  # the folder . or /, beside which there is no temporary file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
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


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    """Yield standard output; if its reader has gone, as ``head`` does, the program ends without a message."""
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at the end
        raise SystemExit(1) from None


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
