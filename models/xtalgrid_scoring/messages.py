"""What a `pool` and its scoring processes say to each other: msgpack on two pipes, each message with its length before it.

A process says `MARK` once; then it answers each `Job`, one at a time.
"""

from __future__ import annotations

import struct
from typing import IO, Literal

import msgspec

from xtalgrid_core import wire

MARK = b"\0xtalgrid scoring process\n"
"""A process is ready. What comes before was printed while Python started, and is passed over."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A score has 10 kB; four class maps have 60, and 4 MB where they are noise."""

_LENGTH = struct.Struct("<Q")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One image to score or to draw the class maps of, by its bytes or by its file's name (as `os.fsencode` makes it)."""

    want: Literal["score", "maps"]
    number: int
    image: bytes | None
    path: bytes | None
    options: wire.Options
    pixel_size_um: float | None
    folders: tuple[bytes, ...]
    threads: int


class Maps(msgspec.Struct, frozen=True, tag_field="status", tag="maps"):
    """PNG files by group."""

    pictures: dict[str, bytes]


class Refused(msgspec.Struct, frozen=True, tag_field="status", tag="refused"):
    """An error that is not the image's, of the weights say: its class in `xtalgrid_core.errors`, and its message."""

    error: str
    message: str


Answer = Maps | Refused | wire.Scored | wire.Failed

_encoder = msgspec.msgpack.Encoder()
_jobs = msgspec.msgpack.Decoder(Job)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def send(stream: IO[bytes], message: Job | Answer) -> None:
    """Write a message; `OSError` when the other side is gone."""
    data = _encoder.encode(message)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive_job(stream: IO[bytes]) -> Job:
    """Read a job; see `receive_answer`."""
    return _jobs.decode(_receive(stream, 2 * wire.MAX_IMAGE_BYTES))


def receive_answer(stream: IO[bytes]) -> Answer:
    """Read an answer.

    Raises
    ------
    EOFError
        When the other side is gone.
    ValueError
        When it has more than `MAX_ANSWER_BYTES`, or is none.
    """
    return _answers.decode(_receive(stream, MAX_ANSWER_BYTES))


def _receive(stream: IO[bytes], most: int) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > most:
        raise ValueError(f"a message of {length:,} bytes; at most {most:,} are read")
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side is gone")
    return data
