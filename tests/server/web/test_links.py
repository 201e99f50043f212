"""`sign_in = "local"`: one-time links make the account that runs the viewer; no address makes anybody."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.database import now
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth.cookies import SESSION

from .conftest import Visit, link, token_of

WELL = "/well/CI022987/3/A1a"


def name_on(page):
    found = re.search(r'class="name" title="Your scores are saved under this name">([^<]*)<', page)
    return found.group(1) if found else ""


@pytest.fixture
def app(config, system):
    return create_app(config)


@pytest.fixture
def browser(app):
    """``browser(address)``: a browser that has not signed in; by default on this machine."""
    opened = []

    def open_one(address="127.0.0.1", app=app):
        opened.append(Visit(app, client=(address, 50000), base_url="http://127.0.0.1:8765"))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


# ---- no address makes anybody


def test_everybody_is_a_guest_until_the_link_is_opened(browser, score, system):
    score({(1, 1): Outcome.CLEAR})
    for address, headers in (
        ("127.0.0.1", {}),  # another account of this machine, or a plain `proxy_pass http://127.0.0.1:8765;`
        ("127.0.0.1", {"host": "localhost:8765", "origin": "http://localhost:8765", "connection": "close"}),
        ("::1", {"host": "[::1]:8765"}),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}),
        ("10.0.0.7", {}),
    ):
        client = browser(address)
        page = client.get(WELL, headers=headers).text
        assert name_on(page) == "" and "Guest: read-only" in page and 'id="score-form"' not in page
        data = {"form_token": token_of(client.get("/sign-in", headers=headers).text), "image": "1", "outcome": "clear"}
        assert client.post("/corrections", data=data, headers=headers).status_code == 403
    assert system.ledger.corrections.of_images([1])[1] == []


def test_a_guest_reads_how_the_account_that_runs_the_viewer_signs_in(browser):
    assert "<code>xtalgrid viewer link</code>" in browser().get("/sign-in").text


# ---- the link


def test_a_link_signs_in_once(browser, app, score, system):
    score({(1, 1): Outcome.CLEAR})
    mine, theirs, address = browser(), browser(), link(app)
    opened = mine.get(address, follow_redirects=False)
    assert (opened.status_code, opened.headers["location"]) == (303, "../")
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=lax" in opened.headers["set-cookie"]
    assert name_on(mine.get("/").text) == "anna"
    assert mine.fill("/corrections", WELL, image="1", outcome="clear").status_code == 303
    assert [one.who for one in system.ledger.corrections.of_images([1])[1]] == ["anna"]
    used = theirs.get(address)
    assert used.status_code == 403 and "used before" in used.text and name_on(used.text) == ""
    assert mine.get(address, follow_redirects=False).status_code == 303  # from the browser's history
    assert name_on(mine.get("/").text) == "anna"


def test_a_link_is_of_no_use_after_an_hour_nor_after_the_next_one(browser, app, system):
    old, new = link(app), link(app)
    assert browser().get(old).status_code == 403
    with system.ledger._db.writing() as connection:
        connection.execute(t.links.update().values(made_at=now() - timedelta(hours=1, seconds=1)))
    assert browser().get(new).status_code == 403


@pytest.mark.parametrize("code", ["", "x", "%00", "é", "x" * 9000, "' OR 1=1 --"])
def test_no_other_link_signs_in(browser, app, code):
    link(app)
    client = browser()
    assert client.get(f"/sign-in/link?code={code}").status_code == 403
    assert name_on(client.get("/").text) == ""


def test_the_ledger_has_hashes_only(browser, app, system):
    address, client = link(app), browser()
    client.get(address)
    (row,) = system.ledger._db.rows(sa.select(t.links))
    assert len(row.code) == len(row.token) == 64
    assert address.partition("=")[2] not in str(row) and client.cookies[SESSION] not in str(row)


def test_a_restart_ends_neither_a_session_nor_a_link(browser, app, config):
    client, unused = browser(), link(app)
    client.get(unused)
    again, unused = create_app(config), link(app)
    after = browser(app=again)
    after.cookies.set(SESSION, client.cookies[SESSION])
    assert name_on(after.get("/").text) == "anna"
    assert browser(app=again).get(unused).status_code == 200


def test_signing_out_and_time_end_the_session(browser, app, system):
    client, other = browser(), browser()
    client.get(link(app))
    session = client.cookies[SESSION]
    assert client.fill("/sign-out").status_code == 303
    other.cookies.set(SESSION, session)
    assert name_on(other.get("/").text) == ""
    client.get(link(app))
    assert name_on(client.get("/").text) == "anna"
    with system.ledger._db.writing() as connection:
        connection.execute(t.links.update().values(began_at=now() - timedelta(hours=12, seconds=1)))
    assert name_on(client.get("/").text) == ""


def test_links_and_their_sessions_are_for_sign_in_local_alone(browser, app, with_user):
    client = browser()
    client.get(link(app))
    users = browser(app=create_app(with_user))
    assert users.get(link(app)).status_code == 404
    users.cookies.set(SESSION, client.cookies[SESSION])
    assert name_on(users.get("/").text) == ""


# ---- the commands


def run(config, *words):
    return CliRunner().invoke(main, ["--home", str(config.home), *words])


def test_the_command_that_makes_a_link(browser, app, config, system, monkeypatch):
    monkeypatch.setenv("LOGNAME", "anna")
    printed = run(config, "viewer", "link", "--port", "9000")
    assert printed.exit_code == 0
    address = printed.stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:9000/sign-in/link\?code=[\w-]{32}", address)
    client = browser()
    client.get(address.removeprefix("http://127.0.0.1:9000"))
    assert name_on(client.get("/").text) == "anna"


def test_a_viewer_that_needs_no_link_makes_none(config, tmp_path, monkeypatch):
    (tmp_path / "xtalgrid.toml").write_text('[viewer]\nsign_in = "users"\n')
    monkeypatch.setenv("XTALGRID_CONFIG", str(tmp_path / "xtalgrid.toml"))
    refused = run(config, "viewer", "link")
    assert refused.exit_code == 2 and "so there is no link: people sign in with a password" in refused.output
    assert "`xtalgrid user add NAME`" in refused.output


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives a folder to another account")
def test_root_is_told_to_be_the_homes_account(config):
    config.home.mkdir()
    os.chown(config.home, 12345, 12345)
    refused = run(config, "viewer", "link")
    assert refused.exit_code == 2 and "sudo -u #12345" in refused.output
    assert list(config.home.iterdir()) == []


@pytest.fixture
def serve(config, tmp_path):
    """``serve(*words)``: start the viewer, and get what it printed, the file of it, and its address."""
    started = []

    def start(*words, **environment):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        said = tmp_path / f"said-{len(started)}"
        with said.open("wb") as stream:
            about = os.fstat(stream.fileno())
            given = {name: text.format(dev=about.st_dev, ino=about.st_ino) for name, text in environment.items()}
            command = [sys.executable, "-m", "xtalgrid_server", "--home", str(config.home), "serve"]
            command += ["--port", str(port), *words]
            started.append(subprocess.Popen(command, stdout=stream, env=os.environ | given))
        deadline = time.monotonic() + 60
        while True:
            assert started[-1].poll() is None and time.monotonic() < deadline
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30).close()
            except OSError:
                time.sleep(0.2)
            else:
                return said.read_text(), f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


def test_serve_prints_a_link_that_signs_in_and_opens_it_without_showing_it_to_others(serve, config, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/opened.part; mv {tmp_path}/opened.part {tmp_path}/opened\n')
    browser.chmod(0o755)
    said, address = serve("--open", BROWSER=f"{browser} %s", LOGNAME="anna")
    (opened,) = re.findall(rf"{address}/sign-in/link\?code=[\w-]{{32}}", said)
    deadline = time.monotonic() + 20
    while not (tmp_path / "opened").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    page = config.home / "open-viewer.html"
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()
    assert opened in page.read_text() and page.stat().st_mode & 0o777 == 0o600
    with urllib.request.urlopen(f"{address}/") as shown:
        assert name_on(shown.read().decode()) == ""
    keeping = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with keeping.open(opened) as shown:
        assert name_on(shown.read().decode()) == "anna"


def test_no_link_stays_in_the_journal(serve):
    said, address = serve(JOURNAL_STREAM="{dev}:{ino}")
    assert said.startswith(f"{address}/  ") and "xtalgrid viewer link" in said and "code=" not in said
