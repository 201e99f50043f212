import errno
import io
import os
import tracemalloc
import warnings
import zipfile

import pytest

from tests.conftest import entry
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError, ManifestError
from xtalgrid_worker.workunit import ImageFiles, WorkUnit, image_files


def reason_of(source, number: int) -> FailureReason:
    with pytest.raises(ImageError) as caught:
        source.read(source.manifest.images[number])
    return caught.value.reason


def test_images_are_read_unchanged(make_unit):
    with WorkUnit(make_unit([b"first", b"second"])) as unit:
        assert [unit.read(image) for image in unit.manifest.images] == [b"first", b"second"]
        assert unit.manifest.images[1].inspect_id == 1001


def test_images_that_differ_from_the_manifest_fail_alone(make_unit):
    with WorkUnit(make_unit([b"a", b"b", b"c"], stored=[None, b"another picture", b"c"])) as unit:
        assert reason_of(unit, 0) is FailureReason.MISSING_FILE
        assert reason_of(unit, 1) is FailureReason.HASH_DIFFERS
        assert unit.read(unit.manifest.images[2]) == b"c"


def test_a_bomb_is_not_unpacked(make_unit, tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "MAX_IMAGE_BYTES", 1_000_000)
    bomb = bytes(50_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as unit:
        with WorkUnit(make_unit([bomb])) as honest:
            unit.writestr("manifest.json", wire.encode(honest.manifest))
        unit.writestr("000.png", bomb)
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    with WorkUnit(tmp_path / "bomb.zip") as unit:
        tracemalloc.start()
        assert reason_of(unit, 0) is FailureReason.TOO_LARGE
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5_000_000


def test_a_bomb_with_a_false_size_is_not_unpacked(make_unit, monkeypatch):
    monkeypatch.setattr(wire, "MAX_IMAGE_BYTES", 1000)
    with WorkUnit(make_unit([bytes(5000)])) as unit:
        unit._zip.getinfo("000.png").file_size = 10
        assert reason_of(unit, 0) in (FailureReason.UNREADABLE_FILE, FailureReason.HASH_DIFFERS)


def test_damage_inside_the_zip_fails_only_its_image(make_unit):
    path = make_unit([b"picture of a well", b"another"])
    path.write_bytes(path.read_bytes().replace(b"picture of a well", b"picture of a hell"))
    with WorkUnit(path) as unit:
        assert reason_of(unit, 0) is FailureReason.UNREADABLE_FILE
        assert unit.read(unit.manifest.images[1]) == b"another"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unbounded_compression_methods_are_rejected(make_unit, tmp_path, method):
    with WorkUnit(make_unit([b"data"])) as honest, zipfile.ZipFile(tmp_path / "odd.zip", "w") as unit:
        unit.writestr("manifest.json", wire.encode(honest.manifest))
        unit.writestr("000.png", b"data", compress_type=method)
    with WorkUnit(tmp_path / "odd.zip") as unit:
        assert reason_of(unit, 0) is FailureReason.UNREADABLE_FILE


def test_duplicate_file_names_are_rejected(make_unit):
    path = make_unit([b"data"])
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as unit:
        warnings.simplefilter("ignore")
        unit.writestr("000.png", b"other data")
    with pytest.raises(ManifestError, match="same name"):
        WorkUnit(path)


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as unit:
        for name, data in files.items():
            unit.writestr(name.replace("__", "."), data)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"no zip", zipped(), zipped(manifest__json=b"{}"), zipped(manifest__json=b"\xff"), zipped(other=b"")],
)
def test_other_files_are_rejected_with_their_name(tmp_path, data):
    (tmp_path / "unit.zip").write_bytes(data)
    with pytest.raises(ManifestError, match=r"unit\.zip"):
        WorkUnit(tmp_path / "unit.zip")


def test_a_truncated_unit_is_rejected(make_unit):
    path = make_unit([os.urandom(5000)])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ManifestError):
        WorkUnit(path)


def test_image_files_form_a_unit(tmp_path, options):
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    files = ImageFiles([tmp_path / name for name in ("a.png", "none.png", "folder.jpg", "pipe.jpg")], options, 1.13)
    assert files.read(files.manifest.images[0]) == b"picture"
    assert files.manifest.images[0].sha256 == entry(0, b"picture").sha256
    assert reason_of(files, 1) is FailureReason.MISSING_FILE
    assert reason_of(files, 2) is FailureReason.UNREADABLE_FILE
    assert reason_of(files, 3) is FailureReason.UNREADABLE_FILE
    (tmp_path / "a.png").write_bytes(b"another")
    assert reason_of(files, 0) is FailureReason.HASH_DIFFERS


def test_different_files_form_a_different_unit(tmp_path, options):
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.png").write_bytes(b"picture")
    digests = {ImageFiles([tmp_path / name], options).digest for name in ("a.png", "b.png")}
    assert len(digests) == 2


def test_folders_are_searched_for_images(tmp_path):
    for name in ("b.JPG", "a.tif", "a_ART.jpg", ".hidden.png", "notes.txt", "c.WEBP", "d.webp", "README", "ours.csv"):
        (tmp_path / name).touch()
    (tmp_path / "day 2").mkdir()
    asked = [tmp_path, tmp_path / "notes.txt", tmp_path / "a.tif"]
    files, others = image_files(asked, (".jpg", ".tif", ".png"), "_ART.jpg", ["ours.csv"])
    assert [path.name for path in files] == ["a.tif", "b.JPG", "notes.txt"]
    assert others == {".webp": 2, ".txt": 1, "file without suffix": 1, "subfolder": 1}


def test_a_disk_that_does_not_respond_is_no_fault_of_an_image(make_unit, monkeypatch):
    """A share that went away: a work unit of which nothing can be read now says nothing of its images."""
    with WorkUnit(make_unit([b"picture"])) as unit:

        def read(*_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
        with pytest.raises(OSError, match="Input/output error") as raised:
            unit.read(unit.manifest.images[0])
    assert str(raised.value.filename).endswith("unit.zip")
