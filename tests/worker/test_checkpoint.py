import errno
import logging

import pytest

from tests.small_disk import small_disk
from xtalgrid_core import wire
from xtalgrid_core.errors import Busy, FailureReason
from xtalgrid_worker.checkpoint import MAX_BEGINS, Checkpoint, Header

HEADER = Header(unit="unit", manifest="m" * 64, worker="0.1.0", models=("a" * 64, "b" * 64))


def failed(number: int) -> wire.Failed:
    return wire.Failed(number=number, reason=FailureReason.TRUNCATED, detail="half a well")


@pytest.fixture
def path(tmp_path):
    """A checkpoint with images 3 and 4 done and image 5 begun."""
    with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
        for number in (3, 4):
            checkpoint.begin(number)
            checkpoint.record(failed(number))
        checkpoint.begin(5)
    return tmp_path / "c"


def done(path, header: Header = HEADER) -> list[int]:
    with Checkpoint(path, header) as checkpoint:
        return list(checkpoint.answers)


def test_recorded_answers_are_loaded(path):
    with Checkpoint(path, HEADER) as checkpoint:
        assert checkpoint.answers == {3: failed(3), 4: failed(4)}


def test_each_line_is_flushed_to_disk(tmp_path):
    with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
        checkpoint.begin(1)
        assert (tmp_path / "c").read_bytes().endswith(b"begin 1\n")
        checkpoint.record(failed(1))
        assert (tmp_path / "c").read_bytes().endswith(wire.encode(failed(1)) + b"\n")


def test_a_truncated_checkpoint_is_usable(path):
    data = path.read_bytes()
    for length in (*range(0, len(data), 5), len(data)):
        path.write_bytes(data[:length])
        whole_lines = data[:length].count(b'"status":"failed"') if length else 0
        numbers = done(path)
        assert numbers == [3, 4][: len(numbers)]
        assert whole_lines - 1 <= len(numbers) <= whole_lines
        with Checkpoint(path, HEADER) as checkpoint:
            checkpoint.record(failed(9))
        assert done(path) == [*numbers, 9], "an incomplete line must not damage the next one"


@pytest.mark.parametrize(
    "tail", [b"\0" * 40, b"begin", b"begin x\n", b'{"status":"scored","number":5}\n', b"\xff\xfe\n"]
)
def test_a_damaged_last_line_is_ignored(path, tail):
    before = path.read_bytes()
    path.write_bytes(before + tail)
    assert done(path) == [3, 4]
    assert path.read_bytes() == before


def test_damage_in_the_middle_restarts_the_unit(path, caplog):
    path.write_bytes(path.read_bytes().replace(b"begin 4", b"begun 4"))
    with caplog.at_level(logging.WARNING):
        assert done(path) == []
    assert "damaged" in caplog.text
    assert done(path) == []


@pytest.mark.parametrize(
    "change", [{"unit": "other"}, {"manifest": "n" * 64}, {"worker": "0.2.0"}, {"models": ("c", "d")}]
)
def test_a_checkpoint_of_another_unit_worker_or_network_is_discarded(path, caplog, change):
    other = Header(**({name: getattr(HEADER, name) for name in ("unit", "manifest", "worker", "models")} | change))
    with caplog.at_level(logging.WARNING):
        assert done(path, other) == []
    assert "another unit" in caplog.text


def test_an_image_that_crashes_the_worker_each_time_is_given_up(tmp_path):
    for _ in range(MAX_BEGINS):
        with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
            assert not checkpoint.has_crashed(5)
            checkpoint.begin(5)
    with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
        assert checkpoint.has_crashed(5)
        assert not checkpoint.has_crashed(6)


def test_a_regular_stop_does_not_count_as_a_crash(tmp_path):
    for _ in range(MAX_BEGINS + 1):
        with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
            checkpoint.begin(5)
            checkpoint.end(5)
    with Checkpoint(tmp_path / "c", HEADER) as checkpoint:
        assert not checkpoint.has_crashed(5)


@pytest.mark.parametrize("shift", range(0, 400, 23))
def test_a_full_disk_leaves_whole_lines_and_counts_no_crash(tmp_path, shift):
    """Full when an image was scored; a line has space for `shift` more or fewer bytes each time."""
    waits = []
    with small_disk(tmp_path / "disk", 64) as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        path = disk.folder / "c"

        def wait(error: OSError) -> None:
            waits.append(error.errno)
            assert path.read_bytes().endswith(b"\nended 5\n"), "a part of a line is left"
            with pytest.raises(OSError, match="No space"):
                (disk.folder / "other").write_bytes(b"1")
            disk.make_room()

        with Checkpoint(path, HEADER, wait) as checkpoint:
            checkpoint.record(wire.Failed(number=1, reason=FailureReason.TRUNCATED, detail="x" * (shift + 1)))
            while not waits:
                checkpoint.begin(5)
                disk.fill()
                checkpoint.end(5)
                checkpoint.record(wire.Failed(number=5, reason=FailureReason.TRUNCATED, detail="x" * 390))
                disk.make_room()
        assert waits == [errno.ENOSPC]
        for _ in range(MAX_BEGINS):
            with Checkpoint(path, HEADER) as checkpoint:
                assert list(checkpoint.answers) == [1, 5]
                assert not checkpoint.has_crashed(5)
                checkpoint.begin(6)
                disk.fill()
                checkpoint.end(6)
                disk.make_room()
        with Checkpoint(path, HEADER) as checkpoint:
            assert not checkpoint.has_crashed(6)


def test_a_second_worker_is_locked_out(path):
    with Checkpoint(path, HEADER), pytest.raises(Busy, match="another worker"):
        Checkpoint(path, HEADER)
    assert done(path) == [3, 4]


def test_a_file_system_without_locks_is_not_taken_for_another_worker(path, monkeypatch):
    """As some network shares are: ENOLCK, "No locks available"."""

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="no locks") as raised:
        Checkpoint(path, HEADER)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOLCK, str(path))


def test_a_checkpoint_deleted_before_locking_is_created_again(path):
    """The owner may delete the file between our opening and locking it; the lock must be on the new file."""
    with Checkpoint(path, HEADER) as first:
        first.remove()
    with Checkpoint(path, HEADER) as checkpoint:
        assert checkpoint.answers == {}
        assert path.exists()
        with pytest.raises(Busy):
            Checkpoint(path, HEADER)
