"""People and webhooks are told of new crystals as they chose: with a real mail server and a real web server."""

from __future__ import annotations

import http.server
import json
import re
import socket
import sqlite3
import ssl
import threading
import time
import zoneinfo
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.server.conftest import config, score  # noqa: F401
from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.notices import Settings
from xtalgrid_server.steps import alerts, outgoing
from xtalgrid_server.steps.mail import secret_line
from xtalgrid_server.steps.notices import address_problem, digest_moment

from .test_alerts import LATELY, Choosy, Inbox, mail_server  # noqa: F401

MAIL = """
[alerts]
smtp_host = "127.0.0.1"
port = {port}
starttls = false
sender = "xtalgrid@lab.example"
domains = ["lab.example"]
"""
VIEWER = '[viewer]\nurl = "https://xtal.lab.example"\n'
EVIL = "<!channel> @all *b* [x](http://evil.example) <script>\r\nBcc: all@evil.example\u202e"
LONG_AGO = datetime(2020, 1, 1)


def of_kinases(system, project="Kinases", col=1):
    inside = Contents("CI022987", Well(1, col, 1), project, f"ABL1 {EVIL}", "20 % PEG 3350")
    system.ledger.contents.record([inside])


def wants(system, who="ann", **settings):
    settings = {"since": LONG_AGO, "when": "at once", "address": f"{who}@lab.example"} | settings
    system.ledger.notices.save(who, Settings(**settings))


def backdate(config, days):  # noqa: F811
    """Make everything that waits look recorded so long ago."""
    with closing(sqlite3.connect(config.home / "ledger.db")) as connection, connection:
        connection.execute("update notices set at = datetime(at, ?) where sent_at is null", [f"{-days:+} days"])


def test_a_person_gets_a_mail_for_each_project_once(xtalgrid, inspect, system, mail_server):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox)) + VIEWER
    of_kinases(system)
    of_kinases(system, "Proteases\nSubject: x", col=2)
    inspect(1, {1: 0.9, 2: 0.7, 3: 0.1}, first=LATELY)
    wants(system)
    result = xtalgrid("alerts", toml=toml)
    assert result.exit_code == 0, result.output
    mails = {mail["Subject"]: mail for recipients, mail in inbox.mails if recipients == ["ann@lab.example"]}
    assert set(mails) == {
        "Kinases: 1 new crystal on 1 plate",
        "Proteases\\nSubject: x: 1 new crystal on 1 plate",
    }
    mail = mails["Kinases: 1 new crystal on 1 plate"]
    assert mail["Bcc"] is None
    assert mail["List-Unsubscribe"] == "<https://xtal.lab.example/notifications>"
    text, page = (mail.get_body([kind]).get_content() for kind in ("plain", "html"))
    assert "https://xtal.lab.example/well/CI022987/1/A1a" in text
    assert '<a href="https://xtal.lab.example/well/CI022987/1/A1a">CI022987 A1a</a>' in page
    assert "&lt;script&gt;\\r\\nBcc" in page and "<script>" not in page and "\u202e" not in text + page
    assert "A2a" not in text
    xtalgrid("alerts", toml=toml)
    assert len(inbox.mails) == 2


def test_threshold_project_and_time_are_the_person_s_own(xtalgrid, inspect, system, mail_server):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox))
    for col, project in ((1, "Kinases"), (2, "Kinases"), (3, "Proteases")):
        of_kinases(system, project, col)
    inspect(1, {1: 0.9, 2: 0.6, 3: 0.9}, first=LATELY)
    wants(system, "ann", projects=("Kinases",), crystal_from=0.8)
    wants(system, "bob", since=datetime(2100, 1, 1))
    wants(system, "eve", address="eve@evil.example")
    wants(system, "off", since=None)
    xtalgrid("alerts", toml=toml)
    ((recipients, mail),) = inbox.mails
    assert recipients == ["ann@lab.example"]
    assert "A1a" in mail.get_body(["plain"]).get_content() and "A2a" not in mail.get_body(["plain"]).get_content()
    inspect(2, {2: 0.85}, first=LATELY)  # above the threshold now, though it was a crystal before
    xtalgrid("alerts", toml=toml)
    assert "A2a" in inbox.mails[-1][1].get_body(["plain"]).get_content()


