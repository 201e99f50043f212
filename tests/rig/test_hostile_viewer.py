"""Hostile addresses, headers and forms to every route of the viewer: no error of ours, file, markup or header."""

from __future__ import annotations

import json
import random

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import draw_well, rigaku_name
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

CANARY = "canary-that-no-page-shows"
MARKUP = "<script>alert(7)</script>"
VALUES = [
    *("../../../secret.txt", "..%2f..%2f..%2fsecret.txt", "%2e%2e/%2e%2e/secret.txt", "..%5c..%5csecret.txt"),
    *("%252e%252e%252fsecret.txt", "%c0%ae%c0%ae/secret.txt", "/etc/passwd", "file:///etc/passwd", "....//secret.txt"),
    *("%00", "secret.txt%00.jpg", "a%0d%0aX-Forged: yes", "%0aSet-Cookie: a=b", "%ff%fe", "%F0%9F%92%A3"),
    *(MARKUP, "%3Cscript%3Ealert(7)%3C/script%3E", '"onload="alert(7)', "{{7*7}}", "${7*7}", "' OR 1=1 --", "%27%3B--"),
    *("-1", "0", "1e999", "NaN", "99999999999999999999999", "1.5", "", "x" * 9000, "CON", "~root", "|id", "$(id)"),
]
HEADERS = [
    {"host": "evil.example"},
    {"x-forwarded-for": "127.0.0.1", "x-forwarded-user": "anna", "x-remote-user": "root", "remote-user": "root"},
    {"x-forwarded-host": "evil.example", "x-original-url": "/operations", "x-rewrite-url": "/operations"},
    {"cookie": "session=" + "A" * 5000, "authorization": "Basic !!!!"},
    {"range": "bytes=0-,0-,0-,5-1", "if-none-match": '"' * 900, "if-modified-since": "never"},
    {"content-type": "multipart/form-data", "content-length": "3"},
    {"origin": "https://evil.example", "referer": "https://evil.example/" + MARKUP, "sec-fetch-site": "cross-site"},
    {"accept-language": "x" * 5000, "accept": MARKUP, "user-agent": MARKUP},
]
BODIES = [
    (b"", "application/x-www-form-urlencoded"),
    (b"form_token=&score=" + MARKUP.encode() + b"&drops=../../secret.txt", "application/x-www-form-urlencoded"),
    (b"score=23&" * 3000, "application/x-www-form-urlencoded"),
    (b"%ff%fe=%00&=&&&===", "application/x-www-form-urlencoded"),
    (b"--x\r\nContent-Disposition: form-data; name=a; filename=../../x\r\n\r\n", "multipart/form-data; boundary=x"),
    (b"[" * 50_000, "application/json"),
    (json.dumps({"score": MARKUP, "form_token": None}).encode(), "application/json"),
    (b"\xff\x00\xfe", "text/plain"),
]


@pytest.fixture
def app(tmp_path):
    (tmp_path / "secret.txt").write_text(CANARY)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret.txt").write_text(CANARY)
    config = from_string("", home=tmp_path / "home")
    draw_well(tmp_path / "new" / rigaku_name(1))
    with System(config) as system:
        system.import_folder(tmp_path / "new")
    return create_app(config)


def routes(app):
    """Yield (method, path, names of path parameters, names of query parameters) of every route and mount."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            inside = [p["name"] for p in parameters if p["in"] == "path"]
            asked = [p["name"] for p in parameters if p["in"] == "query"]
            yield method.upper(), path, inside, asked
    yield "GET", "/static/{name}", ["name"], []


def test_every_route_takes_hostile_input_calmly(app):
    rng = random.Random(7)
    tried = 0
    with TestClient(app, raise_server_exceptions=False, base_url="http://localhost", client=("127.0.0.1", 5)) as client:
        for method, path, inside, asked in routes(app):
            for value in rng.sample(VALUES, 9) if inside or asked else VALUES[:1]:
                address = path
                for name in inside:
                    address = address.replace(f"{{{name}:path}}", "{" + name + "}")
                    address = address.replace("{" + name + "}", value if rng.random() < 0.7 else "1")
                query = "&".join(f"{name}={value}" for name in (*asked, "unknown"))
                check(client, method, f"{address}?{query}", {}, b"")
                tried += 1
            plain = path.replace("{", "").replace("}", "")
            for headers in rng.sample(HEADERS, 3):
                check(client, method, plain, headers, b"")
                tried += 1
            for body, kind in BODIES if method != "GET" else []:
                check(client, method, plain, {"content-type": kind}, body)
                tried += 1
    assert tried > 150


def check(client, method, address, headers, body):
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    try:
        answer = client.request(method, address, headers=raw, content=body, follow_redirects=False)
    except Exception as error:  # the client itself refuses what is no address; the server never saw it
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "h11", "idna"):
            raise
        return
    what = f"{method} {address[:200]} {headers} → {answer.status_code}"
    assert answer.status_code < 500, what
    assert CANARY not in answer.text, what
    assert "root:x:0" not in answer.text, what
    if "html" in answer.headers.get("content-type", ""):  # JSON may repeat the question: browsers are told not to guess
        assert MARKUP not in answer.text, what
    assert answer.headers.get("x-content-type-options") == "nosniff", what
    assert "x-forged" not in answer.headers and "a=b" not in answer.headers.get("set-cookie", ""), what
    assert "evil.example" not in answer.headers.get("location", ""), what
