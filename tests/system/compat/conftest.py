"""An earlier release's code, out of the repository's history, and how workers are run here."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import missing
from xtalgrid_core.weights import MANIFEST

RELEASE = "3854630b0d023ab59ab3f533d9c09c952bafb562"
"""The last commit of version 0.1.0, which labs run; `recorded/` was made with it."""

VERSION = "0.1.0"
RECORDED = Path(__file__).parent / "recorded"
WEIGHTS = RECORDED / "weights"
REPOSITORY = Path(__file__).parents[3]

Worker = Callable[[Path, Path], None]
"""``worker(unit zip, result file)``: scores a unit."""


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract an archive of ours. Python 3.12 wants a filter; Debian 12's 3.11.2 knows none."""
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(folder)


def _git(*words: str) -> bytes:
    """What git says of the repository's history."""
    git = shutil.which("git")
    if git is None:
        missing("no git on this machine")
    done = subprocess.run([git, "-C", str(REPOSITORY), *words], capture_output=True, timeout=60)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        # Not a missing program: a shallow clone is a choice, and the recorded files are tested all the same.
        pytest.skip(f"commit {RELEASE[:7]} is not in this clone's history, `git fetch --unshallow` brings it: {why}")
    return done.stdout


@pytest.fixture(scope="session")
def released() -> Callable[[str, str], str]:
    """``released(folder, name)``: a text file of the release."""
    return lambda folder, name: _git("show", f"{RELEASE}:{folder}/{name}").decode()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release's packages, as one folder for PYTHONPATH."""
    packages = ("models/xtalgrid_core", "worker/xtalgrid_worker", "server/xtalgrid_server")
    archive = _git("archive", RELEASE, *packages)
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        unpack(files, folder)
    for package in packages:
        (folder / package).replace(folder / Path(package).name)
    named = folder / f"xtalgrid-{VERSION}.dist-info"  # where Python looks up the version
    named.mkdir()
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: xtalgrid\nVersion: {VERSION}\n")
    return folder


@pytest.fixture(scope="session")
def as_release(release: Path) -> dict[str, str]:
    """The environment in which Python runs the release's code."""
    environment = {**os.environ, "PYTHONPATH": str(release)}
    packages = "xtalgrid_core, xtalgrid_worker, xtalgrid_server"
    where = f"import {packages}; print(*(package.__file__ for package in ({packages})))"
    found = subprocess.run([sys.executable, "-c", where], env=environment, capture_output=True, text=True, timeout=60)
    assert found.stdout.count(str(release)) == 3, f"not the release's code: {found.stdout}{found.stderr}"
    return environment


@pytest.fixture(scope="session")
def all_weights(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small networks and the release's weights in one folder. Today's worker brings its own besides."""
    folder = tmp_path_factory.mktemp("weights")
    models = {}
    for given in (WEIGHTS, release / "xtalgrid_core" / "weights"):
        for entry in json.loads((given / MANIFEST).read_bytes())["models"]:
            name = f"{entry['sha256']}.onnx"
            shutil.copy(given / entry["file"], folder / name)
            models[entry["sha256"]] = entry | {"file": name}
    content = {"schema": 1, "default": {}, "models": list(models.values())}
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def old_worker(as_release: dict[str, str], all_weights: Path) -> Worker:
    """The release's worker."""
    return lambda unit, result: run_worker(unit, result, as_release, all_weights)


@pytest.fixture(scope="session")
def new_worker(all_weights: Path) -> Worker:
    """Today's worker."""
    return lambda unit, result: run_worker(unit, result, dict(os.environ), all_weights)


def run_worker(unit: Path, result: Path, environment: dict[str, str], weights: Path) -> None:
    """Have a worker score a unit, as the local grid does."""
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "run", str(unit), str(result), "--weights", str(weights)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
