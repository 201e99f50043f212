"""The viewer behind real web servers, by the very lines of docs/viewer.md: under a path, on any port, over TLS."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from html import unescape
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import httpx2
import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import CHOP_BY_CHOP, missing
from tests.docs.pages import ROOT
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.auth.authentication import Authentication
from xtalgrid_server.web.auth.passwords import hash_password

from ..server.conftest import answer, draw_well, result_of
from .web_servers import HOST, PASSWORD, PERSON, Front, documented, free_port, in_front, serving

BARCODES = ("PLATE1", "a/b 5%ü")
"""The second has what web servers like to decode."""
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), "")
LANGUAGES = {"nginx": "nginx", "apache2": "apache", "caddy": "caddy"}
KINDS = sorted(LANGUAGES)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Three drops on each of two plates, the first with a crystal."""
    with System(from_string("", home=tmp_path / "home")) as opened:
        for n, barcode in enumerate(BARCODES):
            _enter(opened, barcode, datetime(2024, 1, 1 + n))
        opened.ledger.users.set_password(PERSON, hash_password(PASSWORD), "test")
        yield opened


def _enter(system: System, barcode: str, at: datetime) -> None:
    images = [ImageRow(0, barcode, 1, at, Well(1, n + 1, 1), f"{n}.jpg") for n in range(3)]
    for n, image in enumerate(images):
        draw_well(system.config.image_root / barcode / "1" / image.image_name, shade=40 * n)
    rows = system.imager.register(images)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, **CHOP_BY_CHOP)
    entries = tuple(
        wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
        for n, row in enumerate(rows)
    )
    manifest = wire.Manifest(
        schema=1, unit=f"xg_{rows[0].inspect_id}", min_worker="0.1.0", options=options, images=entries
    )
    system.ledger.units.add(manifest, [PlannedImage(row, "d" * 64) for row in rows])
    unit = system.ledger.units.named(manifest.unit)
    assert unit is not None
    outcomes = (Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE)
    answers = [answer(n, outcome) for n, outcome in enumerate(outcomes)]
    system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)


Behind = Callable[..., Front]


@pytest.fixture
def behind(system: System) -> Iterator[Behind]:
    """``behind(kind, lines, viewer)``: a web server with these lines before a viewer with this section [viewer]."""
    with ExitStack() as stack:

        def run(kind: str, lines: str, viewer: str, https: bool = False, port: int | None = None) -> Front:
            config = from_string(viewer, home=system.config.home)
            at = stack.enter_context(serving(config))
            return stack.enter_context(in_front(kind, lines, at, https, port or free_port()))

        yield run


class Browser:
    """A browser that knows one person's password for the web server, and goes nowhere but below `root`."""

    def __init__(self, front: Front, root: str, password: bool = True) -> None:
        self.origin, self.root = front.origin, root
        self._port = urlsplit(front.origin).port
        self._client = httpx2.Client(
            verify=ssl.create_default_context(cafile=str(front.authority)),
            auth=(PERSON, PASSWORD) if password else None,
            headers={"Host": front.origin.partition("://")[2]},
            timeout=30,
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, address: str) -> tuple[str, httpx2.Response]:
        """Follow redirects by hand, as a browser does, and return the last address with what came."""
        for _ in range(5):
            assert address.startswith(f"{self.origin}{self.root}/"), address
            response = self._send("GET", address)
            if not response.is_redirect:
                return address, response
            address = urljoin(address, response.headers["location"])
        raise AssertionError(f"redirected in a circle: {address}")

    def post(self, page: str, action: str, fields: dict[str, str], origin: str = "") -> httpx2.Response:
        address = urljoin(page, action)
        assert address.startswith(f"{self.origin}{self.root}/"), address
        return self._send("POST", address, data=fields, headers={"Origin": origin or self.origin})

    def cookies(self) -> list[tuple[str, str, bool]]:
        """Name, path and whether only HTTPS, of each cookie."""
        return sorted((cookie.name, cookie.path, cookie.secure) for cookie in self._client.cookies.jar)

    def _send(self, method: str, address: str, **more: object) -> httpx2.Response:
        here = address.replace(HOST, "127.0.0.1", 1)
        return self._client.request(method, here, **more)


