"""An image that was corrected in the imager database, while the viewer runs: it is where it belongs, at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.entering import correct_images
from xtalgrid_server.web import site
from xtalgrid_server.web.pages import index

from ..conftest import INSPECTED, answer, draw_well
from .conftest import PLATE, row


@pytest.fixture
def moved(client, enter, config, system, monkeypatch):
    """The viewer knows an image of CI022987; then another process corrects its plate, inspection, well and date."""
    monkeypatch.setattr(site, "_ROW_SECONDS", 0.001, raising=False)
    monkeypatch.setattr(index, "_REREAD_SECONDS", 0.0)
    enter([row("well.jpg")], [answer(0, Outcome.HARVESTABLE)])
    file = draw_well(config.image_root / "CI022987" / "3" / "well.jpg", shade=10)
    assert client.get(PLATE).status_code == client.get("/image/1.jpg").status_code == 200
    corrected = ImageRow(900, "MOVED", 4, INSPECTED - timedelta(days=1), Well(1, 7, 1), "well.jpg")
    there = draw_well(config.image_root / "MOVED" / "4" / "well.jpg", shade=10)
    draw_well(file, shade=200)  # another image has its old place now
    with system.ledger._db.writing() as connection:
        correct_images(connection, [(1, corrected)])
    return there


def test_its_picture_is_that_of_its_place(client, moved):
    assert client.get("/image/1.jpg").content == moved.read_bytes()


def test_its_plate_is_in_the_list_and_the_one_it_left_is_not(client, moved):
    listed = client.get("/").text
    assert "/plate/MOVED/4" in listed and "/plate/CI022987/3" not in listed
    assert client.get("/plate/MOVED/4").status_code == 200
    assert client.get(PLATE).status_code == 404
    assert client.app.state.site.all_plates.inspections("MOVED") == [(4, INSPECTED - timedelta(days=1))]
