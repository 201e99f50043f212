"""Training sets on disk: written well by well, gone on with after a kill, read back and split by plate."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_nets.sets.format import JOURNAL, SetError, held_out
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.writing import ChopSetWriter

HELD, SEEN = "P5", "P1"


def chops(n: int, grey: int) -> np.ndarray:
    return np.full((n, 256, 256, 3), grey, np.uint8)


def add(writer: ChopSetWriter, image: str, plate: str, grey: int, n: int = 2, outcome: str = "clear") -> None:
    pair = chops(n, grey), np.arange(n, dtype=np.uint8)
    writer.add(plate=plate, source="here", image=image, outcome=outcome, sha256=f"hash of {grey}", chops=pair)


def test_the_split_is_by_plate_and_the_same_everywhere() -> None:
    # The last decimal digits of their SHA-256, by sha256sum and long division: 3, 6, 9.
    assert [held_out(plate) for plate in ("CI022987", "P1", "P5")] == [False, False, True]
    assert 60 < sum(held_out(f"plate {n}") for n in range(1000)) < 140


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with ChopSetWriter(one, "test", {"by": one}) as writer:
        add(writer, "a.jpg", SEEN, 10)
        add(writer, "b.jpg", HELD, 20, outcome="any crystal")
    with ChopSetWriter(two, "test", {}) as writer:
        add(writer, "c.jpg", SEEN, 30, n=1)
        mask = np.zeros((1, 256, 256), np.uint8)
        mask[0, 100:] = 255
        writer.add(plate=HELD, source="x", image="d.jpg", outcome="", views=(chops(1, 40), mask))
    both = ChopSet([one, two])
    assert both.labels.tolist() == [0, 1, 0, 1, 0]
    assert [both.table[well].image for well in both.wells] == ["a.jpg", "a.jpg", "b.jpg", "b.jpg", "c.jpg"]
    assert both.take([4, 0, 3])[:, 5, 5, 0].tolist() == [30, 10, 20]
    assert both.group_only(both.wells).tolist() == [False, False, True, True, False]
    train, held = both.split()
    assert train.tolist() == [0, 1, 4]
    assert held.tolist() == [2, 3]
    assert both.split(both.view_wells)[1].tolist() == [0]
    views, masks = both.take_views([0])
    assert views[0, 0, 0, 0] == 40
    assert np.array_equal(masks, mask)
    both.verify()


@pytest.mark.parametrize("damage", [b"", b'{"well": ["P1", "here", "b'])
def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, damage: bytes) -> None:
    """Killed while a well was being written: its pixels are on disk in part, the journal's last line is too."""
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt), ChopSetWriter(folder, "test", {"n": 1}) as writer:
        add(writer, "a.jpg", SEEN, 10)
        writer.fail("broken.jpg", "not an image")
        raise KeyboardInterrupt
    with (folder / "chops.npy").open("ab") as stream:
        stream.write(b"half a chop")
    with (folder / JOURNAL).open("ab") as stream:
        stream.write(damage)
    with pytest.raises(SetError, match="interrupted; run it again"):
        ChopSet(folder)
    with pytest.raises(SetError, match="other arguments"), ChopSetWriter(folder, "test", {"n": 2}):
        pass
    with ChopSetWriter(folder, "test", {"n": 1}) as writer:
        assert writer.done == {"a.jpg", "broken.jpg"}
        twin = writer.twin_of("hash of 10")
        assert twin is not None
        assert twin.image == "a.jpg"
        add(writer, "b.jpg", SEEN, 20)
    whole = ChopSet(folder)
    assert whole.take(range(4))[:, 0, 0, 0].tolist() == [10, 10, 20, 20]
    record = json.loads((folder / "dataset.json").read_text())
    assert record["failed"] == [{"image": "broken.jpg", "reason": "not an image"}]
    assert record["counts"]["chops"] == 4
    assert not (folder / JOURNAL).exists()
    with pytest.raises(SetError, match="holds a finished training set"):
        ChopSetWriter(folder, "test", {"n": 1})


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    with ChopSetWriter(tmp_path / "set", "test", {}) as writer:
        add(writer, "a.jpg", SEEN, 10)
    with (tmp_path / "set" / "chops.npy").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\x0b")
    with pytest.raises(SetError, match=r"chops\.npy: does not match its SHA-256"):
        ChopSet(tmp_path / "set").verify()


def test_a_set_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with ChopSetWriter(tmp_path / "set", "test", {}) as writer:
        add(writer, "a.jpg", SEEN, 10)
    record = json.loads((tmp_path / "set" / "dataset.json").read_text())
    np.save(tmp_path / "set" / "labels.npy", np.zeros(1, np.uint8))
    with pytest.raises(SetError, match=r"labels\.npy: has 1 rows, but 2 by dataset\.json"):
        ChopSet(tmp_path / "set")
    record["arrays"]["labels.npy"]["shape"] = [1]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(SetError, match="differ in length"):
        ChopSet(tmp_path / "set")
    (tmp_path / "set" / "labels.npy").unlink()
    with pytest.raises(SetError, match=r"labels\.npy: missing or cut short"):
        ChopSet(tmp_path / "set")
    del record["arrays"]["labels.npy"]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(SetError, match="not all of chops, labels, wells"):
        ChopSet(tmp_path / "set")


@pytest.mark.parametrize("left", [0, 200_000])
def test_a_copy_that_was_cut_short_is_no_set(tmp_path: Path, left: int) -> None:
    """With 200 kB the header and a chop are there; with none of the three files, the set would just be smaller."""
    with ChopSetWriter(tmp_path / "set", "test", {}) as writer:
        add(writer, "a.jpg", SEEN, 10)
    os.truncate(tmp_path / "set" / "chops.npy", left)
    with pytest.raises(SetError, match=r"chops\.npy: missing or cut short .*; copy the set again"):
        ChopSet(tmp_path / "set")
    for name in ("chops", "labels", "wells"):
        (tmp_path / "set" / f"{name}.npy").unlink()
    with pytest.raises(SetError, match=r"chops\.npy: missing or cut short"):
        ChopSet(tmp_path / "set")


def test_a_set_counts_once(tmp_path: Path) -> None:
    with ChopSetWriter(tmp_path / "set", "test", {}) as writer:
        add(writer, "a.jpg", SEEN, 10)
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with pytest.raises(SetError, match="set: given twice"):
        ChopSet([tmp_path / "set", tmp_path / "link"])
