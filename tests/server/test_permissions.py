"""Files of other accounts' business and files that are not, whatever the umask of who starts a command."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from xtalgrid_server.cli.viewer import start_warnings
from xtalgrid_server.config import from_string
from xtalgrid_server.grids.boinc.project import Project
from xtalgrid_server.storage import permissions

from .conftest import draw_well, rigaku_name

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions as on Unix")

UMASKS = (0o000, 0o027)


def xtalgrid(*words, umask=0o022, said=None):
    command = [sys.executable, "-m", "xtalgrid_server", *map(str, words)]
    done = subprocess.run(command, umask=umask, input=said, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def open_to_others(folder):
    """What other accounts may read or write, itself included; symbolic links have no permissions of their own."""
    paths = [folder, *folder.rglob("*")]
    return [
        (str(p), oct(stat.S_IMODE(p.lstat().st_mode))) for p in paths if not p.is_symlink() and p.stat().st_mode & 0o77
    ]


@pytest.fixture
def images(tmp_path):
    for col in (1, 2):
        draw_well(tmp_path / "new" / rigaku_name(col), shade=40 * col).chmod(0o666)
    return tmp_path / "new"


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_nothing_under_home_is_for_other_accounts(tmp_path, images, umask):
    home = tmp_path / "home"
    for words, said in (
        (("import-folder", images, "--copy"), None),
        (("create_work",), None),
        (("user", "add", "ben", "--stdin"), "drops and salts\n"),
        (("viewer", "link"), None),
        (("pause",), None),
    ):
        xtalgrid("--home", home, *words, umask=umask, said=said)
    kinds = {path.suffix or path.name for path in home.rglob("*")}
    assert kinds >= {".db", ".key", ".log", ".zip", ".jpg", ".lock", "images", "spool"}
    assert open_to_others(home) == []


def test_what_is_written_elsewhere_is_as_the_umask_says(tmp_path, images):
    home, out = tmp_path / "home", tmp_path / "out"
    out.mkdir()
    root = tmp_path / "root"
    (tmp_path / "xtalgrid.toml").write_text(f'[imager]\nimage_root = "{root}"\n')
    start = ("--config", tmp_path / "xtalgrid.toml", "--home", home)
    xtalgrid(*start, "import-folder", images, "--copy", umask=0o002)
    xtalgrid(*start, "export", "csv", out / "a.csv", umask=0o027)
    xtalgrid(*start, "export-scored", out / "b.csv", umask=0o022)
    xtalgrid("init", out / "xtalgrid.toml", umask=0o000)
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in out.iterdir()} == {
        "a.csv": "0o640",
        "b.csv": "0o644",
        "xtalgrid.toml": "0o600",  # passwords go in there
    }
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {0o775, 0o664}
    assert open_to_others(home) == []


@pytest.fixture
def private():
    """As in a program that was started with umask 022."""
    before = os.umask(0o022)
    permissions.keep_private()
    yield
    os.umask(before)
    permissions._given = None


def test_boincs_web_server_can_read_what_is_staged(private, tmp_path):
    (tmp_path / "config.xml").write_text("<boinc><config/></boinc>")
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "stage_file"
    tool.write_text('#!/bin/sh\nmkdir -p download/3f && mv "$1"/* download/3f/ && echo md5 >download/3f/unit.zip.md5\n')
    tool.chmod(0o755)
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "unit.zip").write_bytes(b"zip")
    assert stat.S_IMODE((staging / "unit.zip").stat().st_mode) == 0o600
    Project(tmp_path).stage(staging)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "download").rglob("*")}
    assert modes == {"3f": "0o755", "unit.zip": "0o644", "unit.zip.md5": "0o644"}


# ---- warnings


@pytest.fixture
def open_folder(tmp_path_factory):
    """A folder that every account may enter."""
    folder = tmp_path_factory.mktemp("open")
    above = [folder, *(each for each in folder.parents if not each.stat().st_mode & 0o001)]
    for each in above:
        each.chmod(0o755)
    yield folder
    for each in above:
        each.chmod(0o700)


@pytest.mark.parametrize(
    "keys", ['url = "oracle://u:secret@h/?service_name=x"', 'url = "oracle://u@h"\npassword_file = "{0}/pw"']
)
def test_readable_passwords_are_named(open_folder, keys):
    file = open_folder / "xtalgrid.toml"
    (open_folder / "pw").write_text("secret\n")
    file.write_text(f"[imager]\n{keys.format(open_folder)}\n")
    secret = file if "secret" in keys else open_folder / "pw"
    config = from_string(file.read_text(), file=file, home=open_folder / "home")
    for mode, is_named in ((0o644, True), (0o604, True), (0o640, False), (0o600, False)):
        file.chmod(mode)
        (open_folder / "pw").chmod(mode)
        lines = list(permissions.readable_secrets(config))
        assert [f"chmod o= {secret}" in line for line in lines] == [True] * is_named
        assert "secret\n" not in "".join(lines) and "u:secret" not in "".join(lines)


def test_a_home_of_earlier_versions_is_named(open_folder):
    home = open_folder / "home"
    home.mkdir(mode=0o755)
    (home / "ledger.db").touch()
    (home / "ledger.db").chmod(0o644)
    config = from_string("", home=home)
    assert [f"chmod o= {home}" in line for line in permissions.readable_secrets(config)] == [True]
    home.chmod(0o750)
    assert list(permissions.readable_secrets(config)) == []


@pytest.mark.parametrize(
    ("keys", "host", "is_warned"),
    [
        ('sign_in = "users"', "0.0.0.0", True),
        ('sign_in = "users"', "192.0.2.7", True),
        ('sign_in = "users"', "127.0.0.1", False),
        ('sign_in = "users"', "::1", False),
        ('sign_in = "users"\nurl = "https://lab.example"', "0.0.0.0", False),
        ('sign_in = "users"\nurl = "http://lab.example"', "0.0.0.0", True),
        ("", "0.0.0.0", False),
    ],
)
def test_passwords_by_plain_http_are_named_at_the_start(tmp_path, keys, host, is_warned):
    config = from_string(f"[viewer]\n{keys}\n", home=tmp_path)
    assert ["plain HTTP" in line for line in start_warnings(config, host)] == [True] * is_warned
