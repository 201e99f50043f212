"""The real ISPyB: its own procedure writes the same rows as we do, and SynchWeb's own page shows them.

    make test-peers ISPYB=ispyb-database/schemas/ispyb SYNCHWEB=SynchWeb/api/src

from checkouts of github.com/DiamondLightSource/ispyb-database and SynchWeb, with php-cli, php-mysql and MariaDB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from tests.ispyb import SCHEMA
from tests.server.conftest import BOTH, INSPECTED, score, system  # noqa: F401
from tests.server.ispyb.conftest import config, lab, mariadb_url  # noqa: F401
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.exchange.foreign import Told
from xtalgrid_server.exchange.import_scores import import_source
from xtalgrid_server.exchange.ispyb import open_ispyb
from xtalgrid_server.imager.ispyb import tables as t
from xtalgrid_server.imager.ispyb.sub_samples import SubSample, insert_sub_sample
from xtalgrid_server.imager.source import image_path
from xtalgrid_server.ledger.marks import Mark, box_mark

SYNCHWEB = os.environ.get("XTALGRID_SYNCHWEB", "")
pytestmark = pytest.mark.skipif(
    not SCHEMA, reason="the real schema is not here: make test-peers ISPYB=ispyb-database/schemas/ispyb"
)


@pytest.fixture
def image(lab, system, score):  # noqa: F811
    """A drop with an ARTscore that was published; its image in ISPyB, in a proposal's dewar, and its inspection."""
    lab.schema()
    (row,) = score({(1, 1): Outcome.CLEAR}, combined=True)
    plate = lab.plate("CI022987")
    with lab.writing() as connection:
        dewar = connection.exec_driver_sql(
            "SELECT dewarId, proposalId FROM Dewar JOIN Shipping USING (shippingId) WHERE proposalId > 0 LIMIT 1"
        ).one()
        connection.exec_driver_sql(f"UPDATE Container SET dewarId = {dewar.dewarId} WHERE containerId = {plate}")
    inspection = lab.inspection(plate, INSPECTED)
    made = lab.image(plate, inspection, "1", str(image_path(system.config, row)))
    system.finalize(frames="none")
    assert system.publish().ispyb.actions == {"insert": 1}
    return made, inspection, dewar.proposalId


def test_ispybs_own_procedure_writes_the_same_rows(lab, system, image):  # noqa: F811
    key, *_ = image
    ours = lab.four(key)
    with lab.engine.begin() as connection:
        path = connection.scalar(sa.select(t.images.c.imageFullPath).where(t.images.c.blSampleImageId == key))
        connection.execute(t.auto_scores.delete())
        call = sa.text("CALL upsert_sample_image_auto_score(:path, 'ARTscore', :name, :probability)")
        for name, probability in ours.items():
            connection.execute(call, {"path": path, "name": name, "probability": probability})
    assert lab.four(key) == ours
    assert system.publish().ispyb.actions == {}


