"""Setting up from the lock: what goes wrong ends in one line that says what to do. The package here is a small one on this disk: no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="make is Unix's")


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment with pip and setuptools, the one to install into."""
    folder = tmp_path_factory.mktemp("set-up") / "venv"
    venv.create(folder, with_pip=True)
    return folder


@pytest.fixture
def clone(tmp_path, environment) -> Path:
    """A project that asks for one package, `small` 1.0, and locks it."""
    (tmp_path / "scripts" / "locks").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "locks" / "set_up.py", tmp_path / "scripts" / "locks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small.py", "x = 1\n")
        wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("small-1.0.dist-info/RECORD", "small.py,,\n")
    sha256 = hashlib.sha256((tmp_path / "wheels" / "small-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (tmp_path / "scripts" / "locks" / "server.lock").write_text(f"small==1.0 \\\n    --hash=sha256:{sha256}\n")
    return tmp_path


def set_up(clone: Path, environment: Path, *start: str, **variables: str) -> str:
    """What set-up says in the end; it has failed, with one line."""
    command = [*(start or [sys.executable]), clone / "scripts" / "locks" / "set_up.py", environment, "server"]
    given = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "1"}
    given |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone / "wheels")} | variables
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=given)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("set-up: ") and done.stderr.count("\n") == 1, done.stderr
    assert not list(environment.glob("lib/*/site-packages/small*"))
    return done.stderr


def lock(clone: Path) -> Path:
    return clone / "scripts" / "locks" / "server.lock"


@pytest.mark.parametrize("text", ["small==1.0 --hash\n", "<<<<<<< HEAD\n", "small>=1.0\n", "small==1.0 ; python_ful\n"])
def test_a_broken_lock(clone, environment, text):
    lock(clone).write_text(text)
    assert "scripts/locks/server.lock is broken: restore it with `git checkout scripts/locks`" in set_up(
        clone, environment
    )


def test_a_lock_that_is_not_there(clone, environment):
    lock(clone).unlink()
    assert "scripts/locks/server.lock is broken: restore it with `git checkout scripts/locks`" in set_up(
        clone, environment
    )


def test_a_file_that_is_not_the_one_of_the_lock(clone, environment):
    lock(clone).write_text(f"small==1.0 --hash=sha256:{'0' * 64}\n")
    assert "small==1.0 does not match its hash in scripts/locks/, so nothing was installed" in set_up(
        clone, environment
    )


def test_without_a_network(clone, environment):
    said = set_up(clone, environment, PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert "cannot reach a package index" in said


def test_a_package_that_the_index_does_not_have(clone, environment):
    lock(clone).write_text(lock(clone).read_text().replace("small==1.0", "small==2.0"))
    assert "pip finds no small==2.0 for this Python and system" in set_up(clone, environment)


def test_a_full_disk(clone, environment, tmp_path):
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path / "disk")]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is root's")
    try:
        (tmp_path / "disk" / "fill").write_bytes(bytes(40 << 10))
        assert "the disk is full: free some space" in set_up(clone, tmp_path / "disk" / "venv")
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_python_too_old_or_too_new(clone, environment, version):
    start = f"import runpy, sys; del sys.argv[0]; sys.version_info = {(*version, 0)}; runpy.run_path(sys.argv[0], None, '__main__')"
    said = set_up(clone, environment, sys.executable, "-c", start)
    assert f"this is Python 3.{version[1]}, but xtalgrid needs 3.11 to 3.13: choose one" in said


def test_debian_without_python3_venv(clone, tmp_path):
    """Debian's Python has venv, and says at its end that what it needs is in another package."""
    bare = tmp_path / "python3"
    bare.write_text(
        "#!/bin/sh\necho 'The virtual environment was not created successfully because ensurepip is not available.'; exit 1\n"
    )
    bare.chmod(0o755)
    start = f"import runpy, sys; del sys.argv[0]; sys.executable = {str(bare)!r}; runpy.run_path(sys.argv[0], None, '__main__')"
    assert "`apt install python3-venv`" in set_up(clone, tmp_path / "new", sys.executable, "-c", start)
