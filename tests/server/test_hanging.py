"""A step that hangs, such as on a share that does not respond, is told from one that takes its time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import filelock
import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import Busy
from xtalgrid_server.cli.main import main
from xtalgrid_server.steps.step import step

DAY = 86_400


@pytest.fixture
def sync(config):
    def run(*words):
        return CliRunner().invoke(main, ["--home", str(config.home), *words])

    return run


@pytest.fixture
def other(config):
    """Another process runs the step since so many seconds ago."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    locks = config.home / "locks"
    locks.mkdir(parents=True, exist_ok=True)

    def since(seconds):
        (locks / "sync.running").write_text(f"{process.pid} {time.time() - seconds:.0f}")
        return process.pid

    with filelock.FileLock(locks / "sync.lock"):
        yield since
    process.kill()
    process.wait()


def test_a_run_that_takes_a_day_is_an_error_and_status_names_it(sync, other):
    pid = other(1.5 * DAY)
    for result, code in ((sync("sync"), 2), (sync("status"), 0)):
        assert result.exit_code == code
        assert "sync has been running since" in result.output and f"kill {pid}" in result.output


def test_a_run_that_takes_hours_is_none(sync, other):
    other(0.9 * DAY)
    assert sync("sync").exit_code == 75
    assert "hanging" not in sync("status").output


def test_a_note_is_gone_with_its_run_and_none_of_a_dead_process_counts(config, sync):
    note = config.home / "locks" / "sync.running"
    with step(config, "sync"):
        assert note.read_text().split()[0] == str(os.getpid())
        with pytest.raises(Busy), step(config, "sync"):
            pass
        assert note.exists()
    assert not note.exists()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for text in (f"{dead.pid} {time.time() - 2 * DAY:.0f}", "x", "1 2 3", f"{10**30} 5", f"{os.getpid()} {10**30}"):
        note.write_text(text)
        assert "hanging" not in sync("status").output
