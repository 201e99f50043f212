"""The viewer over a real ledger: what a crystallographer sees, and what nobody else can do with it."""

from __future__ import annotations

import io
import re
from datetime import datetime

import pytest
from PIL import Image
from starlette.testclient import TestClient

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.imager.database import ImageRow
from xtalgrid_server.ledger.records import PlannedImage
from xtalgrid_server.viewer import pictures
from xtalgrid_server.viewer.app import create_app
from xtalgrid_server.viewer.pictures import Thumbnails
from xtalgrid_server.wells import Well

from .conftest import INSPECTED, answer, draw_well, result_of, rigaku_name

H12 = Well(8, 12, 1)
PLATE = "/plate/CI022987/3"
OUTCOMES = {
    (1, 1): Outcome.CLEAR,
    (2, 1): Outcome.HARVESTABLE,
    (3, 1): Outcome.PRECIPITATE,
    (1, 2): Outcome.UNDECIDED,
    (2, 2): Outcome.NULL_EXPERIMENT,
}


@pytest.fixture
def client(config, system):
    with TestClient(create_app(config), raise_server_exceptions=True) as opened:
        yield opened


@pytest.fixture
def enter(system):
    """``enter(rows, answers)``: images and what a worker said of them, without files."""

    def put(rows: list[ImageRow], answers: list[wire.Scored | wire.Failed], threshold: float = 0.85) -> None:
        options = wire.Options(segmenter="a" * 64, classifier="b" * 64, threshold=threshold)
        entries = tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
            for n, row in enumerate(rows)
        )
        name = f"xg_{rows[0].inspect_id}_{len(rows)}_{round(threshold * 100)}"
        manifest = wire.Manifest(schema=1, unit=name, min_worker="0.1.0", options=options, images=entries)
        system.ledger.work.add_unit(manifest, [PlannedImage(row, "d" * 64) for row in rows])
        system.ledger.work.accept_result(system.ledger.work.unit(name), "f" * 64, result_of(manifest, answers), options)

    return put


def row(name: str, barcode: str = "CI022987", inspect_id: int = 900, well: Well = H12) -> ImageRow:
    return ImageRow(inspect_id, barcode, 3, INSPECTED, well, name)


def address_of(page: str, kind: str) -> str:
    found = re.search(rf'src="(/{kind}/[^"]+)"', page)
    assert found, f"no {kind} in the page"
    return found.group(1)


def test_plates_with_what_needs_eyes(client, score, system):
    score(OUTCOMES)
    score({(1, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2012, 11, 28))
    system.ledger.work.add_failure("x.jpg", "create_work", FailureReason.MISSING_FILE, "not there", row("x.jpg"))
    page = client.get("/").text
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)[1:]
    figures = [re.findall(r'class="number">(?:<[^>]+>)?(\d+)', each) for each in rows]
    assert ["2012-11-28" in rows[0], "2012-11-21" in rows[1]] == [True, True]  # newest first
    assert figures == [["1", "0", "0", "0", "0"], ["6", "1", "1", "1", "0"]]


def test_no_plates_yet_says_what_to_do(client):
    assert "xtalgrid demo" in client.get("/").text


