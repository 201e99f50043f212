"""A share with the images that does not respond: pictures are missing for a while, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from xtalgrid_core.errors import Busy
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web import site, threads
from xtalgrid_server.web.pages import marking, pictures
from xtalgrid_server.web.threads import DaemonThreads, FileThreads

from .conftest import PLATE

WELL = "/well/CI022987/3/A1a"
BEGUN_AT_ONCE = 40
"""Requests whose threads an application has, by anyio's default."""


@pytest.fixture
def away(monkeypatch):
    """``away(module, name)``: a function that reads files does not return until the share is back (`set`)."""
    back = threading.Event()

    def hang(module, name):
        read = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: back.wait(60) and read(*arguments))
        return back

    yield hang
    back.set()


def test_pages_come_while_more_pictures_hang_than_there_are_threads(client, score, away, monkeypatch):
    score({(1, 1): Outcome.HARVESTABLE})
    monkeypatch.setattr(threads, "_PATIENCE", 2.0)
    back = away(pictures, "original_status")
    with ThreadPoolExecutor(BEGUN_AT_ONCE + 1) as browsers:
        asked = [browsers.submit(client.get, "/thumbnail/320/1.jpg") for _ in range(BEGUN_AT_ONCE)]
        time.sleep(0.5)
        assert browsers.submit(client.get, PLATE).result(timeout=10).status_code == 200
        assert {one.result(timeout=30).status_code for one in asked} == {503}
        back.set()
        assert browsers.submit(client.get, "/thumbnail/320/1.jpg").result(timeout=30).status_code == 200


def test_a_share_that_stays_away_is_not_waited_for_again_and_again(monkeypatch):
    monkeypatch.setattr(threads, "_PATIENCE", 0.0)
    files, back = FileThreads(), threading.Event()
    for _ in range(threads._MOST // 2):
        files._threads.submit(files._timed, back.wait, 60)
    deadline = time.monotonic() + 10
    while not files._is_away():
        assert time.monotonic() < deadline
    back.set()
    while files._is_away():
        assert time.monotonic() < deadline
    files.close()


def test_a_mark_is_taken_although_its_picture_cannot_be_looked_at(client, score, system, away):
    score({(1, 1): Outcome.HARVESTABLE})
    away(marking, "original_size")
    began = time.monotonic()
    assert client.fill("/marks", WELL, image=1, what="mark", x="10", y="20", then=WELL).status_code == 303
    assert time.monotonic() - began < 10
    assert [(mark.x, mark.y) for mark in system.ledger.marks.of_image(1).standing] == [(10, 20)]


def test_a_drop_s_page_does_not_wait_for_its_uv_picture(client, score, system, away):
    score({(1, 1): Outcome.HARVESTABLE})
    away(site, "in_uv")
    (scored,) = system.ledger.scores.by_id([1])
    began = time.monotonic()
    assert client.app.state.site.fluorescence(scored, []) is None
    assert time.monotonic() - began < 10


def test_threads_run_what_they_are_given_and_drop_the_rest_at_the_end():
    run, go = DaemonThreads(2), threading.Event()
    waiting = [run.submit(go.wait, 30) for _ in range(2)]
    behind, failing = run.submit(threading.get_ident), run.submit(int, "no number")
    go.set()
    assert [one.result(timeout=10) for one in waiting] == [True, True]
    assert behind.result(timeout=10) != threading.get_ident()
    with pytest.raises(ValueError, match="no number"):
        failing.result(timeout=10)
    go.clear()
    waiting, left = [run.submit(go.wait, 30) for _ in range(2)], run.submit(print)
    while not all(one.running() for one in waiting):
        time.sleep(0.01)
    run.shutdown()
    assert left.cancelled()
    go.set()
    with pytest.raises(Busy):
        FileThreads().read_soon(time.sleep, 60)


def test_the_program_ends_although_a_file_never_comes():
    program = (
        "import time; from xtalgrid_server.web.threads import DaemonThreads; DaemonThreads(1).submit(time.sleep, 300)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