def test_a_digest_waits_for_its_hour_and_then_for_the_server(xtalgrid, inspect, system, mail_server, config):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox)) + f"digest_hour = {(datetime.now(UTC).hour - 1) % 24}\n"
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system, when="daily")
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails
    backdate(config, 1)
    inbox.is_open = False
    refused = xtalgrid("alerts", toml=toml)
    assert "ann's mail" in refused.output and "451" in refused.output and "a later run tries again" in refused.output
    inspect(1, {2: 0.8}, first=LATELY)
    inbox.is_open = True
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails  # ten minutes have to pass first
    with closing(sqlite3.connect(config.home / "ledger.db")) as connection, connection:
        connection.execute("update deliveries set at = datetime(at, '-11 minutes')")
    xtalgrid("alerts", toml=toml)
    ((_, mail),) = inbox.mails
    assert mail["Subject"] == "No project: 2 new crystals on 1 plate"


def test_what_was_recorded_while_the_clock_was_ahead_is_told(xtalgrid, inspect, system, mail_server, config):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox)) + f"digest_hour = {(datetime.now(UTC).hour - 1) % 24}\n"
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system, when="daily")
    xtalgrid("alerts", toml=toml)
    backdate(config, -3650)
    inbox.is_open = False
    assert "a later run tries again" in xtalgrid("alerts", toml=toml).output
    with closing(sqlite3.connect(config.home / "ledger.db")) as connection, connection:
        connection.execute("update deliveries set at = datetime(at, '3650 days')")
    inbox.is_open = True
    xtalgrid("alerts", toml=toml)
    assert len(inbox.mails) == 1


def test_a_digest_tells_of_drops_that_were_scored_again_meanwhile(
    xtalgrid,
    inspect,
    score,  # noqa: F811
    system,
    mail_server,  # noqa: F811
    config,  # noqa: F811
):
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox)) + f"digest_hour = {(datetime.now(UTC).hour - 1) % 24}\n"
    inspect(1, {1: 0.9, 2: 0.8}, first=LATELY)
    wants(system, when="daily")
    xtalgrid("alerts", toml=toml)
    backdate(config, 1)
    again = {"inspection": 1, "inspected": LATELY + timedelta(days=1), "threshold": 0.8, "p_crystal": 0.6}
    score({(1, 1): Outcome.HARVESTABLE}, **again)  # by a newer model
    result = xtalgrid("alerts", toml=toml)
    assert result.exit_code == 0, result.output
    ((_, mail),) = inbox.mails
    text = mail.get_body(["plain"]).get_content()
    assert "A1a" in text and "p_crystal 60 %" in text and "A2a" in text
    xtalgrid("alerts", toml=toml)
    assert len(inbox.mails) == 1


def test_no_mail_is_lost_while_there_is_no_server(xtalgrid, inspect, system, mail_server):  # noqa: F811
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system)
    away = xtalgrid("alerts", toml=MAIL.format(port=port))
    assert away.exit_code == 2 and "Connection refused" in away.output
    inbox = Inbox()
    assert xtalgrid("alerts", toml=MAIL.format(port=mail_server(inbox))).exit_code == 0
    assert len(inbox.mails) == 1


def test_one_refused_address_stops_nobody_else(xtalgrid, inspect, system, mail_server):  # noqa: F811
    inbox = Choosy(address="ann")
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system, "ann")
    wants(system, "bob")
    assert "550" in xtalgrid("alerts", toml=MAIL.format(port=mail_server(inbox))).output
    assert [recipients for recipients, _ in inbox.mails] == [["bob@lab.example"]]
    assert system.ledger.notices.last_delivery("ann", "mail").failed == 1


