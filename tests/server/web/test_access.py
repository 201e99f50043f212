"""Who may do what: by a password, by a web server's header, and nobody by a trick. `test_links` has sign_in = "local"."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth import passwords
from xtalgrid_server.web.auth.cookies import FORMS, SESSION
from xtalgrid_server.web.auth.forms import local_address
from xtalgrid_server.web.auth.passwords import hash_password, verify_password

from .conftest import PASSWORD, token_of

WELL = "/well/CI022987/3/A1a"


def name_on(page):
    return "anna" if 'class="name" title="Your scores are saved under this name">anna<' in page else ""


def test_without_guests_nothing_is_shown(visit, score, configured):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("guests = false"), address="10.0.0.7")
    for address in ("/", WELL, "/image/1.jpg", "/thumbnail/320/1.jpg", "/api/plates", "/operations", "/inbox", "/docs"):
        answered = client.get(address)
        assert answered.status_code == 401, address
        assert "CI022987" not in answered.text.replace(address, "")
    assert client.get("/healthz").status_code == 200


# ---- users with passwords


def test_signing_in_and_out(visit, with_user, score):
    score({(1, 1): Outcome.CLEAR})
    client = visit(with_user, address="10.0.0.7")
    assert "Sign in" in client.get(WELL).text
    done = client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD, then=WELL)
    assert (done.status_code, done.headers["location"]) == (303, WELL)
    cookie = next(value for value in done.headers.get_list("set-cookie") if value.startswith(SESSION))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Max-Age=43200" in cookie and "Secure" not in cookie
    assert PASSWORD not in cookie
    assert ">ben<" in client.get(WELL).text
    assert client.fill("/sign-out").status_code == 303
    assert ">ben<" not in client.get(WELL).text


def test_cookies_of_a_viewer_behind_https_are_never_sent_without(visit, with_user, configured):
    client = visit(configured('sign_in = "users"\nhttps = true'))
    assert all("Secure" in value for value in client.get("/").headers.get_list("set-cookie"))


def test_a_wrong_name_or_password_is_told_in_the_same_words(visit, with_user):
    client = visit(with_user)
    for name, password in (("ben", "wrong"), ("eve", PASSWORD), ("ben", ""), ("ben", "x" * 5000)):
        refused = client.fill("/sign-in", "/sign-in", name=name, password=password)
        assert refused.status_code == 403
        assert "Wrong name or password" in refused.text
        assert SESSION not in client.cookies


def test_forged_stolen_and_old_sessions(visit, with_user, configured, system):
    client = visit(with_user)
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    session = client.cookies[SESSION]
    assert ">ben<" in client.get("/").text
    stranger = visit(with_user)
    for forged in (session[:-3] + "abc", "ben", "", session[:-1], session + "=", "a.b.c"):
        assert ">ben<" not in stranger.get("/", headers={"cookie": f"{SESSION}={forged}"}).text
    assert ">ben<" in stranger.get("/", headers={"cookie": f"{SESSION}={session}"}).text
    system.ledger.users.set_password("ben", hash_password("another one it is"), "anna")
    fresh = visit(with_user)  # a new password ends the sessions of the one before
    assert ">ben<" not in fresh.get("/", headers={"cookie": f"{SESSION}={session}"}).text


def test_removed_users_cannot_sign_in(visit, with_user, system):
    system.ledger.users.set_password("ben", "", "anna")
    assert visit(with_user).fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 403


def test_after_signing_in_nobody_is_sent_to_another_site(visit, with_user):
    done = visit(with_user).fill("/sign-in", "/sign-in", name="ben", password=PASSWORD, then="//evil.example/")
    assert done.headers["location"] == "/"
    for address in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb", ""):
        assert local_address(address) == "/"
    assert local_address("/plate/a%20b/3?only=clear") == "/plate/a%20b/3?only=clear"


def test_passwords_are_hashed_with_argon2id(real_hasher, monkeypatch):
    monkeypatch.setattr(passwords, "_hasher", lambda: real_hasher)
    kept = hash_password(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and PASSWORD not in kept  # RFC 9106, section 4
    assert verify_password(kept, PASSWORD) and not verify_password(kept, PASSWORD + " ") and not verify_password("", "")
    assert not verify_password("no hash", PASSWORD)


def test_the_command_that_adds_lists_and_removes_users(config, system):
    def run(*words, said=None):
        return CliRunner().invoke(main, ["--home", str(config.home), "user", *words], input=said)

    assert run("add", "ben", said=f"{PASSWORD}\n{PASSWORD}\n").exit_code == 0
    assert verify_password(system.ledger.users.password("ben"), PASSWORD)
    piped = run("add", "carla", "--stdin", said=f"{PASSWORD} too\n")
    assert piped.exit_code == 0 and PASSWORD not in piped.output
    assert [line.split()[0] for line in run("list").output.splitlines()] == ["ben", "carla"]
    assert run("remove", "ben").exit_code == 0
    assert system.ledger.users.password("ben") == ""
    for words, said, why in (
        (("add", "dora", "--stdin"), "short\n", "at least 10"),
        (("add", "ARTscore", "--stdin"), f"{PASSWORD}\n", "a program's"),
        (("add", "x" * 31, "--stdin"), f"{PASSWORD}\n", "30 characters"),
        (("remove", "nobody"), None, "no user"),
    ):
        refused = run(*words, said=said)
        assert refused.exit_code == 2 and why in refused.output, refused.output


# ---- behind a web server that knows who people are


def test_the_web_servers_header_is_believed_from_the_web_server_alone(visit, configured, score):
    score({(1, 1): Outcome.CLEAR})
    config = configured('sign_in = "proxy"\ntrusted_proxies = ["10.0.0.5", "fd00::/8"]')
    app = create_app(config)
    header = {"X-Remote-User": "anna"}
    assert name_on(visit(address="10.0.0.5", app=app).get("/", headers=header).text) == "anna"
    assert name_on(visit(address="fd00::5", app=app).get("/", headers=header).text) == "anna"
    for address in ("10.0.0.6", "127.0.0.1"):
        assert name_on(visit(address=address, app=app).get("/", headers=header).text) == ""
        forged = {**header, "X-Forwarded-For": "10.0.0.5", "Forwarded": "for=10.0.0.5"}
        assert name_on(visit(address=address, app=app).get("/", headers=forged).text) == ""


def test_names_that_nobody_can_have_are_guests(visit, configured):
    client = visit(configured('sign_in = "proxy"\ntrusted_proxies = ["10.0.0.5"]'), address="10.0.0.5")
    for names in (["anna", "eve"], [""], ["a" * 31], ["ARTscore"], ["artSCORE"], ["a\tb"]):
        page = client.get("/", headers=[("X-Remote-User", name) for name in names]).text
        assert "Guest: read-only" in page, names


@pytest.mark.parametrize(
    ("groups", "may_review"),
    [
        (["staff, reviewers"], True),
        (["reviewers"], True),
        ([], False),
        (["staff"], False),
        (["reviewers2,not reviewers"], False),
        (["@reviewers"], False),
        (["reviewers", "reviewers"], False),  # one of them may be the browser's
    ],
)
def test_groups_of_the_web_server_may_review(visit, configured, system, groups, may_review):
    system.ledger.decisions.add("r1", [])
    keys = 'sign_in = "proxy"\ntrusted_proxies = ["10.0.0.5"]\ngroups_header = "X-Groups"\nreviewers = ["@reviewers", "carla"]'
    app = create_app(configured(keys))

    def reviews(address, name):
        headers = [("X-Remote-User", name), *(("X-Groups", group) for group in groups)]
        client = visit(address=address, app=app)
        token = re.search(r'data-form-token="(\w+)"', client.get("/sign-in", headers=headers).text)
        data = {"form_token": token.group(1), "verdict": "approve", "score": "1"}
        return client.post("/operations/review", data=data, headers=headers).status_code

    assert reviews("10.0.0.5", "ben") == (409 if may_review else 403)  # 409: this score is not held
    assert reviews("10.0.0.5", "carla") == 409
    assert reviews("10.0.0.5", "@reviewers") == (409 if may_review else 403)
    assert reviews("10.0.0.6", "ben") == 403


def test_groups_need_a_header_and_a_web_server(configured):
    for keys in ('groups_header = "X-Groups"', 'reviewers = ["@reviewers"]'):
        with pytest.raises(ConfigError, match=r"groups_header"):
            configured(keys)


@pytest.mark.parametrize("keys", ['sign_in = "proxy"', 'sign_in = "proxy"\ntrusted_proxies = ["lab.example"]'])
def test_a_proxy_without_addresses_is_refused_when_the_configuration_is_read(configured, keys):
    with pytest.raises(ConfigError, match="trusted_proxies"):
        configured(keys)


# ---- forms


@pytest.fixture
def form(client, score):
    score({(1, 1): Outcome.CLEAR})
    return {"form_token": token_of(client.get(WELL).text), "image": "1", "outcome": "harvestable"}


def test_a_form_of_this_page_is_taken(client, form, system):
    done = client.post("/corrections", data=form, headers={"sec-fetch-site": "same-origin"}, follow_redirects=False)
    assert done.status_code == 303
    assert [one.outcome for one in system.ledger.corrections.of_images([1])[1]] == [Outcome.HARVESTABLE]


def test_forms_from_other_sites_change_nothing(client, form, system):
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ):
        assert client.post("/corrections", data=form, headers=headers).status_code == 403, headers
    assert system.ledger.corrections.of_images([1])[1] == []


def test_no_form_works_without_its_signature(client, form):
    addresses = ("/corrections", "/corrections/undo", "/inbox/seen", "/operations/review", "/sign-out")
    for address in addresses:
        for token in ("", "0" * 64, "é"):
            assert client.post(address, data={**form, "form_token": token}).status_code == 403, address
    client.cookies.delete(FORMS)
    for address in addresses:
        assert client.post(address, data=form).status_code == 403, address


def test_a_signature_is_of_one_person_and_one_browser(visit, with_user, score):
    score({(1, 1): Outcome.CLEAR})
    app = create_app(with_user)
    one, other = visit(app=app), visit(app=app)
    before = token_of(one.get("/sign-in").text)
    one.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    assert one.post("/corrections", data={"form_token": before, "image": "1", "outcome": "clear"}).status_code == 403
    other.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    theirs = token_of(other.get(WELL).text)
    assert one.post("/corrections", data={"form_token": theirs, "image": "1", "outcome": "clear"}).status_code == 403


def test_malformed_forms_are_refused_with_a_page(client):
    ours = "application/x-www-form-urlencoded"
    for body, kind, status in (
        (b"x" * 70_000, ours, 413),
        (b"{}", "application/json", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
        (b"\xff\xfe=1", ours, 422),
        (b"form_token=%ff%fe", ours, 422),
        (b"a=" + b"&a=" * 6000, ours, 422),
    ):
        answered = client.post("/corrections", content=body, headers={"content-type": kind})
        assert answered.status_code == status, body[:20]
        assert answered.headers["x-content-type-options"] == "nosniff"
