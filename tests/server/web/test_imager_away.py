"""An imager database that is silent, refuses, or comes back: every page comes at once, and says so."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from tests.rig.oracle.listener import listening
from tests.system.web_servers import free_port
from xtalgrid_core.errors import ImagerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.web.cache import imager as questions
from xtalgrid_server.web.cache.imager import ImagerQuestions, ImagerState

from .conftest import PLATE

WELL = "/well/CI022987/3/A1a"
PAGES = (WELL, PLATE, "/", "/inbox", "/operations", "/sign-in", "/nothing", "/mate/1/0.jpg")
AWAY = "The imager database has not responded since"


@pytest.fixture
def silent(config):
    """A configuration whose imager database takes connections and says nothing."""
    pytest.importorskip("psycopg")
    with listening("silent") as port:
        url = f"postgresql+psycopg://reader:secret@127.0.0.1:{port}/imager"
        yield replace(config, imager=replace(config.imager, url=url), viewer=replace(config.viewer, write_scores=True))


def test_pages_of_a_silent_database_come_within_a_bound_and_show_what_is_known(visit, silent, score, system):
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR})
    client = visit(silent)
    for address in (*PAGES, "/metrics", "/api/plates", f"{PLATE}/scores.csv", "/thumbnail/320/1.jpg"):
        began = time.monotonic()
        answered = client.get(address)
        assert time.monotonic() - began < 5, address
        assert answered.status_code == (404 if address in PAGES[-2:] else 200), address
        assert (AWAY in answered.text) is (address in PAGES), address
    assert "crystals harvestable" in client.get(WELL).text
    assert "xtalgrid_imager_up 0.0" in client.get("/metrics").text
    began = time.monotonic()
    refused = client.fill("/corrections", WELL, image=1, score=1, outcome="clear")
    assert time.monotonic() - began < 5
    assert "Your score is saved here but could not be written" in refused.text
    assert [one.outcome for one in system.ledger.corrections.of_images([1])[1]] == [Outcome.CLEAR]


def test_the_program_ends_at_once_while_a_page_waits(silent, tmp_path):
    port = free_port()
    (tmp_path / "x.toml").write_text(f'home = "{silent.home}"\n[imager]\nurl = "{silent.imager.url}"\n')
    command = [sys.executable, "-m", "xtalgrid_server", "--config", tmp_path / "x.toml", "serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{port}/healthz"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        waiting = threading.Thread(target=_answers, args=(f"http://127.0.0.1:{port}/",))
        waiting.start()
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert time.monotonic() - began < 2
        waiting.join()


def _answers(address):
    with suppress(OSError), urllib.request.urlopen(address, timeout=20) as answered:
        return answered.status == 200
    return False


class Gate:
    """A question that waits until the gate is open."""

    def __init__(self):
        self.open, self.asked = threading.Event(), 0

    def __call__(self):
        self.asked += 1
        assert self.open.wait(20)
        return "an answer"


@pytest.fixture
def quick(monkeypatch, config):
    """Questions to an embedded database with a tenth of a second's patience, repeated after half a second."""
    monkeypatch.setattr(questions, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(questions, "_AGAIN_SECONDS", 0.5)
    asking = ImagerQuestions(ImagerDatabase(config))
    yield asking
    asking.close()


def test_a_database_that_hangs_is_asked_by_one_thread_and_its_late_answer_counts(quick):
    gate = Gate()
    for _ in range(5):
        with pytest.raises(ImagerError, match=r"has not responded within 0\.1 s"):
            quick.ask(gate)
    assert gate.asked == 1
    since = quick.state().since
    time.sleep(0.6)
    for _ in range(5):
        with pytest.raises(ImagerError):
            quick.ask(gate)
    assert gate.asked == 2
    assert quick.state().since == since
    gate.open.set()
    deadline = time.monotonic() + 30
    while quick.state().problem:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert quick.ask(gate) == "an answer"


def test_a_slow_database_is_asked_again_only_in_time_and_its_late_answer_is_shown(quick, config, monkeypatch):
    ahead = datetime(2012, 11, 21)
    asked = []

    def slow(*_):
        asked.append(time.monotonic())
        time.sleep(0.3)
        return iter([[ImageRow(1, "P", 1, ahead, Well(1, 1, 1), "a.jpg")]])

    monkeypatch.setattr(ImagerDatabase, "newest_first", slow)
    assert quick.state().problem
    time.sleep(0.4)
    for _ in range(10):
        assert quick.state() == ImagerState(ahead)
    assert len(asked) == 1


def test_after_an_outage_hung_connections_are_not_used_again(quick, monkeypatch):
    monkeypatch.setattr(questions, "_MOST_HANGING", 3)
    gate, database = Gate(), quick._database
    before = database._engine.pool
    for _ in range(6):
        with pytest.raises(ImagerError):
            quick.ask(gate)
        time.sleep(0.55)
    assert gate.asked == 3
    assert database._engine.pool is not before
    gate.open.set()


def test_a_question_that_fails_for_its_own_reason_does_not_make_the_database_away(quick):
    def wrong():
        raise ImagerError("a column is missing")

    with pytest.raises(ImagerError, match="a column"):
        quick.ask(wrong)
    assert quick.state().problem == ""


def test_a_score_that_was_not_written_is_written_when_given_again(visit, configured, score, score_table, system):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    table = system.imager.tables.scores
    with system.imager._engine.begin() as connection:
        table.drop(connection)
    assert client.fill("/corrections", WELL, image=1, outcome="harvestable").status_code == 503
    with system.imager._engine.begin() as connection:
        table.create(connection)
    for _ in range(2):
        assert client.fill("/corrections", WELL, image=1, outcome="harvestable").status_code == 303
    assert [(code, by) for _, code, _, by in score_table()] == [("23", "anna")]


def test_a_page_of_newest_images_has_a_lower_bound_in_time(visit, config, score):
    for inspection in range(1, 6):
        score(
            {(1, 1): Outcome.CLEAR}, inspection=inspection, inspected=datetime(2012, 1, 1) + timedelta(90 * inspection)
        )
    asked = []
    listen = sa.event.listens_for(sa.Engine, "before_cursor_execute")

    @listen
    def note(connection, _cursor, statement, *_):
        if str(connection.engine.url).endswith("imager.db"):
            asked.append(" ".join(statement.lower().split()))

    try:
        client = visit(config)
        for address in PAGES:
            client.get(address)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    sorted_by_date = [statement for statement in asked if "inspectdate desc" in statement]
    assert sorted_by_date
    assert [statement for statement in sorted_by_date if "inspectdate >= ?" not in statement] == []


def test_an_inspection_dated_ahead_is_not_the_newest(tmp_path, visit, score):
    score({(1, 1): Outcome.CLEAR}, inspection=1, inspected=datetime(2012, 11, 21, 14))
    score({(2, 1): Outcome.CLEAR}, inspection=2, inspected=datetime(2093, 1, 1))
    assert "newest inspection 2012-11-21 14:00" in visit().get("/operations").text