def test_plates_are_found_by_a_part_of_the_barcode(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert "CI022987" in client.get("/?q=ci02").text
    assert "No plate here" in client.get("/?q=100%").text  # a percent sign is no wildcard
    assert client.get("/?page=zzz").status_code == 200


def test_the_plate_has_its_geometry_frames_and_labels(client, score):
    score(OUTCOMES)
    page = client.get(PLATE).text
    assert re.findall(r'<th scope="col">(\w+)</th>', page) == ["1", "2", "3"]
    assert re.findall(r'<th scope="row">(\w+)</th>', page) == ["A", "B"]
    assert 'class="tile o-harvestable" href="/well/CI022987/3/A2a" title="A2a · crystals harvestable 95 %' in page
    assert 'alt="B1a · undecided 50 % · crystal 50 %"' in page  # for those who don't see it
    assert page.count('loading="lazy"') == 5
    assert page.count('class="hole"') == 1  # B3: no image of it


def test_the_legend_counts_and_filters(client, score):
    score(OUTCOMES)
    page = client.get(PLATE).text
    assert re.search(
        r'href="/plate/CI022987/3\?only=harvestable">.*?crystals harvestable <span class="count">1', page, re.S
    )
    chosen = client.get(f"{PLATE}?only=harvestable&only=undecided&only=nonsense").text
    assert len(re.findall(r'class="tile o-[\w-]+ dim"', chosen)) == 3
    assert "/well/CI022987/3/A2a?only=harvestable&amp;only=undecided" in chosen  # the wells stay in the choice
    assert "Show all" in chosen


def test_best_first(client, enter):
    chances = {"A1a": 0.1, "A2a": 0.9, "A3a": 0.5}
    rows = [row(f"{name}.jpg", inspect_id=n, well=Well(1, n, 1)) for n, name in enumerate(chances, 1)]
    enter(rows, [answer(n, Outcome.CLEAR, p_crystal=p) for n, p in enumerate(chances.values())])
    page = client.get(f"{PLATE}?order=best").text
    assert re.findall(r'class="name">(\w+)<', page) == ["A2a", "A3a", "A1a"]
    well = client.get("/well/CI022987/3/A3a?order=best").text  # and the arrows go that way
    assert re.search(r'id="previous"[^>]*href="/well/CI022987/3/A2a\?order=best"', well)
    assert re.search(r'id="next"[^>]*href="/well/CI022987/3/A1a\?order=best"', well)


@pytest.mark.parametrize(("subwells", "columns", "abreast"), [(3, 8, 1), (3, 12, 2), (1, 12, 1)])
def test_few_and_many_drops_fill_the_window(client, enter, subwells, columns, abreast):
    rows_used = 1 if columns == 8 else 8
    wells = [
        Well(r, c, s) for r in range(1, rows_used + 1) for c in range(1, columns + 1) for s in (1, 3, 4)[:subwells]
    ]
    rows = [row(f"{well}.jpg", inspect_id=n, well=well) for n, well in enumerate(wells, 1)]
    enter(rows, [answer(n, Outcome.CLEAR) for n in range(len(rows))])
    page = client.get(PLATE).text
    assert f"abreast-{abreast}" in page
    assert page.count('class="tile') == len(wells)


def test_failed_images_are_shown_with_their_reason(client, score, enter, system):
    score(OUTCOMES)
    enter([row("broken.jpg")], [wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="ends & breaks")])
    missing = row("missing.jpg", inspect_id=901, well=Well(7, 12, 1))
    system.ledger.work.add_failure("missing.jpg", "create_work", FailureReason.MISSING_FILE, "it is not there", missing)
    page = client.get(PLATE).text
    assert "truncated image" in page and "ends &amp; breaks" in page
    assert "missing file" in page and "it is not there" in page
    assert page.count('class="tile o-failed"') == 2
    for name in ("H12a", "G12a"):
        well = client.get(f"/well/CI022987/3/{name}")
        assert well.status_code == 200
        picture = client.get(address_of(well.text, "image"))
        assert picture.status_code == 404
        assert picture.headers["content-type"] == "image/svg+xml"  # a placeholder in its place
        assert "missing file" in picture.text


def test_an_image_that_waits(client, system):
    waiting = [PlannedImage(row("new.jpg"), "d" * 64)]
    entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=900, sha256="d" * 64)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    system.ledger.work.add_unit(
        wire.Manifest(schema=1, unit="xg_new", min_worker="0.1.0", options=options, images=(entry,)), waiting
    )
    assert "not scored yet" in client.get(PLATE).text
    assert "no worker has scored it yet" in client.get("/well/CI022987/3/H12a").text


