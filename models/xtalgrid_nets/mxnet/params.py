"""Read MXNet's ``.params``: named arrays, as ``mx.nd.save`` writes them.

The format is little endian: u64 0x112, u64 0, u64 number of arrays; for each array u32 version, i32 storage type, i32
number of axes, i64 length of each axis, i32 device type, i32 device number, i32 number type, and the values in C
order; then u64 number of names, and for each u64 length and UTF-8.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xtalgrid_core.errors import BrokenModel

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_MOST_AXES = 32


class _Bytes:
    """Read values from a buffer; report where it ends too soon."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.place = path, path.read_bytes(), 0

    def values(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def take(self, length: int) -> bytes:
        if length < 0 or self.place + length > len(self.data):
            raise BrokenModel(f"{self.path}: ends too early, at byte {self.place}; copy it again")
        self.place += length
        return self.data[self.place - length : self.place]


def read_params(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read the arrays of a ``.params`` file by name; prefixes ``arg:`` and ``aux:`` are kept.

    Raises
    ------
    BrokenModel
        If the file is damaged, is not a ``.params`` file, or holds unsupported arrays (sparse, or older than MXNet
        0.12).
    OSError
        If it can't be read.
    """
    stream = _Bytes(path)
    if len(stream.data) < 24 or stream.values("QQ") != (_LIST_MAGIC, 0):
        raise BrokenModel(
            f"{path}: not a .params file of MXNet; give a PREFIX-0000.params written by export or save_checkpoint"
        )
    (count,) = stream.values("Q")
    if count > len(stream.data):
        raise BrokenModel(f"{path}: claims {count:,} arrays, more than it has bytes; it is damaged: copy it again")
    arrays = [_array(stream) for _ in range(count)]
    (names,) = stream.values("Q")
    if names != count:
        raise BrokenModel(f"{path}: {count} arrays but {names} names; it is damaged, or was saved without names")
    by_name: dict[str, npt.NDArray[np.generic]] = {}
    for array in arrays:
        (length,) = stream.values("Q")
        try:
            by_name[stream.take(length).decode()] = array
        except UnicodeDecodeError as error:
            raise BrokenModel(
                f"{path}: a name before byte {stream.place} is not text; the file is damaged: copy it again"
            ) from error
    return by_name


def _array(stream: _Bytes) -> npt.NDArray[np.generic]:
    begin = stream.place
    (version,) = stream.values("I")
    if version not in (_V1, _V2, _V3):
        raise BrokenModel(
            f"{stream.path}: an array of unknown form at byte {begin} (damaged, or older than MXNet 0.12); "
            "load and save it with MXNet 1.9"
        )
    if version != _V1 and stream.values("i") != (_DENSE,):
        raise BrokenModel(f"{stream.path}: a sparse array at byte {begin}; networks have none")
    (axes,) = stream.values("i")
    if not 0 <= axes <= _MOST_AXES:
        raise BrokenModel(f"{stream.path}: an array of {axes} axes at byte {begin}; it is damaged: copy it again")
    shape = stream.values(f"{axes}q")
    if axes == 0 and version != _V3:
        return np.empty(0, np.float32)  # an array without a shape has no further fields
    _, _, kind = stream.values("iii")
    if kind not in _TYPES or any(side < 0 for side in shape):
        raise BrokenModel(f"{stream.path}: an array of shape {shape} and type {kind} at byte {begin}; it is damaged")
    dtype = np.dtype(_TYPES[kind])
    size = dtype.itemsize
    for side in shape:
        size *= side
    return np.frombuffer(stream.take(size), dtype).reshape(shape)
