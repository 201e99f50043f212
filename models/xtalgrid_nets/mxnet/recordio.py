"""RecordIO packs as written by MXNet's ``im2rec``.

A pack is three files: ``.rec`` (the records), ``.idx`` (key and position of each) and ``.lst`` (key, labels, path).

A record is, little endian: u32 magic, u32 ``flag << 29 | length``, the payload, zeros up to a multiple of 4. A
payload that contains the magic number at a multiple of 4 is split there into parts, without the number: flag 1 marks
the first part, 2 a middle one, 3 the last; 0 is a whole record.

An image's payload begins with ``<IfQQ``: number of labels, one label, number, second number. If the number of labels
is above 0, that many f32 labels follow and the one label means nothing. Then comes the image file.

Packs written here are identical to MXNet's, byte for byte, and MXNet's are read completely; `models/legacy-mxnet`
checks both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.files import replacing

MAGIC = 0xCED7230A
_MAGIC = struct.pack("<I", MAGIC)
_HEAD = struct.Struct("<II")
_IMAGE = struct.Struct("<IfQQ")
_LONGEST = (1 << 29) - 1
"""Largest size of a part in bytes: what the 29 bits of the length can hold."""

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class RecordError(XtalgridError):
    """A RecordIO pack is damaged, or the file is not one; the message names the file and the byte."""


class ImageRecord(NamedTuple):
    """One image of a pack.

    Attributes
    ----------
    number
        The first column of the ``.lst``.
    labels
        ``(n,)`` float32: usually one class number, or else a vector.
    image
        The image file's bytes.
    """

    number: int
    labels: npt.NDArray[np.float32]
    image: bytes


def read_records(path: Path) -> Iterator[bytes]:
    """Read the payloads of a ``.rec`` file in order; the parts of a payload are joined.

    Raises
    ------
    RecordError
        At the point where the file is damaged or ends inside a record; earlier records have been yielded.
    """
    for _, payload in places(path):
        yield payload


def read_record(path: Path, place: int) -> bytes:
    """Read the payload of the record that begins at byte `place`, as given by the ``.idx``."""
    with path.open("rb") as stream:
        stream.seek(place)
        payload = _read_one(stream, path, _size(stream))
    if payload is None:
        raise RecordError(
            f"{path}: no record at byte {place}; the .idx belongs to another pack and is not needed: remove it"
        )
    return payload


def places(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the byte at which each record of a ``.rec`` begins, and its payload; see `read_records`."""
    with path.open("rb") as stream:
        end = _size(stream)
        while True:
            place = stream.tell()
            payload = _read_one(stream, path, end)
            if payload is None:
                return
            yield place, payload


def _size(stream: IO[bytes]) -> int:
    position = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(position)
    return end


def _read_one(stream: IO[bytes], path: Path, end: int) -> bytes | None:
    parts: list[bytes] = []
    while True:
        place = stream.tell()
        head = stream.read(_HEAD.size)
        if not head and not parts:
            return None
        if len(head) < _HEAD.size:
            raise RecordError(f"{path}: ends inside a record, at byte {place}; copy it again")
        magic, word = _HEAD.unpack(head)
        flag, length = word >> 29, word & _LONGEST
        if magic != MAGIC:
            raise RecordError(f"{path}: no record at byte {place}; the file is damaged or not RecordIO: copy it again")
        if flag > _LAST or (flag in (_MIDDLE, _LAST)) != bool(parts):
            raise RecordError(f"{path}: the parts of the record at byte {place} are out of order; copy it again")
        if stream.tell() + length > end:
            raise RecordError(
                f"{path}: the record at byte {place} has {length:,} bytes, but the file ends earlier; copy it again"
            )
        parts.append(stream.read(length))
        stream.seek(-length % 4, 1)
        if flag in (_WHOLE, _LAST):
            return _MAGIC.join(parts)


