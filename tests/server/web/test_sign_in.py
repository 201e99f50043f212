"""Signing in with a password: what guessing costs, whom it locks out, and what ends a session."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from xtalgrid_server.cli.main import main
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.database import now
from xtalgrid_server.ledger.sign_ins import name_hash
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth import passwords, sessions
from xtalgrid_server.web.auth.authentication import name_problem
from xtalgrid_server.web.auth.cookies import KNOWN, SESSION

from .conftest import PASSWORD, token_of

PROXY = "10.0.0.5"
STRONGER = "salts without drops"


@pytest.fixture
def checks(monkeypatch):
    """The passwords that were hashed, and how many at most at one time."""
    seen = {"passwords": [], "at once": 0}
    running, lock = [], threading.Lock()

    def verify(kept, given):
        with lock:
            running.append(given)
            seen["passwords"].append(given)
            seen["at once"] = max(seen["at once"], len(running))
        try:
            time.sleep(0.02)  # a real check takes longer, and two at once would meet
            return passwords.verify_password(kept, given)
        finally:
            with lock:
                running.remove(given)

    monkeypatch.setattr(sessions, "verify_password", verify)
    return seen


@pytest.fixture
def site(with_user, configured):
    """A viewer behind a web server that tells people's addresses."""
    return configured(f'sign_in = "users"\ntrusted_proxies = ["{PROXY}"]')


@pytest.fixture
def door(visit, site):
    """``door()(name, password, address)``: sign in through the web server, and get the status."""

    def open_one(app=None):
        client = visit(site, address=PROXY, app=app)
        token = token_of(client.get("/sign-in").text)

        def sign_in(name="ben", password=PASSWORD, address="10.1.1.1"):
            data = {"form_token": token, "name": name, "password": password}
            headers = {"X-Forwarded-For": address}
            return client.post("/sign-in", data=data, headers=headers, follow_redirects=False).status_code

        sign_in.client = client
        return sign_in

    return open_one


def at_once(sign_in, *guesses):
    with ThreadPoolExecutor(len(guesses)) as pool:
        return list(pool.map(lambda guess: sign_in(*guess), guesses))


# ---- guessing


def test_many_guesses_at_once_are_limited_and_hashed_one_after_the_other(door, checks):
    answers = at_once(door(), *((f"eve{n}", "guess") for n in range(45)))
    assert 20 <= len(checks["passwords"]) < 30 and checks["at once"] == 1
    assert set(answers) == {403, 429} and answers.count(403) == len(checks["passwords"])


def test_guesses_at_one_name_are_limited_also_after_a_restart(door, checks):
    at_once(door(), *(("Ben", f"guess {n}") for n in range(30)))
    again = door()
    assert at_once(again, *(("ben", f"guess {n}") for n in range(30))) == [429] * 30
    assert len(checks["passwords"]) == 10


def test_guesses_at_one_name_from_many_computers_are_limited(door, checks):
    at_once(door(), *(("ben", "guess", f"10.9.{n}.1") for n in range(30)))
    assert 10 <= len(checks["passwords"]) < 20


def test_a_computers_ipv6_addresses_are_one(door, checks):
    at_once(door(), *(("ben", "guess", f"2001:db8::{n:x}") for n in range(30)))
    assert len(checks["passwords"]) == 10


def test_who_must_wait_is_told_for_how_long(door):
    sign_in = door()
    at_once(sign_in, *(("ben", "guess") for _ in range(10)))
    client = sign_in.client
    data = {"form_token": token_of(client.get("/sign-in").text), "name": "ben", "password": PASSWORD}
    refused = client.post("/sign-in", data=data, headers={"X-Forwarded-For": "10.1.1.1"})
    assert refused.status_code == 429 and 800 < int(refused.headers["retry-after"]) <= 900
    assert "try again in 15 minutes" in refused.text


def test_old_attempts_are_forgotten_and_so_are_those_ahead_of_the_clock(door, system):
    with system.ledger._db.writing() as connection:
        for minutes in [16] * 10 + [-300] * 10:
            at = now() - timedelta(minutes=minutes)
            connection.execute(t.attempts.insert().values(name=name_hash("ben"), origin="10.1.1.1", at=at))
    sign_in = door()
    assert sign_in(password="wrong") == 403
    assert len(system.ledger._db.rows(sa.select(t.attempts))) == 1
    assert sign_in() == 303
    assert system.ledger._db.rows(sa.select(t.attempts)) == []


# ---- whom it locks out


def test_guesses_at_a_name_do_not_lock_the_person_out_elsewhere(door):
    sign_in = door()
    at_once(sign_in, *(("ben", "guess", "10.6.6.6") for _ in range(30)))
    assert sign_in(address="10.6.6.6") == 429
    assert sign_in(address="10.1.1.1") == 303


def test_guesses_through_a_web_server_that_tells_no_addresses_lock_nobody_out(visit, with_user):
    client = visit(with_user)
    for n in range(21):
        assert client.fill("/sign-in", "/sign-in", name=f"eve{n}", password="guess").status_code == 403
    assert client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 303


def test_who_has_signed_in_before_is_in_whatever_others_do_and_has_a_limit_too(door, visit, site, checks):
    app = create_app(site)
    mine, theirs = door(app), door(app)
    assert mine() == 303
    assert mine.client.fill("/sign-out").status_code == 303
    mine.client.cookies.delete(SESSION)
    known = mine.client.cookies[KNOWN]
    at_once(theirs, *(("ben", "guess") for _ in range(30)))
    assert theirs() == 429
    again = door(app)
    again.client.cookies.set(KNOWN, known)
    assert again() == 303
    theirs.client.cookies.set(KNOWN, known[:-1] + "x")
    assert theirs() == 429  # forged
    checks["passwords"].clear()
    theirs.client.cookies.set(KNOWN, known)
    at_once(theirs, *(("ben", "guess") for _ in range(30)))
    assert len(checks["passwords"]) == 10  # stolen


