"""MARCO's shards, written here byte by byte from the formats' descriptions, with a CRC of our own."""

from __future__ import annotations

import csv
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_nets.cli import sets as commands
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.tfrecord import masked_crc, parse_example, read_records


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    low, value = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(value) if value else bytes([low])


def message(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def feature(name: str, value: bytes | int) -> bytes:
    """An entry of the map: key 1, value 2; the value is a Feature with a BytesList (1) or an Int64List (3)."""
    inner = message(1, message(1, value)) if isinstance(value, bytes) else message(3, message(1, varint(value % 2**64)))
    return message(1, message(1, name.encode()) + message(2, inner))


def example(**values: bytes | int) -> bytes:
    return message(1, b"".join(feature("image/" + name.replace("__", "/"), v) for name, v in values.items()))


def jpeg(grey: int) -> bytes:
    picture = Image.new("RGB", (320, 240), (220, 220, 220))
    picture.paste((grey, grey, grey), (100, 60, 220, 180))
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    return stream.getvalue()


def well(grey: int, text: str, number: int) -> bytes:
    return example(
        encoded=jpeg(grey), class__text=text.encode(), class__label=2, class__source=number, filename=b"a_1.jpeg"
    )


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the CRC-32C check value
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert struct.pack("<I", masked_crc(b"123456789")) == masked(b"123456789")


def test_an_example_s_features() -> None:
    packed = message(
        1, message(1, b"numbers") + message(2, message(3, message(1, varint(7) + varint(300) + varint(2**64 - 1))))
    )
    singly = message(1, message(1, b"single") + message(2, message(3, b"\x08\x05\x08\x06")))
    floats = message(1, message(1, b"floats") + message(2, message(2, message(1, struct.pack("<2f", 0.5, -2)))))
    unknown = b"\x4d\x00\x00\x00\x00"  # field 9, 32 bits: a later version's
    found = parse_example(message(1, packed + singly + floats) + unknown)
    assert found == {"numbers": [7, 300, -1], "single": [5, 6], "floats": [0.5, -2.0]}
    assert parse_example(example(encoded=b"x" * 300)) == {"image/encoded": [b"x" * 300]}


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\xff" * 20, b"\x0b", b"\x08\x01"])
def test_what_is_no_example_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_example(data)


def test_damaged_data_costs_one_record_and_a_damaged_length_the_rest(tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001"
    one, two, three = record(b"one"), record(b"two"), record(b"three")
    shard.write_bytes(one + two.replace(b"two", b"twO") + three)
    assert [(r.data, r.error[:8]) for r in read_records(shard)] == [(b"one", ""), (b"", "the data"), (b"three", "")]
    shard.write_bytes(one + b"\x09" + two[1:] + three)
    last = list(read_records(shard))[-1]
    assert (last.number, "rest of the shard is lost" in last.error) == (1, True)
    shard.write_bytes(one + two[:-6])
    assert "ends inside a record" in list(read_records(shard))[-1].error
    shard.write_bytes(jpeg(50))
    assert "not a TFRecord file" in next(read_records(shard)).error


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "train-00000", tmp_path / "train-00001"
    first.write_bytes(record(well(20, "Crystals", 1)) + record(well(20, "Crystals", 1)) + record(well(60, "Clear", 2)))
    broken = record(b"no example").replace(b"no", b"No")
    not_jpeg = record(example(encoded=b"GIF89a", class__text=b"Clear"))
    second.write_bytes(broken + not_jpeg + record(well(90, "Precipitate", 3)) + record(well(95, "Unlabelled", 3)))
    return [first, second]


def test_whole_wells_of_shards(shards: list[Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(commands.marco, [*map(str, shards), str(tmp_path / "set"), "--whole"])
    assert result.exit_code == 1  # something failed, and is named
    assert "train-00001#0: the data differs" in result.output
    assert "train-00001#1: not an image" in result.output
    assert "1  second copies of an image" in result.output
    assert "1  unknown outcome 'Unlabelled'" in result.output
    made = ChopSet(tmp_path / "set")
    assert [row.outcome for row in made.table] == ["any crystal", "any clear", "any precipitate"]
    assert [row.source for row in made.table] == ["marco 1", "marco 2", "marco 3"]
    assert made.group_only(made.wells).all()
    assert len({row.plate for row in made.table}) == 3
    centre = made.take(range(3))[:, 128, 128, 0]
    assert np.all(np.diff(centre.astype(int)) > 20)


def test_unpacked_wells_are_the_files_themselves_with_a_table(shards: list[Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(commands.marco, [str(shards[0]), str(tmp_path / "wells"), "--unpack"])
    assert result.exit_code == 0, result.output
    with (tmp_path / "wells" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["any crystal", "any crystal", "any clear"]
    assert (tmp_path / "wells" / rows[2]["image"]).read_bytes() == jpeg(60)
    again = CliRunner().invoke(commands.marco, [str(shards[0]), str(tmp_path / "wells"), "--unpack"])
    assert "already exists" in again.output