def links(page: str) -> set[str]:
    """All addresses of a page that a browser reads, except those of its own anchors."""
    found = re.findall(r'(?:href|src|action|srcset)="([^"#][^"]*)"', page)
    return {unescape(address).removesuffix(" 2x") for address in found if not address.startswith("data:")}


def crawl(browser: Browser) -> dict[str, httpx2.Response]:
    """Ask for every address that can be reached from the first page, each once; all are there.

    Forms are not sent, and of the many views of a plate only those of one kind are asked for.
    """
    seen: dict[str, httpx2.Response] = {}
    waiting = [f"{browser.origin}{browser.root}/"]
    while waiting:
        address = waiting.pop().partition("#")[0]
        if address in seen or re.search(
            "/(corrections|marks|sign-out|inbox/seen|operations/review)|[?&](only|size)=", address
        ):
            continue
        at, seen[address] = browser.get(address)
        kind = seen[address].headers["content-type"]  # no picture can have a barcode with a slash: a drawing stands in
        assert seen[address].status_code == 200 or kind == "image/svg+xml", (address, seen[address].text[:300])
        if kind.startswith("text/html") and "best.html" not in address:
            waiting += [urljoin(at, link) for link in links(seen[address].text)]
    return seen


def fields_of(page: str, form: str) -> tuple[str, dict[str, str]]:
    """The action and the hidden fields of a page's form, named by a part of its tag."""
    found = re.search(rf"<form([^>]*{form}[^>]*)>(.*?)</form>", page, re.DOTALL)
    assert found, f"no form {form}"
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found.group(2))
    return unescape(re.search(r'action="([^"]*)"', found.group(1)).group(1)), {k: unescape(v) for k, v in hidden}


def use(browser: Browser, system: System) -> None:
    """Reach every page, score a drop of the plate with the odd barcode, undo it, and download the plate."""
    seen = crawl(browser)
    kinds = {urlsplit(address).path.removeprefix(browser.root).split("/")[1] for address in seen}
    assert kinds >= {"", "plate", "well", "inbox", "operations", "static", "looks.css", "thumbnail", "image", "framed"}
    odd = quote(BARCODES[1], safe="")
    well = next(a for a in seen if f"/well/{odd}/1/A1a" in a and "?" not in a)
    assert f">{PERSON}<" in seen[well].text
    action, fields = fields_of(seen[well].text, 'id="score-form"')
    done = browser.post(well, action, {**fields, "outcome": "clear"})
    assert done.status_code == 303, done.text
    at, page = browser.get(urljoin(urljoin(well, action), done.headers["location"]))
    assert at.endswith(f"{browser.root}/well/{odd}/1/A2a") and page.status_code == 200
    action, fields = fields_of(page.text, 'id="undo-form"')
    done = browser.post(at, action, fields)
    at, page = browser.get(urljoin(urljoin(at, action), done.headers["location"]))
    assert at.partition("?")[0].endswith(f"{browser.root}/well/{odd}/1/A1a")
    image = next(i for i in system.ledger.images.of_plate(BARCODES[1], [1]) if str(i.well) == "A1a").image_id
    said = [(one.outcome, one.who) for one in system.ledger.corrections.of_images([image])[image]]
    assert said == [(Outcome.CLEAR, PERSON), (None, PERSON)]
    csv = next(a for a in seen if a.endswith("/export/csv") and odd in a)
    assert len(seen[csv].text.splitlines()) == 1 + 3
    assert browser.get(f"{browser.origin}{browser.root}/inbox/")[0] == f"{browser.origin}{browser.root}/inbox"
    described = f"{browser.origin}{browser.root}/api/openapi.json"
    server = urljoin(described, browser.get(described)[1].json()["servers"][0]["url"]).rstrip("/")
    assert [plate["barcode"] for plate in browser.get(f"{server}/api/plates")[1].json()] == list(BARCODES[::-1])


