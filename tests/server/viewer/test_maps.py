"""Class maps, made by a real worker with the package's own models."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded, well
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.ledger.records import PlannedImage

from ..conftest import answer, result_of
from .conftest import row


@pytest.fixture
def scored(config, system):
    """A drop scored by the models named."""

    def enter(segmenter, classifier):
        image = row("well.png")
        path = config.image_root / image.barcode / "3" / image.image_name
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(well()))
        options = wire.Options(segmenter=segmenter, classifier=classifier)
        entry = wire.ImageEntry(number=0, file="000.png", inspect_id=900, sha256="d" * 64)
        manifest = wire.Manifest(schema=1, unit="xg_map", min_worker="0.1.0", options=options, images=(entry,))
        system.ledger.work.add_unit(manifest, [PlannedImage(image, "d" * 64)])
        unit = system.ledger.work.unit("xg_map")
        result = result_of(manifest, [answer(0, Outcome.CLEAR)])
        system.ledger.work.accept_result(unit, "f" * 64, result, options)

    return enter


def test_a_worker_makes_it_once_for_all_groups(client, scored, config):
    scored(*default_models())
    first = client.get("/map/clear/1.png")
    assert first.status_code == 200 and first.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(first.content)))
    assert picture.shape == (480, 640, 4)  # the size of the well; what it shows is for the worker's tests
    kept = sorted(path.name for path in (config.home / "maps").rglob("*.png"))
    assert [name.split("-")[1] for name in kept] == ["clear.png", "crystal.png", "other.png", "precipitate.png"]


def test_models_that_are_not_here_are_told_in_words(client, scored):
    scored("a" * 64, "b" * 64)
    answered = client.get("/map/crystal/1.png")
    assert answered.status_code == 503 and answered.headers["content-type"].startswith("text/plain")
    assert "unknown model" in answered.text


def test_without_a_worker_the_page_says_what_is_missing(client, scored, monkeypatch):
    scored(*default_models())
    monkeypatch.setattr("xtalgrid_server.viewer.maps.importlib.util.find_spec", lambda name: None)
    answered = client.get("/map/crystal/1.png")
    assert answered.status_code == 503 and "onnxruntime" in answered.text


def test_no_map_of_nonsense(client, scored):
    scored("a" * 64, "b" * 64)
    for address in ("/map/rim/1.png", "/map/crystal/2.png", "/map/..%2fcrystal/1.png"):
        assert client.get(address).status_code == 404, address
