"""The scripts of docker/bin, run with stand-ins for the programs and folders of a container."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[3] / "docker"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are a shell's")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stand_ins(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """``stand_ins(tar="exit 2")``: an environment in which these programs are scripts of ours."""

    def make(**scripts: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}

    return make


@pytest.fixture
def backup(tmp_path, stand_ins) -> Run:
    """``backup("restore", FILE, tar=…)``: the service `backup` with volumes of its own, beside which nothing runs."""
    for name in ("mysql", "project", "xtalgrid"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        (tmp_path / "volumes" / name / "file").write_text(name)
    (tmp_path / "backup").mkdir()
    script = (DOCKER / "bin" / "backup.sh").read_text()
    for folder in ("volumes", "backup"):
        script = script.replace(f"cd /{folder}", f"cd {tmp_path}/{folder}").replace(
            f"=/{folder}", f"={tmp_path}/{folder}"
        )
    (tmp_path / "backup.sh").write_text(script)

    def run(*words: str, **programs: str) -> subprocess.CompletedProcess[str]:
        environment = stand_ins(getent="exit 2", **programs)
        return subprocess.run(["sh", tmp_path / "backup.sh", *words], env=environment, capture_output=True, text=True)

    return run


def test_a_backup_comes_back(tmp_path, backup):
    done = backup()
    assert done.returncode == 0, done.stderr
    file = Path(done.stdout.strip())
    (tmp_path / "volumes" / "mysql" / "file").write_text("changed since")
    (tmp_path / "volumes" / "project" / "new").touch()
    assert backup("restore", file.name).returncode == 0
    assert sorted(str(p.relative_to(tmp_path / "volumes")) for p in (tmp_path / "volumes").glob("*/*")) == [
        "mysql/file", "project/file", "xtalgrid/file",
    ]  # fmt: skip
    assert (tmp_path / "volumes" / "mysql" / "file").read_text() == "mysql"


def test_a_full_disk_leaves_no_half_of_a_backup(tmp_path, backup):
    tar = 'while [ "$1" != --file ]; do shift; done; echo half > "$2"; echo "No space left on device" >&2; exit 2'
    done = backup(tar=tar)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No space left on device\nno backup was made" in done.stderr
    assert list((tmp_path / "backup").iterdir()) == []


def test_a_volume_that_the_backup_does_not_have_stays_as_it_is(tmp_path, backup):
    """As Caddy's, which backups had not at first."""
    file = Path(backup().stdout.strip())
    (tmp_path / "volumes" / "caddy").mkdir()
    (tmp_path / "volumes" / "caddy" / "root.crt").touch()
    assert backup("restore", file.name).returncode == 0
    assert (tmp_path / "volumes" / "caddy" / "root.crt").exists()


def test_every_volume_but_the_signing_keys_and_the_trials_is_in_the_backup():
    plan = yaml.safe_load((DOCKER / "compose.yml").read_text())
    kept = {mount.partition(":")[0] for mount in plan["services"]["backup"]["volumes"]}
    assert set(plan["volumes"]) - kept == {"signing", "client", "oracle"}


@pytest.mark.parametrize("words", [("restore",), ("restore", "a", "b"), ("save", "here"), ("help",)])
def test_wrong_words_are_told_how_to_use_it(backup, words):
    done = backup(*words)
    assert (done.returncode, done.stderr) == (2, "usage: docker compose run --rm backup [restore FILE]\n")


@pytest.mark.parametrize("what", ["missing", "broken", "another"])
def test_what_is_no_backup_costs_nothing_that_is_there(tmp_path, backup, what):
    file = tmp_path / "backup" / "one.tar.gz"
    if what == "another":
        with tarfile.open(file, "w:gz") as archive:
            archive.add(tmp_path / "volumes" / "mysql", "./images")
    elif what == "broken":
        (tmp_path / "volumes" / "mysql" / "big").write_bytes(os.urandom(100_000))
        whole = Path(backup().stdout.strip())
        file.write_bytes(whole.read_bytes()[:-50_000])
    done = backup("restore", file.name)
    assert (done.returncode, "nothing was changed" in done.stderr) == (1, True)
    assert (tmp_path / "volumes" / "xtalgrid" / "file").read_text() == "xtalgrid"


def test_half_a_restore_says_that_it_is_one(tmp_path, backup):
    file = Path(backup().stdout.strip())
    fails = f'case $1 in --extract) exit 2;; *) exec {shutil.which("tar")} "$@";; esac'
    done = backup("restore", file.name, tar=fails)
    assert (done.returncode, f"restore {file} again" in done.stderr) == (1, True)


