"""My plates, my inbox and my notifications."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.auth.passwords import hash_password

from ..conftest import answer
from .conftest import PASSWORD, Enter, Visit, row

LATELY = datetime.now().replace(microsecond=0) - timedelta(days=1)
TOML = """
[alerts]
smtp_host = "mail.lab.example"
sender = "xtalgrid@lab.example"
domains = ["lab.example"]
[webhooks]
people = {people}
allowed_hosts = ["chat.lab.example:8065"]
[viewer]
sign_in = "users"
people_file = "{file}"
"""
HOOK = "https://hooks.slack.com/services/T000/B000/s3cr3t"


@pytest.fixture
def ann(config: Config, system: System, visit: Callable[..., Visit], enter: Enter, tmp_path) -> Visit:
    """Ann's browser; she is of the project red, and there is one of blue."""
    for n, (barcode, project) in enumerate((("RED1", "red"), ("BLUE1", "blue"))):
        for place in (Well(1, 1, 1), Well(1, 2, 1)):
            image = replace(
                row(f"{barcode}_{place.col}.jpg", barcode, 900 + 100 * n + place.col, place), inspected=LATELY
            )
            outcome = (Outcome.HARVESTABLE, Outcome.UNDECIDED)[place.col - 1]
            enter([image], [answer(0, outcome, 0.9, 0.9 if place.col == 1 else 0.2)])
        system.ledger.contents.record([Contents(barcode, Well(0, 0, 0), project, f"sample of {project}")])
    file = tmp_path / "people.csv"
    file.write_text("project,person\nred,ann\n")
    for name in ("ann", "ben"):
        system.ledger.users.set_password(name, hash_password(PASSWORD), "test")
    client = visit(from_string(TOML.format(people="true", file=file), home=config.home))
    assert client.fill("/sign-in", "/sign-in", name="ann", password=PASSWORD).status_code == 303
    return client


def sign_in_as_ben(client: Visit) -> None:
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)


@pytest.mark.parametrize("address", ["/", "/inbox"])
def test_one_s_own_projects_come_first_and_the_others_are_a_click_away(ann, address):
    mine = ann.get(address).text
    assert "RED1" in mine and "BLUE1" not in mine
    every = re.search(rf'href="({re.escape(address)}\?of=all)"', mine).group(1)
    page = ann.get(every).text
    assert "RED1" in page and "BLUE1" in page
    sign_in_as_ben(ann)
    page = ann.get(address).text
    assert "RED1" in page and "BLUE1" in page and "of=all" not in page


def test_a_search_stays_where_it_is_and_says_where_else_to_look(ann):
    mine = ann.get("/?q=sample").text
    assert "RED1" in mine and "BLUE1" not in mine
    none = ann.get("/?q=blue").text
    assert "No plates found" in none and 'href="/?q=blue&amp;of=all"' in none
    page = ann.get("/?q=blue&of=all").text
    assert "BLUE1" in page and '<input type="hidden" name="of" value="all">' in page


def test_what_a_person_chooses_is_kept_and_their_webhook_is_not_shown(ann, system):
    fields = {"when": "weekly", "mail": "ann@lab.example", "kind": "slack", "url": HOOK, "crystal_from": "0.8"}
    assert ann.fill("/notifications", "/notifications", project=["red", "green"], **fields).status_code == 303
    own = system.ledger.notices.settings_of("ann")
    assert (own.when, own.address, own.url, own.crystal_from) == ("weekly", "ann@lab.example", HOOK, 0.8)
    assert own.projects == ("red",)  # there is no project green
    page = ann.get("/notifications").text
    assert "hooks.slack.com" in page and "s3cr3t" not in page
    assert re.search(r'value="red" checked', page) and re.search(r'value="weekly" selected', page)
    log = (system.config.home / "access.log").read_text()
    assert 'act=notifications result=ok who="ann" when="weekly" mail=true webhook="hooks.slack.com"' in log
    assert "s3cr3t" not in log
    assert ann.fill("/notifications", "/notifications", **fields | {"url": "", "when": "daily"}).status_code == 303
    later = system.ledger.notices.settings_of("ann")
    assert (later.url, later.when, later.since) == (HOOK, "daily", own.since)
    ann.fill("/notifications", "/notifications", **fields | {"url": "", "forget": "1", "when": "off"})
    off = system.ledger.notices.settings_of("ann")
    assert (off.url, off.since) == ("", None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mail": "ann@evil.example"}, "lab.example"),
        ({"mail": "ann@lab.example\r\nBcc: x@lab.example"}, "no mail address"),
        ({"url": "http://hooks.example.com/x"}, "must begin with https://"),
        ({"url": "https://127.0.0.1:8765/x"}, "no port of its own"),
        ({"url": "http://chat.lab.example/x"}, "must begin with https://"),
        ({"url": "javascript:alert(1)"}, "no address like"),
        ({}, "Give an address"),
    ],
)
def test_what_cannot_be_used_is_said_and_not_kept(ann, system, fields, said):
    refused = ann.fill("/notifications", "/notifications", **{"when": "daily", **fields})
    assert refused.status_code == 422 and said in refused.text
    assert system.ledger.notices.settings() == {}


def test_the_operator_can_allow_an_inner_host(ann, system):
    fields = {"when": "daily", "kind": "mattermost", "url": "http://chat.lab.example:8065/hooks/x"}
    assert ann.fill("/notifications", "/notifications", **fields).status_code == 303
    assert system.ledger.notices.settings_of("ann").kind == "mattermost"


def test_without_the_lab_s_leave_there_is_no_form(client):
    assert "sends no notifications" in client.get("/notifications").text
    assert ">Notifications<" not in client.get("/").text
    assert client.fill("/notifications", "/notifications", when="daily").status_code == 404


def test_guests_are_asked_to_sign_in(ann):
    guest = Visit(ann.app, base_url="http://localhost")
    answered = guest.get("/notifications", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answered.status_code == 303 and answered.headers["location"].startswith("/sign-in")
    assert guest.fill("/notifications", "/", when="off").status_code == 403
