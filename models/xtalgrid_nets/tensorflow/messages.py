"""Decode TensorFlow's files: protocol buffers, and its own variant of checksums.

The encoding is described in *Protocol Buffers: Encoding* (protobuf.dev); the numbers of the fields are in
TensorFlow's ``.proto`` files.
"""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C, rotated right by 15 bits plus a constant: a plain CRC of data with CRCs in it is weak."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data: bytes, wanted: set[int]) -> Iterator[tuple[int, bytes | int]]:
    """Yield (number, value) of a message's wanted fields: varints as int, everything else as bytes.

    Raises
    ------
    ValueError
        If the data is not a message; the functions below raise it too.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: bytes | int
        if wire == 0:
            value, at = varint(data, at)
        elif wire in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("a field reaches over the end of its message")
        else:
            raise ValueError(f"there is no wire type {wire}")
        if number in wanted:
            yield number, value


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint (7 bits per byte) at a position, and the position after it."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError("a number does not end")


def varints(data: bytes) -> list[int]:
    """Return the numbers of a packed list."""
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def message(value: bytes | int) -> bytes:
    """Return the value of a field that must be bytes: a message, a string, a packed list."""
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value
