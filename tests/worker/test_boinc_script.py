"""worker/boinc.sh, by which a BOINC client starts the frozen worker, with a small program behind it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tests.small_disk import SmallDisk, small_disk
from xtalgrid_server.grids.boinc.app_version import frozen

ROOT = Path(__file__).parents[2]
FREEZE = spec_from_file_location("freeze", ROOT / "scripts" / "freeze.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no shell for it")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file that unpacks itself to 3 MB and prints the words it is given."""
    folder = tmp_path / "frozen" / "xtalgrid-worker-dir"
    folder.mkdir(parents=True)
    (folder / "library").write_bytes(bytes(3_000_000))
    (folder / "xtalgrid-worker").write_text('#!/bin/sh\necho "$$" "$@"\n')
    (folder / "xtalgrid-worker").chmod(0o755)
    freeze = module_from_spec(FREEZE)
    FREEZE.loader.exec_module(freeze)
    freeze.self_unpacking(folder, tmp_path / "program", gzip.compress)
    return tmp_path / "program"


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "slot", 2_000) as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        yield disk


def run(program: Path, slot: Path, *words: str, **options: str) -> tuple[int, str, str]:
    done = subprocess.run([program, *words], cwd=slot, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


def test_it_may_become_an_app_version(program, tmp_path):
    named = program.rename(tmp_path / "xtalgrid-worker-0.1.0-linux-x86_64")
    made = frozen(named, tmp_path / "apps") / "xtalgrid-worker_0.1.0_x86_64-pc-linux-gnu"
    assert made.read_bytes() == named.read_bytes()


def test_it_becomes_the_program_and_unpacks_it_once(program, tmp_path):
    (tmp_path / "slot").mkdir()
    (tmp_path / "slot" / "unpacking.1").mkdir()  # of a worker that was killed
    with subprocess.Popen([program, "a b", "c"], cwd=tmp_path / "slot", stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == f"{process.pid} a b c\n"
    assert [path.name for path in (tmp_path / "slot").iterdir()] == ["xtalgrid-worker-dir"]
    library = tmp_path / "slot" / "xtalgrid-worker-dir" / "library"
    library.write_bytes(b"as it was")
    assert run(program, tmp_path / "slot")[0] == 0
    assert library.read_bytes() == b"as it was"


def test_on_a_full_disk_it_asks_the_client_for_a_delay(program, slot):
    (slot.folder / "init_data.xml").touch()
    code, _, said = run(program, slot.folder)
    assert (code, said.count("\n")) == (0, 1)
    assert "the disk is full: free 4 MB to unpack the program; trying again in 600 s" in said
    asked = (slot.folder / "boinc_temporary_exit").read_text().splitlines()
    assert asked == ["600", "the disk is full: free 4 MB to unpack the program", "notice"]
    assert sorted(path.name for path in slot.folder.iterdir()) == ["boinc_temporary_exit", "init_data.xml"]
    slot.grow("9m")
    assert run(program, slot.folder)[0] == 0


def test_without_a_client_a_full_disk_has_the_exit_code_of_run(program, slot):
    code, _, said = run(program, slot.folder)
    assert code == 74
    assert said == "xtalgrid-worker: cannot unpack: the disk is full: free 4 MB to unpack the program\n"
    assert not list(slot.folder.iterdir())


def test_a_broken_file_is_an_error_at_once(program, tmp_path):
    (tmp_path / "slot").mkdir()
    (tmp_path / "slot" / "init_data.xml").touch()
    program.write_bytes(program.read_bytes()[:-100])
    code, _, said = run(program, tmp_path / "slot")
    assert code == 206
    assert said.startswith("xtalgrid-worker: cannot unpack: ")
    assert [path.name for path in (tmp_path / "slot").iterdir()] == ["init_data.xml"]


def test_where_not_even_that_can_be_asked_the_client_restarts_it(program, slot, tmp_path):
    """`sleep` is replaced by a program that ends at once."""
    (slot.folder / "init_data.xml").touch()
    (slot.folder / "boinc_temporary_exit").mkdir()  # can't be written
    (tmp_path / "sleep").symlink_to("/bin/true")
    code, _, _ = run(program, slot.folder, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert code == -15  # SIGTERM
