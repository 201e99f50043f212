"""What is never done with strangers' files, what no log may hold, and that installs are pinned byte by byte."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xtalgrid_worker.boinc import init_data

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("worker", "server", "models/xtalgrid_core") for path in (ROOT / part).rglob("*.py"))
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "jsonpickle", "xml"}
SECRET = "pa55-that-no-log-holds"


def test_nothing_that_runs_what_it_reads_is_imported():
    """Pickles, torch files and XML entities run or fetch what a stranger wrote; BOINC's own XML files are ours."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {(path.name, name) for name in names if name.partition(".")[0] in UNSAFE}
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                shell = any(
                    key.arg in ("shell", "allow_pickle") and ast.unparse(key.value) == "True" for key in node.keywords
                )
                if called in ("eval", "exec", "yaml.load", "os.system") or shell:
                    found.add((path.name, called))
    of_the_project_itself = {(name, what) for name, what in found if what.startswith("xml.")}
    assert {name for name, _ in of_the_project_itself} <= {"install.py", "project.py", "templates.py"}
    assert found == of_the_project_itself
    assert len(SOURCES) > 100


@pytest.mark.parametrize("words", [["status"], ["create_work"], ["sync"]])
def test_no_command_says_the_ledgers_password(tmp_path, words):
    config = tmp_path / "xtalgrid.toml"
    config.write_text(f'[ledger]\nurl = "postgresql+psycopg://lab:{SECRET}@127.0.0.1:1/xtal"\n')
    command = [
        sys.executable,
        "-m",
        "xtalgrid_server",
        "--config",
        str(config),
        "--home",
        str(tmp_path / "home"),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, "LOGNAME": "me"})
    assert done.returncode != 0
    assert done.stderr
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert SECRET not in done.stdout + done.stderr + logs


def test_the_worker_does_not_even_read_the_volunteers_authenticator(tmp_path):
    """BOINC's init_data.xml holds a key to the volunteer's account."""
    (tmp_path / init_data.NAME).write_text(
        f"<app_init_data><major_version>8</major_version><authenticator>{SECRET}</authenticator>"
        f"<result_name>xg_1.1_0</result_name><project_preferences><x>{SECRET}</x></project_preferences></app_init_data>"
    )
    said = init_data.read(tmp_path)
    assert said is not None and said.job == "xg_1.1_0"
    assert SECRET not in repr(said)


@pytest.mark.parametrize("lock", ["docker/requirements.lock", "worker/freeze.lock"])
def test_locks_name_every_package_by_version_and_hash(lock):
    path = ROOT / lock
    if not path.exists():
        pytest.fail(f"{lock} is missing; scripts/lock.sh makes it")
    packages = [block for block in re.split(r"\n(?=\S)", path.read_text().strip()) if not block.startswith("#")]
    assert len(packages) > 8
    for block in packages:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]
