"""The pool with real processes: stopped, killed, too large, noisy, orphaned; answers are the same as without it."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.conftest import BLUE, GREEN, RED, encoded, entry, scoring_processes, well
from xtalgrid_core import wire
from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import Busy, FailureReason, ImageError, UnknownModel, XtalgridError
from xtalgrid_core.weights import MANIFEST, WeightsManifest, default_models
from xtalgrid_scoring import messages
from xtalgrid_scoring.classmap import SIDE, draw_maps
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.pool import Pool
from xtalgrid_scoring.score import score_image

CHECK_WELL = Path(__file__).parents[2] / "worker/xtalgrid_worker/check/well.jpg"

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks for processes in /proc")


@pytest.fixture
def pool():
    with Pool(2) as pool:
        yield pool


@pytest.fixture
def score(options, tiny_weights):
    """``score(pool, image)`` with the tiny networks: the answer, without the time."""

    def score(pool: Pool, image: bytes | Path, pixel_size_um: float = 1.13) -> wire.Answer:
        return timeless(pool.score(image, options, pixel_size_um=pixel_size_um, folders=[tiny_weights]))

    return score


@pytest.fixture
def stopped(score, clear):
    """``stopped(pool)``: stop the pool's only process, and return its id."""
    halted = []

    def stopped(pool: Pool) -> int:
        score(pool, clear)
        (process,) = scoring_processes()
        os.kill(process, signal.SIGSTOP)
        halted.append(process)
        return process

    yield stopped
    for process in halted:
        assert process not in scoring_processes(), "it was left behind"


def timeless(answer: wire.Answer) -> wire.Answer:
    return msgspec.structs.replace(answer, seconds=0) if isinstance(answer, wire.Scored) else answer


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def in_thread(call, *arguments) -> Future:
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(call(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def huge() -> bytes:
    """An image that takes a process a second, and 250 MB."""
    return encoded(well(RED, 4000, 5900), "JPEG")


def test_answers_are_the_same_with_and_without_a_pool(pool, options, tiny_weights, networks):
    images = [encoded(well(colour, 480 + 40 * n, 640)) for n, colour in enumerate((RED, GREEN, BLUE, None))]
    ways = itertools.product((("dense", 48, None), ("exact", 100, 1.13)), ("pooled", "group", "published"))
    for image, ((mode, step, um), rule) in itertools.product(images, ways):
        chosen = msgspec.structs.replace(options, mode=mode, step=step, rule=rule)
        expected = score_image(image, entry(7, image, um), chosen, networks)
        answer = pool.score(image, chosen, pixel_size_um=um, number=7, folders=[tiny_weights])
        assert timeless(answer) == timeless(expected)
        assert isinstance(answer, wire.Scored)
        assert answer.seconds > 0


def test_packaged_networks_and_class_maps_are_the_same_too(pool, tmp_path):
    segmenter, classifier = default_models()
    options = wire.Options(segmenter=segmenter, classifier=classifier, rule="pooled", mode="dense", step=48)
    networks, data = Networks.load(options), CHECK_WELL.read_bytes()
    odd = tmp_path / (os.fsdecode(b"w\xffll.jpg") if sys.platform == "linux" else "well.jpg")
    odd.write_bytes(data)
    expected = score_image(data, entry(0, data, None), options, networks)
    assert timeless(pool.score(odd, options)) == timeless(expected)
    assert pool.class_maps(data, options) == draw_maps(data, networks)


def test_a_broken_image_gets_a_reason_and_the_process_continues(pool, score, clear, tmp_path, options, tiny_weights):
    before = score(pool, clear)
    process = scoring_processes()
    for image, reason in (
        (b"broken", FailureReason.NOT_AN_IMAGE),
        (b"", FailureReason.NOT_AN_IMAGE),
        (clear[:-200], FailureReason.TRUNCATED),
        (bytes(wire.MAX_IMAGE_BYTES + 1), FailureReason.TOO_LARGE),
        (tmp_path / "missing.png", FailureReason.MISSING_FILE),
        (tmp_path, FailureReason.UNREADABLE_FILE),
    ):
        assert score(pool, image).reason is reason
    with pytest.raises(ImageError, match="not a JPEG, PNG, TIFF, BMP, GIF file"):
        pool.class_maps(b"broken", options, folders=[tiny_weights])
    with pytest.raises(UnknownModel, match="unknown model: segmenter"):
        pool.score(clear, options)  # without their folder
    assert score(pool, clear) == before
    assert scoring_processes() == process


def test_recalibrated_weights_are_reloaded(pool, options, tiny_weights, tmp_path, clear):
    folder = Path(shutil.copytree(tiny_weights, tmp_path / "weights"))
    chosen = msgspec.structs.replace(options, rule="group")
    before = pool.score(clear, chosen, folders=[folder])
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=WeightsManifest)
    models = [msgspec.structs.replace(model, calibration=Calibration(0.5, 1.0)) for model in manifest.models]
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, models=tuple(models))))
    after = pool.score(clear, chosen, folders=[folder])
    expected = score_image(clear, entry(0, clear, None), chosen, Networks.load(chosen, [folder]))
    assert after.p_crystal == expected.p_crystal != before.p_crystal


