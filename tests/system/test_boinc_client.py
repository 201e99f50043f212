"""The worker as a real BOINC client runs it: from this Python by app_info.xml, and frozen as a server sends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.conftest import CHOP_BY_CHOP, encoded, entry, missing, well
from tests.small_disk import small_disk
from tests.system.boinc_client import BoincClient, wait_until
from tests.system.boinc_project import Project
from xtalgrid_core import wire
from xtalgrid_core.weights import default_models, read_manifest
from xtalgrid_server.grids.boinc.app_version import frozen as lay_out
from xtalgrid_server.grids.boinc.app_version import own_python
from xtalgrid_worker.run import version

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes as Linux shows them"),
]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    if shutil.which("boinc") is None or shutil.which("boinccmd") is None:
        missing("there is no BOINC client (Debian's package boinc-client)")
    with Project() as project:
        yield project


@pytest.fixture
def own_project(project: Project) -> Iterator[Project]:
    """A project whose jobs no other client takes."""
    with Project() as own:
        yield own


@pytest.fixture(scope="module")
def client(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoincClient]:
    """A client whose jobs are done by the worker of this Python."""
    client = BoincClient(tmp_path_factory.mktemp("client"), project.url)
    own_python(Path(sys.executable), client.project_folder)
    with client:
        yield client


class Wells:
    """Three wells, over and over: units of them, and what the worker says of them where there is no BOINC."""

    def __init__(self, weights: Path, folder: Path) -> None:
        self._data = [encoded(well(colour, 700, 900)) for colour in ((150, 40, 40), (40, 40, 140), None)]
        self._folder = folder
        self.weights = weights
        unit, result = folder / "plain.zip", folder / "plain.json"
        unit.write_bytes(self.unit("plain", 3))
        words = ["run", unit, result, "--weights", weights]
        subprocess.run([sys.executable, "-m", "xtalgrid_worker", *words], check=True, capture_output=True)
        self._answers = answers(result.read_bytes())
        scored = wire.decode_result(result.read_bytes()).images
        self._seconds = sum(image.seconds for image in scored if isinstance(image, wire.Scored)) / len(scored)

    def images_for(self, seconds: float) -> int:
        """How many images take this computer so many CPU seconds."""
        return min(max(round(seconds / self._seconds), 12), wire.MAX_IMAGES)

    def unit(self, name: str, images: int) -> bytes:
        """A work unit's zip."""
        segmenter, classifier = default_models(self.weights)
        manifest = wire.Manifest(
            schema=wire.SCHEMA,
            unit=name,
            min_worker="0.1.0",
            options=wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP | {"step": 16}),
            images=tuple(entry(number, self._data[number % 3]) for number in range(images)),
        )
        path = self._folder / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as unit:
            unit.writestr(wire.MANIFEST_NAME, wire.encode(manifest))
            for image in manifest.images:
                unit.writestr(image.file, self._data[image.number % 3])
        return path.read_bytes()

    def answers(self, images: int) -> list[wire.Answer]:
        """What a result has to say of a unit's images."""
        return [msgspec.structs.replace(self._answers[number % 3], number=number) for number in range(images)]


