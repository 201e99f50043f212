import os
import stat

import pytest

from xtalgrid_core.files import write_atomically


def test_a_file_is_complete_and_readable_by_others(tmp_path):
    write_atomically(tmp_path / "result.json", b"{}")
    assert (tmp_path / "result.json").read_bytes() == b"{}"
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_an_old_file_is_replaced(tmp_path):
    (tmp_path / "result.json").write_bytes(b"old and longer")
    write_atomically(tmp_path / "result.json", b"new")
    assert (tmp_path / "result.json").read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "result.json").write_bytes(b"old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "result.json", b"new")
    monkeypatch.undo()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "result.json", b"")
