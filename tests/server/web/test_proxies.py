"""Where the viewer believes itself to be: by its configuration, by trusted web servers, or by nothing at all."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.config.sections import Viewer
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth.cookies import FORMS, SESSION
from xtalgrid_server.web.proxies import BehindProxies, one_computer, root_of

from ..conftest import answer
from .conftest import PASSWORD, row, token_of

WELL = "/well/CI022987/3/A1a"
PROXY = "10.0.0.5"


@pytest.fixture
def through(config, system, score):
    """``through(keys, path="/xtalgrid", strip=True)``: get and post through a web server that shows the viewer there."""
    score({(1, 1): Outcome.CLEAR})
    opened = []

    def open_one(keys, path="/xtalgrid", strip=True):
        told = "" if "hosts" in keys or ("trusted_proxies" in keys and "url" not in keys) else 'hosts = ["lab.example"]'
        app = create_app(from_string(f"[viewer]\n{told}\n{keys}\n", home=config.home))
        client = TestClient(app, client=(PROXY, 50000), base_url="http://lab.example", follow_redirects=False)
        client.__enter__()
        opened.append(client)

        def send(method, address, headers=(), nonce="", **more):
            assert address.startswith(f"{path}/"), address
            inside = address.removeprefix(path) if strip else address
            client.cookies.clear()
            return client.request(method, inside, headers={"Cookie": f"{FORMS}={nonce}", **dict(headers)}, **more)

        return send

    yield open_one
    for client in opened:
        client.__exit__(None, None, None)


def addresses(page):
    return {unescape(found) for found in re.findall(r'(?:href|src|action)="([^"#][^"]*)"', page)}


@pytest.mark.parametrize(
    ("keys", "strip", "headers"),
    [
        ("", True, {}),  # nothing says where the viewer is
        ("", True, {"X-Forwarded-Prefix": "/elsewhere"}),  # by somebody who is not trusted
        (f'trusted_proxies = ["{PROXY}"]', True, {"X-Forwarded-Prefix": "/xtalgrid"}),
        (f'trusted_proxies = ["{PROXY}"]', True, {"X-Forwarded-Prefix": "/xtalgrid/"}),
        (f'trusted_proxies = ["{PROXY}"]', False, {"X-Forwarded-Prefix": "/xtalgrid"}),
        (f'trusted_proxies = ["{PROXY}"]', True, {"X-Forwarded-Prefix": "//evil.example"}),
        (f'trusted_proxies = ["{PROXY}"]', True, {"X-Forwarded-Prefix": 'x"><script>'}),
        ('url = "http://lab.example/xtalgrid"', True, {}),
        ('url = "http://lab.example:8080/xtalgrid/"', False, {}),
        (
            f'url = "https://lab.example/xtalgrid"\ntrusted_proxies = ["{PROXY}"]',
            True,
            {"X-Forwarded-Prefix": "/elsewhere"},
        ),
    ],
)
def test_every_address_of_a_page_is_below_the_viewers_path(through, keys, strip, headers):
    send, there = through(keys, strip=strip), set()
    for page in ("/", "/plate/CI022987/3?order=best", WELL, "/inbox", "/operations", "/sign-in"):
        shown = send("GET", f"/xtalgrid{page}", headers)
        assert shown.status_code == 200
        found = addresses(shown.text)
        assert len(found) >= 8
        for address in found:
            at = urlsplit(urljoin(f"http://lab.example/xtalgrid{page}", address)).path
            assert at.startswith("/xtalgrid/"), (page, address)
            if at not in there and "corrections" not in at:
                there.add(at)
                assert send("GET", at, headers).status_code == 200, at
        maps = re.search(r'id="map-tools" data-root="([^"]*)"', shown.text)
        if maps:
            found = urljoin(f"http://lab.example/xtalgrid{page}", f"{maps.group(1)}/map/crystal/1.png")
            assert found == "http://lab.example/xtalgrid/map/crystal/1.png"


def test_a_barcode_with_a_slash_that_a_web_server_decodes(config, system, enter):
    enter([row("a.jpg", "x/y", inspect_id=901)], [answer(0, Outcome.CLEAR)])
    with TestClient(create_app(config), client=(PROXY, 1), base_url="http://localhost") as client:
        for sent in ("x%2Fy", "x/y"):
            page = client.get(f"/well/{sent}/3/H12a").text
            styles = re.search(r'rel="stylesheet" href="([^"]*)"', page).group(1)
            at = urljoin("http://lab.example/xtalgrid/well/x%2Fy/3/H12a", styles)
            assert urlsplit(at).path == "/xtalgrid/static/style.css"


def test_signing_in_and_out_under_a_path(through, with_user):
    send = through('sign_in = "users"\nurl = "https://lab.example/xtalgrid"')
    page = send("GET", "/xtalgrid/sign-in?then=/inbox")
    fields = {"form_token": token_of(page.text), "name": "ben", "password": PASSWORD, "then": "/inbox"}
    headers = {"Origin": "https://lab.example"}
    done = send("POST", "/xtalgrid/sign-in", headers, nonce=nonce_of(page), data=fields)
    assert (done.status_code, done.headers["location"]) == (303, "/xtalgrid/inbox")
    for cookie in (page.headers["set-cookie"], done.headers["set-cookie"]):
        assert "Path=/xtalgrid;" in cookie and "Secure" in cookie
    gone = send("GET", "/xtalgrid/plate/CI022987/3/")
    assert (gone.status_code, gone.headers["location"]) == (303, "/xtalgrid/plate/CI022987/3")
    assert SESSION in done.headers["set-cookie"]


def nonce_of(page):
    return re.search(rf"{FORMS}=([\w-]+)", page.headers["set-cookie"]).group(1)


def post(send, headers):
    page = send("GET", f"/xtalgrid{WELL}", {"X-Remote-User": "ben"})
    data = {"form_token": token_of(page.text), "image": "1", "outcome": "clear"}
    headers = {"X-Remote-User": "ben", **headers}
    return send("POST", "/xtalgrid/corrections", headers, nonce=nonce_of(page), data=data)


BY_PROXY = f'sign_in = "proxy"\ntrusted_proxies = ["{PROXY}"]\n'
TAKEN = {
    "": [
        {"Host": "lab.example", "Origin": "https://lab.example"},
        {"Host": "lab.example:443", "Origin": "https://lab.example"},
        {"Host": "LAB.Example:8080", "Origin": "http://lab.example:8080"},
        {"Host": "lab.example.", "Origin": "http://lab.example"},
        {"Host": "[fd00::7]:8080", "Origin": "http://[fd00::7]:8080"},
        {"Host": "viewer:8765", "X-Forwarded-Host": "lab.example:8080", "Origin": "http://lab.example:8080"},
        {"Host": "viewer", "X-Forwarded-Host": "lab.example, inner", "Origin": "http://lab.example"},
        {"Host": "lab.example", "X-Forwarded-Port": "8080", "Origin": "http://lab.example:8080"},
        {"Host": "lab.example", "X-Forwarded-Port": "80, 8080", "Origin": "http://lab.example"},
        {"Host": "[fd00::7]", "X-Forwarded-Port": "8080", "Origin": "http://[fd00::7]:8080"},
        {"Host": "x", "Forwarded": 'for=10.1.1.1;host="lab.example:81";proto=http', "Origin": "http://lab.example:81"},
        {"Host": "x", "Forwarded": "for=10.1.1.1;Host=lab.example, for=10.0.0.4", "Origin": "https://lab.example"},
        {"Host": "127.0.0.1:8765", "Origin": "https://lab.example", "Sec-Fetch-Site": "same-origin"},
    ],
    'url = "https://lab.example/xtalgrid"': [
        {"Host": "127.0.0.1:8765", "Origin": "https://lab.example"},
        {"Host": "127.0.0.1:8765", "Origin": "http://127.0.0.1:8765"},
    ],
    'url = "http://lab.example:8080/"': [{"Host": "lab.example", "Origin": "http://lab.example:8080"}],
}
REFUSED = {
    "": [
        ({"Host": "lab.example", "Origin": "http://lab.example:8080"}, ["http://lab.example:8080,", "lab.example,"]),
        ({"Host": "127.0.0.1:8765", "Origin": "http://lab.example"}, ["at 127.0.0.1:8765", "$http_host"]),
        ({"Host": "lab.example", "X-Forwarded-Port": "81", "Origin": "http://lab.example:82"}, ["example:82"]),
        ({"Host": "lab.example", "Origin": "null"}, ["Origin: null", "Referrer-Policy"]),
        ({"Host": "lab.example", "Origin": "http://evil.example"}, ["http://evil.example"]),
        ({"Host": "lab.example", "Origin": "http://lab.example", "Sec-Fetch-Site": "cross-site"}, ["This form"]),
        ({"Host": "lab.example", "Origin": "http://lab.example.evil.example"}, ["evil.example"]),
        ({"Host": "lab.example", "Origin": "http://lab.example@evil.example"}, ["evil.example"]),
    ],
    'url = "http://a.example/"': [({"Host": "127.0.0.1", "Origin": "http://c.example"}, ["at a.example", "c.example"])],
}


@pytest.mark.parametrize("keys", TAKEN)
def test_forms_are_taken_wherever_people_reach_the_viewer(through, keys):
    send = through(BY_PROXY + keys)
    for headers in TAKEN[keys]:
        done = post(send, headers)
        assert done.status_code == 303, (headers, done.text)


@pytest.mark.parametrize("keys", REFUSED)
def test_a_refused_form_says_what_differs(through, keys):
    send = through(BY_PROXY + keys)
    for headers, said in REFUSED[keys]:
        refused = post(send, headers)
        assert refused.status_code == 403, headers
        assert all(words in unescape(refused.text) for words in said), (headers, refused.text)


def test_a_form_without_its_cookie_says_so(through):
    send = through(BY_PROXY + 'url = "https://lab.example/"')
    page = send("GET", f"/xtalgrid{WELL}", {"X-Remote-User": "ben"})
    data = {"form_token": token_of(page.text), "image": "1", "outcome": "clear"}
    for origin, words in (("http://lab.example", "open it by https://"), ("https://lab.example", "allow cookies")):
        headers = {"X-Remote-User": "ben", "Origin": origin}
        refused = send("POST", "/xtalgrid/corrections", headers, data=data)
        assert refused.status_code == 403 and words in refused.text, refused.text


def test_another_viewer_at_the_root_of_the_host_signs_nobody_out(through, with_user):
    send = through('sign_in = "users"\nurl = "http://lab.example/xtalgrid"')
    page = send("GET", "/xtalgrid/sign-in")
    fields = {"form_token": token_of(page.text), "name": "ben", "password": PASSWORD}
    done = send("POST", "/xtalgrid/sign-in", nonce=nonce_of(page), data=fields)
    own = re.search(rf"{SESSION}=[^;]+", done.headers["set-cookie"]).group(0)
    both = {"Cookie": f"{own}; {SESSION}=of.another.viewer"}  # browsers send the longer path first
    assert ">ben<" in send("GET", "/xtalgrid/", both).text


def test_headers_of_others_are_ignored(through):
    send = through('sign_in = "users"')
    page = send("GET", f"/xtalgrid{WELL}")
    data = {"form_token": token_of(page.text), "name": "ben", "password": "x"}
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "Origin": "http://evil.example"}
    refused = send("POST", "/xtalgrid/sign-in", forged, nonce=nonce_of(page), data=data)
    assert refused.status_code == 403 and "http://evil.example" in refused.text


@pytest.mark.parametrize(
    ("address", "computer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # an IPv4 client of a socket for both (RFC 4291, section 2.5.5.2)
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("no address", "no address"),
    ],
)
def test_what_counts_as_one_computer(address, computer):
    assert one_computer(address) == computer


@pytest.mark.parametrize(
    ("keys", "headers", "reason"),
    [
        (
            'sign_in = "proxy"\ntrusted_proxies = ["10.0.0.9"]\nhosts = ["lab.example"]',
            {"X-Remote-User": "ben"},
            f"came from {PROXY}",
        ),
        (BY_PROXY, {}, "sent the header X-Remote-User not at all"),
        (BY_PROXY, {"X-Remote-User": "ARTscore"}, "a program"),
        ("", {"X-Forwarded-For": "10.1.1.1"}, 'set viewer.sign_in = "proxy"'),
    ],
)
def test_a_guest_reads_why(through, keys, headers, reason):
    send = through(keys)
    assert 'sign-in">Why?</a>' in send("GET", "/xtalgrid/", headers).text
    assert reason in unescape(send("GET", "/xtalgrid/sign-in", headers).text)


def test_a_path_that_the_web_server_passes_on_is_named(through):
    send = through("", strip=False)
    missing = send("GET", "/xtalgrid/inbox")
    assert missing.status_code == 404
    assert "If /xtalgrid is where a web server shows the viewer, set viewer.url" in missing.text
    assert "viewer.url" not in send("GET", "/xtalgrid/nothing/at/all").text


def test_wrong_passwords_count_for_the_person_and_metrics_are_for_the_asking_computer(through, with_user):
    send = through(f'sign_in = "users"\ntrusted_proxies = ["{PROXY}"]\nmetrics_from = ["10.1.1.1"]')
    page = send("GET", "/xtalgrid/sign-in")

    def sign_in(name, password, client):
        fields = {"form_token": token_of(page.text), "name": name, "password": password}
        headers = {"X-Forwarded-For": client}
        return send("POST", "/xtalgrid/sign-in", headers, nonce=nonce_of(page), data=fields).status_code

    for _ in range(10):
        assert sign_in("ben", "x", "10.66.6.6") == 403
    assert sign_in("ben", PASSWORD, "10.66.6.6") == 429
    assert sign_in("ben", PASSWORD, "1.2.3.4, 10.1.1.1") == 303  # the same web server, another computer

    for client, status in (("10.1.1.1", 200), ("10.1.1.2", 403), ("10.1.1.1, 10.1.1.2", 403), ("10.1.1.1:4711", 200)):
        assert send("GET", "/xtalgrid/metrics", {"X-Forwarded-For": client}).status_code == status, client
    untold = through(f'metrics_from = ["{PROXY}"]')
    refused = untold("GET", "/xtalgrid/metrics", {"X-Forwarded-For": "10.1.1.9"})
    assert refused.status_code == 403 and "viewer.trusted_proxies" in refused.text


def test_the_api_is_described_where_it_is(through):
    for keys in ("", 'url = "http://lab.example/xtalgrid"'):
        at = "http://lab.example/xtalgrid/api/openapi.json"
        (server,) = through(keys)("GET", "/xtalgrid/api/openapi.json").json()["servers"]
        assert urljoin(at, server["url"]).rstrip("/") == "http://lab.example/xtalgrid"


def test_one_key_for_the_address(tmp_path):
    old = from_string('[alerts]\nviewer_url = "http://lab.example/x"\n', home=tmp_path)
    assert old.viewer.url == "http://lab.example/x"
    for url in (
        "lab.example:8765",
        "ftp://lab.example",
        "http://",
        "http://lab.example/?a",
        "https://u:p@lab.example/",
    ):
        with pytest.raises(ConfigError, match=r"viewer\.url: .* is not an address like"):
            from_string(f'[viewer]\nurl = "{url}"\n', home=tmp_path)
    for url in ("https://[fd00::7]:8080/x/y", "http://xtal:8765", "https://lab.example/x%20y/"):
        assert from_string(f'[viewer]\nurl = "{url}"\n', home=tmp_path).viewer.url == url


# ---- the property: whatever a web server does with paths, links lead to the same viewer

SEGMENT = st.text("abcxyz09-_~ü %", min_size=1, max_size=6)
PREFIX = st.lists(SEGMENT, max_size=3).map(lambda parts: "".join(f"/{quote(part)}" for part in parts))
BARCODE = st.text("ab/ ü%?#.", min_size=1, max_size=6).filter(lambda text: text.strip("./") and "//" not in f"/{text}/")


@given(
    prefix=PREFIX,
    barcode=BARCODE,
    page=st.sampled_from(["/", "/inbox", "/plate/{}/3", "/well/{}/3/A1a", "/corrections/undo"]),
    strips=st.booleans(),
    decodes=st.booleans(),
    told_by=st.sampled_from(["header", "url", "both", "nothing"]),
    doubled=st.booleans(),
)
def test_links_are_right_behind_any_web_server(prefix, barcode, page, strips, decodes, told_by, doubled):
    own = page.format(quote(barcode, safe=""))
    public = f"http://lab.example{prefix}{own}"  # what the browser shows
    strips = strips or told_by == "nothing"  # a viewer that is not told cannot know what to remove
    sent = own if strips else prefix + own
    sent = f"/{sent}" if doubled and strips else sent
    raw = sent.replace("%2F", "/") if decodes else sent
    headers = [("host", "lab.example")]
    headers += [("x-forwarded-prefix", prefix)] if told_by in ("header", "both") and prefix else []
    url = f"http://lab.example{prefix}" if told_by in ("url", "both") else ""
    scope = {
        "type": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": (PROXY, 1),
    }
    if "{}" in page:
        scope["path_params"] = {"barcode": barcode}
    asyncio.run(BehindProxies(_nothing, Viewer(trusted_proxies=(PROXY,), url=url))(scope, _nothing, _nothing))
    assert scope["path"] == unquote(own)
    target = urljoin(public, root_of(Request(scope)) + "/plate/x/1")
    assert target == f"http://lab.example{prefix}/plate/x/1"


async def _nothing(*_):
    return None


@given(st.text(max_size=30) | st.from_regex(r"/[a-z/.]{0,8}|https?://[a-z/]{0,5}|[\"<>:;,= a-z/]{0,9}", fullmatch=True))
def test_no_prefix_leads_to_another_host_or_out_of_an_attribute(prefix):
    scope = {
        "type": "http",
        "path": "/inbox",
        "headers": [(b"x-forwarded-prefix", prefix.encode("latin-1", "replace"))],
        "client": (PROXY, 1),
    }
    asyncio.run(BehindProxies(_nothing, Viewer(trusted_proxies=(PROXY,)))(scope, _nothing, _nothing))
    at = urlsplit(urljoin("http://lab.example/inbox", root_of(Request(scope)) + "/inbox"))
    assert (at.scheme, at.netloc) == ("http", "lab.example")
    assert not set(at.path) & set("\"'<>\\ \r\n") - {"'"}
