"""`xtalgrid volunteer`, as far as it changes nothing; tests/system/test_volunteer.py runs it on a whole machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import missing
from xtalgrid_server.cli.main import main

KEY = "0123456789abcdef0123456789abcdef"
URL = "https://boinc.lab.example/xtalgrid/"


def printed(*words: str) -> str:
    done = CliRunner().invoke(main, ["volunteer", "script", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def run(*words: str) -> tuple[int, str, str]:
    """The script for Linux, as over ssh."""
    done = subprocess.run(["sh", "-s", "--", *words], input=printed(), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no shell for it")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "install, status or uninstall?"),
        ("remove", "install, status or uninstall?"),
        ("install", "takes a URL and an account key"),
        (f"install {URL}", "takes a URL and an account key"),
        (f"install boinc.lab.example {KEY}", "no project's address"),
        (f"install http://boinc/xtalgrid/ {KEY}", "wants a dot"),
        (f"install {URL} not-a-key", "no account key"),
        (f"install {URL} {KEY} 50", "one word too many: 50"),
        (f"install {URL} {KEY} --cpu 50", "unknown option --cpu"),
        (f"install {URL} {KEY} --cpus", "--cpus takes a number"),
        (f"install {URL} {KEY} --cpus half", "not 'half'"),
        (f"install {URL} {KEY} --cpus 101", "at most 100"),
        (f"install {URL} {KEY} --cpus 0", "at least 1"),  # to BOINC's client 0 is all cores, all memory, all the disk
        (f"install {URL} {KEY} --memory 0", "at least 1"),
        (f"install {URL} {KEY} --disk 0", "at least 1"),
    ],
)
def test_wrong_words_are_refused_with_one_line(words, said):
    code, out, errors = run(*words.split())
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert said in errors


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is no Debian")
def test_a_dry_run_says_what_it_would_do():
    code, out, errors = run("install", "https://Boinc.Lab.example/xtalgrid", KEY, "--disk", "7", "--dry-run")
    assert (code, errors) == (0, "")
    assert all(line.startswith("would: ") for line in out.splitlines())
    assert "50 % of the cores, 50 % of the memory, 7 GB of the disk" in out
    assert f"attach the client to {URL}\n" in out
    assert KEY not in out
    assert run("uninstall", "--dry-run") == (0, "nothing to change\n", "")


def test_the_command_runs_the_script(capfd):
    if shutil.which("dpkg-query") is None:
        missing("dpkg-query is not installed: this is no Debian")
    words = ["volunteer", "install", URL, KEY, "--idle-minutes", "0", "--dry-run"]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert "would: preferences: always, at most 50 % of the cores" in capfd.readouterr().out
    assert CliRunner().invoke(main, ["volunteer", "install", "lab", KEY]).exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no shell for it")
def test_a_key_that_the_project_no_longer_accepts_is_no_good_status(tmp_path):
    """The answers are those of BOINC's scheduler, in the file where client 7.20 keeps the last one."""
    state, data = tmp_path / "state", tmp_path / "data"
    for folder in (state, data, tmp_path / "bin"):
        folder.mkdir()
    (state / "url").write_text(f"{URL}\n")
    project = f"1) -----------\n   name: lab\n   master URL: {URL}\n   scheduler RPC pending: no\n"
    boinccmd = tmp_path / "bin" / "boinccmd"
    boinccmd.write_text(f"#!/bin/sh\n[ $1 != --get_project_status ] || cat <<END\n{project}END\n")
    boinccmd.chmod(0o755)
    script = printed().replace("/var/lib/xtalgrid-volunteer", str(state)).replace("/var/lib/boinc-client", str(data))

    def status() -> tuple[int, str, str]:
        environment = os.environ | {"PATH": f"{boinccmd.parent}:{os.environ['PATH']}"}
        command = ["sh", "-s", "--", "status"]
        done = subprocess.run(command, input=script, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.partition("\n")[0], done.stderr

    reply = data / "sched_reply_boinc.lab.example_xtalgrid.xml"
    well = (0, f"attached to lab, {URL}", "")
    assert status() == well  # it has not been asked since the client came
    reply.write_text("<scheduler_reply>\n<project_name>lab</project_name>\n</scheduler_reply>\n")
    assert status() == well
    said = "Invalid or missing account key.  To fix, remove and add this project."
    reply.write_text(f'<scheduler_reply>\n<message priority="notice">{said}</message>\n</scheduler_reply>\n')
    code, out, errors = status()
    assert (code, out, errors.count("\n")) == (1, "", 1)
    assert f"{URL} does not know this account key; run install again with the right one" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no shell for it")
def test_no_limit_of_macos_means_none(tmp_path):
    script = printed("macos").replace("/Library/Application Support", str(tmp_path))
    (tmp_path / "BOINC Data").mkdir()

    def run(*words: str) -> tuple[int, str]:
        command = ["sh", "-s", "--", "install", URL, KEY, "--dry-run", *words]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    code, told = run("--cpus", "25", "--idle-minutes", "0")
    assert (code, "25 % of the cores, 50 % of the memory, 5 GB" in told) == (0, True)
    for words, said in (
        (("--cpus", "0"), "--cpus takes 1 to 100"),
        (("--cpus", ""), "--cpus takes a whole number"),
        (("--disk", "0"), "--disk takes 1 to 100000"),
        (("--memory",), "--memory takes a number"),
    ):
        code, told = run(*words)
        assert (code, said in told) == (2, True), told


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_what_has_not_been_run_says_so_first(system):
    lines = printed(system).splitlines()
    assert any(line.startswith("# NOT RUN YET:") for line in lines[:2])


def test_shellcheck_has_no_remark(tmp_path: Path):
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        missing("shellcheck is not installed")
    for system in ("linux", "macos"):
        (tmp_path / system).write_text(printed(system))
    checked = subprocess.run(
        [shellcheck, *tmp_path.iterdir(), Path(__file__).parents[3] / "worker/boinc.sh"],
        capture_output=True,
        text=True,
    )
    assert checked.stdout == ""
