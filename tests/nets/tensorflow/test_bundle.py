"""TensorFlow's own bytes, read without it. ``tiny.npz`` is from TensorFlow 2.21 (models/legacy-tensorflow/with_tensorflow.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("google_crc32c", reason="training needs the extra [train]")

from xtalgrid_core.errors import BrokenModel
from xtalgrid_nets.tensorflow.bundle import read_bundle, unsnappy

TINY = dict(np.load(Path(__file__).parent / "data" / "tiny.npz"))
INDEX = TINY["variables.index"].tobytes()
DATA = TINY["variables.data-00000-of-00001"].tobytes()


def test_the_variables_are_those_that_tensorflow_had() -> None:
    read = read_bundle(INDEX, DATA)
    assert len(read) == 19
    assert sorted(f"variable {name}" for name in read) == sorted(name for name in TINY if name.startswith("variable "))
    for name, array in read.items():
        expected = TINY[f"variable {name}"]
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)
    assert read["global_step"] == 1 << 40


@pytest.mark.parametrize("file", ["index", "data"])
def test_no_damage_goes_unnoticed(file: str) -> None:
    """A byte that differs, wherever it lies, or one that is missing."""
    whole = INDEX if file == "index" else DATA
    wrong = [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(len(whole))]
    wrong += [whole[:at] for at in range(0, len(whole), 7)]
    padding = range(len(INDEX) - 48, len(INDEX) - 8)  # of the footer: four numbers, and zeros up to its length
    for at, damaged in enumerate(wrong):
        try:
            read = read_bundle(damaged, DATA) if file == "index" else read_bundle(INDEX, damaged)
        except BrokenModel:
            continue
        assert file == "index" and at in padding, f"byte {at}"
        assert len(read) == 19


@pytest.mark.parametrize(
    ("packed", "plain"),
    [  # packed by Google's format as cramjam 2.11 writes it
        ("00", b""),
        ("500c61626364fe04002e0400", b"abcd" * 20),
        ("a801646162636465666768696a6b6c6d6e6f707172737475767778797ace1a0024496e63657074696f6e2ffe0a003e0a00",
         bytes(range(97, 123)) * 3 + b"Inception/" * 9),
        ("47f046" + bytes(range(71)).hex(), bytes(range(71))),
        # written by hand: copies with 4 and 2 bytes of offset, and with 11 bits of which the highest counts
        ("08" "0c61626364" "0f04000000", b"abcdabcd"),
        ("08" "0c61626364" "0e0400", b"abcdabcd"),
    ],
)  # fmt: skip
def test_snappy(packed: str, plain: bytes) -> None:
    assert unsnappy(bytes.fromhex(packed)) == plain


def test_a_long_way_back_in_snappy() -> None:
    """300 bytes back: more than one byte of offset holds."""
    plain = bytes(range(256)) + bytes(44)
    packed = b"\xb0\x02" + b"\xf4\x2b\x01" + plain + b"\x21\x2c"
    assert unsnappy(packed) == plain + plain[:4]


@pytest.mark.parametrize("packed", ["080c616263640e0500", "090c616263640e0400", "080c616263640e0000"])
def test_a_block_that_snappy_never_wrote(packed: str) -> None:
    with pytest.raises(ValueError, match="block"):
        unsnappy(bytes.fromhex(packed))
