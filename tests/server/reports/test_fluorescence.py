"""Salt or protein: what UV images say of a plate's crystals, in a list and on the drop's page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from click.testing import CliRunner
from starlette.testclient import TestClient

from xtalgrid_core.fluorescence import Glow
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.light import Light, Mate
from xtalgrid_server.reports.fluorescence import in_uv
from xtalgrid_server.steps.run import run_folder
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_synth import render_plate

SIZE = {"width": 800, "height": 600, "pixel_size_um": 3.6}


def listed(config: Config, *words: str) -> str:
    return CliRunner().invoke(main, ["--home", str(config.home), "fluorescence", *words]).stdout


def test_crystals_are_listed_those_of_protein_first_and_the_page_says_so(tmp_path: Path) -> None:
    outcomes = [Outcome.HARVESTABLE, Outcome.HARVESTABLE, Outcome.CLEAR]
    files = render_plate(tmp_path / "drawn", barcode="CI1", seed=5, wells=outcomes, uv=True, **SIZE)
    config = from_string("[imager]\npixel_size_um = 3.6\n[grid]\nworkers = 1", home=tmp_path / "home")
    with System(config) as system:
        run_folder(system, files[0].parent, frames="none")
        images = {str(image.well): image for image in system.ledger.images.of_plate("CI1")}
        assert {well: image.outcome.group for well, image in images.items()} == {
            "A1a": "crystal",
            "A1b": "crystal",
            "A1c": "clear",
        }
        (salt,) = system.ledger.scores.by_id([images["A1a"].score_id])
        gone = in_uv(config, salt, [Mate("no_such_UV.jpg", Light.UV)])
        assert gone is not None and (gone.glow, gone.contrast) == (Glow.UNSAID, None)
        assert in_uv(config, salt, [Mate("shg.jpg", Light.OTHER)]) is None
    with next((tmp_path / "drawn").rglob("uv.csv")).open(newline="") as file:
        nature = [row["crystals"] for row in csv.DictReader(file)][:2]
    assert nature == ["salt", "protein"]
    told = json.loads(listed(config, "CI1", "--json"))
    assert [(row["well"], row["uv"]) for row in told] == [("A1b", "fluoresces"), ("A1a", "dark")]
    assert told[0]["contrast"] > 3 > 0.8 > told[1]["contrast"]
    table = list(csv.DictReader(io.StringIO(listed(config, "CI1", "--csv"))))
    assert [row["uv_image"].count("_UV_") for row in table] == [1, 1]
    assert "no crystals with a UV image" in listed(config, "CI2")
    with TestClient(create_app(config), base_url="http://127.0.0.1") as client:
        pages = {well: client.get(f"/well/CI1/1/{well}").text for well in images}
    assert "In UV light: the crystals are dark, as salt is, and some proteins" in pages["A1a"]
    assert "In UV light: the crystals fluoresce, as protein does" in pages["A1b"]
    assert "In UV light" not in pages["A1c"]
    assert "crystals" in pages["A1a"].partition('<section class="verdict')[2].partition("</h1>")[0], "salt stays one"
