"""Connecting to an Oracle that does not answer as it should: the real driver, and a listener that misbehaves."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.rig.oracle.listener import listening
from xtalgrid_core.errors import ImagerError
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase

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


@pytest.mark.parametrize(
    ("behaviour", "remedy"),
    [("old", "imager.oracle_client"), ("12514", "service_name"), ("12516", "ORA-12516")],
)
def test_what_a_listener_refuses_is_said_with_its_remedy(tmp_path, behaviour, remedy):
    with listening(behaviour) as port:
        assert remedy in refusal(database_at(f"127.0.0.1:{port}", tmp_path))


def test_a_host_that_dns_does_not_know(tmp_path):
    assert "correct the host in imager.url" in refusal(database_at("nowhere.invalid", tmp_path))
