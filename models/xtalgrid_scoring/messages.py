"""Messages between a `pool` and its scoring processes: length-prefixed msgpack over two pipes.

A process first sends `READY`. Then it sends a reply for each `Job`, one at a time.
"""

from __future__ import annotations

import struct
from typing import IO, Literal

import msgspec

from xtalgrid_core import wire

READY = b"\0xtalgrid scoring process\n"
"""Sent once when a process is ready. Anything before it was printed while Python started, and is ignored."""

MAX_REPLY_BYTES = 16 * 1024 * 1024
"""A score takes 10 kB; four class maps take 60 kB, and 4 MB if they are noise."""

_LENGTH = struct.Struct("<Q")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One image to score, or to draw class maps of, as bytes or as a path (from `os.fsencode`)."""

    want: Literal["score", "maps"]
    number: int
    image: bytes | None
    path: bytes | None
    options: wire.Options
    pixel_size_um: float | None
    folders: tuple[bytes, ...]
    threads: int


class Maps(msgspec.Struct, frozen=True, tag_field="status", tag="maps"):
    """Class maps as PNG files, by group."""

    pictures: dict[str, bytes]


class Refused(msgspec.Struct, frozen=True, tag_field="status", tag="refused"):
    """An error not caused by the image, such as missing weights: its class in `xtalgrid_core.errors`, its message."""

    error: str
    message: str


Reply = Maps | Refused | wire.Answer

_encoder = msgspec.msgpack.Encoder()
_jobs = msgspec.msgpack.Decoder(Job)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def send(stream: IO[bytes], message: Job | Reply) -> None:
    """Write a message; raises `OSError` if the other side has exited."""
    data = _encoder.encode(message)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive_job(stream: IO[bytes]) -> Job:
    """Read a job; for errors see `receive_reply`."""
    return _jobs.decode(_receive(stream, 2 * wire.MAX_IMAGE_BYTES))


def receive_reply(stream: IO[bytes]) -> Reply:
    """Read a reply.

    Raises
    ------
    EOFError
        If the other side has exited.
    ValueError
        If it has more than `MAX_REPLY_BYTES`, or is invalid.
    """
    return _replies.decode(_receive(stream, MAX_REPLY_BYTES))


def _receive(stream: IO[bytes], limit: int) -> bytes:
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    if length > limit:
        raise ValueError(f"a message of {length:,} bytes; at most {limit:,} are read")
    return _read_exactly(stream, length)


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has exited")
    return data