def test_the_well_shows_all_that_is_known(client, score):
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.8)
    score({(1, 1): Outcome.CLEAR}, threshold=0.85, p_crystal=0.012)
    score({(1, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2012, 11, 28))
    page = client.get("/well/CI022987/3/A1a").text
    assert '<svg class="overlay" viewBox="0 0 320 240"' in page
    assert '<rect class="line" x="106" y="80" width="107" height="80"/>' in page
    assert "0.012" in page
    assert page.count("<tr class=") == 13  # the maximal probability of each class
    assert "All scores of this image" in page and "crystals harvestable" in page
    assert "bbbbbbbbbbbb" in page and "0.1.0 on test" in page and "threshold 0.85" in page  # provenance
    assert "This drop over time" in page and "/well/CI022987/4/A1a" in page


def test_a_scale_bar_where_the_scale_is_known(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert "50 µm" in client.get("/well/CI022987/3/A1a").text  # 320 pixels of 1.13 µm: at most 72 µm


def test_two_images_of_one_drop(client, score):
    score({(1, 1): Outcome.CLEAR}, image="HF")
    score({(1, 1): Outcome.HARVESTABLE}, image="UV")
    plate = client.get(PLATE).text
    assert plate.count('class="tile') == 1 and "o-harvestable" in plate  # the one that matters stands for the drop
    well = client.get("/well/CI022987/3/A1a").text
    other = re.findall(r'href="(/well/CI022987/3/A1a\?image=\d+)"', well)
    assert [("HF" in client.get(each).text.split("<dt>Image</dt>")[1][:120]) for each in other] == [False, True]


def test_pictures(client, score, config):
    score({(1, 1): Outcome.HARVESTABLE})
    plate, well = client.get(PLATE).text, client.get("/well/CI022987/3/A1a").text
    small = client.get(address_of(plate, "thumbnail"))
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(small.content)).size) == 320
    original = client.get(address_of(well, "image"))
    name = rigaku_name()
    assert original.content == (config.image_root / "CI022987" / "3" / name).read_bytes()  # the file itself
    framed = client.get(re.search(r'href="(/framed/\d+\.jpg)"', well).group(1))
    assert Image.open(io.BytesIO(framed.content)).getpixel((2, 120)) != Image.open(
        io.BytesIO(original.content)
    ).getpixel((2, 120))


@pytest.mark.parametrize(("suffix", "mode"), [(".png", "RGBA"), (".tif", "I;16")])
def test_other_formats_reach_the_browser_as_jpeg(client, enter, config, suffix, mode):
    image = row(f"well{suffix}")
    path = config.image_root / image.barcode / "3" / image.image_name
    path.parent.mkdir(parents=True)
    Image.new(mode, (900, 700), 200).save(path)
    enter([image], [answer(0, Outcome.CLEAR)])
    page = client.get(PLATE).text
    for address in (address_of(page, "thumbnail"), "/image/1.jpg"):
        answered = client.get(address)
        assert answered.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answered.content)).format == "JPEG"
    assert max(Image.open(io.BytesIO(client.get("/thumbnail/640/1.jpg").content)).size) == 640


