"""Many large pictures asked for at once take bounded memory, which is given back, and hold up nothing else."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .pictures import fill
from .served import Served, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LARGES, SMALLS = 20, 3
ATTACK = (
    *(f"/image/{n + 1}.jpg" for n in range(LARGES)),
    *(f"/framed/{n % LARGES + 1}.jpg" for n in range(40)),
    *(f"/map/crystal/{n % LARGES + 1}.png" for n in range(60)),
)
HONEST = ("/healthz", "/", "/plate/BIG/1", f"/thumbnail/320/{LARGES + 1}.jpg", f"/image/{LARGES + 2}.jpg")


def test_120_large_pictures_at_once(tmp_path):
    fill(tmp_path / "home", LARGES, SMALLS)
    with served(tmp_path) as viewer, ThreadPoolExecutor(len(ATTACK)) as threads:
        for page in HONEST:
            viewer.seconds(page)
        asked = [threads.submit(_ask, viewer, page) for page in ATTACK]
        most, n = 0.0, 0
        while not all(each.done() for each in asked):
            assert viewer.seconds(HONEST[n % len(HONEST)]) < 8
            most, n = max(most, _megabytes(viewer.pid)), n + 1
        answers = Counter(each.result() for each in asked)
        assert set(answers) == {(200, ""), (503, "5")}  # and the others are told when to come again
        assert most < 600
        deadline = time.monotonic() + 20
        while _megabytes(viewer.pid, with_children=False) > 250:
            assert time.monotonic() < deadline, "memory was not given back"
            time.sleep(0.5)


def _ask(viewer: Served, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{viewer.port}{page}", timeout=120) as answer:
            answer.read()
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After", "")


def _megabytes(pid: int, with_children: bool = True) -> float:
    """Return the resident memory of a process and those that it started."""
    process = Path(f"/proc/{pid}")
    try:
        resident = int((process / "statm").read_text().split()[1]) * 4096 / 1e6
        children = [
            int(child) for task in (process / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return 0.0
    return resident + sum(_megabytes(child) for child in children if with_children)
