"""What `xtalgrid boinc status` and `app-version check` say of a project that cannot work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tests.system.boinc_project import CodeSigningKey
from xtalgrid_core.errors import ConfigError
from xtalgrid_server.cli.main import main
from xtalgrid_server.grids.boinc import tables as t
from xtalgrid_server.grids.boinc.health import (
    daemon_problems,
    disk_problems,
    page_problems,
    task_problems,
    version_problems,
)
from xtalgrid_server.grids.boinc.install import install, next_steps
from xtalgrid_server.grids.boinc.project import Project
from xtalgrid_server.grids.boinc.signing import read_public_key, signature_fault
from xtalgrid_server.grids.boinc.status import boinc_status, boinc_status_lines

WORKER = b"a frozen worker\0pyi-runtime-tmpdir .\0"
# The signature of WORKER by BOINC's own crypt_prog (8.3.0), and the public half of its key.
BOINC_KEY = """1024
a92ec34a590bb790aa784d9e253d1dad2eb6a10dc33ac5cc52a3b33ed853c837
8475a2da7503c337a2053e42636e5668b09cfad0aaed70e6cfaa826fa15c509f
dfda2dce84344fb1464a238a4f740892f1708b72ae2590caaa100c48086bc950
963440c992e1f5f15ab23895ba867be71733e33a9764258d902e42245f3571b7
0000000000000000000000000000000000000000000000000000000000000000
0000000000000000000000000000000000000000000000000000000000000000
0000000000000000000000000000000000000000000000000000000000000000
0000000000000000000000000000000000000000000000000000000000010001
.
"""
BOINC_SIGNATURE = """50dafeaeca3e02750977a35bed923200d661ca68e092a44024d429ba96c7edfb
d81e25da82de7098eed9f0d6f577e9486d50fa4a87a558086ae7120e51870af0
92539c4178e2585079aae5797dfdb1b445e7237f861c98a0e0aa7e86978e3094
5b9ab48e3035cd9011ff44146741e7274e7f51f20ae284b3fd4cb4a3a211bbdf
.
"""


@pytest.fixture
def signed(tmp_path: Path) -> SimpleNamespace:
    """A program and its signature, both by BOINC."""
    program, key = tmp_path / "program", tmp_path / "code_sign_public"
    program.write_bytes(WORKER)
    key.write_text(BOINC_KEY)
    signature = tmp_path / "program.sig"
    signature.write_text(BOINC_SIGNATURE)
    return SimpleNamespace(program=program, signature=signature, key=key)


def test_a_signature_by_boinc_itself_is_right(signed):
    assert signature_fault(signed.program, read_public_key(signed.key)) is None


@pytest.mark.parametrize("text", [None, "", ".\n", "no digits\n"])
def test_a_missing_or_empty_signature_is_none(signed, text):
    signed.signature.unlink()
    if text is not None:
        signed.signature.write_text(text)
    assert signature_fault(signed.program, read_public_key(signed.key)) == "unsigned"


def test_another_key_and_a_changed_file_are_found(signed):
    key = read_public_key(signed.key)
    signed.signature.write_text(CodeSigningKey().signature(WORKER))
    assert "another key" in signature_fault(signed.program, key)
    signed.signature.write_text(BOINC_SIGNATURE)
    signed.program.write_bytes(WORKER + b"!")
    assert "changed since" in signature_fault(signed.program, key)


@pytest.mark.parametrize("text", ["", "1024\n", "1024\nabc\n.\n", "-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(ConfigError, match="is not BOINC's code_sign_public"):
        read_public_key(tmp_path / "key")


def test_app_versions_are_checked_before_they_are_registered(tmp_path, signed):
    def run(*words: object):
        return CliRunner().invoke(main, ["boinc", "app-version", *map(str, words)])

    check = ("check", "--apps", tmp_path / "apps", "--key", signed.key)
    done = run(*check)
    assert (done.exit_code, "no app version" in done.stderr) == (1, True)
    for system in ("linux-x86_64", "windows-amd64.exe"):
        worker = tmp_path / f"xtalgrid-worker-0.1.0-{system}"
        worker.write_bytes(WORKER)
        assert "to be signed: " in run("frozen", worker, "--apps", tmp_path / "apps").stderr
    program = next((tmp_path / "apps/xtalgrid/1.0/x86_64-pc-linux-gnu").glob("xtalgrid-worker_*"))
    program.with_name(f"{program.name}.sig").write_text(BOINC_SIGNATURE)
    done = run(*check)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "refused xtalgrid/1.0/windows_x86_64: xtalgrid-worker_0.1.0_windows_x86_64.exe is unsigned",
        "signed xtalgrid/1.0/x86_64-pc-linux-gnu",
    ]
    shutil.rmtree(tmp_path / "apps/xtalgrid/1.0/windows_x86_64")
    assert run(*check).exit_code == 0


def register(connection, signature: str, number: int = 100, deprecated: int = 0, platform: int = 1) -> None:
    """As BOINC's update_versions does, which also registers an empty signature."""
    text = f"<file_info>\n    <name>x</name>\n    <file_signature>\n{signature}    </file_signature>\n</file_info>\n"
    connection.execute(
        t.app_versions.insert().values(
            appid=2, version_num=number, platformid=platform, deprecated=deprecated, xml_doc=text.encode()
        )
    )


