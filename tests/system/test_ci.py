"""`.ci/run` runs its parts side by side, and fails if one of them does; the parts are stand-ins here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
PARTS = ("demo", "train-setup", "lint", "test")
SAID = {"train-setup": "packages", "apt-get": "programs"}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0 or not all(map(shutil.which, ("bash", "git", "make"))),
    reason="runs a script for Debian, as root, with git and make",
)


@pytest.mark.parametrize("broken", ["", "apt-get", *PARTS])
def test_it_fails_if_a_part_fails_and_says_which(tmp_path, broken):
    def program(name: str) -> str:
        return f"echo {name} ran as $$XTALGRID_REQUIRE_ALL; exit {int(name == broken)}"

    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(RUN, checkout / ".ci" / "run")
    rules = "".join(f"{name}:\n\t@{program(name)}\n" for name in PARTS)
    (checkout / "Makefile").write_text(f".PHONY: {' '.join(PARTS)}\n{rules}.venv-freeze/.freeze:\n")
    programs.mkdir()
    (programs / "apt-get").write_text("#!/bin/sh\n" + program("apt-get").replace("$$", "$") + "\n")
    (programs / "apt-get").chmod(0o755)
    named = ("-c", "user.name=lab", "-c", "user.email=lab@lab.example")
    for words in (("init", "--quiet"), ("add", "--all"), (*named, "commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *words], cwd=checkout, check=True)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([".ci/run"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == bool(broken), done.stdout + done.stderr
    if broken:
        assert done.stderr.splitlines()[-1] == f"=== failed: {SAID.get(broken, broken)}"
    is_set_up = broken not in ("apt-get", "train-setup")
    assert ("test ran as 1\n" in done.stdout, "lint ran as 1\n" in done.stdout) == (is_set_up, is_set_up)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "checkout"], "it left something"