@pytest.mark.parametrize(("page", "stopped"), [("answers", False), ("answers", True), ("fails", False)])
def test_apache_is_healthy_only_with_its_page_and_boincs_daemons(project, monkeypatch, capsys, page, stopped):
    def ask(opener: urllib.request.OpenerDirector, url: str, timeout: float):
        assert url == "http://127.0.0.1/lab/"
        assert not any(isinstance(handler, urllib.request.ProxyHandler) for handler in opener.handlers)
        if page == "fails":
            raise urllib.error.URLError("refused")
        return nullcontext()

    config = project.folder / "config.xml"
    if not stopped:  # a project without daemons has none that do not run
        head, _, rest = config.read_text().partition("<daemons>")
        config.write_text(f"{head}<daemons>{rest[rest.index('</daemons>') :]}")
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", ask)
    monkeypatch.setenv("http_proxy", "http://proxy.lab.example:3128")
    monkeypatch.setenv("PROJECT", "lab")
    monkeypatch.setenv("PROJECT_ROOT", str(project.folder))
    with pytest.raises((SystemExit, OSError)) as ended:
        runpy.run_path(str(DOCKER / "bin" / "health.py"))
    code = getattr(ended.value, "code", "an error")
    assert code == (
        "an error" if page == "fails"
        else "daemons that are not running: feeder, transitioner, theirs" if stopped
        else None
    )  # fmt: skip
    apache = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]["apache"]
    assert apache["healthcheck"]["test"][-1] == "/usr/local/bin/health.py"
    assert "docker/bin/health.py" in (DOCKER / "Dockerfile").read_text()


def test_the_crontab_of_apache_has_what_boincs_tasks_do_not_run(tmp_path, stand_ins):
    """People's scores, second looks and alerts: `xtalgrid service install` adds its lines to those of the project."""
    (tmp_path / ".built_lab").touch()
    (tmp_path / "lab.cronjob").write_text("*/5 * * * * bin/start --cron\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "start").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "start").chmod(0o755)
    calls = tmp_path / "calls"
    environment = stand_ins(
        su='shift 2; exec bash -c "$1"',
        xtalgrid=f'echo "xtalgrid $*" >> {calls}',
        crontab=f"(echo crontab; grep '^[*0-9]') >> {calls}",
        ln="",
        pgrep="exit 1",
        inotifywait="kill $PPID",
    )
    names = {"PROJECT": "lab", "PROJECT_ROOT": str(tmp_path), "BOINC_USER": "boincadm"}
    subprocess.run(["bash", DOCKER / "bin" / "makeproject-step3.sh"], env=environment | names, timeout=60)
    assert calls.read_text().splitlines() == [
        f"xtalgrid boinc install {tmp_path}",
        "crontab",
        "*/5 * * * * bin/start --cron",
        "xtalgrid service install --cron --user-level",
    ]


def test_a_file_that_is_no_worker_keeps_no_other_from_being_signed(tmp_path, stand_ins):
    """As a worker that was not frozen for BOINC: nothing started, neither the project nor the viewer."""
    for name in ("signing", "release", "workers", "project.image/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "workers" / f"xtalgrid-worker-{name}").touch()
    for name in ("private", "public"):
        (tmp_path / ("signing" if name == "private" else "release") / f"code_sign_{name}").touch()
    signer = tmp_path / "project.image" / "bin" / "sign_executable"
    signer.write_text("#!/bin/sh\necho signature of $(basename $1)\n")
    signer.chmod(0o755)
    script = (DOCKER / "bin" / "sign.sh").read_text()
    for name in ("signing", "release", "workers"):
        script = script.replace(f"/{name}", f"{tmp_path}/{name}")
    frozen = """case $* in
        *frozen*worker-a*) echo "xtalgrid: not frozen for BOINC" >&2; exit 2;;
        *frozen*) echo FOLDER; touch FOLDER/xtalgrid-worker_b;;
        esac"""
    folder = tmp_path / "release" / "apps"
    folder.mkdir()
    environment = stand_ins(xtalgrid=frozen.replace("FOLDER", str(folder))) | {"PROJECT_ROOT": f"{tmp_path}/project"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "not frozen for BOINC" in done.stderr
    assert (folder / "xtalgrid-worker_b.sig").read_text() == "signature of xtalgrid-worker_b\n"


def test_an_empty_file_takes_the_place_of_no_key(tmp_path, stand_ins):
    """As of an export that failed: nothing could be signed any more, and clients accept no other key."""
    (tmp_path / "signing").mkdir()
    key = tmp_path / "signing" / "code_sign_private"
    key.write_text("1024\nabc\n.\n")
    script = (DOCKER / "bin" / "sign.sh").read_text().replace("/signing", f"{tmp_path}/signing")

    def bring(text: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", script, "sign.sh", "import"]
        environment = stand_ins() | {"PROJECT_ROOT": str(tmp_path)}
        return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=60)

    refused = bring("")
    assert (refused.returncode, "no key came in" in refused.stderr) == (1, True)
    assert key.read_text() == "1024\nabc\n.\n"
    assert bring("1024\ndef\n.\n").returncode == 0
    assert key.read_text() == "1024\ndef\n.\n"
    assert list((tmp_path / "signing").iterdir()) == [key]
