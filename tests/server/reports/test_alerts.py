"""Telling people of new crystals, with a real mail server."""

from __future__ import annotations

import email
import email.policy
import json
import re
import socket
import ssl
from datetime import datetime, timedelta

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.server.conftest import INSPECTED
from tests.system.viewer import fill_plate
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger import tables
from xtalgrid_server.ledger.contents import Contents

LATELY = datetime.now().replace(microsecond=0) - timedelta(days=5)
MAIL = """
[alerts]
smtp_host = "127.0.0.1"
port = {port}
starttls = {starttls}
sender = "xtalgrid@lab.example"
recipients = ["ann@lab.example", "bob@lab.example"]
viewer_url = "http://xtal.lab.example:8765/"
"""


class Inbox:
    """Takes mail while `is_open`, as a mail server's other end."""

    def __init__(self):
        self.mails, self.is_open = [], True

    async def handle_DATA(self, server, session, envelope):
        if not self.is_open:
            return "451 try again later"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 taken"


@pytest.fixture
def mail_server():
    """Start real SMTP servers; ``mail_server(inbox)`` is the port."""
    started = []

    def start(inbox, **options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
        controller.start()
        started.append(controller)
        return port

    yield start
    for controller in started:
        controller.stop()


def test_each_drop_is_told_of_once_for_ever(xtalgrid, inspect):
    inspect(1, {1: 0.1, 2: 0.1}, first=LATELY)
    assert "no new crystals" in xtalgrid("alerts").output
    inspect(2, {1: 0.8, 2: 0.1}, first=LATELY)
    assert xtalgrid("alerts", "--dry-run").output == xtalgrid("alerts", "--dry-run").output
    told = xtalgrid("alerts").output
    assert told.startswith("CI022987  A1a    inspection 2, ")
    assert "crystals harvestable, p_crystal 80 %, 10 % at most before" in told
    assert "no new crystals" in xtalgrid("alerts").output
    inspect(3, {1: 0.9, 2: 0.7}, first=LATELY)
    (alert,) = json.loads(xtalgrid("alerts", "--json").stdout)
    assert (alert["well"], alert["inspection"], alert["before"], alert["people"]) == ("A2a", 3, 0.1, [])


def test_crystals_of_the_archive_are_no_news(xtalgrid, inspect):
    inspect(1, {1: 0.9}, first=INSPECTED)
    assert "no new crystals" in xtalgrid("alerts").output
    assert "A1a" in xtalgrid("alerts", toml="[alerts]\ndays = 100000\ncrystal_from = 0.9\n").output


def test_what_an_imager_takes_whose_clock_begins_at_1970_is_news(xtalgrid, score):
    score({(1, 1): Outcome.CLEAR}, inspection=1, inspected=LATELY, p_crystal=0.1)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=2, inspected=datetime(1970, 1, 1, 0, 5), p_crystal=0.8)
    assert (
        "inspection 2, 1970-01-01: crystals harvestable, p_crystal 80 %, 10 % at most before"
        in xtalgrid("alerts").output
    )


def test_status_names_what_a_lost_clock_dated(xtalgrid, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR}, inspection=2, inspected=datetime(1970, 1, 1, 0, 5))
    assert "lost clock  plate CI022987 inspection 2 (2 images) is dated 1970-01-01 00:05" in xtalgrid("status").output


def test_a_crystal_of_long_ago_stays_one_though_the_clock_had_begun_at_1970(xtalgrid, score):
    score({(1, 1): Outcome.HARVESTABLE}, inspection=1, inspected=datetime(1970, 1, 1, 0, 5), p_crystal=0.8)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=2, inspected=INSPECTED, p_crystal=0.8)
    assert "no new crystals" in xtalgrid("alerts").output


def test_one_mail_for_each_plate(xtalgrid, inspect, system, mail_server):
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox), starttls="false")
    inspect(1, {1: 0.9, 2: 0.7, 3: 0.1}, first=LATELY)
    contents = Contents("CI022987", Well(1, 1, 1), sample="ABL1", condition="20 % PEG 3350, 0.1 M Bis-Tris pH 6.5")
    system.ledger.contents.record([contents])
    result = xtalgrid("alerts", toml=toml)
    assert result.exit_code == 0, result.output
    ((recipients, mail),) = inbox.mails
    assert recipients == ["ann@lab.example", "bob@lab.example"]
    assert mail["Subject"] == "CI022987: 2 new crystals"
    body = mail.get_content()
    assert body.index("A1a") < body.index("A2a")
    assert "condition: 20 % PEG 3350" in body
    assert "http://xtal.lab.example:8765/well/CI022987/1/A1a" in body
    assert "A3a" not in body
    xtalgrid("alerts", toml=toml)
    assert len(inbox.mails) == 1


