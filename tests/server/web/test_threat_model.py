"""docs/threat-model.md lists every address of the viewer, and each withstands what it says was tried."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from fastapi import FastAPI

from tests.rig.pictures import fill
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth.passwords import hash_password

from .conftest import PASSWORD, Visit, token_of

DOCS = Path(__file__).parents[3] / "docs" / "threat-model.md"


class Route(NamedTuple):
    """A line of the table."""

    method: str
    address: str
    who: str


def documented() -> list[Route]:
    text = DOCS.read_text(encoding="utf-8")
    table = re.search(r"<!--routes-->(.*?)<!--/routes-->", text, re.DOTALL).group(1)
    return [Route(*line) for line in re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \| ([a-z]+) \|", table, re.MULTILINE)]


ROUTES = documented()
CHANGES = [route for route in ROUTES if route.method != "GET" and route.who != "everybody"]
each_route = pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.address}" for route in ROUTES])

VALUES = (
    *("../../../secret.txt", "..%2f..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt", "/etc/passwd"),
    *("%00", "a%0d%0aX-Forged: yes", "%ff%fe", "<script>alert(7)</script>", "' OR 1=1 --", "{{7*7}}"),
    *("-1", "0", "NaN", "99999999999999999999999", "x" * 9000),
)
ASKED = (
    *("q", "page", "only", "order", "show", "then", "image", "limit", "condition", "outcome", "since", "by", "ph"),
    *("precipitant", "vary", "first", "columns", "rows"),
)
SECRET = "canary-that-no-page-shows"


def of_app(app) -> set[tuple[str, str]]:
    """Return (method, address) of all routes, also of routers that were included."""
    found = set()
    waiting = [*app.routes]
    while waiting:
        route = waiting.pop()
        if (inner := getattr(route, "original_router", None)) is not None:
            waiting += inner.routes
        elif getattr(route, "methods", None):
            found |= {(method, re.sub(r":\w+}", "}", route.path)) for method in route.methods - {"HEAD"}}
        else:
            found.add(("GET", f"{route.path}/{{name}}"))  # a folder
    return found


def test_every_address_is_in_the_threat_model(config, system):
    assert of_app(create_app(config)) == {(route.method, route.address) for route in ROUTES}


class Browser:
    """A browser at the viewer, and what an attack must not change."""

    def __init__(self, config: Config, app: FastAPI) -> None:
        self.config = config
        self.client = Visit(app, client=("10.0.0.9", 50000), base_url="http://localhost", raise_server_exceptions=False)
        self.key = (config.home / "viewer.key").read_bytes().decode(errors="replace").strip()

    def sign_in(self, name: str) -> Browser:
        assert self.client.fill("/sign-in", "/sign-in", name=name, password=PASSWORD).status_code == 303
        return self

    def state(self) -> list[str]:
        """All rows of both databases, besides sessions and wrong passwords."""
        rows: list[str] = []
        for file in sorted(self.config.home.glob("*.db")):
            with closing(sqlite3.connect(file)) as connection:
                rows += [r for r in connection.iterdump() if not re.match(r'INSERT INTO "?(sessions|attempts)', r)]
        return rows

    def send(self, route: Route, address: str, **more: Any) -> Any:
        """Send an attack, which must neither break the viewer nor show a secret."""
        try:
            answer = self.client.request(route.method, address, follow_redirects=False, **more)
        except httpx2.InvalidURL:  # the client itself refuses it
            return None
        assert answer.status_code < 500, (route, address[:200], answer.text[:500])
        for secret in (SECRET, "root:x:0", "argon2", self.key, str(self.config.home)):
            assert secret not in answer.text, (route, address[:200], secret)
        assert "x-forged" not in answer.headers
        assert "evil.example" not in answer.headers.get("location", "")
        return answer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, FastAPI]]:
    """A viewer for ann, a reviewer, and ben; guests see nothing."""
    home = tmp_path_factory.mktemp("lab") / "home"
    fill(home, 0, 2)
    for folder in (home, home.parent):
        (folder / "secret.txt").write_text(SECRET)
    keys = 'sign_in = "users"\nguests = false\nreviewers = ["ann"]\nurl = "http://localhost"'
    config = from_string(f"[viewer]\n{keys}\n", home=home)
    with System(config) as system:
        for name in ("ann", "ben"):
            system.ledger.users.set_password(name, hash_password(PASSWORD), "test")
    app = create_app(config)
    with Visit(app):
        yield config, app


@pytest.fixture
def stranger(lab: tuple[Config, FastAPI]) -> Browser:
    """A browser of nobody, with no cookies."""
    return Browser(*lab)


@pytest.fixture(scope="module")
def ann(lab: tuple[Config, FastAPI]) -> Browser:
    """A reviewer's browser."""
    return Browser(*lab).sign_in("ann")


@pytest.fixture(scope="module")
def ben(lab: tuple[Config, FastAPI]) -> Browser:
    """A scorer's browser."""
    return Browser(*lab).sign_in("ben")


def filled(address: str, **values: str) -> str:
    """Fill in an address that exists."""
    known = {"barcode": "BIG", "inspection": "1", "name": "A1a", "side": "320", "image_id": "1", "other_id": "1"}
    known |= {"number": "0", "score_id": "1", "group": "crystal", "kind": "csv", "mark": "0" * 32, **values}
    return re.sub(r"{(\w+)}", lambda found: known[found.group(1)], address)


