"""What is never done with strangers' files, what no log may hold, and that installs are pinned byte by byte."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xtalgrid_worker.boinc import init_data

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for part in ("worker", "server", "models/xtalgrid", "models/xtalgrid_core", "models/xtalgrid_scoring")
    for path in (ROOT / part).rglob("*.py")
)
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
    readers = {"app_version.py", "health.py", "install.py", "project.py", "templates.py"}
    # These refuse document types, so no entity is ever read.
    readers |= {"screens.py", "sheets.py"}
    # These write, and import what escapes text.
    readers |= {"label_studio.py", "text.py"}
    assert {name for name, _ in of_the_project_itself} <= readers
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


def locked(name: str) -> dict[str, str]:
    """A lock's packages: by `name==version ; marker`, their hashes."""
    text = (ROOT / "scripts" / "locks" / f"{name}.lock").read_text()
    blocks = [block.split(" \\\n") for block in re.split(r"\n(?=\S)", text.strip()) if not block.startswith("#")]
    return {head: "".join(re.findall(r"--hash=sha256:[0-9a-f]{64}", "".join(hashes))) for head, *hashes in blocks}


@pytest.mark.parametrize("name", ["all", "server", "dev", "freeze", "audit"])
def test_locks_name_every_package_by_version_and_hash(name):
    packages = locked(name)
    assert len(packages) > 10
    for package, hashes in packages.items():
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+", package), package
        assert hashes, package


@pytest.mark.parametrize("name", ["server", "dev", "freeze"])
def test_locks_agree(name):
    packages, everything = locked(name), locked("all")
    versions = {package.split(" ")[0]: hashes for package, hashes in everything.items()}
    assert {package.split(" ")[0]: hashes for package, hashes in packages.items()}.items() <= versions.items()


def test_the_lock_is_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = dict(package.split(" ")[0].split("==") for package in locked("all"))
    asked = list(project["dependencies"])
    for extra, texts in project["optional-dependencies"].items():
        asked += [] if extra == "cx-oracle" else texts
    for requirement in map(Requirement, asked):
        if requirement.name not in ("torch", "torchvision"):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
    assert not any(name.startswith(("nvidia-", "cuda-", "torch", "triton")) for name in versions)
