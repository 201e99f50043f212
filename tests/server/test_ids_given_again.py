"""INSPECTIDs that the imager database gives again, as after it was restored from a backup and the ledger was not."""

from __future__ import annotations

import csv

import msgspec
import pytest

from xtalgrid_core.outcomes import Outcome


@pytest.fixture
def restored(system):
    """``restored()``: the imager database is as it was before any inspection was entered."""

    def restore():
        tables = system.imager.tables
        with system.imager.transaction() as connection:
            for table in (tables.scores, tables.images, tables.inspections):
                connection.execute(table.delete())

    return restore


def test_a_drop_whose_inspectid_was_another_s_gets_its_own_score(system, score, score_table, restored):
    publishing = msgspec.structs.replace(system.config.publish, policy="drop")
    system.config = msgspec.structs.replace(system.config, publish=publishing)
    (before,) = score({(1, 1): Outcome.HARVESTABLE}, inspection=3)
    system.finalize(frames="none"), system.publish()
    (image,) = system.ledger.images.of_inspections([before.inspect_id])
    assert system.ledger.corrections.add(image.image_id, Outcome.HARVESTABLE, "jdoe")  # who stands for that drop alone
    restored()
    (after,) = score({(5, 2): Outcome.CLEAR}, inspection=4)
    assert after.inspect_id == before.inspect_id
    with system.finalize(frames="none").csv.open(newline="") as stream:
        said = {(row["well"], row["inspection"]): (row["action"], row["why"]) for row in csv.DictReader(stream)}
    assert said["B5a", "4"] == ("publish", "")
    assert said["A1a", "3"] == ("none", f"inspection {after.inspect_id} is of another drop now, CI022987 number 4")
    assert system.publish().refused == []
    assert [(row[0], row[1]) for row in score_table()] == [(after.inspect_id, "01")]


def test_a_corrected_well_keeps_its_score(system, score, score_table):
    (row,) = score({(1, 1): Outcome.HARVESTABLE})
    inspections = system.imager.tables.inspections
    with system.imager.transaction() as connection:
        connection.execute(inspections.update().values(col=7))
    assert system.finalize(frames="none").actions == {"publish": 1}
    assert system.publish().refused == []
    assert [one[0] for one in score_table()] == [row.inspect_id]
