"""The worker as a process: killed, stopped, orphaned, and next to another one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.conftest import BLUE, GREEN, RED, encoded, well
from xtalgrid_core import wire

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def start(tmp_path, tiny_weights):
    """``start(zip, *options)``: start a worker; those still running are killed at the end."""
    started = []

    def start(path, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "run", path, tmp_path / "result.json"]
        process = subprocess.Popen([*command, "--weights", tiny_weights, *options], stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "result.json.checkpoint"


@pytest.fixture
def images():
    colours = [RED, GREEN, BLUE, None]
    return [encoded(well(colours[n % 4], 480 + 8 * n, 640)) for n in range(24)] + [b"broken"]


def answers(tmp_path) -> list[wire.Answer]:
    result = wire.decode_result((tmp_path / "result.json").read_bytes())
    return [msgspec.structs.replace(i, seconds=0) if isinstance(i, wire.Scored) else i for i in result.images]


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def lines(checkpoint) -> int:
    return checkpoint.read_bytes().count(b"\n") if checkpoint.exists() else 0


@posix
def test_killed_at_any_moment_it_resumes_with_the_same_result(tmp_path, start, make_unit, images, checkpoint):
    path = make_unit(images)
    process = start(path)
    assert process.wait(60) == 0, process.stderr.read()
    whole = answers(tmp_path)
    assert len(whole) == 25

    (tmp_path / "result.json").unlink()
    moments, kills = random.Random(1), 0
    for _ in range(6):
        process = start(path)
        before = lines(checkpoint)
        wait_until(lambda process=process, before=before: process.poll() is not None or lines(checkpoint) > before + 4)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if (tmp_path / "result.json").exists():
            break
        assert checkpoint.exists()
    assert kills >= 2, "it ended before it could be killed: nothing was tested"
    assert start(path).wait(60) == 0
    assert answers(tmp_path) == whole
    assert not checkpoint.exists()


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_it_within_an_image_and_keeps_finished_ones(
    tmp_path, start, make_unit, images, checkpoint, number, code
):
    path = make_unit([encoded(well(RED, 1900, 2500), "JPEG"), *images], name="large")
    process = start(path)
    wait_until(lambda: lines(checkpoint) >= 2)
    began = time.monotonic()
    process.send_signal(number)
    _, output = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == code
    assert "Traceback" not in output
    assert "run the same command again" in output
    assert checkpoint.read_bytes().endswith(b"ended 0\n")
    assert not (tmp_path / "result.json").exists()


@posix
def test_without_its_parent_it_stops(tmp_path, start, make_unit, images, checkpoint):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = start(make_unit(images * 8), "--parent", str(parent.pid))
    wait_until(lambda: lines(checkpoint) >= 3)
    assert process.poll() is None
    parent.kill()
    parent.wait()
    _, output = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "has exited" in output


@posix
def test_an_orphaned_worker_stops(tmp_path, make_unit, images, tiny_weights, checkpoint):
    path = make_unit(images * 8)
    worker = [sys.executable, "-m", "xtalgrid_worker.cli", "run", str(path), str(tmp_path / "result.json")]
    worker += ["--weights", str(tiny_weights), "--parent"]
    program = (
        "import os, subprocess; "
        f"p = subprocess.Popen({worker!r} + [str(os.getpid())]); print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pid = int(parent.stdout.readline())
    wait_until(lambda: lines(checkpoint) >= 3)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _is_at_work(pid), 10)
    assert checkpoint.read_bytes().splitlines()[-1].startswith((b"ended", b"{")), "the image was left begun"
    assert not (tmp_path / "result.json").exists()


def _is_at_work(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@posix
def test_two_workers_never_work_on_one_unit(tmp_path, start, make_unit, images, checkpoint):
    path = make_unit(images)
    first = start(path)
    wait_until(lambda: lines(checkpoint) >= 1)
    first.send_signal(signal.SIGSTOP)
    second = start(path)
    _, output = second.communicate(timeout=20)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 75
    assert "another worker" in output
    assert first.wait(60) == 0
    assert len(answers(tmp_path)) == 25


def test_a_finished_unit_is_not_scored_again(tmp_path, start, make_unit, crystal, checkpoint):
    path = make_unit([crystal])
    assert start(path).wait(30) == 0
    before = (tmp_path / "result.json").stat()
    again = start(path)
    assert again.wait(30) == 0
    after = (tmp_path / "result.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not checkpoint.exists()


@posix
def test_progress_is_shown_on_a_terminal_only(tmp_path, tiny_weights, crystal):
    import fcntl
    import pty
    import struct
    import termios

    (tmp_path / "A01.png").write_bytes(crystal)
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "score", tmp_path / "A01.png", "--weights", tiny_weights]
    piped = subprocess.run([*command, "--out", tmp_path / "out"], capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    assert piped.stdout.startswith("A01.png  crystals harvestable")

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown = subprocess.run(
        [*command, "--out", tmp_path / "out"], stdout=subprocess.PIPE, stderr=theirs, text=True, check=True
    )
    bar = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "1/1" in bar
    assert shown.stdout == piped.stdout