def test_thumbnails_are_kept_and_made_anew_when_the_original_changes(client, score, config, monkeypatch):
    score({(1, 1): Outcome.CLEAR})
    address = address_of(client.get(PLATE).text, "thumbnail")
    first = client.get(address)
    assert len(list((config.home / "thumbnails").rglob("*.jpg"))) == 1
    made = []
    small_jpeg = pictures.small_jpeg
    monkeypatch.setattr(pictures, "small_jpeg", lambda *a: made.append(a) or small_jpeg(*a))
    assert client.get(address).content == first.content
    assert not made
    assert client.get(address, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    draw_well(config.image_root / "CI022987" / "3" / rigaku_name(), shade=10, size=(640, 480))
    assert client.get(address).content != first.content
    assert made


def test_thumbnails_take_a_bounded_room(config):
    images = [row(f"{n}.jpg") for n in range(30)]
    for n, image in enumerate(images):
        draw_well(config.image_root / "CI022987" / "3" / image.image_name, shade=n)
    one = len(Thumbnails(config).get(images[0], 320)[0])
    bounded = Thumbnails(config, most_bytes=10 * one)
    for image in images:
        bounded.get(image, 320)
    kept = list((config.home / "thumbnails").rglob("*"))
    assert sum(path.stat().st_size for path in kept if path.is_file()) <= 11 * one
    assert len([path for path in kept if path.is_file()]) >= 7


def test_a_disk_that_is_full_hides_no_picture(client, score, config):
    score({(1, 1): Outcome.CLEAR})
    (config.home / "thumbnails").write_text("a file where the folder should be")
    assert client.get(address_of(client.get(PLATE).text, "thumbnail")).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff no jpeg", b"<svg onload='alert(1)'/>", b"%PDF-1.4"])
def test_files_that_are_no_images_are_not_passed_on(client, score, config, content):
    score({(1, 1): Outcome.CLEAR})
    (config.image_root / "CI022987" / "3" / rigaku_name()).write_bytes(content)
    for address in ("/thumbnail/320/1.jpg", "/image/1.jpg", "/framed/1.jpg"):
        answered = client.get(address)
        assert answered.status_code == 404, address
        assert b"onload" not in answered.content


def test_an_original_that_is_gone(client, score, config):
    score({(1, 1): Outcome.CLEAR})
    (config.image_root / "CI022987" / "3" / rigaku_name()).unlink()
    for address in ("/thumbnail/320/1.jpg", "/image/1.jpg", "/framed/1.jpg"):
        assert client.get(address).status_code == 404, address
    assert client.get(PLATE).status_code == 200


HOSTILE = ["<script>alert(1)</script>", "a/b", "50%", 'x" onclick="alert(1)', "?only=clear#top", "a b", "ünï"]


@pytest.mark.parametrize("barcode", HOSTILE)
def test_hostile_barcodes_and_names_are_text(client, enter, barcode):
    image = row("<img src=x onerror=alert(1)>.jpg", barcode)
    enter([image], [answer(0, Outcome.CLEAR)])
    home = client.get("/").text
    plate = client.get(re.search(r'href="(/plate/[^"]+)"', home).group(1))
    assert plate.status_code == 200
    well = client.get(re.search(r'href="(/well/[^"]+)"', plate.text).group(1))
    assert well.status_code == 200
    for page in (home, plate.text, well.text):
        assert "<script>alert" not in page and "<img src=x" not in page and 'onclick="' not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in well.text


@pytest.mark.parametrize(
    "address",
    [
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
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_a_friendly_404(client, score, address):
    score({(1, 1): Outcome.CLEAR})
    answered = client.get(address)
    assert answered.status_code == 404
    assert "All plates" in answered.text


def test_names_that_lead_out_of_the_images_folder_are_not_followed(client, enter, config):
    config.home.mkdir(exist_ok=True)
    draw_well(config.home / "secret.jpg")
    enter([row("../../../secret.jpg"), row("..", "..", 901)], [answer(0, Outcome.CLEAR), answer(1, Outcome.CLEAR)])
    for address in ("/image/1.jpg", "/thumbnail/320/1.jpg", "/framed/1.jpg", "/image/2.jpg"):
        assert client.get(address).status_code == 404, address


@pytest.mark.parametrize(
    "address", ["/", PLATE, "/well/CI022987/3/A1a", "/nothing", "/static/style.css", "/image/1.jpg"]
)
def test_headers(client, score, address):
    score({(1, 1): Outcome.CLEAR})
    headers = client.get(address).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_ask_nothing_of_other_hosts_and_need_no_inline_style(client, score):
    score(OUTCOMES)
    for address in ("/", PLATE, f"{PLATE}?order=best", "/well/CI022987/3/A2a"):
        page = client.get(address).text
        assert "http://" not in page and "https://" not in page
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src)", page)  # the policy would block them


def test_frames_do_not_depend_on_colour_alone(client):
    styles = client.get("/looks.css").text
    dashes = dict(re.findall(r"\.o-([\w-]+) \{.*?--dash: ([^;]+);", styles))
    assert len(dashes) == len(Outcome) + 1
    assert len({dashes[kind] for kind in ("harvestable", "precipitate", "spherulites", "clear", "undecided")}) == 5


def test_nothing_can_be_changed(client):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answered = client.request(method, "/")
        assert answered.status_code == 405
        assert answered.headers["x-content-type-options"] == "nosniff"


def test_addresses_too_long_to_read_are_refused_with_a_page(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert client.get(PLATE, params={"only": ["clear"] * 50}).status_code == 422


def test_healthz(client):
    assert client.get("/healthz").json() == {"status": "ok"}
