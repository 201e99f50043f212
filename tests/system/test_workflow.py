"""The workflows run what is there to be run, with no more rights and time than they need. They cannot be run here."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))


@pytest.fixture(scope="module")
def workflows() -> dict[str, dict]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra dev)")
    return {name: yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8")) for name in NAMES}


@pytest.fixture(params=NAMES)
def workflow(workflows, request) -> dict:
    return workflows[request.param]


def commands(workflow: dict) -> list[str]:
    lines = [step["run"] for job in workflow["jobs"].values() for step in job.get("steps", []) if "run" in step]
    return [command for line in lines for command in line.split(" && ")]


def test_when_they_run(workflows):
    when = {name: set(workflow[True]) for name, workflow in workflows.items()}  # YAML takes "on" for a truth value
    assert when == {
        "ci": {"workflow_dispatch", "workflow_call", "pull_request", "push"},
        "dist": {"workflow_dispatch", "workflow_call"},
        "freeze": {"workflow_dispatch", "workflow_call"},
        "newest": {"workflow_dispatch", "schedule"},
        "release": {"push"},
    }
    assert workflows["release"][True]["push"] == {"tags": ["v*"]}


def test_they_may_read_the_repository_and_no_more_but_one_writes_issues_and_they_end(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        runs = [step["run"].split()[0] for step in job.get("steps", []) if "run" in step]
        may = {"contents": "read", "issues": "write"} if runs == [".github/report_breakage.sh"] else None
        assert job.get("permissions") == may
        assert "uses" in job or job["timeout-minutes"] <= 120


def test_what_a_job_builds_on_is_there(workflow, workflows):
    kept = set()
    for job in workflow["jobs"].values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])
        if "uses" in job:
            called = re.fullmatch(r"\./\.github/workflows/(\w+)\.yml", job["uses"])
            assert "workflow_call" in workflows[called[1]][True]
        for step in job.get("steps", []):
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                assert step["with"]["if-no-files-found"] == "error"
                assert step["with"]["name"] not in kept
                kept.add(step["with"]["name"])
            if step.get("uses", "").startswith("actions/download-artifact@"):
                assert step["with"].get("name") in {None, *kept}


def test_an_action_has_one_version(workflows):
    used = re.findall(r"uses: (actions/.+)@(v\d+)", "".join((FOLDER / f"{name}.yml").read_text() for name in NAMES))
    assert len(dict(used)) == len(set(used))


def test_each_command_is_there(workflow):
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in commands(workflow):
        match shlex.split(command.removeprefix("sudo "), posix="\\" not in command):
            case ["make", target, *arguments]:
                assert target in targets, f"the Makefile has no {target}"
                named = [argument.removeprefix("ARGS=") for argument in arguments if argument.startswith("ARGS=")]
                assert all((ROOT / name).is_file() for name in named)
            case ["python", "-m", "pip", *_] | ["git", "config", *_] | ["apt-get", *_]:
                pass
            case [".venv-newest/bin/python", "-m", "pip", "list"]:
                pass
            case ["python" | ".venv-freeze/bin/python" | ".venv-freeze\\Scripts\\python", script, *_]:
                assert (ROOT / script).is_file()
            case [program, *_] if program.startswith("dist"):
                pass  # the frozen worker: next test
            case ["xtalgrid" | "xtalgrid-worker" as program, *_]:
                assert program in PROJECT["scripts"]
            case [program] | [program, "$RUN"]:
                assert (ROOT / program).stat().st_mode & 0o100
            case _:
                pytest.fail(f"nothing is known of: {command}")


def test_each_system_freezes_checks_what_it_froze_and_keeps_it(workflows):
    jobs = workflows["freeze"]["jobs"]
    assert [job["runs-on"].partition("-")[0] for job in jobs.values()] == ["ubuntu", "windows", "macos"]
    for job in jobs.values():
        lines = [step["run"].replace("\\", "/").replace(".exe", "") for step in job["steps"] if "run" in step]
        lines = [line.replace(".venv-freeze/Scripts/python", ".venv-freeze/bin/python") for line in lines]
        assert lines == [
            "python scripts/locks/set_up.py .venv-freeze freeze",
            ".venv-freeze/bin/python scripts/freeze.py --release",
            "dist/xtalgrid-worker --version",
            "dist/xtalgrid-worker selfcheck",
            "dist/xtalgrid-worker-dir/xtalgrid-worker selfcheck",
            ".venv-freeze/bin/python scripts/freeze.py --release --boinc --out dist/boinc",
            "dist/boinc/xtalgrid-worker selfcheck",
        ]
        uploads = [step for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
        assert [step["with"]["path"] for step in uploads] == ["dist/release/", "dist/boinc/release/"]


def test_what_it_freezes_with_has_these_options():
    said = subprocess.run([sys.executable, ROOT / "scripts/freeze.py", "--help"], capture_output=True, text=True)
    assert all(option in said.stdout for option in ("--release", "--boinc", "--out"))
    recipe = re.search(r"^freeze:.*\n\t(.+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert shlex.split(recipe)[1] == "scripts/freeze.py"


def test_every_python_that_is_promised_is_tested(workflows):
    jobs = workflows["ci"]["jobs"]
    assert jobs["everything"]["container"]["image"].startswith("python:3.11-")
    assert jobs["other-pythons"]["strategy"]["matrix"]["python"] == ["3.12", "3.13"]
    assert workflows["dist"]["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_breakage_by_the_newest_libraries_is_told_once(tmp_path):
    """A `gh` that says whether there is an issue, and writes down what it is asked to do."""
    gh = tmp_path / "gh"
    gh.write_text(
        f'#!/bin/sh\n[ "$2" != list ] || {{ cat {tmp_path}/open; exit; }}\necho "$1 $2 $3" >> {tmp_path}/done\n'
    )
    gh.chmod(0o755)
    for issue in ("", "17\n"):
        (tmp_path / "open").write_text(issue)
        words = [ROOT / ".github" / "report_breakage.sh", "https://example.org/runs/1"]
        subprocess.run(words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert (tmp_path / "done").read_text() == "issue create --title\nissue comment 17\n"


def test_no_release_without_bills_of_materials_and_a_look_for_advisories(workflows):
    jobs = workflows["release"]["jobs"]
    assert "python scripts/dev/materials.py dist" in [step.get("run") for step in jobs["materials"]["steps"]]
    assert "materials" in jobs["files"]["needs"]
    assert "advisories" in workflows["newest"]["jobs"]["report"]["needs"]


def check_release(*words: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/dev/check_release.py", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == bool(done.stderr)
    return done.stderr.splitlines()


def test_a_tag_that_is_not_the_version_is_no_release():
    said = check_release("v99.0")
    assert "v99.0" in said[0]


def test_a_release_has_all_its_files(tmp_path):
    version = PROJECT["version"]
    of_tag = check_release(f"v{version}")  # until its day is in the changelog
    files = [f"xtalgrid-{version}-py3-none-any.whl", f"xtalgrid-{version}.tar.gz", "server.lock"]
    files += [f"xtalgrid-{version}-{lock}.cdx.json" for lock in ("server", "freeze")]
    for name in ("linux-x86_64", "windows-amd64.exe", "macos-arm64"):
        files += [f"{folder}/xtalgrid-worker-{version}-{name}" for folder in (name, f"{name}-for-boinc")]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert check_release(f"v{version}", tmp_path) == of_tag
    (tmp_path / files[0]).unlink()
    (tmp_path / files[-1]).unlink()
    said = check_release(f"v{version}", tmp_path)
    assert said[len(of_tag) :] == [
        f"{files[0]} is missing",
        f"1 files xtalgrid-worker-{version}-macos-*; there should be 2, one of them for BOINC",
    ]
