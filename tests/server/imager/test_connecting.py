"""Connecting to an Oracle that does not answer as it should: the real driver, and a listener that misbehaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.rig.oracle.listener import listening
from xtalgrid_core.errors import ImagerError
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.steps.system import System

LIMIT_S = 0.5


def database_at(address: str, tmp_path: Path) -> ImagerDatabase:
    pytest.importorskip("oracledb")
    url = f"oracle+oracledb://xg:xg@{address}/?service_name=x"
    settings = f"[imager]\nurl = '{url}'\nretry_s = 0\nconnect_timeout_s = {LIMIT_S}"
    return ImagerDatabase(from_string(settings, home=tmp_path))


def refusal(database: ImagerDatabase) -> str:
    with pytest.raises(ImagerError) as raised:
        next(database.newest_first(None, None))
    return str(raised.value)


def test_a_listener_that_says_nothing_costs_the_limit_and_one_thread(tmp_path):
    with listening("silent") as port:
        database = database_at(f"127.0.0.1:{port}", tmp_path)
        assert f"did not answer within {LIMIT_S} s" in refusal(database)
        for _ in range(3):
            assert "has not answered an earlier attempt" in refusal(database)
        (attempt,) = (thread for thread in threading.enumerate() if thread.name == "connecting")
    attempt.join(10)


def settings_for(port: int, retry_s: float) -> str:
    return f"""
        [imager]
        url = "oracle+oracledb://xg:xg@127.0.0.1:{port}/?service_name=x"
        retry_s = {retry_s}
        connect_timeout_s = 0.05
    """


def test_a_day_against_a_silent_listener_in_one_process(tmp_path, monkeypatch, caplog):
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0 + sum(pauses))
    accepted: list[float] = []
    runs = 24 * 12
    with listening("silent", accepted) as port:
        with System(from_string(settings_for(port, 60), home=tmp_path)) as system:
            for _ in range(runs):
                with pytest.raises(ImagerError, match="answer"):
                    system.create_work()
        attempts = [thread for thread in threading.enumerate() if thread.name == "connecting"]
        assert len(accepted) == len(attempts) == 1
    assert sum(pauses) <= runs * 60
    said = [record.getMessage() for record in caplog.records if "create_work stopped" in record.getMessage()]
    assert len(said) == runs
    assert "did not answer within 0.05 s" in caplog.text


def test_each_run_against_a_silent_listener_costs_one_connection_and_its_patience(tmp_path):
    accepted: list[float] = []
    with listening("silent", accepted) as port:
        (tmp_path / "xtalgrid.toml").write_text(settings_for(port, 0.5))
        words = [sys.executable, "-m", "xtalgrid_server", "--home", str(tmp_path / "home"), "create_work"]
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            seconds.append(time.perf_counter() - start)
            assert done.returncode == 2
            assert "the imager database (oracle at 127.0.0.1" in done.stderr
    assert len(accepted) == 2
    assert max(seconds) < 20  # most of it Python's start


@pytest.mark.parametrize(
    ("behaviour", "remedy"),
    [
        ("old", "imager.oracle_client"),
        ("12514", "service_name"),
        ("12505", "is a SID"),
        ("12516", "imager.pool_size"),
        ("12660", "native encryption"),
    ],
)
def test_what_a_listener_refuses_is_said_with_its_remedy(tmp_path, behaviour, remedy):
    with listening(behaviour) as port:
        assert remedy in refusal(database_at(f"127.0.0.1:{port}", tmp_path))


def test_a_host_that_dns_does_not_know(tmp_path):
    assert "correct the host in imager.url" in refusal(database_at("nowhere.invalid", tmp_path))