def section(url: str = "", more: str = "") -> str:
    """The documented section [viewer] with another url, or without one."""
    lines = documented("toml", "with a log-in of the web server").splitlines()
    return "\n".join([line for line in lines if not line.startswith("url")] + [f'url = "{url}"', more])


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_lines_under_a_path(kind, https, behind, system):
    port = free_port()
    url = f"{'https' if https else 'http'}://{HOST}:{port}/xtalgrid"
    front = behind(kind, documented(LANGUAGES[kind]), section(url), https, port)
    with Browser(front, "/xtalgrid") as browser:
        use(browser, system)
        assert "xtalgrid_forms" in {name for name, *_ in browser.cookies()}
        assert {tuple(rest) for _, *rest in browser.cookies()} == {("/xtalgrid", https)}
    alone = httpx2.get(f"{front.origin}/xtalgrid".replace(HOST, "127.0.0.1"), verify=False, auth=(PERSON, PASSWORD))
    assert urlsplit(alone.headers["location"]).path == "/xtalgrid/"


def test_the_documented_lines_limit_connections_of_an_address(behind, system):
    """nginx alone can do that; forms that do not come whole count."""
    port = free_port()
    behind("nginx", documented("nginx"), section(f"http://{HOST}:{port}/xtalgrid"), port=port)
    name = base64.b64encode(f"{PERSON}:{PASSWORD}".encode())
    begun = b"POST /xtalgrid/corrections HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: 9\r\n\r\n1"
    with ExitStack() as stack:
        for _ in range(160):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(begun % name)
        assert client.recv(12) == b"HTTP/1.1 429"


@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_lines_refuse_a_form_of_a_megabyte(kind, behind, system):
    """The web server refuses it before the viewer does. Caddy 2.6 says that with another number."""
    port = free_port()
    front = behind(kind, documented(LANGUAGES[kind]), section(f"http://{HOST}:{port}/xtalgrid"), port=port)
    form = f"{front.origin}/xtalgrid/corrections".replace(HOST, "127.0.0.1")
    refused = httpx2.post(form, auth=(PERSON, PASSWORD), headers={"Host": HOST}, data={"text": "x" * 2**20}, timeout=30)
    assert refused.status_code in ((413, 502) if kind == "caddy" else (413,))
    assert "This form is too large" not in refused.text, "the viewer's own words"


def test_programs_pass_the_web_servers_log_in_with_a_token_alone(behind, system):
    """With the lines of docs/api.md besides."""
    api = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    port, viewer = free_port(), section(more="guests = false")
    front = behind("nginx", documented("nginx") + api.group(1), viewer, port=port)
    authentication = Authentication(from_string(viewer, home=system.config.home), system.ledger)
    token = {"Authorization": f"Bearer {authentication.tokens.make(PERSON, '', 'score', 1, 'test')}"}
    at = f"{front.origin}/xtalgrid".replace(HOST, "127.0.0.1")
    score = {"scores": [{"key": "a", "barcode": "PLATE1", "inspection": 1, "well": "A1a", "outcome": "clear"}]}
    assert httpx2.post(f"{at}/api/scores", json=score, headers=token).json()["accepted"] == 1
    assert httpx2.get(f"{at}/api/plates", headers=token).status_code == 200
    assert httpx2.get(f"{at}/api/plates", headers={"X-Remote-User": PERSON}).status_code == 401
    assert "title" in httpx2.get(f"{at}/api/plates").json()  # the viewer's answer, not the web server's
    assert "Authorization Required" in httpx2.get(f"{at}/", headers=token).text  # elsewhere, the web server says


WITHOUT_PASSWORDS = re.compile(r"^ *(auth_basic|proxy_set_header X-(?!Forwarded-For)).*\n", re.MULTILINE)


