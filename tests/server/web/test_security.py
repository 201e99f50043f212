"""What nobody can do with the viewer, whatever they ask of it or write into a database."""

from __future__ import annotations

import re

from xtalgrid_core.outcomes import Outcome

from ..conftest import answer
from .conftest import OUTCOMES, PLATE, row

HOSTILE = ["<script>alert(1)</script>", "a/b", "50%", 'x" onclick="alert(1)', "?only=clear#top", "a b", "ünï"]


def test_hostile_barcodes_and_names_are_text(client, enter):
    for n, barcode in enumerate(HOSTILE):
        image = row("<img src=x onerror=alert(1)>.jpg", barcode, inspect_id=900 + n)
        enter([image], [answer(0, Outcome.CLEAR)])
    home = client.get("/").text
    addresses = re.findall(r'<th scope="row"><a href="(/plate/[^"]+)"', home)
    assert len(addresses) == len(HOSTILE)
    for address in addresses:
        _is_text(client, home, address)


def _is_text(client, home, address):
    plate = client.get(address)
    assert plate.status_code == 200
    well = client.get(re.search(r'href="(/well/[^"]+)"', plate.text).group(1))
    assert well.status_code == 200
    for page in (home, plate.text, well.text):
        assert "<script>alert" not in page and "<img src=x" not in page and 'onclick="' not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in well.text


NOT_THERE = [
    "/plate/none/1",
    "/plate/CI022987/99999999999999999999",
    "/plate/CI022987/-3",
    "/plate/CI022987/x",
    "/plate/../../etc/passwd/1",
    "/plate/..%2f..%2fetc%2fpasswd/1",
    "/well/CI022987/3/Z99z",
    "/well/CI022987/3/..%2f..%2fpasswd",
    "/image/1000.jpg",
    "/image/99999999999999999999.jpg",
    "/image/..%2f..%2fledger.db",
    "/image/../../ledger.db",
    "/framed/99999999999999999999.jpg",
    "/framed/77.jpg",
    "/thumbnail/320/../../ledger.db",
    "/thumbnail/9999/1.jpg",
    "/thumbnail/320/88.jpg",
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/%2e%2e/app.py",
    "/openapi.json",
    "/map/crystal/77.png",
    "/map/../../ledger.db/1.png",
    "/map/crystal/99999999999999999999.png",
    "/mate/1/5.jpg",
    "/mate/1000/0.jpg",
    "/plate/CI022987/9/scores.csv",
    "/plate/..%2f..%2fetc/3/best.html",
    "/api/docs",
    "/well/CI022987/3/A1a/../../../etc",
]


def test_what_is_not_there_is_a_friendly_404(client, score):
    score({(1, 1): Outcome.CLEAR})
    for address in NOT_THERE:
        answered = client.get(address)
        assert answered.status_code == 404, address
        is_for_programs = answered.headers["content-type"] == "application/json" and address.startswith("/api/")
        is_picture = answered.headers["content-type"] == "image/svg+xml"
        assert "All plates" in answered.text or is_picture or is_for_programs, address


def test_headers(client, score):
    score({(1, 1): Outcome.CLEAR})
    pages = ("/", PLATE, "/well/CI022987/3/A1a", "/inbox", "/operations", "/sign-in")
    for address in (*pages, "/nothing", "/static/style.css", "/image/1.jpg", "/api/plates", "/metrics", "/healthz"):
        headers = client.get(address).headers
        _check_headers(headers)
        if address in pages:
            assert headers["cache-control"] == "no-store"  # a shared computer keeps no page


def _check_headers(headers):
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_pages_ask_nothing_of_other_hosts_and_need_no_inline_style(client, score):
    score(OUTCOMES)
    for address in ("/", PLATE, f"{PLATE}?order=best&show=heat", "/well/CI022987/3/A2a", "/inbox", "/operations"):
        page = client.get(address).text
        assert "http://" not in page and "https://" not in page
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src)", page)  # the policy would block them


def test_frames_do_not_depend_on_colour_alone(client):
    styles = client.get("/looks.css").text
    dashes = dict(re.findall(r"\.o-([\w-]+) \{.*?--dash: ([^;]+);", styles))
    assert len(dashes) == len(Outcome) + 2 + 4 + 10  # waiting, disagreed; groups alone; the scale of p_crystal
    assert len({dashes[kind] for kind in ("harvestable", "precipitate", "spherulites", "clear", "undecided")}) == 5


def test_addresses_take_only_their_methods(client):
    for method, address in (("POST", "/"), ("PUT", "/corrections"), ("DELETE", "/plate/x/1"), ("GET", "/corrections")):
        answered = client.request(method, address)
        assert answered.status_code == 405, address
        assert answered.headers["x-content-type-options"] == "nosniff"


def test_addresses_too_long_to_read_are_refused_with_a_page(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert client.get(PLATE, params={"only": ["clear"] * 50}).status_code == 422
