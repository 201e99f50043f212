"""A step that hangs, such as on a share that does not respond, is told from one that takes its time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import filelock
import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import Busy, ImagerError
from xtalgrid_server.cli.main import main
from xtalgrid_server.reports.status import status, status_lines
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


def test_a_process_that_got_the_id_of_a_killed_run_is_not_named(sync, config):
    """As after a power cut: `kill` would end somebody else's program."""
    with step(config, "open"):
        pass
    (config.home / "locks" / "sync.running").write_text(f"{os.getpid()} {time.time() - 2 * DAY:.0f}")
    assert "hanging" not in sync("status").output


def test_status_says_when_steps_ran_last_and_what_stopped_them(sync, config):
    """cron's mails and systemd's failed units are read by nobody: `status` said "running" all the same."""
    assert "last runs" not in sync("status").output
    assert sync("sync").exit_code == 0
    said = sync("status").output
    assert re.search(r"last runs   sync \d+ s ago\n", said) and "stopped" not in said
    with pytest.raises(ImagerError), step(config, "sync"):
        raise ImagerError("the imager database is away\nfor long")
    with pytest.raises(ZeroDivisionError), step(config, "alerts"):
        raise ZeroDivisionError("of its own")
    (stopped, other) = (line for line in sync("status").output.splitlines() if line.startswith("stopped"))
    assert stopped.startswith("stopped     sync at 20") and "the imager database is away" in stopped
    assert other.endswith("ZeroDivisionError: of its own")
    listed = {run["name"]: run["error"] for run in json.loads(sync("status", "--json").output)["last_runs"]}
    assert listed.keys() == {"sync", "alerts"}
    assert sync("sync").exit_code == 0
    assert "sync at" not in sync("status").output
    ended = config.home / "locks" / "sync.ended"
    ended.write_text(f"{time.time() - 9 * DAY:.0f}\n")
    assert "sync 9 d ago" in sync("status").output


def test_status_says_that_a_run_was_killed(sync, config, other):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    note = config.home / "locks" / "alerts.running"
    note.write_text(f"{killed.pid} {time.time() - 600:.0f}")
    other(600)  # of sync, which is under way
    (stopped,) = (line for line in sync("status").output.splitlines() if line.startswith("stopped"))
    assert "alerts at" in stopped and "it was killed, or the computer went off" in stopped
    assert sync("alerts").exit_code == 0
    assert "stopped" not in sync("status").output


def test_status_says_that_units_wait_and_no_grid_runs(system):
    def said():
        read = status(system.config, system.ledger, system.imager)
        return [line for line in status_lines(read) if line.startswith("no workers")]

    assert said() == []
    (system.config.spool / "units" / "xg_1").mkdir(parents=True)
    assert said() == ["no workers  1 unit waits, and no grid runs: `xtalgrid grid`"]
    with step(system.config, "grid"):
        assert said() == []
    (system.config.spool / "units" / "xg_1" / "result.json").write_text("{}")
    assert said() == []


def test_notes_that_root_left_are_written_anew(config, sync):
    """As of a step that root ran once: the services' account may replace them, and not write them."""
    with step(config, "sync"):
        pass
    ended = config.home / "locks" / "sync.ended"
    ended.write_text(f"{time.time() - 9 * DAY:.0f}\nof root's run")
    before = ended.stat().st_ino
    keeper = ended.open("rb")  # so that its number is not given again
    with keeper, step(config, "sync"):
        pass
    assert ended.stat().st_ino != before
    assert re.search(r"sync \d+ s ago", sync("status").output)
