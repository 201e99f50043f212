"""RecordIO packs: MXNet's own bytes, damaged files, and chop sets there and back."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.outcomes import CLASSES, PRIORITY, Outcome
from xtalgrid_nets.cli.recordio import recordio
from xtalgrid_nets.mxnet.recordio import (
    MAGIC,
    ImageRecord,
    PackWriter,
    RecordError,
    pack_image,
    read_index,
    read_list,
    read_record,
    read_records,
    record_bytes,
    unpack_image,
)
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.writing import ChopSetWriter

DATA = Path(__file__).parent / "data"
MARK = struct.pack("<I", MAGIC)
PAYLOADS = [b"", b"abc", MARK * 2 + b"x", b"abcd" + MARK + b"efg", b"ab" + MARK]
"""The first records of ``tiny.rec``, which MXNet 1.9.1 wrote (models/legacy-mxnet/with_mxnet.py)."""


def test_mxnets_pack_is_read_and_would_be_written_the_same() -> None:
    records = list(read_records(DATA / "tiny.rec"))
    assert records[:5] == PAYLOADS
    images = [unpack_image(payload) for payload in records[5:]]
    assert [(image.number, image.labels.tolist(), image.image) for image in images] == [
        (5, [1.0, 2.5, -3.0], b"picture"),
        (6, [7.0], b"another"),
    ]
    assert [pack_image(image) for image in images] == records[5:]
    assert b"".join(map(record_bytes, records)) == (DATA / "tiny.rec").read_bytes()
    index = read_index(DATA / "tiny.idx")
    assert [read_record(DATA / "tiny.rec", index[number]) for number in range(7)] == records


@given(st.lists(st.lists(st.sampled_from([MARK, b"a", b"bc", b"defg"]), max_size=8).map(b"".join), max_size=4))
def test_any_payload_comes_back(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("pack") / "p.rec"
    path.write_bytes(b"".join(map(record_bytes, payloads)))
    assert list(read_records(path)) == payloads


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-3], "ends earlier"),
        (lambda b: b[:60], "ends"),
        (lambda b: b[:13], "ends inside a record, at byte 8"),
        (lambda b: b"JFIF" + b[4:], "no record at byte 0; the file is damaged or not RecordIO"),
        (lambda b: b[:4] + struct.pack("<I", 2 << 29) + b[8:], "out of order"),
        (lambda b: b[:4] + struct.pack("<I", 7 << 29) + b[8:], "out of order"),
        (lambda b: b[:12] + struct.pack("<I", (1 << 29) - 1) + b[16:], "536,870,911 bytes, but the file ends earlier"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "p.rec"
    path.write_bytes(damage((DATA / "tiny.rec").read_bytes()))
    with pytest.raises(RecordError, match=rf"p\.rec: .*{message}"):
        list(read_records(path))


def test_an_images_head_that_promises_too_much_is_refused() -> None:
    with pytest.raises(RecordError, match="claims 1,000,000 labels, more than it has bytes for"):
        unpack_image(struct.pack("<IfQQ", 1_000_000, 0, 0, 0))
    with pytest.raises(RecordError, match="3 bytes are not an image of im2rec"):
        unpack_image(b"abc")


def test_a_pack_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PackWriter(tmp_path / "p") as writer:
        writer.add(ImageRecord(0, np.zeros(1, np.float32), b"x"), "a.png")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["0\tx\n", "0\n", "0\t1\t2\n"])
def test_a_bad_index_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.idx").write_text("1\t2\n" + text)
    with pytest.raises(RecordError, match=r"p\.idx, line 2: not a number, a tab and a number"):
        read_index(tmp_path / "p.idx")


@pytest.fixture
def chops(tmp_path: Path) -> Path:
    """A set of two plates with three wells and five chops."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    with ChopSetWriter(folder, "test", {}) as writer:
        for plate, image, n in (("P1", "a.jpg", 2), ("P1", "b.jpg", 1), ("P2", "c.jpg", 2)):
            pixels = rng.integers(0, 256, (n, 256, 256, 3), dtype=np.uint8)
            labels = np.arange(n, dtype=np.uint8) + 3
            writer.add(plate=plate, source="lab", image=image, outcome="precipitate", chops=(pixels, labels))
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(recordio, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_a_set_comes_back_from_a_pack_with_every_bit_and_every_well(chops: Path, tmp_path: Path) -> None:
    assert "5 chops" in run("pack", chops, tmp_path / "pack")
    assert "5 chops" in run("unpack", tmp_path / "pack.rec", tmp_path / "again")
    before, after = ChopSet(chops), ChopSet(tmp_path / "again")
    assert after.table == before.table
    assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.wells, before.wells)
    assert np.array_equal(after.take(range(5)), before.take(range(5)))
    assert list(read_list(tmp_path / "pack.lst").values())[:2] == ["000000/00000000.png", "000000/00000001.png"]


