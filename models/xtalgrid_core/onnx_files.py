"""ONNX files without running them: whether one is all there is, or names other files on the disk; and notes in one."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import BrokenModel

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Where tensors can be, by the numbers of the fields in onnx.proto."""

_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_VARINT, _LENGTH = 0, 2
_NOTES, _KEY, _VALUE = 14, 1, 2
"""Numbers of ``metadata_props`` in a model, and of key and value in each."""
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10
_DEEPEST = 100
"""Messages inside one another, as Protocol Buffers allow."""


def check_self_contained(data: bytes, name: str) -> None:
    """Check that a network has all its weights in its own file.

    Parameters
    ----------
    data
        An ONNX file.
    name
        Used in the message.

    Raises
    ------
    BrokenModel
        If weights lie in another file, wherever that is, or this is not an ONNX file.
    """
    foreign = f"{name} cannot be loaded: it is not an ONNX file; export it again"
    under_way = [("model", _fields(memoryview(data)))]
    while under_way:
        kind, fields = under_way[-1]
        try:
            number, value = next(fields, (0, 0))
        except (IndexError, ValueError) as error:
            raise BrokenModel(foreign) from error
        if not number:
            under_way.pop()
        elif kind == "tensor" and (number == _EXTERNAL_DATA or (number, value) == (_DATA_LOCATION, _EXTERNAL)):
            raise BrokenModel(
                f"{name} keeps weights in another file (ONNX external data), which is never read; "
                "export it again as one file"
            )
        elif isinstance(value, memoryview) and (part := _PARTS[kind].get(number)):
            under_way.append((part, _fields(value)))
        if len(under_way) > _DEEPEST:
            raise BrokenModel(foreign)


def with_note(data: bytes, key: str, text: str) -> bytes:
    """Return an ONNX file with a note in its metadata, in place of an earlier one of this key.

    The network stays the same, but the file has another SHA-256.

    Raises
    ------
    ValueError
        If this is not an ONNX file.
    """
    whole, kept, start = memoryview(data), [], 0
    for number, value, end in _fields_with_ends(whole):
        is_old = (
            number == _NOTES
            and isinstance(value, memoryview)
            and (_KEY, key.encode()) in [(part, bytes(v)) for part, v in _fields(value) if isinstance(v, memoryview)]
        )
        if not is_old:
            kept.append(bytes(whole[start:end]))
        start = end
    note = _field(_KEY, key.encode()) + _field(_VALUE, text.encode())
    return b"".join(kept) + _field(_NOTES, note)


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of variable length."""
    encoded, size = bytearray([number << 3 | _LENGTH]), len(content)
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded) + content


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message of Protocol Buffers."""
    for number, value, _ in _fields_with_ends(message):
        yield number, value


def _fields_with_ends(message: memoryview) -> Iterator[tuple[int, int | memoryview, int]]:
    """Yield number and value of each field, and the position behind it."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if not number:
            raise ValueError("field 0")
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value, at
            continue
        if wire_type == _LENGTH:
            size, at = _varint(message, at)
        elif wire_type in _FIXED:
            size = _FIXED[wire_type]
        else:
            raise ValueError(f"wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("a field beyond the end")
        yield number, message[at : at + size], at + size
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the position behind it."""
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = message[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number that is too long")
