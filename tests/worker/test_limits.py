"""What the worker does to the computer it runs on."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CHOP_BY_CHOP, RED, encoded, entry, well
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.weights import default_models

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks into Linux's /proc")


def without_edge(height: int, width: int) -> bytes:
    """An image without the edge of a drop, so that all of it is scored."""
    noise = np.random.default_rng(1).integers(100, 120, (height, width, 3), np.uint8)
    noise += np.linspace(0, 20, width, dtype=np.uint8)[:, None]  # one side is brighter
    return encoded(noise, "JPEG", quality=90)


@pytest.fixture
def large() -> bytes:
    """An image that takes a second."""
    return without_edge(1500, 2000)


def unit(folder: Path, images: list[bytes], **options: object) -> Path:
    """A work unit for the packaged weights."""
    segmenter, classifier = default_models()
    manifest = wire.Manifest(
        schema=1,
        unit="limits",
        min_worker="0",
        options=wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP | options),
        images=tuple(entry(number, data) for number, data in enumerate(images)),
    )
    with zipfile.ZipFile(folder / "unit.zip", "w") as file:
        file.writestr(wire.MANIFEST_NAME, wire.encode(manifest))
        for number, data in enumerate(images):
            file.writestr(f"{number:03d}.png", data)
    return folder / "unit.zip"


@pytest.fixture
def start(tmp_path):
    """``start(*options)`` in a slot folder, with a home and a folder of temporary files of its own."""
    started = []
    for name in ("slot", "home", "tmp"):
        (tmp_path / name).mkdir()

    def start(*options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "xtalgrid_worker", "run", "unit.zip", "result.json", *options]
        places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(command, cwd=tmp_path / "slot", env=places, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until_scoring(process: subprocess.Popen, checkpoint: Path) -> None:
    end = time.monotonic() + 60
    while not (checkpoint.exists() and b"begin" in checkpoint.read_bytes()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "it did not start"
        time.sleep(0.01)


def test_one_thread_no_processes_no_files_the_lowest_priority(tmp_path, start, large):
    path = unit(tmp_path / "slot", [large, encoded(well(RED))], mode="dense", step=48)
    process = start()
    wait_until_scoring(process, tmp_path / "slot" / "result.json.checkpoint")
    seen = set()
    while process.poll() is None:
        try:
            tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
            children = "".join((task / "children").read_text() for task in tasks)
            seen.add((len(tasks), children, os.getpriority(os.PRIO_PROCESS, process.pid)))
        except OSError:
            break  # it has just ended
        time.sleep(0.005)
    assert process.wait() == 0, process.stderr.read()
    assert seen == {(1, "", 19)}
    assert sorted(tmp_path.rglob("*")) == sorted(
        [tmp_path / "home", tmp_path / "slot", path, tmp_path / "slot" / "result.json", tmp_path / "tmp"]
    )


@pytest.mark.parametrize(
    "options", [{"mode": "dense", "step": 48}, {"mode": "exact", "step": 50}], ids=["dense", "exact"]
)
def test_it_stops_within_a_second(tmp_path, start, options):
    unit(tmp_path / "slot", [without_edge(3500, 4000)] * 3, **options)
    process = start("--keep-priority")
    checkpoint = tmp_path / "slot" / "result.json.checkpoint"
    wait_until_scoring(process, checkpoint)
    time.sleep(0.3)  # after decoding, while it classifies
    before = cpu_seconds(process.pid)
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 143
    assert checkpoint.read_bytes().rstrip().endswith(b"ended 0")
    assert usage.ru_utime + usage.ru_stime - before < 1


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_image_over_the_time_limit_fails_alone(tmp_path, start, large):
    unit(tmp_path / "slot", [large, b"broken", encoded(well(RED, 96, 128))], mode="exact", step=50)
    process = start("--time-limit", "1")
    _, output = process.communicate(timeout=60)
    assert process.returncode == 0, output
    slow, broken, quick = wire.decode_result((tmp_path / "slot" / "result.json").read_bytes()).images
    assert (slow.reason, broken.reason) == (FailureReason.TIMED_OUT, FailureReason.NOT_AN_IMAGE)
    assert "more than 1 CPU seconds" in slow.detail
    assert isinstance(quick, wire.Scored)


def test_memory_stays_below_400_mb(tmp_path, start):
    noise = np.random.default_rng(1).integers(100, 120, (2056, 2452, 3), np.uint8)
    unit(tmp_path / "slot", [encoded(noise, "PNG", compress_level=1)], mode="dense", step=48)
    process = start("--keep-priority")
    peak = 0  # from /proc, because wait4 includes the memory of the parent, pytest
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if b"xtalgrid_worker" in Path(f"/proc/{process.pid}/cmdline").read_bytes() and "VmHWM" in status:
            peak = int(status.split("VmHWM:")[1].split()[0])
        time.sleep(0.01)
    assert process.returncode == 0
    assert 50_000 < peak < 400_000  # kB
