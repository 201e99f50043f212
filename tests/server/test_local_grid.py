"""The local grid beside the other steps, which take finished units out of the spool while it works."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import encoded, entry, well
from xtalgrid_core import wire
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.weights import default_models, read_manifest
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.grids import local
from xtalgrid_server.grids.local import LocalGrid, Worked
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.system import System


@pytest.fixture
def folder(tmp_path):
    """A unit in the spool that no worker can do."""
    folder = tmp_path / "home" / "spool" / "units" / "xg_1"
    folder.mkdir(parents=True)
    (folder / "unit.zip").write_bytes(b"no zip")
    return folder


@pytest.fixture
def grid(tmp_path):
    return LocalGrid(from_string("[grid]\nworkers = 1\n", home=tmp_path / "home"))


def test_a_unit_that_no_worker_can_do_is_given_up(grid, folder):
    assert grid.work() == Worked(failed=1)
    assert [one.unit for one in grid.given_up()] == [folder.name]


def test_a_unit_that_is_taken_away_while_its_worker_ends_costs_the_grid_nothing(grid, folder):
    def take_away():
        while not (folder / "worker.log").exists():
            time.sleep(0.001)
        grid.discard(folder.name)

    thread = threading.Thread(target=take_away)
    thread.start()
    worked = grid.work()
    thread.join()
    assert worked in (Worked(finished=1), Worked())  # taken away while the worker was at it, or before it began
    assert grid.waiting() == []


def test_a_long_queue_costs_no_time_while_a_worker_is_busy(grid, folder, monkeypatch):
    """Results and folders of units that wait, or are done, were read ten times a second."""
    for number in range(3):
        done = folder.parent / f"xg_done{number}"
        done.mkdir()
        (done / "result.json").write_bytes(b'{"images": [{"status":"scored"}, {"status":"scored"}]}')
    read, iterdir = Path.read_bytes, Path.iterdir
    reads, lists, told = [], [], []
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.parent.name) or read(path))
    monkeypatch.setattr(Path, "iterdir", lambda path: lists.append(path) or iterdir(path))
    assert grid.work(on_progress=told.append) == Worked(failed=1)
    assert set(told) == {6} and len(told) > 3
    assert [reads.count(f"xg_done{number}") for number in range(3)] == [1, 1, 1]
    assert len(lists) <= 3  # for the progress, for the queue, and to see that nothing waits any more


def test_a_service_that_is_stopped_again_and_again_gives_up_no_unit(grid, folder, monkeypatch):
    """Each time the worker is stopped while it loads its networks, before it has an answer."""
    popen = subprocess.Popen
    loading = [sys.executable, "-c", "import time; time.sleep(60)"]

    def start(command, **kwargs):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return popen(loading, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", start)
    for _ in range(4):
        assert grid.work(watch=True).failed == 0
    assert grid.waiting() == [folder.name]


def test_a_note_that_cannot_be_read_costs_only_its_own_unit(grid, folder, monkeypatch):
    notes = {
        "xg_text": lambda path: path.write_text("the last one (exit code -9): no log\n"),
        "xg_bytes": lambda path: path.write_bytes(b"br\xf6ken\0 " * 1000),
        "xg_empty": lambda path: path.write_bytes(b""),
        "xg_folder": lambda path: path.mkdir(),
        "xg_locked": lambda path: path.write_text("no"),
    }
    for name, write in notes.items():
        (folder.parent / name).mkdir()
        write(folder.parent / name / "failed.txt")
    (folder.parent / "xg_result" / "result.json").mkdir(parents=True)
    opened = Path.open

    def as_another_account(path, *args, **kwargs):
        if path == folder.parent / "xg_locked" / "failed.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", as_another_account)
    reasons = {one.unit: one.reason for one in grid.given_up()}
    assert reasons.keys() == {*notes, "xg_result"}
    assert reasons["xg_text"] == "the last one (exit code -9): no log"
    assert reasons["xg_bytes"].startswith("br\ufffdken\\x00 br") and len(reasons["xg_bytes"]) == 500
    assert "cannot read failed.txt (Is a directory)" in reasons["xg_folder"]
    assert "cannot read failed.txt (Permission denied)" in reasons["xg_locked"]
    assert reasons["xg_result"] == "result.json is a folder"
    assert grid.waiting() == [folder.name]
    assert grid.do_again("xg_folder") and grid.do_again("xg_result")
    assert sorted(grid.waiting()) == sorted([folder.name, "xg_folder", "xg_result"])
    for name in reasons:
        grid.discard(name)
    assert list(grid.given_up()) == []


@pytest.mark.parametrize("gone", ["folder", "file", "content"])
def test_a_unit_whose_weights_are_away_for_a_while_waits(
    grid, folder, tmp_path, tiny_weights, caplog, gone, monkeypatch
):
    """As while a share is off, or the folder is being replaced; with --watch the grid looks every minute."""
    data = encoded(well(height=300, width=300))
    segmenter, classifier = default_models(tiny_weights)
    manifest = wire.Manifest(
        schema=1,
        unit=folder.name,
        min_worker="0.1.0",
        options=wire.Options(segmenter=segmenter, classifier=classifier),
        images=(entry(0, data),),
    )
    with zipfile.ZipFile(folder / "unit.zip", "w") as unit:
        unit.writestr("manifest.json", wire.encode(manifest))
        unit.writestr("000.png", data)
    weights = tmp_path / "home" / "weights"
    if gone != "folder":
        shutil.copytree(tiny_weights, weights)
        half = weights / next(one.file for one in read_manifest(weights).models if one.sha256 == classifier)
        half.unlink() if gone == "file" else half.write_bytes(half.read_bytes()[:-10])
    assert grid.work() == Worked(waiting=1)
    assert (list(grid.given_up()), grid.waiting()) == ([], [folder.name])
    assert "is not given up" in caplog.text and str(weights) in caplog.text
    assert (folder / "worker.log").exists() == (gone == "content")  # a worker is started only where it is needed
    with System(from_string("", home=tmp_path / "home")) as system:
        said = "\n".join(status_lines(status(system.config, system.ledger, system.imager)))
    assert ("no weights  the oldest unit waits: " in said) == (gone != "content"), "contents are not read"
    monkeypatch.setattr(local, "_AGAIN", 0.2)

    def come_back():
        time.sleep(0.5)
        shutil.copytree(tiny_weights, weights, dirs_exist_ok=True)
        while not (folder / "result.json").exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=come_back)
    thread.start()
    worked = grid.work(watch=True)
    thread.join()
    assert (worked.finished, worked.failed, worked.waiting) == (1, 0, 0)


def test_the_exit_code_says_that_units_wait_for_weights(tmp_path, monkeypatch):
    """With --watch it ends only when somebody stops it, which is no error to systemd."""
    monkeypatch.setattr(System, "work", lambda self, watch: Worked(waiting=2))
    for options, code in (((), 78), (("--watch",), 0)):
        done = CliRunner().invoke(main, ["--home", str(tmp_path / "home"), "grid", *options])
        assert (done.exit_code, done.stdout.startswith("2 units wait for weights")) == (code, True)


def test_a_half_done_upgrade_costs_no_unit(grid, folder, tmp_path, monkeypatch):
    """Each waiting unit was given up after three workers that could not start, a second each."""
    broken = tmp_path / "upgrade" / "xtalgrid_worker"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "cli.py").write_text("import xtalgrid_core_that_is_not_there_yet\n")
    whole = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(broken.parent), whole))))
    with pytest.raises(XtalgridError, match=r"not_there_yet'.* \(the worker cannot start: is an upgrade"):
        grid.work()
    assert grid.waiting() == [folder.name]
    assert not (folder / "attempts").exists()
    monkeypatch.setenv("PYTHONPATH", whole)
    assert grid.work() == Worked(failed=1)  # for its own sake: it is no zip file