def test_after_a_ledger_was_restored_mails_are_known_by_what_they_are_about(xtalgrid, inspect, system, mail_server):
    """Mail servers drop a second mail with the same Message-ID."""
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox), starttls="false")
    inspect(1, {1: 0.9}, first=LATELY)
    xtalgrid("alerts", toml=toml)
    with system.ledger._db.writing() as connection:
        connection.execute(tables.alerts.delete())
    inspect(1, {2: 0.8}, first=LATELY)
    with system.ledger._db.writing() as connection:  # the restored ledger knows nothing of A1 yet
        connection.execute(tables.scores.update().where(tables.scores.c.id == 1).values(p_crystal=0.1))
    xtalgrid("alerts", toml=toml)
    with system.ledger._db.writing() as connection:
        connection.execute(tables.scores.update().where(tables.scores.c.id == 1).values(p_crystal=0.9))
    xtalgrid("alerts", toml=toml)
    ids = [mail["Message-ID"] for _, mail in inbox.mails]
    told = [re.findall(r"^(A\da)", mail.get_content(), re.MULTILINE) for _, mail in inbox.mails]
    assert told == [["A1a"], ["A2a"], ["A1a"]]
    assert ids[0] == ids[2] != ids[1]


def test_what_the_mail_server_refuses_goes_out_with_the_next_run(xtalgrid, inspect, mail_server, score):
    inbox = Inbox()
    toml = MAIL.format(port=mail_server(inbox), starttls="false")
    inspect(1, {1: 0.9}, first=LATELY)
    inbox.is_open = False
    refused = xtalgrid("alerts", toml=toml)
    assert refused.exit_code == 2
    assert "451" in refused.output
    assert "the next run tries again" in refused.output
    again = {"inspection": 1, "inspected": LATELY + timedelta(days=1), "threshold": 0.8, "p_crystal": 0.6}
    score({(1, 1): Outcome.HARVESTABLE}, **again)  # a newer model says so too, meanwhile
    inbox.is_open = True
    assert xtalgrid("alerts", toml=toml).exit_code == 0
    assert [mail["Subject"] for _, mail in inbox.mails] == ["CI022987: 1 new crystal"]


class Choosy(Inbox):
    """Takes no mail whose subject has a word, and none for addresses that begin with another."""

    def __init__(self, subject="-", address="-"):
        super().__init__()
        self.subject, self.address = subject, address

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith(self.address):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        refused = self.subject in email.message_from_bytes(envelope.content, policy=email.policy.default)["Subject"]
        return "552 message refused" if refused else await super().handle_DATA(server, session, envelope)


def test_a_mail_that_is_refused_stops_no_other_plate_s(xtalgrid, system, mail_server):
    for barcode in ("P1", "P2", "P3"):
        fill_plate(system, barcode, [Outcome.HARVESTABLE], [0.9], at=LATELY, pictures=False)
    inbox = Choosy(subject="P2")
    toml = MAIL.format(port=mail_server(inbox), starttls="false")
    for _ in range(2):
        refused = xtalgrid("alerts", toml=toml)
        assert refused.exit_code == 2
        assert "plate P2: (552, b'message refused')" in refused.output
    assert [mail["Subject"] for _, mail in inbox.mails] == ["P1: 1 new crystal", "P3: 1 new crystal"]
    inbox.subject = "-"
    assert xtalgrid("alerts", toml=toml).exit_code == 0
    assert [mail["Subject"] for _, mail in inbox.mails][2:] == ["P2: 1 new crystal"]


def test_who_of_the_list_gets_no_mail_is_said(xtalgrid, inspect, mail_server):
    inbox = Choosy(address="bob")
    inspect(1, {1: 0.9}, first=LATELY)
    told = xtalgrid("alerts", toml=MAIL.format(port=mail_server(inbox), starttls="false"))
    assert [recipients for recipients, _ in inbox.mails] == [["ann@lab.example"]]
    assert told.exit_code == 2
    assert "bob@lab.example got no mail of plate CI022987: 550 no such user" in told.output


def test_the_password_goes_by_tls_to_a_server_with_a_certificate(xtalgrid, inspect, mail_server, tmp_path, monkeypatch):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    inbox, given = Inbox(), []

    def authenticate(server, session, envelope, mechanism, data):
        given.append((data.login, data.password))
        return AuthResult(success=data.password == b"secret")

    port = mail_server(
        inbox, tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True
    )
    (tmp_path / "password").write_text("secret\n")
    toml = MAIL.format(port=port, starttls="true") + f'user = "xtal"\npassword_file = "{tmp_path / "password"}"\n'
    inspect(1, {1: 0.9}, first=LATELY)
    assert "certificate verify failed" in xtalgrid("alerts", toml=toml).output  # not one that we trust
    assert not given
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    result = xtalgrid("alerts", toml=toml)
    assert result.exit_code == 0, result.output
    assert given == [(b"xtal", b"secret")]
    assert len(inbox.mails) == 1


def test_half_a_mail_configuration_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        from_string('[alerts]\nsmtp_host = "mail"\nuser = "x"\nstarttls = false\nrecipients = ["ann"]\n', home=tmp_path)
    for mistake in (
        "alerts.sender: not set",
        "set both or neither",
        "not sent in the clear",
        "'ann' is not a mail address",
    ):
        assert mistake in str(caught.value)
