"""The workflow that freezes the worker for three systems runs what is there to be run."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def jobs() -> dict:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra dev)")
    workflow = yaml.safe_load((ROOT / ".github/workflows/freeze.yml").read_text())
    assert set(workflow[True]) == {"workflow_dispatch", "push"}  # YAML takes "on" for a truth value
    return workflow["jobs"]


def test_each_system_freezes_checks_what_it_froze_and_keeps_it(jobs):
    assert [job["runs-on"].partition("-")[0] for job in jobs.values()] == ["ubuntu", "windows", "macos"]
    for job in jobs.values():
        commands = [step["run"].replace("\\", "/").replace(".exe", "") for step in job["steps"] if "run" in step]
        assert commands == [
            "python -m pip install --require-hashes -r worker/freeze.lock && python -m pip install --no-deps .",
            "python scripts/freeze.py --release",
            "dist/xtalgrid-worker --version",
            "dist/xtalgrid-worker selfcheck",
            "dist/xtalgrid-worker-dir/xtalgrid-worker selfcheck",
        ]
        assert job["steps"][-1]["uses"].startswith("actions/upload-artifact@")
        assert job["steps"][-1]["with"]["path"] == "dist/release/"


def test_its_commands_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all("==" in requirement for requirement in extras["freeze"])
    said = subprocess.run([sys.executable, ROOT / "scripts/freeze.py", "--help"], capture_output=True, text=True)
    assert "--release" in said.stdout
    recipe = re.search(r"^freeze:.*\n\t(.+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert shlex.split(recipe)[1] == "scripts/freeze.py"