@pytest.fixture(scope="module")
def wells(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Wells:
    return Wells(tiny_weights, tmp_path_factory.mktemp("wells"))


def send(project: Project, job: str, images: int, wells: Wells) -> None:
    """Have a job wait for a client, the weights it takes beside it."""
    project.send(job, {"unit.zip": (f"{job}.zip", wells.unit(job, images)), **travelling(wells.weights)})


def travelling(weights: Path) -> dict[str, tuple[str, bytes]]:
    """Weights as input files: the list, and each named by its hash."""
    manifest = read_manifest(weights)
    named = [msgspec.structs.replace(model, file=f"{model.sha256}.onnx") for model in manifest.models]
    listed = msgspec.json.encode(msgspec.structs.replace(manifest, models=tuple(named)))
    files = {
        f"{model.sha256}.onnx": (f"{model.sha256}.onnx", (weights / model.file).read_bytes())
        for model in manifest.models
    }
    return {"weights.json": ("xtalgrid_weights_1.json", listed), **files}


def answers(data: bytes) -> list[wire.Answer]:
    """What a result says of its images, without the seconds it took."""
    images = wire.decode_result(data).images
    return [msgspec.structs.replace(i, seconds=0) if isinstance(i, wire.Scored) else i for i in images]


def test_progress_and_checkpoints_rise_and_the_result_is_the_plain_workers(project, client, wells):
    images = wells.images_for(6)
    send(project, "whole", images, wells)
    client.update(lambda: not project.waiting)
    wait_until(lambda: client.checkpoint("whole") > 0)
    seen = []
    while "whole" not in project.reports:
        task = client.task("whole")
        if 0 < float(task.get("fraction done", 0)) < 1 and "CPU time at last checkpoint" in task:
            seen.append((float(task["fraction done"]), float(task["CPU time at last checkpoint"])))
        time.sleep(0.3)
    fractions, checkpoints = zip(*seen, strict=True)
    assert list(fractions) == sorted(fractions)
    assert list(checkpoints) == sorted(checkpoints)
    assert len(set(fractions)) >= 3
    assert len(set(checkpoints)) >= 3
    report = project.reports["whole"]
    assert report.exit_status == 0, report.stderr
    assert report.cpu_time >= checkpoints[-1]
    assert answers(project.uploads["whole"]) == wells.answers(images)
    assert f"xtalgrid-worker {version()}, BOINC client 7." in report.stderr
    assert "0123456789abcdef" not in report.stderr, "the client's account is nobody's business"


def test_suspended_it_takes_no_cpu_and_aborted_it_is_gone(project, client, wells):
    send(project, "idle", wells.images_for(60), wells)
    client.update(lambda: not project.waiting)
    wait_until(lambda: client.checkpoint("idle") > 0)
    client.do("idle", "suspend")
    wait_until(lambda: client.task("idle")["active_task_state"] == "SUSPENDED")
    time.sleep(1)
    before, fraction = client.cpu_seconds(), client.fraction("idle")
    time.sleep(3)
    assert client.workers(), "it is to wait, not to leave"
    assert client.cpu_seconds() - before <= 0.05
    client.do("idle", "resume")
    wait_until(lambda: client.fraction("idle") > fraction)
    assert client.cpu_seconds() > before
    client.do("idle", "abort")
    wait_until(lambda: not client.workers(), 30)
    client.update(lambda: "idle" in project.reports)
    assert project.reports["idle"].exit_status == 203  # EXIT_ABORTED_VIA_GUI
    assert "idle" not in project.uploads


def test_it_goes_on_where_it_was_after_quitting_and_after_its_client_was_killed(project, client, wells):
    images = wells.images_for(9)
    send(project, "interrupted", images, wells)
    client.update(lambda: not project.waiting)
    wait_until(lambda: client.checkpoint("interrupted") > 1)
    client.quit()
    assert not client.workers()
    assert (client.slot() / "result.json.checkpoint").exists()
    client.start()
    again = wait_until(lambda: client.checkpoint("interrupted"))
    wait_until(lambda: client.checkpoint("interrupted") > again)
    client.kill()
    wait_until(lambda: not client.workers(), 30)
    client.start()
    wait_until(lambda: "interrupted" in project.reports, 120)
    report = project.reports["interrupted"]
    assert report.exit_status == 0, report.stderr
    assert answers(project.uploads["interrupted"]) == wells.answers(images)
    assert report.stderr.count(f"of {images} images already done") == 2
    assert report.stderr.index("the client requested to quit") < report.stderr.index("has exited")
    weights = [name for name in project.downloads if name.endswith(".onnx")]
    assert [project.downloads[name] for name in weights] == [1, 1], "the same files for each job"


@pytest.mark.parametrize("longest", [float(os.environ.get("XTALGRID_FULL_DISK_SECONDS", "3"))])
@pytest.mark.timeout(3600)
def test_a_full_disk_costs_no_well(own_project, wells, tmp_path, longest):
    """All that the worker writes is on a disk that is full for 0.1 s to `longest` seconds, again and again.

    The client's own files are elsewhere: it exits when it can't write them.
    """
    rng, held, images = random.Random(5), 0, wells.images_for(15)
    client = BoincClient(tmp_path / "client", own_project.url)
    own_python(Path(sys.executable), client.project_folder)
    with small_disk(tmp_path / "disk", 24_000) as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        with disk.holding(client.folder / "slots"), disk.holding(client.folder / "projects"):
            send(own_project, "full", images, wells)
            with client:
                client.update(lambda: not own_project.waiting)
                wait_until(lambda: client.checkpoint("full") > 0)
                while client.workers():
                    disk.fill()
                    time.sleep(rng.choice((0.1, 1, longest)))
                    disk.make_room()
                    held += 1
                    time.sleep(rng.uniform(0.1, 1))
                client.update(lambda: "full" in own_project.reports)
    report = own_project.reports["full"]
    assert report.exit_status == 0, report.stderr
    assert held >= 4
    assert "space on the disk" in report.stderr
    assert answers(own_project.uploads["full"]) == wells.answers(images)


def test_a_broken_work_unit_is_an_error_at_once(project, client):
    project.send("broken", {"unit.zip": ("broken.zip", b"PK no zip")})
    client.update(lambda: not project.waiting)
    client.update(lambda: "broken" in project.reports)  # after an error the client would wait for minutes
    report = project.reports["broken"]
    assert report.exit_status == 206
    assert "fetch it again" in report.stderr
    assert "broken" not in project.uploads


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker frozen for BOINC: `XTALGRID_FROZEN_BOINC`, or made now where nothing may be skipped."""
    if given := os.environ.get("XTALGRID_FROZEN_BOINC"):
        return Path(given)
    if os.environ.get("XTALGRID_REQUIRE_ALL") != "1":
        pytest.skip("freezing takes minutes; XTALGRID_FROZEN_BOINC names a file of scripts/freeze.py --boinc")
    assert importlib.util.find_spec("PyInstaller"), "PyInstaller is not installed (extra freeze)"
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "scripts/freeze.py", "--boinc", "--out", out], check=True)
    return out / "xtalgrid-worker"


@pytest.fixture
def frozen_project(own_project: Project, frozen: Path, tmp_path: Path) -> Project:
    """A project whose clients get the frozen worker from it."""
    named = tmp_path / f"xtalgrid-worker-{version()}-linux-{platform.machine()}"
    shutil.copy(frozen, named)
    own_project.serve_app_version(lay_out(named, tmp_path / "apps"))
    return own_project


@pytest.mark.timeout(600)  # it may have to be frozen first
def test_the_frozen_worker_comes_from_the_project(frozen_project, wells, tmp_path):
    images = wells.images_for(6)
    send(frozen_project, "frozen", images, wells)
    with BoincClient(tmp_path / "client", frozen_project.url) as client:
        wait_until(lambda: client.checkpoint("frozen") > 0, 300)  # it unpacks itself first
        assert len(client.workers()) == 1
        unpacked = (client.slot() / "xtalgrid-worker-dir").stat()
        client.quit()
        assert not client.workers()
        client.start()
        wait_until(client.workers)
        assert (client.slot() / "xtalgrid-worker-dir").stat().st_ino == unpacked.st_ino, "it unpacked itself again"
        wait_until(lambda: "frozen" in frozen_project.reports)
        assert not (client.folder / "slots" / "0" / "xtalgrid-worker-dir").exists()
    report = frozen_project.reports["frozen"]
    assert report.exit_status == 0, report.stderr
    assert report.stderr.count(f"of {images} images already done") == 1
    assert answers(frozen_project.uploads["frozen"]) == wells.answers(images)


@pytest.mark.timeout(600)
def test_a_disk_too_full_to_unpack_the_frozen_worker_is_no_error(frozen_project, wells, tmp_path):
    send(frozen_project, "full", 2, wells)
    client = BoincClient(tmp_path / "client", frozen_project.url)
    with small_disk(tmp_path / "disk", 30_000) as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        with disk.holding(client.folder / "slots"), client:
            wait_until(lambda: "postponed for 600 seconds: the disk is full: free 1" in client.log())
            assert sum(path.stat().st_size for path in client.slot().rglob("*")) < 100_000, "it left something"
            assert not frozen_project.reports
            disk.grow("300m")
            client.quit()  # it forgets the 600 seconds
            client.start()
            wait_until(lambda: "full" in frozen_project.reports)
    report = frozen_project.reports["full"]
    assert report.exit_status == 0, report.stderr
    assert report.stderr.count("the disk is full: free 1") == 1
    assert answers(frozen_project.uploads["full"]) == wells.answers(2)