def unpack_image(payload: bytes, where: str = "record") -> ImageRecord:
    """Parse an image's payload.

    Raises
    ------
    RecordError
        If it is shorter than it says.
    """
    if len(payload) < _IMAGE.size:
        raise RecordError(f"{where}: {len(payload)} bytes are not an image of im2rec")
    count, label, number, _ = _IMAGE.unpack_from(payload)
    if count == 0:
        return ImageRecord(number, np.array([label], np.float32), payload[_IMAGE.size :])
    begin = _IMAGE.size + 4 * count
    if begin > len(payload):
        raise RecordError(
            f"{where}: claims {count:,} labels, more than it has bytes for; it is damaged, or not from im2rec"
        )
    labels = np.frombuffer(payload, "<f4", count, _IMAGE.size).astype(np.float32)
    return ImageRecord(number, labels, payload[begin:])


def pack_image(record: ImageRecord) -> bytes:
    """Return an image's payload. A single label is written into the header, several follow it."""
    if len(record.labels) == 1:
        return _IMAGE.pack(0, record.labels[0], record.number, 0) + record.image
    return _IMAGE.pack(len(record.labels), 0.0, record.number, 0) + record.labels.astype("<f4").tobytes() + record.image


def record_bytes(payload: bytes) -> bytes:
    """Return a record as it is stored in the file: headers, parts, padding.

    Raises
    ------
    RecordError
        If a part is longer than 512 MB.
    """
    parts: list[bytes] = []
    begin, position = 0, payload.find(_MAGIC)
    while position >= 0:
        if position % 4 == 0 and position + 4 <= len(payload) // 4 * 4:
            parts.append(payload[begin:position])
            begin = position + 4
            position = payload.find(_MAGIC, begin)
        else:
            position = payload.find(_MAGIC, position + 1)
    parts.append(payload[begin:])
    stored = []
    for index, part in enumerate(parts):
        if len(part) > _LONGEST:
            raise RecordError(f"a record has {len(part):,} bytes; the maximum is {_LONGEST:,}")
        flag = _WHOLE if len(parts) == 1 else _FIRST if index == 0 else _LAST if index == len(parts) - 1 else _MIDDLE
        stored.append(_HEAD.pack(MAGIC, flag << 29 | len(part)) + part + bytes(-len(part) % 4))
    return b"".join(stored)


class PackWriter:
    """Write ``PREFIX.rec``, ``.idx`` and ``.lst`` together, whole or not at all; a context manager.

    Parameters
    ----------
    prefix
        The path without its suffix.
    """

    def __init__(self, prefix: Path) -> None:
        self.files = {suffix: prefix.with_name(prefix.name + suffix) for suffix in (".rec", ".idx", ".lst")}
        self._stack = ExitStack()
        self._place = 0

    def __enter__(self) -> Self:
        self._streams = {suffix: self._stack.enter_context(replacing(path)) for suffix, path in self.files.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, record: ImageRecord, path: str) -> None:
        """Add an image; `path` is the ``.lst``'s last column."""
        data = record_bytes(pack_image(record))
        self._streams[".rec"].write(data)
        self._streams[".idx"].write(f"{record.number}\t{self._place}\n".encode())
        labels = "".join(f"{label:f}\t" for label in record.labels)
        self._streams[".lst"].write(f"{record.number}\t{labels}{path}\n".encode())
        self._place += len(data)


def read_index(path: Path) -> dict[int, int]:
    """Read an ``.idx``: number → byte at which the record begins.

    Raises
    ------
    RecordError
        If a line is not two numbers.
    """
    index: dict[int, int] = {}
    for row, fields in _lines(path):
        try:
            number, place = fields
            index[int(number)] = int(place)
        except ValueError as error:
            raise RecordError(f"{path}, line {row}: not a number, a tab and a number") from error
    return index


def read_list(path: Path) -> dict[int, str]:
    """Read a ``.lst``: number → path of the image.

    Raises
    ------
    RecordError
        If a line is not a number, labels and a path.
    """
    paths: dict[int, str] = {}
    for row, fields in _lines(path):
        try:
            number, *labels = fields[:-1]
            [float(label) for label in labels]
            paths[int(number)] = fields[-1]
        except ValueError as error:
            raise RecordError(f"{path}, line {row}: not a number, labels and a path, with tabs between") from error
    return paths


def _lines(path: Path) -> Iterable[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not text ({error})") from error
    return ((row, line.split("\t")) for row, line in enumerate(text.splitlines(), 1) if line.strip())