def test_a_new_password_from_the_operator_is_a_way_in(door, system):
    sign_in = door()
    at_once(sign_in, *(("ben", "guess") for _ in range(10)))
    assert sign_in() == 429
    system.ledger.users.set_password("ben", passwords.hash_password(STRONGER), "anna")
    assert sign_in(password=STRONGER) == 303


# ---- sessions


def shows(client, session):
    return ">ben<" in client.get("/", headers={"cookie": f"{SESSION}={session}"}).text


@pytest.fixture
def signed_in(visit, with_user):
    """A browser of ben's, and one that has a copy of his session's cookie."""
    app = create_app(with_user)
    client, other = visit(app=app), visit(app=app)
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    assert shows(other, client.cookies[SESSION])
    return client, other


def test_signing_out_ends_the_session_and_no_other(signed_in, system):
    client, other = signed_in
    other.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    session, its_own = client.cookies[SESSION], other.cookies[SESSION]
    kept = [row.token for row in system.ledger._db.rows(sa.select(t.sessions))]
    assert len(kept) == 2 and session not in kept
    client.fill("/sign-out")
    assert not shows(other, session) and shows(other, its_own)


def test_signing_in_again_ends_the_browsers_session(signed_in):
    client, other = signed_in
    session = client.cookies[SESSION]
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    assert client.cookies[SESSION] != session and not shows(other, session)


@pytest.mark.parametrize("words", [("add", "ben", "--stdin"), ("remove", "ben")])
def test_a_new_password_and_removal_end_sessions_at_once(signed_in, config, words):
    client, _ = signed_in
    done = CliRunner().invoke(main, ["--home", str(config.home), "user", *words], input=f"{PASSWORD}\n")
    assert done.exit_code == 0
    assert ">ben<" not in client.get("/").text


def test_sessions_end_by_themselves_and_are_deleted(signed_in, system):
    client, _ = signed_in
    with system.ledger._db.writing() as connection:
        connection.execute(t.sessions.update().values(began_at=now() - timedelta(hours=12, seconds=1)))
    assert ">ben<" not in client.get("/").text
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    assert len(system.ledger._db.rows(sa.select(t.sessions))) == 1


# ---- a new password


def change(client, **fields):
    given = {"password": PASSWORD, "new": STRONGER, "again": STRONGER} | fields
    return client.fill("/password", "/password", **given)


def test_people_change_their_own_password(signed_in, visit, with_user):
    client, other = signed_in
    session = client.cookies[SESSION]
    assert 'password">Password</a>' in client.get("/").text
    assert change(client).status_code == 303
    assert ">ben<" in client.get("/").text  # who changed it goes on
    assert not shows(other, session)
    assert other.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 403
    assert other.fill("/sign-in", "/sign-in", name="ben", password=STRONGER).status_code == 303


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"password": "wrong"}, 403, "Wrong name or password"),
        ({"again": "another"}, 422, "not the same"),
        ({"new": "short", "again": "short"}, 422, "at least 10"),
        ({"new": "Password2026!", "again": "Password2026!"}, 422, "first that others guess"),
    ],
)
def test_a_new_password_that_is_not_taken(signed_in, fields, status, why):
    client, other = signed_in
    refused = change(client, **fields)
    assert refused.status_code == status and why in refused.text
    assert ">ben<" in client.get("/").text
    assert other.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 303


def test_guesses_by_who_found_an_open_browser_are_limited(signed_in, checks):
    client, _ = signed_in
    assert [change(client, password=f"guess {n}").status_code for n in range(12)] == [403] * 10 + [429] * 2
    assert len(checks["passwords"]) == 10


def test_guests_and_viewers_without_passwords_have_no_such_page(visit, with_user, configured):
    guest = visit(with_user)
    assert guest.get("/password", follow_redirects=False).headers["location"] == "/sign-in?then=/password"
    assert change(guest).status_code == 403
    local = visit(configured(""))
    assert local.get("/password").status_code == local.post("/password", data={"new": STRONGER}).status_code == 404


@pytest.mark.parametrize(
    "password",
    [
        *("password123", "P@ssw0rd2026", "1234567890", "qwertyuiop", "passwordpassword", "aaaaaaaaaa", "abcdefghij"),
        *("9876543210", "ben1234567", "Ben!!!!!!!", "xtalgrid2026", "Crystals!!", "iloveyou12", "121212121212"),
    ],
)
def test_passwords_that_others_guess_first_are_refused(config, password):
    words = ["--home", str(config.home), "user", "add", "ben", "--stdin"]
    refused = CliRunner().invoke(main, words, input=f"{password}\n")
    assert refused.exit_code == 2 and "first that others guess" in refused.output


def test_a_name_fits_the_score_table_if_scores_are_written_there(configured):
    long = "Jürgen-Günther Müller-Bärenfuß"  # 35 bytes; Oracle's VARCHAR2(30) takes 30 bytes
    assert (len(long), len(long.encode())) == (30, 35)
    assert name_problem(configured(""), long) == ""
    assert "at most 30 bytes" in name_problem(configured("write_scores = true"), long)


@pytest.mark.parametrize("password", [PASSWORD, STRONGER, "correct horse battery staple", "ox7kQ9w2abz"])
def test_other_passwords_are_taken(password):
    assert passwords.password_problem("ben", password) == ""
