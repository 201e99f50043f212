"""How a drop's pictures lie on each other: shifts are known, because all pictures are cut out of one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.pages.alignment import Alignments
from xtalgrid_synth.uv import Nature, render_uv
from xtalgrid_synth.well import render_well

from ..conftest import INSPECTED, rigaku_name

HEIGHT, WIDTH = 480, 640


@pytest.fixture(scope="module")
def field():
    """Larger than the pictures that are cut out of it."""
    return render_well(Outcome.BAD_FORM, seed=56, width=700, height=540, pixel_size_um=4.5)


def save(config, pixels, row, col, inspection, light="HF", part=1.0):
    """Save a picture whose upper left corner lies at (row, col) of a larger one."""
    picture = Image.fromarray(np.ascontiguousarray(pixels[row : row + HEIGHT, col : col + WIDTH]))
    picture = picture.resize((round(WIDTH * part), round(HEIGHT * part)))
    name = rigaku_name(inspection=inspection).replace("_HF_", f"_{light}_")
    picture.save(config.image_root / "CI022987" / str(inspection) / name, quality=92)


@pytest.fixture
def drop(score, config, field):
    """A drop at two inspections; the second picture is twice as large, and its corner lies 24 right and 9 up."""
    score({(1, 1): Outcome.CLEAR})
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR}, inspection=4, inspected=INSPECTED + timedelta(days=7))
    save(config, field.image, 30, 20, 3)
    save(config, field.image, 21, 44, 4, part=2.0)


def test_another_inspection(client, drop):
    """What is in the middle of the second lies 24 further right in the first, and 9 higher."""
    found = client.get("/aligned/1/2.json").json()
    assert found["right"] * WIDTH == pytest.approx(24, abs=0.6)
    assert found["down"] * HEIGHT == pytest.approx(-9, abs=0.6)
    back = client.get("/aligned/2/1.json").json()
    assert (back["right"], back["down"]) == pytest.approx((-found["right"], -found["down"]), abs=0.001)


def test_an_image_in_uv_light(client, system, config, drop, field):
    image = system.ledger.images.row(1)
    system.imager.register([replace(image, image_name=image.image_name.replace("_HF_", "_UV_"))])
    uv = render_uv(field, seed=56, nature=Nature.PROTEIN).image
    save(config, uv, 36, 14, 3, light="UV", part=0.8)
    found = client.get("/aligned/1/mate/0.json").json()
    assert (found["right"] * WIDTH, found["down"] * HEIGHT) == pytest.approx((-6, 6), abs=2)
    assert client.get("/aligned/1/mate/1.json").status_code == 404


def test_it_is_looked_at_once_and_again_when_a_file_changes(client, drop, config, field, monkeypatch):
    looked, look = [], Alignments.make
    monkeypatch.setattr(Alignments, "make", lambda *given: looked.append(given) or look(*given))
    first = client.get("/aligned/1/2.json").json()
    assert client.get("/aligned/1/2.json").json() == first
    assert len(looked) == 1
    save(config, field.image, 30, 28, 4)
    assert client.get("/aligned/1/2.json").json()["right"] * WIDTH == pytest.approx(8, abs=0.6)
    assert len(looked) == 2


def test_pictures_that_cannot_be_aligned_say_why(client, drop, config):
    path = config.image_root / "CI022987" / "4" / rigaku_name(inspection=4)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    assert client.get("/aligned/1/2.json").json()["problem"] == "the pictures have too little in common"
    Image.new("RGB", (480, 480)).save(path)
    assert client.get("/aligned/1/2.json").json()["problem"] == "the pictures show different fields"
    path.write_bytes(b"no image")
    assert client.get("/aligned/1/2.json").json()["problem"] == "not an image"
    path.unlink()
    assert client.get("/aligned/1/2.json").json()["problem"] == "missing file"


def test_only_pictures_of_one_drop(client, drop):
    assert client.get("/aligned/1/3.json").status_code == 404
    assert client.get("/aligned/1/99.json").status_code == 404


def test_the_page_says_when_each_picture_was_taken_and_how_it_scored(client, drop):
    attributes = "image", "inspection", "when", "hours", "kind"
    pattern = r"<li\b" + "".join(rf'[^>]*? data-{name}="([^"]*)"' for name in attributes)
    assert re.findall(pattern, client.get("/well/CI022987/4/A1a").text) == [
        ("1", "3", "2012-11-21 14:00", "0", "clear"),
        ("2", "4", "2012-11-28 14:00", "168", "harvestable"),
    ]
    assert 'id="lapse-tools"' not in client.get("/well/CI022987/4/A2a").text, "it has one inspection"