def test_a_viewer_with_its_own_users_that_knows_nothing_of_its_web_server(behind, system):
    front = behind(
        "nginx", WITHOUT_PASSWORDS.sub("", documented("nginx")), '[viewer]\nsign_in = "users"\nhosts = ["lab.example"]'
    )
    with Browser(front, "/xtalgrid", password=False) as browser:
        at, page = browser.get(f"{front.origin}/xtalgrid/sign-in")
        action, fields = fields_of(page.text, "stacked")
        done = browser.post(at, action, {**fields, "name": PERSON, "password": PASSWORD, "then": "/inbox"})
        assert urljoin(at, done.headers["location"]) == f"{front.origin}/xtalgrid/inbox"
        use(browser, system)


def test_two_web_servers_in_a_row(behind, system, tmp_path):
    """The outer one ends TLS and shows the viewer under a path; the inner one is told by it."""
    inner = free_port()
    lines = WITHOUT_PASSWORDS.sub("", documented("nginx"))
    passed = "proxy_set_header X-Remote-User $http_x_remote_user;"
    plain = (
        lines.replace("/xtalgrid/", "/").replace("Host $http_host", "Host viewer.inner").replace("}", f"{passed}\n}}")
    )
    behind("nginx", plain, section(more=""), port=inner)
    outer = documented("apache").replace("127.0.0.1:8765", f"127.0.0.1:{inner}").replace("ProxyPreserveHost On", "")
    front = behind("apache2", outer, "", https=True)
    with Browser(front, "/xtalgrid") as browser:
        use(browser, system)


def test_a_web_server_that_changes_the_host_is_told_which_line_is_wrong(behind, system):
    front = behind("nginx", documented("nginx").replace("$http_host", "$host"), section())
    with Browser(front, "/xtalgrid") as browser:
        at, page = browser.get(f"{front.origin}/xtalgrid/well/PLATE1/1/A1a")
        action, fields = fields_of(page.text, 'id="score-form"')
        refused = browser.post(at, action, {**fields, "outcome": "clear"})
    assert refused.status_code == 403
    said = unescape(refused.text)
    assert f"sent from {front.origin}, but the viewer is at {HOST}, as" in said
    assert "`proxy_set_header Host $http_host;`" in said


def test_a_person_in_a_real_browser_under_a_path_over_plain_http(behind, system):
    front = behind("nginx", documented("nginx"), section())
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM or missing("no chromium on this machine; Debian: apt-get install chromium"),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
            ],
        )
        password = {"username": PERSON, "password": PASSWORD}
        page = browser.new_context(base_url=front.origin, http_credentials=password).new_page()
        outside: list[str] = []
        page.on("request", lambda sent: sent.url.startswith(f"{front.origin}/xtalgrid/") or outside.append(sent.url))
        page.on("response", lambda got: got.ok or got.status in (303, 304) or outside.append(f"{got.status} {got.url}"))
        page.goto("/xtalgrid/")
        page.get_by_role("link", name="PLATE1").click()
        page.locator("a.tile").first.click()
        page.wait_for_url("**/xtalgrid/well/PLATE1/1/A1a*")
        page.get_by_role("checkbox", name="Class map").check()
        page.locator("#map-status", has_text=re.compile(".")).wait_for()  # no weights here: a reason, and no page
        assert "<" not in page.locator("#map-status").inner_text()
        page.keyboard.type("01")
        page.wait_for_url("**/xtalgrid/well/PLATE1/1/A2a*")
        page.keyboard.press("u")
        page.wait_for_url("**/xtalgrid/well/PLATE1/1/A1a*")
        page.keyboard.press("Escape")
        page.wait_for_url("**/xtalgrid/plate/PLATE1/1*")
        page.keyboard.press("/")
        page.wait_for_url("**/xtalgrid/")
        browser.close()
    assert [each for each in outside if f"503 {front.origin}/xtalgrid/map/" not in each] == []
    image = next(i for i in system.ledger.images.of_plate("PLATE1", [1]) if str(i.well) == "A1a").image_id
    assert [one.outcome for one in system.ledger.corrections.of_images([image])[image]] == [Outcome.CLEAR, None]
