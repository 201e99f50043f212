"""Read a tensor bundle, the format in which TensorFlow saves variables.

``variables.index`` gives the position of each array in ``variables.data-00000-of-00001``.

The index is a LevelDB table (``doc/table_format.md`` there): sorted names, each of which can share its beginning with
the previous one, in blocks that may be compressed with Snappy (``format_description.txt`` there). Its values are
messages of ``core/protobuf/tensor_bundle.proto``. Names, blocks and arrays have checksums, and all are checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import BrokenModel

from .messages import fields, masked_crc, message, varint

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER = 48
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?"}
"""Those of ``core/framework/types.proto`` that networks use."""


@dataclass(slots=True)
class _Entry:
    """``BundleEntryProto``: the position of an array."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    is_sliced: bool = False


def read_bundle(index: bytes, data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of a bundle by name.

    Parameters
    ----------
    index, data
        Contents of its two files.

    Raises
    ------
    BrokenModel
        If a byte is damaged, or the bundle has unsupported content: several data files, slices, strings, big-endian
        numbers.
    """
    try:
        pairs = list(_table(index))
    except ValueError as error:
        raise BrokenModel(f"the variables' index is damaged ({error}); get the file again") from error
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for key, value in pairs:
        if not key:  # BundleHeaderProto
            header = {number: setting for number, setting in fields(value, {1, 2}) if setting}
            if header != {1: 1}:
                raise BrokenModel("the variables are in several files, or are big-endian; neither is supported")
            continue
        name, entry = key.decode(), _entry(value)
        if entry.dtype not in _TYPES or entry.is_sliced or entry.shard:
            raise BrokenModel(f"variable {name}: this kind is not supported (type {entry.dtype}, or saved in slices)")
        stored = data[entry.offset : entry.offset + entry.size]
        dtype = np.dtype(_TYPES[entry.dtype])
        if len(stored) != np.prod(entry.shape, dtype=int) * dtype.itemsize or masked_crc(stored) != entry.crc:
            raise BrokenModel(f"variable {name}: its bytes differ from their checksum; get the file again")
        arrays[name] = np.frombuffer(stored, dtype).reshape(entry.shape)
    return arrays


def _entry(value: bytes) -> _Entry:
    entry = _Entry()
    for number, content in fields(value, {1, 2, 3, 4, 5, 6, 7}):
        if number == 2:  # TensorShapeProto: a message for each axis, empty if its length is 0
            axes = [dict(fields(message(axis), {1})) for _, axis in fields(message(content), {2})]
            entry.shape = [int(axis.get(1, 0)) for axis in axes]
        elif number == 6:
            (entry.crc,) = struct.unpack("<I", message(content))
        else:
            setattr(entry, {1: "dtype", 3: "shard", 4: "offset", 5: "size", 7: "is_sliced"}[number], content)
    return entry


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each entry of a table, in order."""
    if len(data) < _FOOTER or not data.endswith(_MAGIC):
        raise ValueError("it is not a LevelDB table, or is cut off")
    footer = data[-_FOOTER:]
    filters, at = _handle(footer, 0)
    blocks, _ = _handle(footer, at)
    for _ in _block(data, *filters):
        raise ValueError("it has filters, which TensorFlow never writes")
    for _, handle in _block(data, *blocks):
        place, _ = _handle(handle, 0)
        yield from _block(data, *place)


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's (offset, size), and the position after the handle."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    stored, tail = data[offset : offset + size + 1], data[offset + size + 1 : offset + size + 5]
    if len(tail) < 4 or masked_crc(stored) != struct.unpack("<I", tail)[0]:
        raise ValueError(f"the block at byte {offset} differs from its checksum")
    block = unsnappy(stored[:-1]) if stored[-1] else stored[:-1]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def unsnappy(data: bytes) -> bytes:
    """Decompress Snappy: literals, and copies of earlier output.

    Raises
    ------
    ValueError
        If a copy starts before the beginning of the output, or the length differs from the one given.
    """
    length, at = varint(data, 0)
    output = bytearray()
    while at < len(data):
        tag, kind = data[at] >> 2, data[at] & 3
        at += 1
        if kind == 0:  # a literal; its length minus one is in the tag, or in the 1 to 4 bytes after it
            extra = max(tag - 59, 0)
            count = (int.from_bytes(data[at : at + extra], "little") if extra else tag) + 1
            at += extra
            output += data[at : at + count]
            at += count
            continue
        count, extra = ((tag & 7) + 4, 1) if kind == 1 else (tag + 1, 2 * kind - 2)
        back = int.from_bytes(data[at : at + extra], "little") + ((tag >> 3) << 8 if kind == 1 else 0)
        at += extra
        if not 0 < back <= len(output):
            raise ValueError("a copy reaches before the block's beginning")
        for _ in range(count):  # byte by byte, because a copy may overlap its own output
            output.append(output[-back])
    if len(output) != length:
        raise ValueError(f"a block has {len(output)} bytes instead of {length}")
    return bytes(output)