def test_training_and_held_out_make_the_whole(chops: Path, tmp_path: Path) -> None:
    training, held = ChopSet(chops).split()
    for part, expected in (("training", training), ("held-out", held)):
        output = run("pack", chops, tmp_path / part, "--part", part)
        if len(expected):
            found = [unpack_image(p).number for p in read_records(tmp_path / f"{part}.rec")]
            assert found == list(expected)
        else:
            assert f"has no chops that are {part}; nothing was written" in output


def foreign(tmp_path: Path, chops: Path) -> Path:
    """A pack as a lab has it: its own class numbers, paths and one broken image; no table of wells."""
    run("pack", chops, tmp_path / "own", "--jpeg", 95)
    records = [unpack_image(payload) for payload in read_records(tmp_path / "own.rec")]
    records[4] = records[4]._replace(image=records[4].image[:2000])
    with PackWriter(tmp_path / "lab") as writer:
        for number, (record, label) in enumerate(zip(records, (0, 1, 2, 0, 1), strict=True)):
            labels = np.array([label], np.float32)
            writer.add(record._replace(number=number, labels=labels), f"x/BARCODE{number // 2}_A01_{number}.jpg")
    return tmp_path / "lab.rec"


def test_a_labs_own_pack_becomes_a_set_split_by_plate(chops: Path, tmp_path: Path) -> None:
    pack = foreign(tmp_path, chops)
    names = "crystals harvestable,clear,rim"
    wells = r"(?P<plate>BARCODE\d)_(?P<well>[A-H]\d\d)"
    output = run("unpack", pack, tmp_path / "lab", "--classes", names, "--wells", wells)
    assert "4 chops" in output
    assert "1 images left out" in output
    made = ChopSet(tmp_path / "lab")
    assert [row.plate for row in made.table] == ["BARCODE0", "BARCODE1"]
    crystal, clear, rim = (PRIORITY[o] for o in (Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.RIM))
    assert made.labels.tolist() == [crystal, clear, rim, crystal]
    assert made.wells.tolist() == [0, 0, 1, 1]
    assert "truncated" in str(made.records[0]["failed"])


def test_groups_are_taken_as_groups(chops: Path, tmp_path: Path) -> None:
    output = run("unpack", foreign(tmp_path, chops), tmp_path / "lab", "--classes", "crystal,precipitate,clear")
    assert "Each chop counts as its own plate" in output
    assert [row.outcome for row in ChopSet(tmp_path / "lab").table][:3] == [
        "any crystal",
        "any precipitate",
        "any clear",
    ]


def test_questions_that_only_the_user_can_answer_are_asked(chops: Path, tmp_path: Path) -> None:
    pack = foreign(tmp_path, chops)
    assert "the meaning of its labels is unknown; name them in order with --classes" in run(
        "unpack", pack, tmp_path / "lab"
    )
    names = ",".join(CLASSES)
    assert "does not match the path" in run(
        "unpack", pack, tmp_path / "lab", "--classes", names, "--wells", "(?P<plate>Q)"
    )
    assert "needs a group (?P<plate>" in run("unpack", pack, tmp_path / "lab", "--classes", names, "--wells", "A")
    assert "not a regular expression" in run("unpack", pack, tmp_path / "lab", "--wells", "(")
    assert "unknown outcome 'cristal'" in run("unpack", pack, tmp_path / "lab", "--classes", "cristal")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1.5, 3.0])
def test_a_label_of_no_class_costs_its_image_alone(chops: Path, tmp_path: Path, number: float) -> None:
    pack = foreign(tmp_path, chops)
    records = [unpack_image(payload) for payload in read_records(pack)]
    with PackWriter(tmp_path / "lab") as writer:
        for record in records:
            label = number if record.number == 0 else record.labels[0]
            writer.add(record._replace(labels=np.array([label], np.float32)), f"{record.number}.jpg")
    output = run("unpack", pack, tmp_path / "made", "--classes", "crystals harvestable,clear,rim")
    assert "3 chops" in output
    assert "is not one of the classes" in output
