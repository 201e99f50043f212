"""The frozen worker: small enough, needs nothing, and scores as the unfrozen one does.

It is frozen here, which takes a minute, in the environment that `make freeze` and `make test` set up for it;
`XTALGRID_FROZEN` names a folder made by `scripts/freeze.py` to test instead.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.conftest import missing
from xtalgrid_core import wire
from xtalgrid_core.weights import default_models
from xtalgrid_worker.selfcheck import WELL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at the frozen worker as Linux runs it"),
]

ROOT = Path(__file__).parents[2]
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that scripts/freeze.py fills."""
    if given := os.environ.get("XTALGRID_FROZEN"):
        return Path(given).absolute()
    python = Path(f"{sys.prefix}-freeze") / "bin" / "python"
    if shutil.which("objcopy") is None:
        missing("PyInstaller needs objcopy and objdump (Debian's package binutils)")
    if not (python.parents[1] / ".freeze").exists():
        missing(f"{python.parents[1]} is not set up (make freeze)")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([python, ROOT / "scripts/freeze.py", "--out", out], check=True, timeout=280)
    return out


@pytest.fixture(params=["xtalgrid-worker", "xtalgrid-worker-dir/xtalgrid-worker"], ids=["one-file", "one-dir"])
def worker(frozen, request) -> Path:
    return frozen / request.param


def run(worker: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([worker, *map(str, words)], env=environment, capture_output=True, text=True, timeout=120)


def test_every_library_in_it_has_a_licence_in_the_reference(frozen):
    page = (ROOT / "docs/reference/licences.md").read_text()
    known = re.findall(r"^\| (lib\S+) \|", page, re.MULTILINE)
    libraries = [path for path in (frozen / "xtalgrid-worker-dir").rglob("lib*.so*") if not path.is_symlink()]
    assert len(libraries) > 10
    assert [path.name for path in libraries if not path.name.startswith(tuple(known))] == []


def test_the_file_is_small(frozen):
    assert (frozen / "xtalgrid-worker").stat().st_size <= 42_000_000


def test_version_in_an_empty_environment(worker, tmp_path):
    done = run(worker, "--version")
    unfrozen = subprocess.run([sys.executable, "-m", "xtalgrid_worker", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, unfrozen.stdout, "")
    assert all(sha256 in done.stdout for sha256 in default_models())


def test_selfcheck_leaves_no_files(worker, tmp_path):
    done = run(worker, "selfcheck", HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "selfcheck passed"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_scores_as_the_unfrozen_worker(worker, tmp_path):
    def answers(folder: Path) -> wire.Result:
        result = wire.decode_result((folder / "result.json").read_bytes())
        images = [msgspec.structs.replace(i, seconds=0) if isinstance(i, wire.Scored) else i for i in result.images]
        return msgspec.structs.replace(result, images=tuple(images))

    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    words = ["score", WELL, tmp_path / "broken.tif", "--pixel-size", 2.4, "--frames", "--out"]
    done = run(worker, *words, tmp_path / "frozen")
    assert done.returncode == 0, done.stderr
    unfrozen = [sys.executable, "-m", "xtalgrid_worker", *map(str, words), str(tmp_path / "unfrozen")]
    subprocess.run(unfrozen, check=True, capture_output=True)
    assert answers(tmp_path / "frozen") == answers(tmp_path / "unfrozen")
    frames = [(tmp_path / way / "well_ART.jpg").read_bytes() for way in ("frozen", "unfrozen")]
    assert frames[0] == frames[1]


@pytest.mark.skipif(os.geteuid() != 0 or CHROOT is None, reason="chroot is root's")
def test_it_needs_only_glibc_and_zlib(worker, tmp_path):
    needed = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libz.so.1"]
    (tmp_path / "tmp").mkdir()
    for name in needed:
        found = _loaded_from(name)
        (tmp_path / found.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(found, tmp_path / found.relative_to("/"))
    loader = next(found for folder in ("/lib64", "/lib") for found in Path(folder).glob("ld-linux*.so.*"))
    (tmp_path / loader.parent.relative_to("/")).mkdir(exist_ok=True)
    shutil.copy(loader, tmp_path / loader.relative_to("/"))
    shutil.copytree(
        worker.parent, tmp_path / "program", symlinks=True, ignore=shutil.ignore_patterns("*-dir", "release")
    )
    done = subprocess.run(
        [CHROOT, tmp_path, f"/program/{worker.name}", "selfcheck"], env={}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["selfcheck passed"]), done.stderr


def _loaded_from(name: str) -> Path:
    """Where the loader finds a library."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(Path(line.rpartition(" => ")[2]) for line in known if line.split()[:1] == [name])


def test_one_process_and_one_thread_in_a_folder_two_processes_as_one_file(worker, scoring, tmp_path):
    process = scoring(worker)
    family = [process.pid, *_children(process.pid)]
    assert len(family) == (1 if worker.parent.name.endswith("-dir") else 2)
    assert [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in family] == [1] * len(family)
    process.terminate()
    assert process.wait(30) == 143
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_its_bootloader_the_one_file_worker_stops_and_cleans_up(frozen, scoring, tmp_path):
    process = scoring(frozen / "xtalgrid-worker")
    (child,) = _children(process.pid)
    process.kill()
    process.wait()
    try:
        _wait_until(lambda: not _is_running(child))
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        raise
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def scoring(tmp_path):
    """``scoring(worker)``: the process of a worker amid an image that takes it long."""
    started = []

    def start(worker: Path) -> subprocess.Popen:
        (tmp_path / "tmp").mkdir()
        command = [worker, "score", WELL, "--pixel-size", "6", "--exact", "--step", "16", "--out", tmp_path / "out"]
        process = subprocess.Popen(command, env={"TMPDIR": str(tmp_path / "tmp")}, stderr=subprocess.DEVNULL)
        started.append(process)
        checkpoint = tmp_path / "out" / "result.json.checkpoint"
        _wait_until(lambda: checkpoint.exists() and b"begin" in checkpoint.read_bytes())
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait()


def _wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