def test_nobody_is_told_of_what_they_may_not_see(xtalgrid, inspect, system, mail_server, tmp_path):  # noqa: F811
    inbox, people = Inbox(), tmp_path / "people.csv"
    keys = (
        f'[viewer]\nsign_in = "proxy"\ntrusted_proxies = ["::1"]\nvisibility = "projects"\npeople_file = "{people}"\n'
    )
    toml = MAIL.format(port=mail_server(inbox)) + keys
    people.write_text("project,person\nKinases,ann\nOther,bob\n")
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system, "ann")
    wants(system, "bob", projects=("Kinases",))
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails  # a plate of no project yet
    of_kinases(system)
    inbox.is_open = False
    xtalgrid("alerts", toml=toml)  # recorded for ann, but not sent
    people.write_text("project,person\nOther,ann\nOther,bob\n")
    inbox.is_open = True
    assert system.ledger.notices.waiting("ann", "mail") and not system.ledger.notices.waiting("bob", "mail")
    with closing(sqlite3.connect(system.config.home / "ledger.db")) as connection, connection:
        connection.execute("update deliveries set at = datetime(at, '-11 minutes')")
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails and not system.ledger.notices.waiting("ann", "mail")


@pytest.mark.parametrize("is_limited", [True, False])
def test_nothing_is_lost_while_the_file_of_people_cannot_be_read(
    xtalgrid,
    inspect,
    system,
    mail_server,  # noqa: F811
    tmp_path,
    is_limited,
):
    inbox, people, is_of = Inbox(), tmp_path / "people.csv", "project,person\nKinases,ann\n"
    keys = f'[viewer]\nsign_in = "proxy"\ntrusted_proxies = ["::1"]\npeople_file = "{people}"\n'
    toml = MAIL.format(port=mail_server(inbox)) + keys + ('visibility = "projects"\n' if is_limited else "")
    people.write_text(is_of)
    of_kinases(system)
    inspect(1, {1: 0.9, 2: 0.8}, first=LATELY)  # A2 is of no project of ann's
    wants(system, "ann")
    inbox.is_open = False
    xtalgrid("alerts", toml=toml)  # recorded, but not sent
    with closing(sqlite3.connect(system.config.home / "ledger.db")) as connection, connection:
        connection.execute("update deliveries set at = datetime(at, '-11 minutes')")
    inbox.is_open = True
    for text in (None, ""):  # its share is away, or it is just being written
        people.unlink() if text is None else people.write_text(text)
        away = xtalgrid("alerts", toml=toml)
        assert away.exit_code == 2 and "viewer.people_file" in away.output and str(people) in away.output
        assert not inbox.mails
    people.write_text(is_of)
    assert xtalgrid("alerts", toml=toml).exit_code == 0
    ((_, mail),) = inbox.mails
    text = mail.get_body(["plain"]).get_content()
    assert "A1a" in text and "A2a" not in text


def test_a_user_who_was_removed_gets_nothing(xtalgrid, inspect, system, mail_server):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox)) + '[viewer]\nsign_in = "users"\n'
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system)
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails
    system.ledger.users.set_password("ann", "a hash", "test")
    xtalgrid("alerts", toml=toml)
    assert len(inbox.mails) == 1


def test_the_operator_sees_who_gets_what_and_ends_it(xtalgrid, inspect, system, mail_server):  # noqa: F811
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox))
    wants(system, kind="teams", url=f"https://x.example/{SECRET}")
    listed = xtalgrid("user", "notifications")
    assert re.search(r"^ann +at once +ann@lab.example +teams$", listed.output.strip()) and SECRET not in listed.output
    assert "no notifications any more" in xtalgrid("user", "notifications", "--off", "ann").output
    assert "nobody" in xtalgrid("user", "notifications").output
    assert xtalgrid("user", "notifications", "--off", "ann").exit_code == 2
    inspect(1, {1: 0.9}, first=LATELY)
    xtalgrid("alerts", toml=toml)
    assert not inbox.mails


def test_when_digests_are_due(tmp_path):
    configured = from_string('[imager]\ntime_zone = "Europe/Berlin"\n[alerts]\ndigest_hour = 7\n', home=tmp_path)
    for when, longest in (("daily", 1), ("weekly", 7)):
        due = digest_moment(configured, when).replace(tzinfo=UTC)
        assert timedelta(0) <= datetime.now(UTC) - due <= timedelta(days=longest, hours=1)
        local = due.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
        assert (local.hour, local.minute) == (7, 0)
        assert when == "daily" or local.weekday() == 0