@each_route
def test_without_a_session(stranger, route):
    before = stranger.state()
    answer = stranger.send(route, filled(route.address))
    if route.who == "everybody" and route.method == "GET":
        assert answer.status_code in (200, 404)  # 404: there is no file A1a
    elif route.who == "program":
        assert answer.status_code == 403
    else:
        assert answer.status_code in (303, 401, 403, 415)
        assert route.who != "token" or answer.status_code == 401
        if answer.status_code == 303:
            assert "/sign-in" in answer.headers["location"]
    assert stranger.state() == before


@pytest.mark.parametrize("route", CHANGES, ids=[route.address for route in CHANGES])
def test_with_too_little_of_a_name(stranger, ben, route):
    """A guest's own token allows no change, nor a scorer's a review."""
    browser, page = (ben, "/") if route.who == "reviewer" else (stranger, "/sign-in")
    before = browser.state()
    token = token_of(browser.client.get(page).text)
    answer = browser.send(route, route.address, data={"form_token": token, "verdict": "approve", "who": ""})
    assert answer.status_code in (401, 403) or (route.who == "token" and answer.status_code == 415)  # it takes no form
    assert browser.state() == before


FOREIGN = {
    "a wrong token": ({}, "0" * 64),
    "another site's page": ({"Origin": "https://evil.example", "Referer": "https://evil.example/"}, None),
    "another site, said by the browser": ({"Sec-Fetch-Site": "cross-site"}, None),
    "a foreign Host": ({"Host": "evil.example", "Origin": "http://evil.example"}, "0" * 64),
    "headers of a web server": (
        {"X-Remote-User": "ann", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "evil.example"},
        "0" * 64,
    ),
}


@each_route
def test_in_another_s_name(ann, route):
    """Ann is signed in; a page of another site sends with her browser."""
    before, own = ann.state(), token_of(ann.client.get("/").text)
    for headers, token in FOREIGN.values():
        fields = {"form_token": token or own, "who": "ann", "outcome": "clear", "image": "1", "score": "1"}
        form = {"data": {**fields, "verdict": "approve"}} if route.method == "POST" else {}
        if route.who == "token":  # no form: a page's script with her cookies
            form = {"json": {"scores": [{"key": "k", "image_id": 1, "outcome": "clear"}], "keys": ["k"]}}
        answer = ann.send(route, filled(route.address), headers=headers, **form)
        refused = (401, 421) if route.who == "token" else (403, 421)
        assert route.method == "GET" or answer.status_code in refused, answer.text
    assert ann.state() == before
    assert ann.client.get("/inbox", follow_redirects=False).status_code == 200  # she is signed in still


@each_route
def test_with_a_huge_body(ann, route):
    before = ann.state()
    body = {"content": b"outcome=" + b"x" * 300_000, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    answer = ann.send(route, filled(route.address), **body)
    assert answer.status_code == 413 or route.method == "GET"
    assert ann.state() == before


@each_route
def test_with_hostile_values(ann, route):
    before = ann.state()
    names = re.findall(r"{(\w+)}", route.address)
    for value in VALUES:
        query = "&".join(f"{name}={value}" for name in ASKED)
        form = {"data": {"form_token": value, "outcome": value, "image": value}} if route.method == "POST" else {}
        for address in (f"{filled(route.address)}?{query}", *(filled(route.address, **{n: value}) for n in names)):
            answer = ann.send(route, address, **form)
            if answer is not None and "html" in answer.headers.get("content-type", ""):
                assert "<script>alert(7)" not in answer.text
    assert ann.state() == before


PLACE = {"key": "k", "barcode": "NONE", "inspection": 1, "well": "A1a"}
BODIES = {
    "/api/scores": (
        "scores",
        PLACE | {"outcome": "clear", "code": None, "at": None, "image_id": None, "score_id": None},
    ),
    "/api/marks": ("marks", PLACE | {"x": 1, "y": 1, "width": None, "height": None, "what": "", "note": ""}),
    "/api/scores/undo": ("keys", {}),
}


@pytest.mark.parametrize("address", BODIES)
def test_with_a_token_and_hostile_values(lab, address):
    """The sender has a token that may score; what is sent is no score or mark of anything there is."""
    program = Browser(*lab)
    token = lab[1].state.site.authentication.tokens.make("ben", "", "score", 1, "test")
    program.client.headers["Authorization"] = f"Bearer {token}"
    before = [row for row in program.state() if '"tokens"' not in row]  # it has been used since
    listed, valid = BODIES[address]
    for value in [*VALUES, "\x00", "\u202e", None, 1e308, -1, True, [], {"a": {}}]:
        changed = [valid | {field: value} for field in valid] if valid else [value]
        for body in (*({listed: [each]} for each in changed), {listed: value}, value):
            answer = program.send(Route("POST", address, "token"), address, json=body)
            assert answer.status_code in (200, 413, 422)
            assert answer.status_code != 200 or answer.json()["accepted"] == 0
    assert [row for row in program.state() if '"tokens"' not in row] == before
