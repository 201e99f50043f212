"""Complete files, and files that are still being written by an imager or a copy."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.whole import missing_end

NOISE = Image.effect_noise((96, 64), 80).convert("RGB")
KINDS = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "tiff": ("TIFF", {}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff jpeg": ("TIFF", {"compression": "jpeg"}),
}


def saved(kind: str) -> bytes:
    name, options = KINDS[kind]
    stream = io.BytesIO()
    NOISE.save(stream, name, **options)
    return stream.getvalue()


def is_whole(data: bytes) -> bool:
    return missing_end(io.BytesIO(data)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_complete_with_its_last_byte_and_not_before(kind: str) -> None:
    data = saved(kind)
    assert is_whole(data)
    assert [n for n in range(8, len(data), 7) if is_whole(data[:n])] == []
    assert missing_end(io.BytesIO(b"")) == "the file is empty"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [bytes(64), b"what a camera writes behind its picture", bytes(range(256)) * 40])
def test_data_after_the_end_are_allowed(kind: str, after: bytes) -> None:
    assert is_whole(saved(kind) + after)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_copy_padded_with_zeros_is_incomplete(kind: str) -> None:
    data = saved(kind)
    if not kind.startswith("tiff"):  # where it cannot be detected
        assert not is_whole(data[: len(data) // 2].ljust(len(data), b"\0"))


def test_the_end_marker_of_a_thumbnail_does_not_count() -> None:
    """An APP1 segment contains a whole JPEG, as from cameras, and the file breaks off 500 bytes after it."""
    picture, thumbnail = saved("jpeg"), saved("jpeg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = picture[:2] + segment + picture[2:]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(picture))))
    assert is_whole(data)
    assert missing_end(io.BytesIO(data[: 2 + len(segment) + 500])) == "the JPEG's end marker is missing"


def test_other_formats_are_taken_for_complete() -> None:
    assert is_whole(b"GIF89a and so on")
