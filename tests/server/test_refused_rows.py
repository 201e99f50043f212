"""Rows that the score table refuses, by a trigger of SQLite's here; on MariaDB see ``ispyb/``."""

import os

import pytest

from xtalgrid_core.errors import ImagerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.steps import publish


@pytest.fixture
def refuse(system):
    """``refuse(row)``: the score table takes none of this inspection from now on, as if it was deleted; ``refuse()``: all again."""
    engine, name = system.imager._engine, system.imager.tables.scores.fullname

    def change(*rows):
        ids = ", ".join(str(row.inspect_id) for row in rows)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS deleted")
            connection.exec_driver_sql(
                f"CREATE TRIGGER deleted BEFORE INSERT ON {name} WHEN NEW.inspectid IN ({ids}) "
                "BEGIN SELECT RAISE(ABORT, 'no such inspection'); END"
            )

    return change


def test_a_row_that_the_score_table_refuses_costs_no_other(system, score, score_table, refuse):
    rows = score({(col, 1): Outcome.CLEAR for col in range(1, 8)})
    refuse(rows[2])
    csv_file = system.finalize(frames="none").csv
    published = system.publish()
    assert published.actions == {"insert": 6}
    assert published.refused == [f"{csv_file.name} line 4: the score table refuses it: no such inspection"]
    score({(8, 1): Outcome.CLEAR})
    system.finalize(frames="none")
    assert system.publish().actions == {"insert": 1}, "a later file is not held up"
    assert len(score_table()) == 7
    refuse()
    assert system.publish().actions == {"insert": 1}
    assert not list(system.config.outbox.glob("*.csv"))
    assert sorted(row[0] for row in score_table()) == [row.inspect_id for row in rows] + [rows[-1].inspect_id + 1]


def test_a_row_that_is_refused_for_two_weeks_is_given_up(system, score, score_table, refuse):
    (row,) = score({(1, 1): Outcome.CLEAR})
    refuse(row)
    csv_file = system.finalize(frames="none").csv
    os.utime(csv_file, (0, 0))  # publishing was paused meanwhile
    assert len(system.publish().refused) == len(system.publish().refused) == 1
    (left,) = system.config.outbox.glob("*.csv")
    assert left.read_text() == (csv_file.parent / "done" / csv_file.name).read_text()
    old = left.stat().st_mtime - 15 * 24 * 3600
    os.utime(left, (old, old))
    assert len(system.publish().refused) == 1
    refuse()
    assert (system.publish().files, score_table()) == (0, [])


def test_a_score_table_that_refuses_nearly_all_rows_stops_the_step(system, score, score_table, refuse, monkeypatch):
    """As one whose sequence was reset; then nobody wants all lines in another file."""
    monkeypatch.setattr(publish, "_MOST_REFUSED", 2)
    rows = score({(col, 1): Outcome.CLEAR for col in range(1, 6)})
    refuse(*rows[1:])
    csv_file = system.finalize(frames="none").csv
    with pytest.raises(ImagerError, match="no such inspection"):
        system.publish()
    assert list(system.config.outbox.glob("*.csv")) == [csv_file]
    refuse()
    assert system.publish().actions == {"same": 1, "insert": 4}


def test_rows_that_were_refused_before_stop_no_later_run(system, score, refuse, monkeypatch):
    refuse(*score({(col, 1): Outcome.CLEAR for col in (1, 2)}))
    system.finalize(frames="none")
    assert len(system.publish().refused) == 2
    monkeypatch.setattr(publish, "_MOST_REFUSED", 1)
    score({(3, 1): Outcome.CLEAR})
    system.finalize(frames="none")
    assert system.publish().actions == {"insert": 1}


def test_rows_that_were_written_are_not_written_again_for_one_that_was_refused(system, score, score_table, refuse):
    """Somebody may have deleted them meanwhile."""
    first, _ = score({(col, 1): Outcome.CLEAR for col in (1, 2)})
    refuse(first)
    system.finalize(frames="none")
    system.publish()
    with system.imager._engine.begin() as connection:
        connection.execute(system.imager.tables.scores.delete())
    refuse()
    system.publish()
    assert [row[0] for row in score_table()] == [first.inspect_id]