@linux
def test_twenty_threads_share_two_processes(score):
    images = [encoded(well((RED, GREEN, BLUE)[n % 3], 400 + 8 * n, 640)) for n in range(20)]
    seen: list[int] = []
    with Pool(2) as pool, ThreadPoolExecutor(20) as threads:
        requests = [threads.submit(score, pool, image) for image in images * 2]
        while not all(request.done() for request in requests):
            seen.append(len(scoring_processes()))
            time.sleep(0.02)
        answers = [request.result() for request in requests]
    assert max(seen) == 2
    assert answers[:20] == answers[20:]
    with Pool(1) as alone:
        assert [score(alone, image) for image in images] == answers[:20]
    assert scoring_processes() == set()


@linux
def test_a_process_killed_at_work_loses_only_its_image(score, stopped, clear, crystal):
    with Pool(2) as pool:
        victim = stopped(pool)
        lost = in_thread(score, pool, clear)
        wait_until(lambda: pool._busy)
        assert score(pool, crystal).outcome.group == "crystal"  # meanwhile, by another process
        assert not lost.done()
        os.kill(victim, signal.SIGKILL)
        answer = lost.result(20)
        assert (answer.reason, "SIGKILL" in answer.detail) == (FailureReason.CRASHED_WORKER, True)
        assert score(pool, clear).outcome == "clear"


@linux
def test_a_process_killed_while_idle_loses_nothing(pool, score, clear):
    before = score(pool, clear)
    (process,) = scoring_processes()
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT))  # its last thread has ended
    assert score(pool, clear) == before


@linux
def test_an_image_over_the_time_limit_affects_no_other(score, stopped, clear):
    with Pool(1, seconds=3) as pool:
        stopped(pool)
        requests = [in_thread(score, pool, clear) for _ in range(3)]
        answers = [request.result(30) for request in requests]
        assert sorted(getattr(answer, "reason", "") for answer in answers) == ["", "", "timed out"]
        assert "more than 3 seconds" in [a.detail for a in answers if isinstance(a, wire.Failed)]


@linux
def test_an_image_over_the_memory_limit_affects_no_other(score, clear):
    with Pool(1, memory_mb=160) as pool:
        before = score(pool, clear)
        answer = score(pool, huge(), 0.2)
        assert (answer.reason, answer.detail) == (FailureReason.INTERNAL, "out of memory: more than 160 MB")
        assert score(pool, clear) == before
    with Pool(1) as pool:
        assert score(pool, huge(), 0.2).outcome.group == "crystal"


