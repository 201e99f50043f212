"""Which files are read as images: regular ones, in folders that an operator named, as they were when planned."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_server.config import Config
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.scored import export_scored
from xtalgrid_server.steps.pack import read_original
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.pages.pictures import Thumbnails

from .conftest import INSPECTED, draw_well, rigaku_name

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="needs links and named pipes"),
    pytest.mark.timeout(60),
]

NAME = "drop.jpg"


@pytest.fixture
def place(system: System) -> tuple[ImageRow, Path]:
    """An image of the imager database, and the path at which its file is looked for."""
    (row,) = system.imager.register([ImageRow(0, "P1", 1, INSPECTED, Well(1, 1, 1), NAME)])
    path = system.config.image_root / "P1" / "1" / NAME
    path.parent.mkdir(parents=True)
    return row, path


def of_unit(system: System) -> dict[str, bytes]:
    """The images in the only unit that waits."""
    (name,) = system.grid.waiting()
    with zipfile.ZipFile(system.config.spool / "units" / name / wire.UNIT_FILE) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != wire.MANIFEST_NAME}


def lose_unit(system: System) -> None:
    (name,) = system.grid.waiting()
    shutil.rmtree(system.config.spool / "units" / name)


def linked_folders(config: Config, *folders: Path) -> Config:
    names = tuple(map(str, folders))
    return msgspec.structs.replace(config, imager=msgspec.structs.replace(config.imager, linked_folders=names))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_holds_nothing_up(system, place, kind):
    row, path = place
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
        system.config = linked_folders(system.config, Path("/dev"))
    with pytest.raises(ImageError, match="not a regular file") as error:
        read_original(system.config, row)
    assert error.value.reason is FailureReason.UNREADABLE_FILE
    assert [str(image.image_name) for image, _ in system.create_work().failed] == [NAME]


@pytest.mark.parametrize("by", ["file", "folder", "plate"])
def test_a_link_out_of_the_image_root_is_not_followed(system, place, tmp_path, by):
    row, path = place
    outside = draw_well(tmp_path / "home of the boss" / "1" / NAME)
    link, target = {
        "file": (path, outside),
        "folder": (path.parent, outside.parent),
        "plate": (path.parent.parent, outside.parent.parent),
    }[by]
    shutil.rmtree(link, ignore_errors=True)
    link.symlink_to(target)
    ((_, error),) = system.create_work().failed
    assert f"leads to {outside}, outside imager.image_root" in error.detail
    with pytest.raises(ImageError, match="outside"):
        Thumbnails(system.config).find(row, 160)
    assert read_original(linked_folders(system.config, tmp_path / "home of the boss"), row) == outside.read_bytes()


def test_links_within_the_image_root_are_followed(system, place):
    row, path = place
    original = draw_well(system.config.image_root / "archive" / NAME)
    path.symlink_to(original)
    assert read_original(system.config, row) == original.read_bytes()


def test_a_link_put_there_while_a_file_is_opened_is_not_followed(system, place, tmp_path, monkeypatch):
    """The folder becomes a link after it was looked at, and before the file is opened."""
    row, path = place
    draw_well(path)
    secret = draw_well(tmp_path / "outside" / NAME, shade=7)
    really_open, opened = os.open, []

    def swapping(name, *rest, **more):
        if not opened:
            opened.append(name)
            shutil.rmtree(path.parent)
            path.parent.symlink_to(secret.parent)
        return really_open(name, *rest, **more)

    monkeypatch.setattr("xtalgrid_server.storage.originals.os.open", swapping)
    monkeypatch.setattr("xtalgrid_server.storage.originals.os.supports_dir_fd", {*os.supports_dir_fd, swapping})
    with pytest.raises(ImageError, match="cannot read"):
        read_original(system.config, row)
    assert opened


@pytest.mark.parametrize("change", ["link", "other image", "pipe"])
def test_a_unit_that_is_packed_again_has_the_planned_images_or_none(system, place, tmp_path, change):
    _, path = place
    content = draw_well(path).read_bytes()
    system.create_work()
    assert list(of_unit(system).values()) == [content]
    lose_unit(system)
    system.create_work()
    assert list(of_unit(system).values()) == [content], "packed again"
    lose_unit(system)
    path.unlink()
    if change == "link":
        path.symlink_to("/etc/passwd")
    elif change == "pipe":
        os.mkfifo(path)
    else:
        draw_well(path, shade=7)
    system.create_work(barcodes=["another"])  # which finishes this unit first
    assert not list(system.grid.waiting())
    assert [unit.detail for unit in system.ledger.units.in_states("failed")] == [
        "none of its images can be read as they were planned; the log says why"
    ]


def test_imported_folders_are_read_where_they_lie(system, tmp_path):
    """Also by another process, and where the way to them has a link."""
    draw_well(tmp_path / "disk" / "new" / rigaku_name())
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    system.import_folder(tmp_path / "data" / "new")
    with System(system.config) as other:
        assert other.create_work().planned == 1
    draw_well(tmp_path / "disk" / "newer" / rigaku_name(2))
    system.import_folder(tmp_path / "data" / "newer")
    assert system.create_work().planned == 1


@pytest.mark.parametrize("copy", [False, True])
def test_a_link_out_of_an_imported_folder_is_refused(system, tmp_path, copy):
    outside = draw_well(tmp_path / "outside" / "x.jpg")
    inside = draw_well(tmp_path / "new" / rigaku_name(1))
    (tmp_path / "new" / rigaku_name(2)).symlink_to(outside)
    (tmp_path / "new" / rigaku_name(3)).symlink_to(inside)
    os.mkfifo(tmp_path / "new" / rigaku_name(4))
    imported = system.import_folder(tmp_path / "new", copy=copy)
    assert {row.well.col for row in imported.entered} == {1, 3}
    why = {path.name: text for path, text in imported.rejected.items()}
    assert why.keys() == {rigaku_name(2), rigaku_name(4)}
    assert f"leads to {outside}, outside" in why[rigaku_name(2)]
    assert "not a regular file" in why[rigaku_name(4)]
    assert system.create_work().planned == 2


def test_a_link_that_is_replaced_later_is_not_followed(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name())
    system.import_folder(tmp_path / "new")
    (link,) = system.config.image_root.rglob("*.jpg")
    link.unlink()
    link.symlink_to(draw_well(tmp_path / "outside" / "x.jpg"))
    ((_, error),) = system.create_work().failed
    assert "outside" in error.detail


def test_what_an_earlier_version_imported_stays_readable(system, tmp_path):
    """It did not note the folders; only the links that are there now are taken for its own."""
    draw_well(tmp_path / "new" / rigaku_name())
    system.import_folder(tmp_path / "new")
    noted = (system.config.home / "imported-folders").read_bytes()
    (system.config.home / "imported-folders").unlink()
    with System(linked_folders(system.config, tmp_path / "not asked before")) as later:
        assert later.create_work().planned == 1
    assert (system.config.home / "imported-folders").read_bytes() == noted == os.fsencode(tmp_path / "new") + b"\0"


def test_training_gets_no_file_from_elsewhere(system, place, person, tmp_path):
    row, path = place
    path.symlink_to(draw_well(tmp_path / "outside" / NAME))
    person(row.inspect_id, "04", INSPECTED)
    done = export_scored(system.config, system.imager, system.ledger, tmp_path / "scored.csv")
    assert (done.wells, done.missing) == (0, 1)
