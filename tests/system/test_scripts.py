"""The launchers: run with the real program, as cron starts them."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from tests.conftest import missing

SCRIPTS = Path(__file__).parents[2] / "scripts"
LAUNCHERS = {
    "create_work": "create_work",
    "local_grid": "grid",
    "assimilate": "assimilate",
    "finalizer": "finalizer",
    "set_autoscore": "set_autoscore",
}
PROGRAM = Path(sys.executable).with_name("xtalgrid")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="cron is Unix's")


def require(program: str) -> str:
    """The program's path; without it the test is skipped, or fails where everything is required."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed")
    return path


def launch(
    launcher: str, *words: str, home: Path | None = None, program: str | Path = PROGRAM, path: str = "/usr/bin:/bin"
) -> subprocess.CompletedProcess[str]:
    """As cron starts it: hardly any environment, no terminal."""
    environment = {"PATH": path, "HOME": "/nonexistent", "XTALGRID": str(program)}
    if home is not None:
        environment["XTALGRID_HOME"] = str(home)
    return subprocess.run(
        [SCRIPTS / launcher, *words], env=environment, cwd="/", capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("launcher", [*LAUNCHERS, "launch"])
def test_launchers_are_executable_and_plain_sh(launcher):
    path = SCRIPTS / launcher
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", path], capture_output=True).returncode == 0


def test_shellcheck_has_no_remark():
    files = [*(SCRIPTS / launcher for launcher in [*LAUNCHERS, "launch"]), SCRIPTS.parent / ".ci" / "run"]
    checked = subprocess.run([require("shellcheck"), *files], capture_output=True, text=True)
    assert checked.stdout == ""


@pytest.mark.parametrize(("launcher", "command"), LAUNCHERS.items())
def test_each_launcher_is_its_command(launcher, command):
    called = launch(launcher, "--help")
    assert called.returncode == 0, called.stderr
    assert re.match(rf"Usage: \S+ {command} \[OPTIONS\]", called.stdout)


def test_the_chain_of_the_crontab_is_quiet_and_keeps_a_log(tmp_path):
    home = tmp_path / "home with a blank"
    for launcher, command in LAUNCHERS.items():
        called = launch(launcher, home=home)
        assert (called.returncode, called.stdout, called.stderr) == (0, "", ""), launcher
        assert f" INFO {command} " in (home / "log" / f"{command}.log").read_text()
    launch("create_work", home=home)
    assert (home / "log" / "create_work.log").read_text().count(" INFO create_work ") == 2  # appended


def test_another_run_at_work_is_no_error(tmp_path):
    launch("finalizer", home=tmp_path)
    with filelock.FileLock(tmp_path / "locks" / "finalizer.lock"):
        called = launch("finalizer", home=tmp_path)
    assert (called.returncode, called.stderr) == (0, "")
    assert "finalizer is already running" in (tmp_path / "log" / "finalizer.log").read_text()


def test_an_error_is_logged_and_said_so_that_cron_mails_it(tmp_path):
    launch("set_autoscore", home=tmp_path)  # lines of a run before are not said again
    called = launch("set_autoscore", str(tmp_path / "no.csv"), home=tmp_path)
    assert called.returncode == 2
    assert "no.csv" in called.stderr
    assert "seconds=" not in called.stderr
    assert "no.csv" in (tmp_path / "log" / "set_autoscore.log").read_text()


def test_a_missing_program_is_named(tmp_path):
    alone = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, alone)
    called = subprocess.run(
        [alone / "create_work"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60
    )
    assert called.returncode == 2
    assert "xtalgrid is not installed" in called.stderr and "XTALGRID" in called.stderr


@pytest.mark.parametrize("where", ["beside", "PATH"])
def test_the_program_is_found_beside_the_scripts_or_on_the_path(tmp_path, where):
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    folder = tmp_path / (".venv/bin" if where == "beside" else "bin")
    folder.mkdir(parents=True)
    (folder / "xtalgrid").symlink_to(PROGRAM)
    called = subprocess.run(
        [tmp_path / "scripts" / "create_work", "--help"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert called.returncode == 0, called.stderr


def test_every_script_stands_in_the_readme():
    named = re.findall(r"`([^`]+)`", (SCRIPTS / "README.md").read_text().split("##")[0])
    for path in SCRIPTS.iterdir():
        if path.name not in ("README.md", "__pycache__"):
            assert any(fnmatch.fnmatch(path.name, word.rstrip("/")) for word in named), path.name


def test_scripts_need_nothing_of_the_tests_and_leave_the_search_path_alone():
    sources = {path: path.read_text(encoding="utf-8") for path in SCRIPTS.rglob("*.py")}
    assert len(sources) > 10
    assert not [
        path.name for path, text in sources.items() if re.search(r"^\s*(from|import) tests\b|sys\.path", text, re.M)
    ]
