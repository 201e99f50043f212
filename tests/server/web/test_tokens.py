"""Tokens of programs: made by people and operators, of use until they end, and for nothing but the JSON addresses."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.web.auth.passwords import hash_password

from .conftest import PASSWORD, PLATE, Visit, link

SCORE = {"key": "k1", "image_id": 1, "outcome": "clear"}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def run(config, *words, code=0):
    done = CliRunner().invoke(main, ["--home", str(config.home), *words])
    assert done.exit_code == code, done.output
    return done


def program(visit, config, app=None):
    """A program elsewhere, without cookies."""
    return visit(config, "10.0.0.9", app)


def made(page):
    return re.search(r'value="(xtalgrid_[\w-]{32})"', page).group(1)


def make(browser, scope="score", label="script", days=30):
    page = browser.fill("/tokens", "/tokens", label=label, scope=scope, days=days)
    assert page.status_code == 200, page.text
    return made(page.text)


@pytest.fixture
def ben(visit, with_user) -> Visit:
    """A browser in which ben has signed in, who has a password."""
    browser = visit(with_user)
    assert browser.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 303
    return browser


def test_a_person_makes_a_token_which_is_shown_once(ben, system, config):
    token = make(ben)
    page = ben.get("/tokens").text
    assert token not in page and "script" in page and "read and score" in page and "never" in page
    assert token.encode() not in b"".join(path.read_bytes() for path in config.home.rglob("*.db*"))
    told = ben.get("/api/token", headers=bearer(token)).json()
    assert (told["who"], told["name"], told["scope"]) == ("ben", "script", "score")
    assert "ago" in ben.get("/tokens").text
    lines = (config.home / "access.log").read_text()
    assert 'act=token-add result=ok who="ben" token="script" scope="score" days=30' in lines and token not in lines


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": " "}, "Give the token a name"),
        ({"label": "x" * 61}, "1 to 60 characters"),
        ({"label": "a\u202eb"}, "can be printed"),
        ({"scope": "review"}, "no scope"),
        ({"days": "367"}, "1 to 366 days"),
        ({"days": "never"}, "not 0"),
    ],
)
def test_what_cannot_be_a_token_is_refused(ben, system, fields, said):
    page = ben.fill("/tokens", "/tokens", **{"label": "a", "scope": "read", "days": "30", **fields})
    assert page.status_code == 422 and said in page.text
    assert system.ledger.tokens.working() == []


def test_a_person_has_20_tokens_at_most_and_each_name_once(ben, system):
    for number in range(20):
        make(ben, label=f"n{number}")
    assert "20 tokens already" in ben.fill("/tokens", "/tokens", label="more", scope="read", days=30).text
    ben.fill("/tokens/remove", "/tokens", label="n3")
    assert "has a token &#39;n4&#39; already" in ben.fill("/tokens", "/tokens", label="n4", scope="read", days=30).text
    make(ben, label="n3")
    assert len(system.ledger.tokens.working("ben")) == 20


def ended_by_removal(ben, config, system):
    ben.fill("/tokens/remove", "/tokens", label="script")


def ended_by_the_operator(ben, config, system):
    run(config, "token", "remove", "ben", "script")


def ended_by_a_new_password(ben, config, system):
    fields = {"password": PASSWORD, "new": "salts and more drops", "again": "salts and more drops"}
    assert ben.fill("/password", "/password", **fields).status_code == 303


def ended_by_removing_the_user(ben, config, system):
    run(config, "user", "remove", "ben")


def ended_by_removing_and_adding_the_user(ben, config, system):
    run(config, "user", "remove", "ben")
    system.ledger.users.set_password("ben", hash_password(PASSWORD), "anna")


def ended_by_time(ben, config, system):
    with closing(sqlite3.connect(config.home / "ledger.db")) as connection:
        connection.execute("UPDATE tokens SET expires_at = made_at")
        connection.commit()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ended_by_removal, "was removed"),
        (ended_by_the_operator, "was removed"),
        (ended_by_a_new_password, "another password"),
        (ended_by_removing_the_user, "removed"),
        (ended_by_removing_and_adding_the_user, "removed"),
        (ended_by_time, "expired"),
    ],
)
def test_a_token_ends_at_once(ben, visit, with_user, system, score, end, said):
    score({(1, 1): Outcome.CLEAR})
    token = make(ben)
    caller = program(visit, with_user)
    assert caller.post("/api/scores", json={"scores": [SCORE]}, headers=bearer(token)).status_code == 200
    end(ben, with_user, system)
    for answer in (
        caller.post("/api/scores", json={"scores": [SCORE | {"key": "k2"}]}, headers=bearer(token)),
        caller.get("/api/token", headers=bearer(token)),
        caller.get(PLATE, headers=bearer(token)),
    ):
        assert answer.status_code == 401 and said in answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
    assert len(system.ledger.corrections.of_images([1])[1]) == 1
    assert 'act=token result=refused who="ben"' in (with_user.home / "access.log").read_text()
    assert system.ledger.tokens.working("ben") == []


def test_a_token_that_reads_reads_what_guests_may_not(ben, visit, configured, score, system):
    score({(1, 1): Outcome.CLEAR})
    token = make(ben, scope="read")
    closed = program(visit, configured('sign_in = "users"\nguests = false'))
    read = ["/api/plates", "/api/plates/CI022987/3", f"{PLATE}/scores.csv", "/thumbnail/320/1.jpg", PLATE]
    assert {closed.get(address, headers=bearer(token)).status_code for address in read} == {200}
    assert {closed.get(address).status_code for address in read} == {401}
    refused = closed.post("/api/scores", json={"scores": [SCORE]}, headers=bearer(token))
    assert refused.status_code == 403 and "only reads" in refused.json()["text"]
    assert system.ledger.corrections.of_images([1])[1] == []


def test_a_token_is_no_session_and_a_session_is_no_token(ben, visit, with_user, system, score):
    """Nor does either help the other: with a wrong token, a good cookie names nobody."""
    score({(1, 1): Outcome.CLEAR})
    token = make(ben)
    assert ben.post("/api/scores", json={"scores": [SCORE]}).status_code == 401
    assert ben.get("/api/plates", headers=bearer("xtalgrid_wrong")).status_code == 401
    assert ben.get("/", headers=bearer("xtalgrid_wrong")).status_code == 401
    caller = program(visit, with_user)
    for address in ("/corrections", "/corrections/undo", "/inbox/seen", "/operations/review", "/tokens", "/password"):
        form = {"form_token": "", "image": "1", "outcome": "clear", "label": "more", "scope": "score", "days": "30"}
        assert caller.post(address, data=form, headers=bearer(token)).status_code == 403, address
    assert caller.get("/tokens", headers=bearer(token), follow_redirects=False).status_code == 303
    assert caller.get("/metrics", headers=bearer(token)).status_code == 403
    assert system.ledger.corrections.of_images([1])[1] == []


@pytest.mark.parametrize("query", ["token", "access_token", "authorization", "bearer"])
def test_a_token_in_the_address_or_a_cookie_is_none(ben, visit, configured, query):
    token = make(ben)
    closed = program(visit, configured('sign_in = "users"\nguests = false'))
    assert closed.get(f"/api/plates?{query}={token}").status_code == 401
    posted = closed.post(f"/api/scores?{query}={token}", json={"scores": [SCORE]})
    assert posted.status_code == 401 and "never in the address" in posted.json()["text"]
    cookies = {"Cookie": f"token={token}; xtalgrid_session={token}"}
    assert closed.get("/api/plates", headers=cookies).status_code == 401


def test_wrong_tokens_are_slowed_down_and_hold_up_none_that_works(ben, visit, with_user, config):
    token = make(ben)
    caller = program(visit, with_user)
    answers = [caller.get("/api/plates", headers=bearer(f"xtalgrid_{n}")) for n in range(25)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 5
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 2 and "try again in" in answers[-1].json()["text"]
    assert caller.get("/api/plates", headers=bearer(token)).status_code == 200
    other = visit(with_user, "10.0.0.10", caller.app)
    same = [other.get("/api/plates", headers=bearer("xtalgrid_same")) for _ in range(11)]
    assert [answer.status_code for answer in same] == [401] * 10 + [429]
    assert int(same[-1].headers["retry-after"]) > 600
    lines = (config.home / "access.log").read_text().splitlines()
    assert sum('act=token result=refused who=""' in line for line in lines) == 30
    assert sum('act=token result=delayed who=""' in line for line in lines) == 6


def test_two_tokens_are_none(ben):
    token = make(ben)
    sent = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert ben.get("/api/token", headers=sent).status_code == 401


def test_operators_make_list_and_remove_tokens(config, system, with_user, visit, monkeypatch):
    monkeypatch.chdir(config.home)
    (config.home / "xtalgrid.toml").write_text(f'home = "{config.home}"\n[viewer]\nsign_in = "users"\n')
    done = run(config, "token", "add", "ben")
    token = done.stdout.strip()
    assert "'token 1' may read as ben for 90 days" in done.stderr
    assert program(visit, with_user).get("/api/token", headers=bearer(token)).json()["name"] == "token 1"
    run(config, "token", "add", "ben", "beamline", "--scope", "score", "--days", "7")
    assert "already" in run(config, "token", "add", "ben", "beamline", code=2).output
    assert "no user carla" in run(config, "token", "add", "carla", code=2).output
    listed = json.loads(run(config, "token", "list", "--json").output)
    assert [(one["name"], one["label"], one["scope"]) for one in listed] == [
        ("ben", "token 1", "read"),
        ("ben", "beamline", "score"),
    ]
    assert listed[0]["used_at"] and not listed[1]["used_at"]
    assert "beamline  score" in run(config, "token", "list", "ben").output
    assert token not in run(config, "token", "list").output
    run(config, "token", "remove", "ben")
    assert run(config, "token", "list").output == "no tokens; `xtalgrid token add NAME` makes one\n"
    assert "has no token" in run(config, "token", "remove", "ben", code=2).output


def test_with_a_log_in_of_the_web_server(configured, visit, system, score):
    """The person has no password here, so that `user remove` ends tokens alone."""
    score({(1, 1): Outcome.CLEAR})
    config = configured('sign_in = "proxy"\ntrusted_proxies = ["127.0.0.1"]\nguests = false')
    browser = visit(config)
    browser.headers["X-Remote-User"] = "carla"
    token = make(browser)
    caller = visit(config, app=browser.app)
    caller.headers["X-Remote-User"] = ""
    answer = caller.post("/api/scores", json={"scores": [SCORE]}, headers=bearer(token))
    assert answer.json()["accepted"] == 1
    both = caller.get("/api/token", headers={**bearer(token), "X-Remote-User": "dora"})
    assert both.json()["who"] == "carla"  # the token alone says who it is
    own = caller.get("/", headers={"Authorization": "Bearer of-the-web-server", "X-Remote-User": "dora"})
    assert own.status_code == 200 and "dora" in own.text
    run(config, "user", "remove", "carla")
    assert caller.get("/api/token", headers=bearer(token)).status_code == 401


def test_where_one_person_runs_the_viewer(client, visit, score, system):
    score({(1, 1): Outcome.CLEAR})
    token = make(client)
    caller = visit(client.app.state.site.config, "10.0.0.9", client.app)
    assert caller.post("/api/scores", json={"scores": [SCORE]}, headers=bearer(token)).json()["accepted"] == 1
    assert [one.who for one in system.ledger.corrections.of_images([1])[1]] == ["anna"]
    assert caller.get(link(client.app), headers=bearer(token), follow_redirects=False).status_code == 303


def test_a_token_made_while_the_password_changed_does_not_stay(ben, system, monkeypatch):
    """Whoever has a stolen session cannot race the new password."""
    add = type(system.ledger.tokens).add

    def with_new_password(self, who, *more):
        system.ledger.users.set_password(who, hash_password("another one of ben's"), who)
        return add(self, who, *more)

    monkeypatch.setattr(type(system.ledger.tokens), "add", with_new_password)
    assert ben.fill("/tokens", "/tokens", label="script", scope="score", days=30).status_code == 401
    assert system.ledger.tokens.working("ben") == []
