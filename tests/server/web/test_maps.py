"""Class maps, drawn by real processes with the package's own models."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded, scoring_processes, well
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.pages.maps import GROUPS, ClassMaps

from ..conftest import answer, result_of
from .conftest import Visit, row


@pytest.fixture
def scored(config, system):
    """A drop scored by the models named."""

    def enter(segmenter, classifier, file=None):
        image = row("well.png")
        path = config.image_root / image.barcode / "3" / image.image_name
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(well()) if file is None else file)
        options = wire.Options(segmenter=segmenter, classifier=classifier)
        entry = wire.ImageEntry(number=0, file="000.png", inspect_id=900, sha256="d" * 64)
        manifest = wire.Manifest(schema=1, unit="xg_map", min_worker="0.1.0", options=options, images=(entry,))
        system.ledger.units.add(manifest, [PlannedImage(image, "d" * 64)])
        unit = system.ledger.units.named("xg_map")
        result = result_of(manifest, [answer(0, Outcome.CLEAR)])
        system.ledger.scores.accept_result(unit, "f" * 64, result, manifest)

    return enter


def test_all_groups_are_drawn_once_and_kept(client, scored, config, monkeypatch):
    scored(*default_models())
    drawn, draw = [], ClassMaps._make
    monkeypatch.setattr(ClassMaps, "_make", lambda *arguments: drawn.append(arguments) or draw(*arguments))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda group: client.get(f"/map/{group}/1.png"), GROUPS))
    assert len(drawn) == 1
    for answered in answers:
        assert answered.status_code == 200 and answered.headers["content-type"] == "image/png"
        picture = np.asarray(Image.open(io.BytesIO(answered.content)))
        assert picture.shape == (480, 640, 4)  # the size of the well; what it shows is for the worker's tests
    kept = sorted(path.name for path in (config.home / "maps").rglob("*.png"))
    assert [name.split("-")[1] for name in kept] == ["clear.png", "crystal.png", "other.png", "precipitate.png"]
    assert client.get("/map/crystal/1.png").content == answers[GROUPS.index("crystal")].content
    assert len(drawn) == 1


def test_a_map_is_not_shown_for_another_drop_whose_score_has_the_same_id(client, scored, config):
    """As after an older ledger was restored, which gives its ids again."""
    scored(*default_models())
    first = [client.get(f"/map/{group}/1.png").content for group in GROUPS]
    path = config.image_root / "CI022987" / "3" / "well.png"
    path.write_bytes(encoded(np.roll(well(), 60, axis=1)))
    os.utime(path, ns=(1, 1))
    assert [client.get(f"/map/{group}/1.png").content for group in GROUPS] != first


def test_a_picture_that_takes_too_much_has_no_map_and_the_next_one_has(visit, config, scored, monkeypatch):
    scored(*default_models())
    monkeypatch.setattr("xtalgrid_server.web.pages.maps._SECONDS", 0.001)
    answered = visit(config).get("/map/crystal/1.png")
    assert (answered.status_code, answered.text) == (503, "timed out: more than 0.001 seconds")
    monkeypatch.undo()
    assert visit(config).get("/map/crystal/1.png").status_code == 200


def test_a_picture_that_cannot_be_read_says_so(client, scored):
    scored(*default_models(), file=b"broken")
    answered = client.get("/map/crystal/1.png")
    assert answered.status_code == 503 and answered.text.startswith("not an image: ")


def test_the_legend_says_what_the_maps_show(client, scored, config):
    """Of the pixels of the drop, by the PNG files: the part where each group is the likeliest."""
    scored(*default_models())
    legend = client.get("/map/1.json").json()
    assert [one["group"] for one in legend] == list(GROUPS)
    pictures = [np.asarray(Image.open(io.BytesIO(client.get(f"/map/{group}/1.png").content))) for group in GROUPS]
    opacity = np.stack([picture[..., 3].astype(int) for picture in pictures])
    drop, visible = opacity.max(axis=0) > 0, opacity.max(axis=0) / 255 / 0.45 >= 0.25
    for n, (one, picture) in enumerate(zip(legend, pictures, strict=True)):
        share = (visible & (opacity.argmax(axis=0) == n))[drop].mean()
        assert one["share"] == pytest.approx(share, abs=0.02)
        assert one["largest"] == pytest.approx(picture[..., 3].max() / 255 / 0.45, abs=0.01)
        assert one["visible"] == (picture[..., 3].max() / 255 / 0.45 >= 0.25)
        assert tuple(int(one["colour"][at : at + 2], 16) for at in (1, 3, 5)) == tuple(picture[0, 0, :3])


def test_a_map_of_an_earlier_version_is_drawn_again_for_its_legend(client, scored, config):
    scored(*default_models())
    first = client.get("/map/1.json").json()
    for path in (config.home / "maps").rglob("*.png"):
        Image.open(path).save(path)  # as it was drawn before: without text
    assert client.get("/map/1.json").json() == first


@pytest.mark.parametrize("reason", ["broken", "no models"])
def test_without_a_legend_the_page_says_why(client, scored, reason):
    if reason == "broken":
        scored(*default_models(), file=b"broken")
    else:
        scored("a" * 64, "b" * 64)
    answered = client.get("/map/1.json")
    assert answered.status_code == 503 and answered.headers["content-type"].startswith("text/plain")
    assert answered.text.startswith({"broken": "not an image: ", "no models": "unknown model"}[reason])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_the_processes_end_with_the_viewer(config, scored):
    scored(*default_models())
    with Visit(create_app(config), client=("127.0.0.1", 50000), base_url="http://localhost") as client:
        assert scoring_processes() == set()
        client.get("/map/crystal/1.png")
        assert len(scoring_processes()) == 1
    assert scoring_processes() == set()


def test_models_that_are_not_here_are_told_in_words(client, scored):
    scored("a" * 64, "b" * 64)
    answered = client.get("/map/crystal/1.png")
    assert answered.status_code == 503 and answered.headers["content-type"].startswith("text/plain")
    assert "unknown model" in answered.text


def test_without_onnxruntime_the_page_says_what_is_missing(client, scored, monkeypatch):
    scored(*default_models())
    monkeypatch.setattr("xtalgrid_server.web.pages.maps.importlib.util.find_spec", lambda name: None)
    answered = client.get("/map/crystal/1.png")
    assert answered.status_code == 503 and "onnxruntime" in answered.text


def test_no_map_of_nonsense(client, scored):
    scored("a" * 64, "b" * 64)
    for address in ("/map/rim/1.png", "/map/crystal/2.png", "/map/..%2fcrystal/1.png", "/map/2.json"):
        assert client.get(address).status_code == 404, address