@pytest.fixture
def ask(lab, image):  # noqa: F811
    """``ask(method, page="Imaging", **arguments)``: what SynchWeb answers for the image's proposal."""
    if not (SYNCHWEB and shutil.which("php")):
        pytest.skip("SynchWeb and php are not here: make test-peers ISPYB=… SYNCHWEB=SynchWeb/api/src")

    def call(method, page="Imaging", **arguments):
        port = str(sa.make_url(lab.url).port)
        script = Path(__file__).with_name("in_synchweb.php")
        command = ["php", script, SYNCHWEB, port, str(image[2]), page, method, json.dumps(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    return call


def test_synchweb_shows_our_scores_and_we_read_what_people_choose_there(lab, system, image, ask):  # noqa: F811
    key, inspection, _ = image
    (schema,) = ask("_get_auto_score_schemas", CONTAINERINSPECTIONID=inspection)
    assert schema["SCHEMANAME"] == "ARTscore"
    number = schema["BLSAMPLEIMAGEAUTOSCORESCHEMAID"]
    shown = ask("_get_auto_scores", CONTAINERINSPECTIONID=inspection, BLSAMPLEIMAGEAUTOSCORESCHEMAID=number)
    (one,) = shown.values() if isinstance(shown, dict) else shown
    assert int(one["BLSAMPLEIMAGEID"]) == key
    found = {name: float(value) for name, value in one["CLASSES"].items()}
    names = ("crystal", "precipitant", "other", "clear")
    assert found == pytest.approx(dict(zip(names, BOTH, strict=True)), abs=1e-6)

    scores = {each["NAME"]: each["BLSAMPLEIMAGESCOREID"] for each in ask("_get_image_scores")}
    ask("_update_inspection_image", imid=key, BLSAMPLEIMAGESCOREID=scores["3D Crystals"])
    source = open_ispyb(system.config, system.imager, Told())
    done = import_source(system.config, system.imager, system.ledger, source, "ISPyB", "ISPyB")
    assert done.people == {"ISPyB": 1}
    (_, given), *_ = system.ledger.person_scores.imported(["CI022987"])
    assert given.name == "any crystal"
    (image_shown,) = ask("_get_inspection_images", iid=inspection)
    assert image_shown["SCORENAME"] == "3D Crystals"


def test_synchweb_lists_our_marks_and_what_people_do_there_stays(lab, system, image, ask):  # noqa: F811
    key, *_ = image
    settings = msgspec.structs.replace(system.config.publish.ispyb, marks=True)
    publish = msgspec.structs.replace(system.config.publish, ispyb=settings)
    system.config = msgspec.structs.replace(system.config, publish=publish)
    with lab.writing() as connection:
        connection.exec_driver_sql("UPDATE BLSample SET crystalId = (SELECT MIN(crystalId) FROM Crystal)")
        row = connection.exec_driver_sql("SELECT blSampleId, containerId FROM BLSample").one()
    at = datetime(2026, 11, 29)
    box = box_mark(100, 50, 20, 10, image_id=1, who="ann", at=at, word="needle")
    point = Mark(image_id=1, kind="point", x=7, y=9, who="ann", at=at)
    measured = Mark(image_id=1, kind="point", x=1, y=2, who="ann", at=at)
    system.ledger.marks.add([box, point, measured])
    system.publish()

    def listed():
        return ask("_sub_samples", "Sample", cid=row.containerId)

    def place(one):
        return [None if one[name] is None else float(one[name]) for name in ("X", "Y", "X2", "Y2")]

    region, spot, length = listed()
    assert (place(region), place(spot)) == ([100, 50, 120, 60], [7, 9, None, None])
    assert (region["SOURCE"], int(region["BLSAMPLEIMAGEID"])) == ("manual", key)
    assert region["COMMENTS"] == "needle (ann, xtalgrid)"
    ask("_add_sub_sample", "Sample", BLSAMPLEID=row.blSampleId, X=7, Y=9)
    ask("_update_sub_sample", "Sample", ssid=spot["BLSUBSAMPLEID"], COMMENTS="collect first")
    with lab.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO BLSampleImageMeasurement (blSampleImageId, blSubSampleId) "
            f"VALUES ({key}, {int(length['BLSUBSAMPLEID'])})"
        )
    for mark in system.ledger.marks.of_image(1).standing:
        system.ledger.marks.undo(mark.id, "ann", f"removal of {mark.id}", at)
    done = system.publish().marks
    assert done.actions == {"removed": 1, "left": 2}
    assert "used by something else" in done.problems[1]
    places = [place(one) for one in listed()]
    assert places == [[7, 9, None, None], [1, 2, None, None], [7, 9, None, None]]
    with lab.writing() as connection:
        connection.exec_driver_sql("DELETE FROM BLSampleImageMeasurement")


def test_ispybs_own_procedure_writes_the_same_rows_of_a_region(lab, system, image):  # noqa: F811
    key, *_ = image
    with lab.engine.begin() as connection:
        path = connection.scalar(sa.select(t.images.c.imageFullPath).where(t.images.c.blSampleImageId == key))
        call = "CALL insert_subsample_for_image_full_path(@made, :path, 'manual', 100, 50, 120, 60)"
        connection.execute(sa.text(call), {"path": path})
        insert_sub_sample(connection, SubSample(key, (100.0, 50.0), (120.0, 60.0), "ours"))
    theirs, ours = lab.sub_samples()
    assert theirs[:6] == ours[:6]