def test_a_reply_that_is_too_large_is_rejected(score, clear, monkeypatch):
    with Pool(1) as pool:
        before = score(pool, clear)
        monkeypatch.setattr(messages, "MAX_REPLY_BYTES", 100)
        answer = score(pool, clear)
        assert (answer.reason, "at most 100" in answer.detail) == (FailureReason.INTERNAL, True)
        monkeypatch.undo()
        assert score(pool, clear) == before


@linux
def test_the_queue_is_limited_and_waiting_requests_are_not_lost(score, stopped, clear):
    with Pool(1, waiting=1) as pool:
        process = stopped(pool)
        at_work = in_thread(score, pool, clear)
        wait_until(lambda: len(pool._busy) == 1)
        waits = in_thread(score, pool, clear)
        wait_until(lambda: len(pool._queue) == 1)
        with pytest.raises(Busy, match="1 images are already waiting"):
            score(pool, clear)
        os.kill(process, signal.SIGCONT)
        assert at_work.result(20) == waits.result(20)
    with Pool(1, patience=0.2) as pool:
        process = stopped(pool)
        at_work = in_thread(score, pool, clear)
        wait_until(lambda: len(pool._busy) == 1)
        with pytest.raises(Busy, match=r"free within 0\.2 s"):
            score(pool, clear)
        os.kill(process, signal.SIGCONT)
        assert at_work.result(20).outcome == "clear"


@linux
def test_idle_processes_stop_and_new_ones_start(score, clear):
    with Pool(2, idle_seconds=0.3) as pool:
        before = score(pool, clear)
        wait_until(lambda: not scoring_processes())
        wait_until(lambda: all(thread.name != "xtalgrid-pool" for thread in threading.enumerate()))
        assert score(pool, clear) == before


@linux
def test_closing_the_pool_ends_all_requests_and_processes(score, stopped, clear):
    pool = Pool(1)
    stopped(pool)
    requests = [in_thread(score, pool, clear) for _ in range(2)]
    wait_until(lambda: len(pool._queue) == 1)
    pool.close()
    for request in requests:
        with pytest.raises(XtalgridError, match="closed"):
            request.result(20)
    with pytest.raises(XtalgridError, match="closed"):
        score(pool, clear)
    pool.close()
    assert scoring_processes() == set()


def test_a_map_keeps_the_order_and_reads_a_few_items_ahead(pool, score, clear, crystal):
    taken = []
    images = (taken.append(n) or image for n, image in enumerate([clear, crystal, b"no image"] * 4))
    answers = pool.map(partial(score, pool), images)
    assert taken == []
    first = next(answers)
    assert len(taken) == 4  # two per process
    groups = [a.outcome.group if isinstance(a, wire.Scored) else a.reason for a in [first, *answers]]
    assert groups == ["clear", "crystal", FailureReason.NOT_AN_IMAGE] * 4
    assert score(pool, clear) == first, "a map that was read to its end leaves the pool open"


@linux
def test_a_map_that_ends_early_waits_for_no_process(score, stopped, clear):
    def fails():
        raise ValueError("of the work")

    with Pool(1) as pool:
        stopped(pool)
        answers = pool.map(lambda work: work(), [lambda: "first", lambda: score(pool, clear)])
        assert next(answers) == "first"
        wait_until(lambda: pool._busy)
        answers.close()
        with pytest.raises(XtalgridError, match="closed"):
            score(pool, clear)
    with Pool(1) as pool:
        stopped(pool)
        with pytest.raises(ValueError, match="of the work"):
            list(pool.map(lambda work: work(), [fails, lambda: score(pool, clear)]))


def test_printed_text_does_not_disturb_the_messages(score, clear, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, threading, time\n"
        "print('noise ' * 20_000, flush=True)\n"
        "def talk():\n"
        "    while True:\n"
        "        os.write(1, b'noise'), os.write(2, b''), time.sleep(0.0005)\n"
        "threading.Thread(target=talk, daemon=True).start()\n"
    )
    with Pool(1) as pool:
        quiet = score(pool, clear)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    with Pool(1) as pool:
        for _ in range(10):
            assert score(pool, clear) == quiet


