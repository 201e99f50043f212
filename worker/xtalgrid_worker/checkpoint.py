"""What of a unit is done already, on disk: a worker that was killed goes on where it was.

The file is appended to, a line at a time, and each line is on the disk before the work goes on::

    {"checkpoint":1,"unit":…,"manifest":…,"worker":…,"models":[…]}    whose it is
    begin 17                                                          image 17 is being scored
    {"status":"scored","number":17,…}                                 its answer (`wire.Scored` or `wire.Failed`)
    begin 18
    stopped 18                                                        the worker was asked to stop; 18 is not to blame

An image that was begun `MAX_BEGINS` times and neither answered nor stopped has crashed the worker every time.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, ResultError

from .workunit import Source

MAX_BEGINS = 5

log = logging.getLogger(__name__)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose checkpoint it is; that of another unit, worker or pair of networks is of no use."""

    checkpoint: int = 1
    unit: str
    manifest: str
    worker: str
    models: tuple[str, str]

    @classmethod
    def of(cls, source: Source, worker: str) -> Header:
        """The header of a unit's checkpoint."""
        options = source.manifest.options
        return cls(
            unit=source.manifest.unit,
            manifest=source.digest,
            worker=worker,
            models=(options.segmenter, options.classifier),
        )


class Checkpoint:
    """The open checkpoint file of a unit, locked against other workers. Use it in a ``with`` statement.

    Attributes
    ----------
    answers
        The images that are done, by number.

    Raises
    ------
    Busy
        When another worker has it.
    OSError
        When it cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._fd = _open_locked(path)
        self.answers: dict[int, wire.Answer] = {}
        self._begins: Counter[int] = Counter()
        first = msgspec.json.encode(header) + b"\n"
        with open(self._fd, "rb", closefd=False) as stream:
            data = stream.read()
        kept = self._read(data, first)
        os.ftruncate(self._fd, kept)
        os.lseek(self._fd, 0, os.SEEK_END)
        if not kept:
            self._append(first)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)  # the lock goes with it
            self._fd = -1

    def has_crashed(self, number: int) -> bool:
        """Whether an image has ended the worker so often that it is not to be begun again."""
        return self._begins[number] >= MAX_BEGINS

    def begin(self, number: int) -> None:
        """Note that an image is being scored."""
        self._begins[number] += 1
        self._append(b"begin %d\n" % number)

    def stopped(self, number: int) -> None:
        """Note that the image just begun was left because the worker was asked to stop."""
        self._begins[number] -= 1
        self._append(b"stopped %d\n" % number)

    def record(self, answer: wire.Answer) -> None:
        """Note an image's answer."""
        self.answers[answer.number] = answer
        self._append(wire.encode(answer) + b"\n")

    def remove(self) -> None:
        """Delete the file: the result is written, and nothing is left to do."""
        if sys.platform == "win32":  # an open file cannot be deleted there
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
            os.fsync(self._fd)
        except OSError as error:
            error.filename = str(self._path)  # or nobody knows which disk is full
            raise

    def _read(self, data: bytes, first: bytes) -> int:
        """Take over what the file holds; how many of its bytes are of use."""
        if not data:
            return 0
        if not data.startswith(first):
            log.warning("%s: is of another unit or worker; starting from the first image", self._path)
            return 0
        kept = len(first)
        lines = data[kept:].splitlines(keepends=True)
        for index, line in enumerate(lines):
            try:
                self._take(line)
            except (ValueError, ResultError) as error:
                if index < len(lines) - 1:
                    log.warning(
                        "%s: line %d is damaged (%s); starting from the first image", self._path, index + 2, error
                    )
                    self.answers.clear()
                    self._begins.clear()
                    return 0
                log.info("%s: the last line is torn; it is left out", self._path)
                break
            kept += len(line)
        return kept

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise ValueError("no end of line")
        if line.startswith(b"begin "):
            self._begins[int(line[6:])] += 1
        elif line.startswith(b"stopped "):
            self._begins[int(line[8:])] -= 1
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
            raise Busy(f"{path}: another worker is at this unit; nothing was done") from error
        if sys.platform == "win32" or (path.exists() and path.stat().st_ino == os.fstat(fd).st_ino):
            return fd
        os.close(fd)  # its owner finished and removed it between the two calls


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, 1 << 30, os.SEEK_SET)  # a byte nobody reads: locked bytes cannot be read there
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
