"""Pictures: small copies kept on disk within a bound, originals, and a stand-in for what is missing."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.pages import pictures
from xtalgrid_server.web.pages.pictures import Thumbnails

from ..conftest import answer, draw_well, rigaku_name
from .conftest import PLATE, address_of, row


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
    one = len(Thumbnails(config).make(images[0], 320, "one"))
    bounded = Thumbnails(config, max_bytes=10 * one)
    for image in images:
        bounded.make(image, 320, bounded.find(image, 320)[0])
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


def test_names_that_lead_out_of_the_images_folder_are_not_followed(client, enter, config):
    config.home.mkdir(exist_ok=True)
    draw_well(config.home / "secret.jpg")
    enter([row("../../../secret.jpg"), row("..", "..", 901)], [answer(0, Outcome.CLEAR), answer(1, Outcome.CLEAR)])
    for address in ("/image/1.jpg", "/thumbnail/320/1.jpg", "/framed/1.jpg", "/image/2.jpg"):
        assert client.get(address).status_code == 404, address
