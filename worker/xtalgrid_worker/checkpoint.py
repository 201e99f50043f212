"""Checkpoints: the progress of a unit on disk, so that a killed worker resumes where it was.

Lines are appended to the file, and each is flushed to disk before work continues::

    {"checkpoint":1,"unit":…,"manifest":…,"worker":…,"models":[…]}    the unit and worker it belongs to
    ended 17                                                          image 17 was scored
    {"status":"scored","number":17,…}                                 its answer (`wire.Answer`)
    begin 18                                                          image 18 is being scored

When the scoring of an image ends, with an answer or because the worker is stopped, its line changes from ``begin`` to
``ended``. This takes no space on the disk, so that a full disk is never taken for a crash. An image that was begun
`MAX_BEGINS` times, and whose scoring never ended, crashed the worker every time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, ResultError
from xtalgrid_core.files import Wait, give_up, keep_trying

from .workunit import Source

MAX_BEGINS = 5

BEGIN, ENDED = b"begin", b"ended"
"""Of one length, so that one can overwrite the other."""

LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""What locking fails with if another process has the lock; anything else, as on some shares, is no other worker."""

log = logging.getLogger(__name__)


def checkpoint_of(result: Path) -> Path:
    """Return the path of the checkpoint of a result that is not written yet."""
    return result.with_name(f"{result.name}.checkpoint")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint belongs to; one of another unit, worker version or pair of networks is discarded."""

    checkpoint: int = 1
    unit: str
    manifest: str
    worker: str
    models: tuple[str, str]

    @classmethod
    def of(cls, source: Source, worker: str) -> Header:
        """Return the header for a unit's checkpoint."""
        options = source.manifest.options
        return cls(
            unit=source.manifest.unit,
            manifest=source.digest,
            worker=worker,
            models=(options.segmenter, options.classifier),
        )


class Checkpoint:
    """The open checkpoint file of a unit, locked against other workers. Use it in a ``with`` statement.

    Parameters
    ----------
    path, header
        The file, and what it belongs to.
    wait
        Called with the error if the file cannot be written; returns to try again, or raises.

    Attributes
    ----------
    answers
        Answers for finished images, by number.

    Raises
    ------
    Busy
        If it is locked by another worker.
    OSError
        If it cannot be written or locked.
    """

    def __init__(self, path: Path, header: Header, wait: Wait = give_up) -> None:
        self._path = path
        self._wait = wait
        self._fd = _open_locked(path)
        self.answers: dict[int, wire.Answer] = {}
        self._begins: Counter[int] = Counter()
        first = msgspec.json.encode(header) + b"\n"
        with open(self._fd, "rb", closefd=False) as stream:
            data = stream.read()
        self._size = self._load(data, first)
        self._begun_at = self._size
        os.ftruncate(self._fd, self._size)
        if not self._size:
            self._append(first)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)  # this releases the lock
            self._fd = -1

    def has_crashed(self, number: int) -> bool:
        """Tell whether an image has crashed the worker so often that it must not be tried again."""
        return self._begins[number] >= MAX_BEGINS

    def begin(self, number: int) -> None:
        """Record that an image is being scored."""
        begun_at = self._size
        self._append(b"%s %d\n" % (BEGIN, number))
        self._begun_at = begun_at
        self._begins[number] += 1

    def end(self, number: int) -> None:
        """Record that the scoring of the image that was begun last has ended."""
        self._begins[number] -= 1
        os.lseek(self._fd, self._begun_at, os.SEEK_SET)
        # Only a file system that never overwrites has no space for this. It then counts as one begin.
        with contextlib.suppress(OSError):
            os.write(self._fd, ENDED)

    def record(self, answer: wire.Answer) -> None:
        """Record the answer for an image."""
        self.answers[answer.number] = answer
        self._append(wire.encode(answer) + b"\n")

    def remove(self) -> None:
        """Delete the file, once the result is written."""
        if sys.platform == "win32":  # which cannot delete open files
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        keep_trying(lambda: self._write(line), self._wait)

    def _write(self, line: bytes) -> None:
        try:
            os.lseek(self._fd, self._size, os.SEEK_SET)
            rest = line
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            error.filename = str(self._path)  # so that the message names the disk that is full
            raise
        self._size += len(line)

    def _load(self, data: bytes, first: bytes) -> int:
        """Load the file's content, and return how many of its bytes are valid."""
        if not data:
            return 0
        if not data.startswith(first):
            log.warning("%s: belongs to another unit or worker; starting from the first image", self._path)
            return 0
        valid_bytes = len(first)
        lines = data[valid_bytes:].splitlines(keepends=True)
        for index, line in enumerate(lines):
            try:
                self._load_line(line)
            except (ValueError, ResultError) as error:
                if index < len(lines) - 1:
                    log.warning(
                        "%s: line %d is damaged (%s); starting from the first image", self._path, index + 2, error
                    )
                    self.answers.clear()
                    self._begins.clear()
                    return 0
                log.info("%s: the last line is incomplete and is ignored", self._path)
                break
            valid_bytes += len(line)
        return valid_bytes

    def _load_line(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise ValueError("missing end of line")
        if line.startswith((BEGIN, ENDED)):
            word, _, number = line.partition(b" ")
            self._begins[int(number)] += word == BEGIN
        else:
            answer = wire.decode_answer(line)
            self.answers[answer.number] = answer


def _open_locked(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            _lock(fd)
        except OSError as error:
            os.close(fd)
            if error.errno in LOCKED:
                raise Busy(f"{path}: another worker is working on this unit; nothing was done") from error
            reason = f"its file system has no locks ({error.strerror}), write to another one"
            raise OSError(error.errno, reason, str(path)) from error
        if sys.platform == "win32" or (path.exists() and path.stat().st_ino == os.fstat(fd).st_ino):
            return fd
        os.close(fd)  # its owner finished and deleted it between the two calls


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, 1 << 30, os.SEEK_SET)  # lock a byte that is never read, since locked bytes cannot be
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