def test_modules_are_not_imported_from_the_current_folder(score, clear, tmp_path, monkeypatch):
    for name in ("queue", "numpy", "xtalgrid_scoring"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    with Pool(1) as pool:
        assert score(pool, clear).outcome == "clear"


def test_a_process_that_cannot_start_raises_an_error(score, clear, tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    with Pool(1) as pool:
        for _ in range(2):
            with pytest.raises(XtalgridError, match=r"cannot start a scoring process: .*\(exit code 1\)"):
                score(pool, clear)


SCRIPT = """
import os, sys, threading
from pathlib import Path
from xtalgrid_core import wire
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.pool import Pool

folder, image = Path(sys.argv[1]), Path(sys.argv[2])
segmenter, classifier = default_models(folder)
options = wire.Options(segmenter=segmenter, classifier=classifier)
pool = Pool(2)
ask = lambda: pool.score(image, options, pixel_size_um=1.13, folders=[folder])
"""


@pytest.fixture
def script(tmp_path, tiny_weights):
    """``script(lines, image)``: start a program with a pool and without a ``__main__`` guard."""
    started = []

    def script(lines: str, image: bytes, *, by_standard_input: bool = False) -> subprocess.Popen:
        (tmp_path / "well").write_bytes(image)
        (tmp_path / "main.py").write_text(SCRIPT + lines)
        name = "-" if by_standard_input else str(tmp_path / "main.py")
        process = subprocess.Popen(
            [sys.executable, name, str(tiny_weights), str(tmp_path / "well")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if by_standard_input:
            process.stdin.write((tmp_path / "main.py").read_text())
        process.stdin.close()
        process.stdin = None
        started.append(process)
        return process

    yield script
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("by_standard_input", [False, True])
def test_a_script_without_a_guard_runs_once(script, clear, by_standard_input):
    """Also without a file, as in a notebook, and without closing the pool."""
    output, errors = script("print(ask().outcome)\n", clear, by_standard_input=by_standard_input).communicate(
        timeout=60
    )
    assert (output, errors) == ("clear\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_pool_is_not_shared_by_processes(script, clear):
    lines = """
ask()
if os.fork() == 0:
    try:
        ask()
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
print(ask().outcome)
"""
    output, _ = script(lines, clear).communicate(timeout=60)
    assert output.splitlines() == [
        "this pool belongs to the parent process; create one in each process",
        "clear",
    ]


@linux
def test_processes_end_with_their_parent_at_work_or_idle(script):
    """One is idle, the other in the middle of an image."""
    lines = """
idle = [threading.Thread(target=pool.score, args=(b"x", options), kwargs={"folders": [folder]}) for _ in range(2)]
for thread in idle:
    thread.start()
for thread in idle:
    thread.join()
threading.Thread(target=ask, daemon=True).start()
while not pool._busy:
    pass
print("at work", flush=True)
threading.Event().wait()
"""
    parent = script(lines, huge())
    assert parent.stdout.readline() == "at work\n"
    orphans = scoring_processes(parent.pid)
    assert len(orphans) == 2
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_there(process) for process in orphans), 5)


def is_there(process: int) -> bool:
    try:
        return b"xtalgrid_scoring.child" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def test_processes_do_not_receive_the_parents_interrupt(score, crystal):
    """Ctrl-C is sent to the whole process group of a terminal."""
    if not hasattr(os, "getpgid"):
        pytest.skip("process groups of POSIX")
    with Pool(1) as pool:
        score(pool, crystal)
        assert os.getpgid(pool._idle[0]._process.pid) != os.getpgid(0)


def test_the_largest_class_maps_fit_into_a_reply():
    """Four images of noise, which cannot be compressed."""
    noise = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 4), dtype=np.uint8)
    assert 4 * len(encoded(noise)) < messages.MAX_REPLY_BYTES