@pytest.mark.parametrize(
    "address",
    ["", "ann", "ann@evil.example", "ann@lab.example\nBcc: x@lab.example", "a b@lab.example", "<ann@lab.example>",
     "ann,bob@lab.example", "ann@x@lab.example", "@lab.example", ".ann@lab.example", "ann@lab.example.evil.example"],
)  # fmt: skip
def test_addresses_that_no_mail_goes_to(tmp_path, address):
    configured = from_string(MAIL.format(port=25), home=tmp_path)
    assert address_problem(configured, address)
    assert not address_problem(configured, "ann.b-c+x@LAB.example")


# ---- webhooks ------------------------------------------------------------------------------------------------------

SECRET = "B00-secret-token"


class Hook(http.server.ThreadingHTTPServer):
    """Takes what is posted; `answer` is what it does."""

    def __init__(self, tls=None):
        self.posts, self.status = [], 200
        self.slowly = self.endless = False
        self.refuses = b"\0"  # no JSON has one
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.place = f"127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)))
        if self.server.slowly:
            for byte in b"HTTP/1.1 200 OK\r\n":
                self.wfile.write(bytes([byte]))
                time.sleep(0.3)
        self.send_response(400 if self.server.refuses in body else self.server.status)
        self.send_header("Location", f"http://{self.server.place}/elsewhere")
        self.end_headers()
        while self.server.endless:
            self.wfile.write(b"x" * 65536)

    def log_message(self, *words):
        pass


@pytest.fixture
def hook():
    server = Hook()
    yield server
    server.shutdown()
    server.server_close()


def toml_of(tmp_path, hook, kind, more=""):
    (tmp_path / "hook").write_text(f"http://{hook.place}/services/{SECRET}\n")
    listed = f'[[webhooks.hooks]]\nname = "group"\nkind = "{kind}"\nurl_file = "{tmp_path / "hook"}"\n{more}'
    return f'[webhooks]\nallowed_hosts = ["{hook.place}"]\n{listed}{VIEWER}'


