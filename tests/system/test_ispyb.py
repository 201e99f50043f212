"""A facility with ISPyB alone: plates, ARTscores, people's scores, agreement and a candidate by the commands of docs/ispyb.md."""

from __future__ import annotations

import csv
import json
from datetime import datetime

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from PIL import Image

from tests.ispyb import SCHEMA
from tests.server.ispyb.conftest import lab, mariadb_url  # noqa: F401
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_synth import render_well

KINDS = {Outcome.HARVESTABLE: "3D Crystals", Outcome.CLEAR: "Clear"}
PLATES = ("DEMO000001", "DEMO000002", "DEMO000003")  # three, so that plates are left out in turn


@pytest.fixture
def images(lab, tmp_path):  # noqa: F811
    """Rendered wells in ISPyB, which people scored in SynchWeb; their ids by plate and kind."""
    made = {}
    with lab.engine.connect() as connection:
        words = {row.name: row.blSampleImageScoreId for row in connection.execute(t.scores.select())}
    for number, barcode in enumerate(PLATES):
        plate = lab.plate(barcode)
        inspection = lab.inspection(plate, datetime(2024, 1, 8 + number, 10, 15))
        for well, (kind, word) in enumerate(KINDS.items()):
            path = tmp_path / "mnt" / barcode / f"{well}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            rendered = render_well(kind, seed=10 * number + well, width=640, height=540, pixel_size_um=2.6)
            Image.fromarray(rendered.image).save(path, quality=92)
            there = f"/dls/vmxi/{barcode}/{well}.jpg"
            scored = {"blSampleImageScoreId": words[word], "modifiedTimeStamp": datetime(2024, 1, 20)}
            made[barcode, kind] = lab.image(plate, inspection, str(2 * well + 1), there, **scored)
    return made


@pytest.fixture
def scored(lab, images, tmp_path):  # noqa: F811
    """The table of scored wells for training, after all commands of the server."""
    lab.schema()
    file = tmp_path / "xtalgrid.toml"
    file.write_text(f"""
home = "{tmp_path / "home"}"
[imager]
pixel_size_um = 2.6
[imager.ispyb]
url = "{lab.url}"
paths = {{ "/dls/vmxi" = "{tmp_path / "mnt"}" }}
[publish.ispyb]
url = "{lab.url}"
[grid]
workers = 1
[scores.names]
"3D Crystals" = "crystals harvestable"
""")

    def xtalgrid(*words):
        done = CliRunner().invoke(main, ["--config", str(file), *words])
        assert done.exit_code == 0, done.output
        return done.output

    said = xtalgrid("run", "--frames", "none")
    assert "6 there = 6 scored + 0 waiting + 0 failed + 0 passed over" in said
    for image in images.values():
        four = lab.four(image)
        assert set(four) == {"crystal", "precipitant", "other", "clear"}
        assert sum(four.values()) == pytest.approx(1, abs=1e-4)
    said = xtalgrid("import-scores", "--ispyb")
    assert "6 lines = 6 new + 0 known + 0 without a score + 0 refused" in said
    table = json.loads(xtalgrid("agreement", "--json"))["table"]
    assert {group: sum(ours.values()) for group, ours in table.items() if any(ours.values())} == {
        "crystal": 3,
        "clear": 3,
    }
    scored = tmp_path / "scored.csv"
    xtalgrid("export-scored", str(scored))
    return scored


def test_plates_scores_and_agreement_by_three_commands(lab, images, scored):  # noqa: F811
    with scored.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["plate"], row["outcome"], row["scored_by"]) for row in rows} == {
        (barcode, label, "ISPyB") for barcode in PLATES for label in ("crystals harvestable", "any clear")
    }
    with lab.engine.connect() as connection:
        kept = connection.scalar(sa.select(sa.func.count(t.images.c.blSampleImageScoreId)))
    assert kept == 6  # people's scores in ISPyB

    pytest.importorskip("torch", reason="training is not installed (extra train)")
    from xtalgrid_nets.adapt.lab import fold_names, read_wells

    assert sorted(fold_names(read_wells(scored), "auto")) == sorted([*PLATES, *PLATES])


@pytest.mark.skipif(not SCHEMA, reason="takes half a minute: make test-peers ISPYB=ispyb-database/schemas/ispyb")
def test_and_a_candidate_by_the_fourth(scored, tmp_path):
    pytest.importorskip("torch", reason="training is not installed (extra train)")
    from xtalgrid_nets.cli import main as train

    few = ["--rendered-wells", "1", "--remember-wells", "1", "--steps", "5"]
    done = CliRunner().invoke(train, ["adapt", str(scored), str(tmp_path / "candidate"), *few])
    assert done.exit_code == 0, done.output
    comparison = json.loads((tmp_path / "candidate" / "comparison.json").read_text())
    assert comparison["candidate"] != comparison["current"]
