"""check-imager tries ISPyB as production uses it, says what is in the way, and leaves nothing."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.server.conftest import draw_well
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.ispyb.check import check_ispyb


@pytest.fixture
def found(lab, tmp_path):
    def check(paths=None, types=""):
        toml = (
            f'[imager]\nretry_s = 0\n[imager.ispyb]\nurl = "{lab.url}"\n'
            f'paths = {{ "/dls" = "{paths or tmp_path / "mnt"}" }}\n{types}[publish.ispyb]\nurl = "{lab.url}"\n'
        )
        return [(one.label, one.text) for one in check_ispyb(from_string(toml, home=tmp_path / "home"))]

    return check


def test_what_is_right_and_what_is_in_the_way(lab, found, tmp_path):
    (images, text), (scores, missing) = found()
    assert (images, text) == ("ok", "images in ISPyB: there are none of inspections yet")
    assert scores == "PROBLEM"
    assert "no schema 'ARTscore'" in missing
    lab.schema()
    plate = lab.plate("DEMO000001")
    image = lab.image(plate, lab.inspection(plate, datetime(2024, 1, 8)), "1", "/dls/1.jpg")
    draw_well(tmp_path / "mnt" / "1.jpg")
    assert found() == [
        ("ok", "images in ISPyB: the newest 1 can be read, with their files"),
        (
            "ok",
            "scores for ISPyB: schema ARTscore with the classes crystal, precipitant, other, clear; writing was undone",
        ),
    ]
    assert lab.four(image) == {}
    lab.put(image, {"crystal": 0.25})
    found()
    assert lab.four(image) == {"crystal": 0.25}
    (label, text), _ = found(paths=tmp_path / "elsewhere")
    assert label == "PROBLEM"
    assert "no such file" in text
    assert "see imager.ispyb.paths" in text
