"""Polo's own reader and writer on our runs: needs a checkout of github.com/Hauptman-Woodward/Marco_Polo and PyQt5.

    make test-peers POLO=checkout/src POLO_PYTHON=venv/bin/python

That environment has PyQt5 (5.15), jinja2, python-pptx, molmass, matplotlib.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.conftest import BOTH, score, system  # noqa: F401
from tests.server.exchange.conftest import PLATE, bring, config, held  # noqa: F401
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.polo import export_runs
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.reports.entries import Filter

POLO, PYTHON = os.environ.get("XTALGRID_POLO", ""), os.environ.get("XTALGRID_POLO_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not (POLO and PYTHON), reason="Polo is not here: make test-peers POLO=checkout/src POLO_PYTHON=venv/bin/python"
)


def test_polo_reads_our_run_and_we_read_what_it_saves(system, score, bring, held, tmp_path):  # noqa: F811
    rows = score({(col, 1): Outcome.PRECIPITATE for col in range(1, 7)}, combined=True)
    ids = {image.image_name: image.image_id for image in system.ledger.images.of_plate(PLATE)}
    system.ledger.corrections.add(ids[rows[2].image_name], Outcome.HARVESTABLE, "ann")
    system.ledger.contents.record([Contents(PLATE, Well(1, 2, 0), sample="ABL1", condition="2 M (NH4)2SO4")])
    out = tmp_path / "run.xtal"
    export_runs(system.config, system.imager, system.ledger, out, Filter(barcode=PLATE))
    source = shutil.copytree(POLO, tmp_path / "src")  # Polo writes beside itself
    unrar = source / "unrar" / "Linux"
    unrar.mkdir(parents=True, exist_ok=True)
    (unrar / "unrar").touch()  # which Polo looks for on import
    script = Path(__file__).with_name("in_polo.py")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [PYTHON, script, source, out, tmp_path / "saved.xtal"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["class"], seen["wells"]) == ("HWIRun", 96)
    assert [image["well"] for image in seen["images"]] == [1, 2, 3, 4, 5, 6]
    assert [image["human"] for image in seen["images"]] == [None, None, "Crystals", None, None, None]
    assert {image["machine"] for image in seen["images"]} == {"Precipitate"}  # as decided, not the largest
    for image in seen["images"]:
        four = image["probabilities"]
        assert tuple(four[name] for name in ("Crystals", "Precipitate", "Other", "Clear")) == pytest.approx(BOTH)
        assert image["picture"] > 1000
        assert image["date"] == "2012-11-21 14:00:00"
    assert "2 M (NH4)2SO4" in seen["images"][1]["cocktail"]

    before = held()
    account = bring(tmp_path / "saved.xtal")  # in which a person called A1 clear
    assert (account.format, account.lines, account.new, account.refused) == ("Polo's run", 6, 6, 0)
    assert dict(account.people) == {"Polo": 1}  # ann's score is not Polo's, though Polo gives it back
    assert held() == before | {"A1a": "any clear"}
    again = bring(tmp_path / "saved.xtal")
    assert (again.known, again.new) == (6, 0)
