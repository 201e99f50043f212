"""Read TensorFlow's record files and examples without TensorFlow.

A record file is a sequence of records: length (uint64, little endian), masked CRC-32C of the length's bytes, the
data, masked CRC-32C of the data (TensorFlow, ``core/lib/io/record_writer.h``). The data here is a
``tf.train.Example``, a protocol buffer (``core/example/example.proto``) that maps the name of a feature to a list of
bytes, floats or integers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ..tensorflow.messages import fields, masked_crc, message, varints
from .format import SetError

Values = list[bytes] | list[float] | list[int]

MAX_RECORD = 1 << 30
"""In bytes; a greater length is damage that the checksum missed, or another kind of file."""


class Record(NamedTuple):
    """One record of a shard: its number, and its data or an error."""

    number: int
    data: bytes
    error: str = ""


def read_records(path: Path) -> Iterator[Record]:
    """Read the records of one shard, in order; damaged ones have an `error` and no data.

    Damaged data costs one record. After a damaged length the next record can't be found; the last record then reports
    that the rest of the shard is lost.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while head := stream.read(12):
                record = _read(stream, head, number)
                yield record
                if record.error and not record.error.startswith("the data"):
                    return
                number += 1
    except OSError as error:
        raise SetError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error


def _read(stream: IO[bytes], head: bytes, number: int) -> Record:
    if len(head) < 12:
        return Record(number, b"", "the shard ends inside a record; download it again")
    (length,), (crc,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
    if masked_crc(head[:8]) != crc or length > MAX_RECORD:
        lost = "the rest of the shard is lost; download it again"
        return Record(
            number,
            b"",
            f"a record's length differs from its checksum: {lost}" if number else "this is not a TFRecord file",
        )
    data, tail = stream.read(length), stream.read(4)
    if len(data) < length or len(tail) < 4:
        return Record(number, b"", "the shard ends inside a record; download it again")
    if masked_crc(data) != struct.unpack("<I", tail)[0]:
        return Record(number, b"", "the data differs from its checksum")
    return Record(number, data)


def parse_example(data: bytes) -> dict[str, Values]:
    """Return the features of a serialized ``tf.train.Example``: name → values.

    Raises
    ------
    ValueError
        If the data is not an example.
    """
    features: dict[str, Values] = {}
    for _, whole in fields(data, {1}):  # Example.features
        for _, entry in fields(message(whole), {1}):  # Features.feature: a map, encoded as repeated entries
            name, values = "", []  # type: str, Values
            for field, value in fields(message(entry), {1, 2}):
                if field == 1:
                    name = message(value).decode()
                else:
                    values = _feature(message(value))
            features[name] = values
    return features


def _feature(data: bytes) -> Values:
    # Feature: bytes_list, float_list or int64_list, each with values in field 1
    for kind, inner in fields(data, {1, 2, 3}):
        values = [value for _, value in fields(message(inner), {1})]
        if kind == 1:
            return [message(value) for value in values]
        if kind == 2:  # packed, or one by one, of four bytes each
            return [number for value in values for number in _floats(message(value))]
        numbers = [n for value in values for n in ([value] if isinstance(value, int) else varints(value))]
        return [n - (1 << 64) if n >> 63 else n for n in numbers]
    return []


def _floats(data: bytes) -> tuple[float, ...]:
    if len(data) % 4:
        raise ValueError("a list of floats ends inside one")
    return struct.unpack(f"<{len(data) // 4}f", data)
