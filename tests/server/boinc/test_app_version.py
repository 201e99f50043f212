"""The folders and files by which a BOINC server or client learns of the worker."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import venv
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xtalgrid_server.cli.main import main
from xtalgrid_worker.run import version

FROZEN = b"a frozen worker\0pyi-runtime-tmpdir .\0"


def make(*words: object) -> Result:
    return CliRunner().invoke(main, ["boinc", "app-version", *map(str, words)])


def make_by_itself(*words: object) -> subprocess.CompletedProcess[str]:
    """As where only the worker's libraries are."""
    command = [sys.executable, "-m", "xtalgrid_server.grids.boinc.app_version", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def worker(folder: Path, name: str, data: bytes = FROZEN) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("xtalgrid-worker-0.1.0-linux-x86_64", "1.0/x86_64-pc-linux-gnu/xtalgrid-worker_0.1.0_x86_64-pc-linux-gnu"),
        ("xtalgrid-worker-1.2.13-windows-amd64.exe", "102.13/windows_x86_64/xtalgrid-worker_1.2.13_windows_x86_64.exe"),
        ("xtalgrid-worker-0.12-macos-arm64", "12.0/arm64-apple-darwin/xtalgrid-worker_0.12_arm64-apple-darwin"),
    ],
)
def test_a_platform_of_a_version(tmp_path, name, path):
    for _ in range(2):  # twice is once
        done = make("frozen", worker(tmp_path, name), "--apps", tmp_path / "apps")
    program = tmp_path / "apps" / "xtalgrid" / path
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{program.parent}\n"
    assert program.read_bytes() == FROZEN
    assert program.stat().st_mode & 0o100
    described = ET.parse(program.with_name("version.xml")).getroot()
    assert described.findtext("file/physical_name") == program.name
    assert described.find("file/main_program") is not None
    assert described.findtext("api_version") == "7.20.5"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("xtalgrid-worker", FROZEN, "no version and platform in the name"),
        ("xtalgrid-worker-0.1.0-plan9-x86_64", FROZEN, "no version and platform in the name"),
        ("xtalgrid-worker-0.1.0-linux-x86_64", b"pyi-runtime-tmpdir", "--boinc"),
        ("xtalgrid-worker-0.100.0-linux-x86_64", FROZEN, "below 100"),
    ],
)
def test_what_is_refused_and_why(tmp_path, name, data, said):
    done = make("frozen", worker(tmp_path, name, data), "--apps", tmp_path / "apps")
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "apps").exists()


def test_a_file_of_a_version_never_changes(tmp_path):
    name = "xtalgrid-worker-0.1.0-linux-x86_64"
    make("frozen", worker(tmp_path, name), "--apps", tmp_path / "apps")
    done = make("frozen", worker(tmp_path, name, FROZEN + b"other"), "--apps", tmp_path / "apps")
    assert (done.exit_code, "new version" in done.stderr) == (2, True)


def test_two_versions_with_one_number_are_refused(tmp_path):
    """BOINC has no words in versions: it would not have sent the release to who has its candidate."""
    apps = ("--apps", tmp_path / "apps")
    assert make("frozen", worker(tmp_path, "xtalgrid-worker-0.2.0rc1-linux-x86_64"), *apps).exit_code == 0
    done = make("frozen", worker(tmp_path, "xtalgrid-worker-0.2.0-linux-x86_64"), *apps)
    assert (done.exit_code, "xtalgrid-worker_0.2.0rc1_x86_64-pc-linux-gnu already" in done.stderr) == (2, True)
    assert len(list((tmp_path / "apps/xtalgrid/2.0/x86_64-pc-linux-gnu").iterdir())) == 2  # with version.xml


def test_a_run_that_is_killed_or_finds_a_full_disk_leaves_no_half_of_a_program(tmp_path, monkeypatch):
    """BOINC never replaces a file, so that half a program would have stood in the way of the whole one."""
    given = worker(tmp_path, "xtalgrid-worker-0.1.0-linux-x86_64", FROZEN * 1000)
    folder = tmp_path / "apps/xtalgrid/1.0/x86_64-pc-linux-gnu"

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert make("frozen", given, "--apps", tmp_path / "apps").exit_code != 0
    assert list(folder.iterdir()) == []
    (folder / ".xtalgrid-worker_0.1.0.abc.part").write_bytes(FROZEN[:9])  # of a run that was killed
    key = tmp_path / "key"
    key.write_text("1024\n" + "0" * 255 + "3" + "0" * 255 + "3\n.\n")
    checked = make("check", "--apps", tmp_path / "apps", "--key", key)
    assert (checked.exit_code, "has no program" in checked.stdout) == (1, True)
    assert make("frozen", given, "--apps", tmp_path / "apps").exit_code == 0
    assert {path.name[:14] for path in folder.iterdir()} == {"version.xml", "xtalgrid-worke"}


@pytest.mark.skipif(sys.platform == "win32", reason="looks at the launcher of Unix")
def test_the_own_python_way(tmp_path):
    project = tmp_path / "projects" / "a lab"
    done = make_by_itself("own-python", "--python", sys.executable, "--into", project)
    assert done.returncode == 0, done.stderr
    info = ET.parse(project / "app_info.xml").getroot()
    assert info.findtext("app_version/api_version") == "7.20.5"
    numbers = [int(number) for number in version().split(".")]
    assert int(info.findtext("app_version/version_num")) == numbers[0] * 10000 + numbers[1] * 100 + numbers[2]
    launcher = project / info.findtext("app_version/file_ref/file_name")
    assert info.findtext("file_info/name") == launcher.name
    said = subprocess.run([launcher, "--version"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert said.stdout.startswith(f"xtalgrid-worker {version()} "), said.stderr
    done = make_by_itself("own-python", "--python", tmp_path / "none", "--into", project)
    assert (done.returncode, "give the Python that has xtalgrid" in done.stderr) == (2, True)
    venv.create(tmp_path / "bare")
    done = make_by_itself("own-python", "--python", tmp_path / "bare/bin/python", "--into", tmp_path / "other")
    assert (done.returncode, "has no xtalgrid" in done.stderr, (tmp_path / "other").exists()) == (2, True, False)
