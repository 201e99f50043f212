"""Connections that are held open stop nobody else, and fill no log."""

from __future__ import annotations

import logging
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest

from tests.system.viewer import serving
from xtalgrid_server.config.sections import Viewer
from xtalgrid_server.domain import log as logs
from xtalgrid_server.domain.log import set_up_logging
from xtalgrid_server.web import connections

from .held import HALF_SENT, asked, held
from .served import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs all addresses of 127.0.0.0/8")

NUMBER = 1200
HERE, NEXT, MANY = ["127.0.0.1"], ["127.0.0.9"], [f"127.0.0.{n}" for n in range(10, 70)]
SENT = {**HALF_SENT, "a page": asked("/"), "a file": asked("/static/style.css")}


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    with served(tmp_path_factory.mktemp("viewer")) as started:
        yield started


@pytest.mark.parametrize("addresses", [HERE, MANY], ids=["one", "sixty"])
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
def test_an_honest_client_is_answered_beside_1200_that_hold_on(viewer, sent, addresses):
    with held(viewer.port, sent, NUMBER, addresses):
        for _ in range(5):
            viewer.seconds()
    assert viewer.log.stat().st_size < 30_000


def test_a_viewer_that_may_open_few_files_keeps_some_for_itself(tmp_path):
    with served(tmp_path, files=80) as viewer, held(viewer.port, HALF_SENT["a header"], 300, MANY):
        for _ in range(5):
            viewer.seconds("/")
    assert viewer.log.stat().st_size < 30_000


async def echo(scope, receive, send):
    """Answer with so many bytes as the path says, once the body is there."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": bytes(int(scope["path"][1:] or 0))})


@pytest.fixture
def impatient(monkeypatch):
    """A viewer that waits a second."""
    monkeypatch.setattr(connections, "_SECONDS", {connections.REQUEST: 1.0, connections.ANSWER: 1.0})
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.1)
    with serving(echo) as address:
        yield urlsplit(address).port


@pytest.mark.parametrize("begun", [b"GET /5 HT", HALF_SENT["a body"]], ids=["header", "body"])
def test_a_request_that_comes_drop_by_drop_is_cut(impatient, begun):
    with socket.create_connection(("127.0.0.1", impatient), timeout=10) as client:
        client.sendall(begun)
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 10:
                client.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() < began + 5


def test_an_answer_that_is_not_taken_is_broken_off_and_one_taken_slowly_is_not(impatient):
    size = 8_000_000
    with held(impatient, asked(f"/{size}"), 2, HERE) as (never, slow):
        taken = 0
        while part := slow.recv(30_000):
            taken += len(part)
            time.sleep(0.005)
        assert taken > size
        taken = 0
        try:
            while part := never.recv(300_000):
                taken += len(part)
        except ConnectionError:
            pass
        assert taken < size


def test_memory_for_unread_answers_has_a_limit(monkeypatch):
    """Clients that take a little now and then would never be cut for taking nothing."""
    monkeypatch.setattr(connections, "MOST_UNREAD_BYTES", 50_000_000)
    monkeypatch.setattr(connections, "_SLOW_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.1)
    with serving(echo) as address, held(urlsplit(address).port, asked("/20000000"), 4, HERE) as clients:
        began = time.monotonic()
        cut: set[int] = set()
        while time.monotonic() < began + 3:
            for n, client in enumerate(clients):
                try:
                    cut.update({n} if not client.recv(200_000) else ())
                except OSError:
                    cut.add(n)
            time.sleep(0.05)
        assert len(cut) == 2  # and the other 40 MB are within the limit


def test_a_trusted_web_server_may_have_more_connections_than_others(monkeypatch):
    monkeypatch.setattr(connections, "MOST_FROM_ADDRESS", 10)
    for trusted, expected in ((("127.0.0.9",), 30), ((), 10)):
        with (
            serving(echo, Viewer(trusted_proxies=trusted)) as address,
            held(urlsplit(address).port, b"GET /5 HT", 30, NEXT) as clients,
        ):
            time.sleep(2.5)
            assert sum(_is_open(client) for client in clients) == expected


def _is_open(client):
    client.settimeout(0.01)
    try:
        return client.recv(1, socket.MSG_PEEK) is None
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_of_lines_of_one_kind_few_are_written_and_the_others_counted(monkeypatch, capfd):
    monkeypatch.setattr(logs, "SECONDS", 4.0)
    set_up_logging()
    monkeypatch.setattr(logging.getLogger("asyncio"), "propagate", False)  # pytest would print them all
    logs.write_few_of_a_kind()
    for n in range(5000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource %d", n)
        if n % 1000 == 0:
            logs.log.warning("%s", "x" * 100_000)
    time.sleep(4.5)
    lines = capfd.readouterr().err.splitlines()
    accept = [line for line in lines if "accept" in line]
    assert len(accept) == logs.LINES + 1
    assert f"{5000 - logs.LINES} more lines like this within 4 s" in accept[-1] and accept[-1].endswith("4999")
    assert len(lines) - len(accept) == 5 and max(map(len, lines)) < 3000
    set_up_logging()
