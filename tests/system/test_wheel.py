"""The wheel: what is in it, and that it works where nothing else of the repository is.

It is built here from the files that git knows, by way of the source archive; `XTALGRID_DIST` names a folder with both to test instead.
The environments it is installed in hold copies of this environment's libraries, but only of those it asks for: no network is needed.
"""

from __future__ import annotations

import email.parser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import xtalgrid
from tests.conftest import missing
from tests.docs.pages import blocks
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.steps.pack import MIN_WORKER
from xtalgrid_synth import render_well

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def tracked() -> list[str]:
    """The repository's files, as paths with slashes from its root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        missing(f"no checkout of git: {listed.stderr.strip()}")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive it was built from."""
    if given := os.environ.get("XTALGRID_DIST"):
        return ROOT / given
    if importlib.util.find_spec("build") is None:
        missing("build is not installed (extra dev)")
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    return dist / f"xtalgrid-{PROJECT['version']}-py3-none-any.whl"


@pytest.fixture(scope="module")
def worker_alone(wheel, tmp_path_factory) -> Path:
    """The folder of commands of an environment with the wheel, what it asks for, and nothing else."""
    return install(tmp_path_factory.mktemp("worker"), wheel, PROJECT["dependencies"])


@pytest.fixture(scope="module")
def server(wheel, tmp_path_factory) -> Path:
    """The same with the extra `server`."""
    extra = PROJECT["optional-dependencies"]["server"]
    return install(tmp_path_factory.mktemp("server"), f"{wheel}[server]", PROJECT["dependencies"] + extra)


def install(folder: Path, wheel: Path | str, requirements: list[str]) -> Path:
    """Make an environment: of the libraries here, those that are required, and the wheel, which pip must find content with them."""
    if importlib.util.find_spec("pip") is None:
        missing("pip is not installed here")
    venv.create(folder, symlinks=os.name != "nt")
    libraries = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    for name in closure(requirements):
        for file in metadata.distribution(name).files or []:
            if ".." not in file.parts and file.locate().is_file():
                (libraries / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), libraries / file)
    python = folder / SCRIPTS / ("python.exe" if os.name == "nt" else "python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-compile"]
    said = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, timeout=200)
    assert said.returncode == 0, said.stderr
    return folder / SCRIPTS


def closure(requirements: list[str]) -> set[str]:
    """The distributions that requirements ask for on this system, and what these ask for in turn."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        asked = waiting.pop()
        known = (canonicalize_name(asked.name), frozenset(asked.extras))
        if known in seen or (asked.marker and not asked.marker.evaluate()):
            continue
        seen.add(known)
        for text in metadata.requires(asked.name) or []:
            further = Requirement(text)
            if not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)):
                further.marker = None
                waiting.append(further)
    return {name for name, _ in seen}


def run(command: Path, *words: str | Path, where: Path) -> subprocess.CompletedProcess[str]:
    """Run an installed command as someone who has no repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XTALGRID"))}
    words = tuple(map(str, words))
    return subprocess.run([command, *words], cwd=where, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small rendered wells."""
    folder = tmp_path_factory.mktemp("wells")
    for name, outcome in {"A1": Outcome.HARVESTABLE, "A2": Outcome.CLEAR, "A3": Outcome.NULL_EXPERIMENT}.items():
        Image.fromarray(render_well(outcome, seed=2, width=900, height=700).image).save(folder / f"{name}.jpg")
    return folder


def test_the_wheel_holds_the_packages_as_git_knows_them_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    known = {name.partition("/")[2] for name in tracked() if re.match(r"(models|worker|server)/xtalgrid(_\w+)?/", name)}
    assert held == known
    parts = ("", "_core", "_nets", "_scoring", "_server", "_synth", "_worker")
    assert {f"xtalgrid{part}" for part in parts} == {name.split("/")[0] for name in held}


def test_the_source_archive_holds_neither_tests_nor_pictures(dist):
    with tarfile.open(dist / f"xtalgrid-{PROJECT['version']}.tar.gz") as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if name.count("/") > 1}
    assert folders == {"models", "worker", "server", "xtalgrid.egg-info"}


def test_one_version(wheel, server, worker_alone, tmp_path):
    version = PROJECT["version"]
    with zipfile.ZipFile(wheel) as archive:
        told = email.parser.Parser().parsestr(archive.read(f"xtalgrid-{version}.dist-info/METADATA").decode())
    assert told["Version"] == version
    assert run(worker_alone / "xtalgrid-worker", "--version", where=tmp_path).stdout.split()[1] == version
    assert run(server / "xtalgrid", "--version", where=tmp_path).stdout.split()[-1] == version
    assert run(server / "xtalgrid-train", "--version", where=tmp_path).stdout.split()[-1] == version
    assert wire.release(MIN_WORKER) <= wire.release(version), "units ask for a worker that is not out yet"
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest[1].startswith(f"{version}, ")


def test_the_worker_needs_nothing_of_the_server(worker_alone, wells, tmp_path):
    checked = run(worker_alone / "xtalgrid-worker", "selfcheck", where=tmp_path)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "selfcheck passed"), checked.stderr
    done = run(worker_alone / "xtalgrid-worker", "score", wells, "--out", "scores", where=tmp_path)
    assert done.returncode == 0, done.stderr
    result = wire.decode_result((tmp_path / "scores" / "result.json").read_bytes())
    assert all(isinstance(answer, wire.Scored) for answer in result.images)
    assert result.images[0].outcome is Outcome.HARVESTABLE


def test_the_five_lines_need_the_default_install_only_and_score_as_everything_else(worker_alone, wells, tmp_path):
    lines = next(block.text for block in blocks(ROOT / "README.md") if block.language == "python")
    shutil.copytree(wells, tmp_path / "plate")
    (tmp_path / "plate" / "A1.jpg").rename(tmp_path / "plate" / "A01.jpg")
    exact = lines + "\nimport json; print(json.dumps(score.to_dict()))"
    done = run(worker_alone / "python", "-W", "error", "-c", exact, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    printed, row = done.stdout.splitlines()
    here = xtalgrid.Scorer().score(tmp_path / "plate" / "A01.jpg", pixel_size_um=1.13)
    assert printed == f"{here.outcome} {here.p_crystal}"
    assert json.loads(row) | {"seconds": 0} == here.to_dict() | {"seconds": 0, "image": str(Path("plate/A01.jpg"))}
    with Image.open(tmp_path / "A01_scored.jpg") as framed:
        assert framed.size == (900, 700)


@pytest.mark.parametrize(("command", "extra"), [("xtalgrid", "server"), ("xtalgrid-train", "train")])
def test_a_command_without_its_libraries_says_what_to_install(worker_alone, command, extra, tmp_path):
    done = run(worker_alone / command, "networks" if extra == "train" else "status", where=tmp_path)
    assert done.returncode == 1
    assert f"xtalgrid[{extra}]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_server_scores_a_folder_without_torch(server, wells, tmp_path):
    assert run(server / "python", "-c", "import torch", where=tmp_path).returncode == 1
    done = run(server / "xtalgrid", "--home", tmp_path / "home", "run", wells, where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 images accounted for" in done.stdout
    trained = run(server / "xtalgrid-train", "networks", where=tmp_path)
    assert (trained.returncode, trained.stderr.count("\n"), "xtalgrid[train]" in trained.stderr) == (1, 1, True)