def texts(value):
    """All texts that a message shows."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key != "$schema" for text in texts(inner)]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("kind", ["slack", "teams", "mattermost", "json"])
def test_each_kind_gets_the_form_it_documents(xtalgrid, inspect, system, hook, tmp_path, kind):
    of_kinases(system)
    inspect(1, {1: 0.9, 2: 0.7}, first=LATELY)
    result = xtalgrid("alerts", toml=toml_of(tmp_path, hook, kind, 'projects = ["Kinases"]\n'))
    assert result.exit_code == 0 and SECRET not in result.output
    ((path, sent),) = hook.posts
    assert path == f"/services/{SECRET}"
    shown = " ".join(text for text in texts(sent) if isinstance(text, str))
    assert "CI022987" in shown and "A2a" not in shown
    if kind == "json":
        assert sent["schema"] == 1 and sent["drops"][0]["url"] == "https://xtal.lab.example/well/CI022987/1/A1a"
        return
    assert "@all" not in shown and "\nBcc" not in shown
    assert kind == "slack" or "](http://evil" not in shown
    if kind == "slack":
        assert sent["text"] == "Kinases: 1 new crystal on 1 plate"
        assert [block["type"] for block in sent["blocks"]] == ["header", "section"]
        assert "<https://xtal.lab.example/well/CI022987/1/A1a|CI022987 A1a>" in shown
        assert "<!channel>" not in shown and len(sent["blocks"][1]["text"]["text"]) < 3000
    elif kind == "teams":
        (attachment,) = sent["attachments"]
        assert sent["type"] == "message"
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        assert (attachment["content"]["type"], attachment["content"]["version"]) == ("AdaptiveCard", "1.4")
        assert "(https://xtal.lab.example/well/CI022987/1/A1a)" in shown
    else:
        (attachment,) = sent["attachments"]
        assert attachment["title"] == attachment["fallback"] == "Kinases: 1 new crystal on 1 plate"
        assert "(https://xtal.lab.example/well/CI022987/1/A1a)" in attachment["text"]


@pytest.mark.parametrize("kind", ["slack", "teams", "mattermost"])
def test_the_longest_names_fit(xtalgrid, inspect, system, hook, tmp_path, kind):
    name = "&" * 200 if kind == "slack" else "\\" * 200
    for col in range(1, 21):
        system.ledger.contents.record([Contents("CI022987", Well(1, col, 1), name, name, name * 5)])
    inspect(1, dict.fromkeys(range(1, 21), 0.9), first=LATELY)
    assert xtalgrid("alerts", toml=toml_of(tmp_path, hook, kind)).exit_code == 0
    ((_, sent),) = hook.posts
    assert len(json.dumps(sent, ensure_ascii=False).encode()) < 28_000
    for block in sent.get("blocks", []):
        assert len(block["text"]["text"]) <= (150 if block["type"] == "header" else 3000)


def test_what_a_webhook_refuses_is_tried_again_later(xtalgrid, inspect, system, hook, tmp_path):
    toml = toml_of(tmp_path, hook, "json")
    inspect(1, {1: 0.9}, first=LATELY)
    for status in (302, 500):
        hook.status = status
        refused = xtalgrid("alerts", toml=toml)
        assert refused.exit_code == 2 and f"answered {status}" in refused.output and SECRET not in refused.output
        xtalgrid("alerts", toml=toml)  # too soon
        with closing(sqlite3.connect(system.config.home / "ledger.db")) as connection, connection:
            connection.execute("update deliveries set at = datetime(at, '-21 minutes')")
    hook.status = 200
    assert xtalgrid("alerts", toml=toml).exit_code == 0
    assert [path for path, _ in hook.posts] == [f"/services/{SECRET}"] * 3  # nothing followed the redirect
    assert not system.ledger.notices.waiting("", "group")


def test_a_message_that_is_refused_holds_up_no_other_project_s(xtalgrid, inspect, system, hook, tmp_path, mail_server):  # noqa: F811
    for col, project in enumerate(("A", "B", "C"), 1):
        of_kinases(system, project, col)
    inspect(1, {1: 0.9, 2: 0.9, 3: 0.9}, first=LATELY)
    inbox, hook.refuses = Choosy(subject="B: "), b'"B: '
    wants(system, "ann")
    toml = MAIL.format(port=mail_server(inbox)) + toml_of(tmp_path, hook, "json")
    told = xtalgrid("alerts", toml=toml)
    assert [mail["Subject"][:2] for _, mail in inbox.mails] == ["A:", "C:"]
    assert [body["text"][:2] for _, body in hook.posts] == ["A:", "B:", "C:"]
    assert told.exit_code == 2 and "answered 400" in told.output
    for who, channel in (("ann", "mail"), ("", "group")):
        assert len(system.ledger.notices.waiting(who, channel)) == 1
        assert system.ledger.notices.last_delivery(who, channel).failed == 1, "it is tried again in ten minutes"


def test_webhooks_do_not_wait_for_the_mail_server_s_password(xtalgrid, inspect, hook, tmp_path, monkeypatch):
    @contextmanager
    def without_password(settings):
        secret_line(str(tmp_path / "gone"), "alerts.password_file")
        yield

    monkeypatch.setattr(alerts, "mail_server", without_password)
    inspect(1, {1: 0.9}, first=LATELY)
    toml = MAIL.format(port=1) + 'recipients = ["lab@lab.example"]\n' + toml_of(tmp_path, hook, "json")
    told = xtalgrid("alerts", toml=toml)
    assert told.exit_code == 2 and "alerts.password_file: cannot read" in told.output
    assert len(hook.posts) == 1


def test_a_webhook_that_is_away_is_asked_once(xtalgrid, inspect, system, hook, tmp_path):
    for col, project in enumerate(("A", "B"), 1):
        of_kinases(system, project, col)
    inspect(1, {1: 0.9, 2: 0.9}, first=LATELY)
    hook.status = 503
    xtalgrid("alerts", toml=toml_of(tmp_path, hook, "json"))
    assert len(hook.posts) == 1


def test_a_person_s_webhook_needs_the_lab_s_leave(xtalgrid, inspect, system, hook):
    inspect(1, {1: 0.9}, first=LATELY)
    wants(system, address="", kind="slack", url=f"http://{hook.place}/{SECRET}")
    xtalgrid("alerts")
    assert not hook.posts
    refused = xtalgrid("alerts", toml="[webhooks]\npeople = true\n")
    assert "must begin with https://" in refused.output and SECRET not in refused.output
    with closing(sqlite3.connect(system.config.home / "ledger.db")) as connection, connection:
        connection.execute("delete from deliveries")
    xtalgrid("alerts", toml=f'[webhooks]\npeople = true\nallowed_hosts = ["{hook.place}"]\n')
    assert [path for path, _ in hook.posts] == [f"/{SECRET}"]


def test_a_slow_or_endless_answer_ends(hook, monkeypatch):
    monkeypatch.setattr(outgoing, "_SECONDS", 1.0)
    hook.slowly = True
    began = time.monotonic()
    with pytest.raises(XtalgridError, match="gave no answer within 1 s"):
        outgoing.post(f"http://{hook.place}/", b"{}", [hook.place])
    assert time.monotonic() - began < 4
    hook.slowly, hook.endless = False, True
    outgoing.post(f"http://{hook.place}/", b"{}", [hook.place])


def test_tls_is_checked(tmp_path, monkeypatch):
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Hook(context)
    with pytest.raises(XtalgridError, match="no certificate that is trusted"):
        outgoing.post(f"https://{server.place}/", b"{}", [server.place])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    outgoing.post(f"https://{server.place}/", b"{}", [server.place])
    assert server.posts == [("/", {})]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.0",
     "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1",
     "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_inner_addresses(address):
    assert not outgoing.is_outer(address)


def test_outer_addresses():
    assert all(outgoing.is_outer(each) for each in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"))


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.com/x", "https://hooks.example.com:8443/x", "https://u:p@hooks.example.com/",
     "https://hooks.example.com@127.0.0.1/", "ftp://hooks.example.com/", "file:///etc/passwd", "https://", "https:///x",
     "//hooks.example.com", "https://hooks.example.com/#x", "https://hooks.example.com\\@127.0.0.1/",
     "https://hooks.example.com/a b", "https://hooks.example.com/\r\nHost: x", "https://hööks.example.com/",
     "https://hooks.example.com:99999/", "https://[::1/", "https://127.0.0.1/", "https://2130706433/", "https://127.1/",
     "https://0x7f.1/", "https://localhost/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "gopher://127.0.0.1/",
     "https://127.0.0.1./", "https://h/" + "x" * 3000],
)  # fmt: skip
def test_addresses_that_nothing_is_sent_to(url, hook):
    with pytest.raises(XtalgridError) as caught:
        outgoing.post(url, b"{}", [f"chat.lab.example:{hook.server_port}"])
    assert "/x" not in str(caught.value).replace("https://hooks.example.com/…", "")


def test_a_name_that_leads_elsewhere_a_moment_later(monkeypatch, hook):
    """DNS rebinding: the first answer is checked and used, and whoever asks again gets 127.0.0.1."""
    asked, real = [], socket.getaddrinfo

    def resolver(host, port, *words, **more):
        if not re.fullmatch(r"rebind\.example|both\.example", host):
            return real(host, port, *words, **more)
        asked.append(host)
        outer = real("8.8.4.4", hook.server_port, *words, **more)
        inner = real("127.0.0.1", hook.server_port, *words, **more)
        return outer + inner if host == "both.example" else outer if len(asked) == 1 else inner

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    monkeypatch.setattr(outgoing, "_CONNECT_SECONDS", 0.2)
    with pytest.raises(XtalgridError, match=r"cannot be reached|no answer|no certificate"):
        outgoing.post("https://rebind.example/", b"{}", [])
    assert asked == ["rebind.example"] and not hook.posts
    for host in ("rebind.example", "both.example"):
        with pytest.raises(outgoing.RefusedAddressError, match="no address on the internet"):
            outgoing.post(f"https://{host}/", b"{}", [])
    assert not hook.posts


def test_mistakes_in_the_configuration(tmp_path):
    hook = '[[webhooks.hooks]]\nname = "a"\nkind = "slack"\nurl_file = "x"\n'
    for toml, said in (
        (hook + hook, "the name 'a' is used twice"),
        ('[webhooks]\nallowed_hosts = ["http://x/"]\n', "is not a host"),
        ('[alerts]\ndomains = ["lab.example"]\n', "needs alerts.smtp_host"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            from_string(toml, home=tmp_path)
