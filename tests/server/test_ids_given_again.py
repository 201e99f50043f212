"""INSPECTIDs that the imager database gives again, as after it was restored from a backup and the ledger was not."""

from __future__ import annotations

import csv
from datetime import datetime

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


def test_scores_that_a_restored_database_lacks_are_said_and_written_again(system, score, score_table, caplog):
    today = datetime.now().replace(microsecond=0)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=1, inspected=today)
    system.finalize(frames="none"), system.publish(), system.sync()
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR}, inspection=2, inspected=today)
    system.finalize(frames="none"), system.publish(), system.sync()
    before, table = score_table(), system.imager.tables.scores
    with system.imager.transaction() as connection:
        connection.execute(table.delete().where(table.c.scoreid > 1))
    assert system.sync().missing == 2
    assert "2 ARTscores that were published are not in the score table any more" in caplog.text
    files = sorted((system.config.outbox / "done").glob("*.csv"))
    assert f"set_autoscore {files[0].parent}/*.csv" in caplog.text
    assert system.publish(files).actions == {"same": 1, "insert": 2}
    assert score_table() == before
    assert system.publish(files).actions == {"same": 3}
    assert system.sync().missing == 0


def test_a_run_that_was_undone_is_not_missed(system, score, score_table):
    score({(1, 1): Outcome.HARVESTABLE}, inspected=datetime.now().replace(microsecond=0))
    run = system.finalize(frames="none").run
    system.publish(), system.sync()
    system.undo(run, "jdoe")
    assert (score_table(), system.sync().missing) == ([], 0)