def test_status_says_which_app_versions_are_missing_and_unsigned(system, boinc_db):
    def lines() -> str:
        return "\n".join(boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid)))

    boinc_db.execute(
        t.platforms.insert(), [{"id": 1, "name": "x86_64-pc-linux-gnu"}, {"id": 2, "name": "windows_x86_64"}]
    )
    assert "apps        none; none for windows_x86_64" in lines()
    assert "no signed app version is registered" in lines()
    register(boinc_db, "")
    assert "app version 1.0 for x86_64-pc-linux-gnu is not signed" in lines()
    assert "no signed app version is registered" in lines()
    boinc_db.execute(t.app_versions.update().values(deprecated=1))
    register(boinc_db, BOINC_SIGNATURE, 10203)
    register(boinc_db, BOINC_SIGNATURE, 10113)
    assert "apps        102.3 for x86_64-pc-linux-gnu; none for windows_x86_64, aarch64" in lines()
    assert "signed" not in lines()
    register(boinc_db, BOINC_SIGNATURE, 100, platform=2)
    assert "apps        1.0 for windows_x86_64, 102.3 for x86_64-pc-linux-gnu; none for aarch64" in lines()


def test_no_problem_is_seen_where_all_is_signed():
    version = SimpleNamespace(name="1.0", platform="windows_x86_64", is_signed=True)
    assert list(version_problems([version])) == []


def test_stopped_daemons_are_named(project):
    folder = project.folder / "pid_host"
    folder.mkdir()
    (first,) = daemon_problems(project)
    assert first.what == "daemons that are not running: feeder, transitioner, theirs"
    command = [sys.executable, "-c", "print(flush=True); input()", "feeder"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        daemon.stdout.readline()
        for name in ("feeder", "transitioner"):  # the transitioner's number is now the feeder's
            (folder / f"{name}.pid").write_text(f"{daemon.pid}\n")
        (problem,) = daemon_problems(project)
        assert problem.what == "daemons that are not running: transitioner, theirs"
        daemon.communicate(b"\n")
    (problem,) = daemon_problems(project)
    assert "feeder" in problem.what
    (project.folder / "stop_daemons").touch()
    (problem,) = daemon_problems(project)
    assert "stopped by bin/stop" in problem.what


def test_a_project_whose_tasks_do_not_run_is_told_of(config, project, system, monkeypatch):
    """As without its line in the crontab: the daemons ran, and nobody planned or took in anything."""

    def problems() -> list[str]:
        home = ["--config", str(config.file), "--home", str(config.home)]
        lines = CliRunner().invoke(main, [*home, "boinc", "status"]).stdout.splitlines()
        return [line for line in lines if "the task" in line]

    assert problems() == [], "nothing is installed"
    list(install(config, project))
    assert problems() == [], "it was installed just now"
    later = time.time() + 3 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    (said,) = problems()
    assert said.startswith("ATTENTION   the task xtalgrid_publish has never run: ")
    monkeypatch.undo()
    system.assimilate()
    assert problems() == []
    note = config.home / "locks" / "assimilate.ended"
    note.write_text(f"{time.time() - 2 * 3600:.0f}\n")
    assert list(task_problems(project, 7200.0)) == [], "it was installed just now"
    script = project.folder / "bin" / "xtalgrid_publish"
    stat = Path.stat
    old = SimpleNamespace(st_ctime=0.0)
    monkeypatch.setattr(Path, "stat", lambda path, **more: old if path == script else stat(path, **more))
    (problem,) = task_problems(project, 7200.0)
    assert "ran 2.0 h ago for the last time" in problem.what
    (project.folder / "stop_daemons").touch()
    assert list(task_problems(project, 7200.0)) == [], "daemon_problems says why"


@pytest.mark.parametrize(
    ("code", "said"), [(200, None), (403, "chmod g+x"), (500, "error log"), (None, "cannot be reached from here")]
)
def test_the_projects_page_is_asked_for(project, code, said, monkeypatch):
    """Directly: a proxy for the web, here one that is not there, knows nothing of it."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        text = (project.folder / "config.xml").read_text()
        url = f"<master_url>http://127.0.0.1:{server.server_port}/xtalgrid/</master_url>"
        (project.folder / "config.xml").write_text(text.replace("<config>", f"<config>{url}"))
        if code is not None:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            server.server_close()
        found = list(page_problems(Project(project.folder)))
        if code is not None:
            server.shutdown()
    assert [said in f"{problem.what} {problem.remedy}" for problem in found] == ([] if said is None else [True])


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_named(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (problem,) = disk_problems([small, tmp_path / "no such folder"])
    finally:
        subprocess.run(["umount", small], check=True)
    assert problem.what == f"the disk of {small} has only 2 MB left"


def test_installing_says_only_what_is_left_to_do(config, project):
    def steps(accounts=None):
        changes = list(install(config, project, accounts))
        return " ".join(next_steps(config, project, changes))

    assert "bin/xadd" in steps()
    assert steps() == ""
    assert steps("closed") == steps("open") == "", "BOINC reads this option at each request"
