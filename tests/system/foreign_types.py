"""What must hold where a lab's columns have other types than we expect: run on PostgreSQL, and on HSQLDB for Oracle.

The tables are made and read by plain SQL here. The test module gives the fixtures `engine`, an empty database, and `lab`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak import database as module
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.steps.system import System

DAY = datetime(2026, 11, 27, 10, 0)
NAME = "CI000001_{}_HF_99_0.jpg"

Lab = Callable[..., ImagerDatabase]


@contextmanager
def a_lab(engine: sa.Engine, home: Path, **types: str) -> Iterator[ImagerDatabase]:
    """CrystalTrak's tables with other types, given by column."""
    tables = {
        "i_inspections": "inspectid integer primary key, barcodeid varchar(30), inspectnumber integer, "
        "inspectdate timestamp(0), col integer, i_row integer, subwell integer",
        "i_images": "inspectid integer, imagename varchar(255)",
        "i_scores": "scoreid integer primary key, inspectid integer, score varchar(2), scoredate timestamp(0), "
        "imagename varchar(255), scoredby varchar(30)",
    }
    with engine.begin() as connection:
        connection.exec_driver_sql("create sequence seq_jtng_score_id")
        for name, columns in tables.items():
            words = [column.split() for column in columns.split(", ")]
            made = ", ".join(f"{column} {types.get(column, ' '.join(rest))}" for column, *rest in words)
            connection.exec_driver_sql(f"create table {name} ({made})")
    url = engine.url.render_as_string(hide_password=False)
    database = ImagerDatabase(from_string(f"[imager]\nurl = '{url}'\ntime_zone = 'Europe/Berlin'", home=home))
    try:
        yield database
    finally:
        database.close()
        with engine.begin() as connection:
            for name in tables:
                connection.exec_driver_sql(f"drop table {name}")
            connection.exec_driver_sql("drop sequence seq_jtng_score_id")


def run(engine: sa.Engine, statement: str) -> list[tuple[object, ...]]:
    """Run plain SQL; return its rows."""
    with engine.begin() as connection:
        result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


def inspect(engine: sa.Engine, inspect_id: int, date: str, barcode: str = "CI000001") -> None:
    """Add an inspection of a drop and its image."""
    run(engine, f"insert into i_inspections values ({inspect_id}, '{barcode}', 1, {date}, {inspect_id % 12 + 1}, 1, 1)")
    run(engine, f"insert into i_images values ({inspect_id}, '{NAME.format(inspect_id)}')")


def date(moment: datetime) -> str:
    return f"timestamp '{moment.isoformat(sep=' ')}'"


def images(database: ImagerDatabase) -> list[tuple[int, str, str]]:
    groups = database.newest_first(None, None)
    return [(image.inspect_id, image.barcode, image.image_name) for group in groups for image in group]


def test_blank_padded_texts_are_found_compared_and_taken_back(engine, lab):
    database = lab(barcodeid="char(12)", imagename="char(80)", score="char(2)", scoredby="char(30)")
    inspect(engine, 1, date(DAY))
    assert images(database) == [(1, "CI000001", NAME.format(1))]
    assert [group[0].inspect_id for group in database.of_plate("CI000001")] == [1]
    uv = NAME.format(1).replace("_HF_", "_UV_")
    run(engine, f"insert into i_images values (1, '{uv}')")
    assert [mate.name for mate in database.mates(1)] == [uv]
    with database.writing() as writer:
        score_id = writer.insert(1, "23", DAY, "ARTscore", NAME.format(1))
    ((score,),) = database.scores_of_drops([1]).values()
    assert (score.code, score.by, score.image_name) == ("23", "ARTscore", NAME.format(1))
    assert database.is_ours(score)
    with database.writing() as writer:
        writer.replace(score_id, "ARTscore", "01", DAY, None)
    assert [str(code) for (code,) in run(engine, "select score from i_scores")] == ["01"]
    assert list(database.scored_by_people()) == []
    with database.writing() as writer:
        writer.remove(score_id, "ARTscore")
    assert run(engine, "select count(*) from i_scores") == [(0,)]


def test_types_are_read_with_one_statement(engine, lab):
    database = lab(score="numeric(2)", scoredby="char(30)")
    sent = []
    sa.event.listen(database._engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    tables = database.tables
    assert (len(sent), tables.scores.c.score.type.found.number, tables.scores.c.scoredby.type.found.padded) == (
        1,
        True,
        30,
    )
    assert database.sample_tables()[1] == ["PLATES", "PLATE_DROPS", "SAMPLES", "PROJECTS"]
    for name in (
        "plates (plate_id, barcode, project_id",
        "plate_drops (fk_plate_id, fk_sample_id",
        "samples (sample_id, sample_name",
        "projects (project_id, name",
    ):
        run(engine, f"create table {name.replace(',', ' integer,')} char(5))")
    try:
        sent.clear()
        tables, missing = database.sample_tables()
        assert (len(sent), missing, tables.samples.c.sample_name.type.found.padded) == (1, [], 5)
    finally:
        for name in ("plates", "plate_drops", "samples", "projects"):
            run(engine, f"drop table {name}")


def test_codes_in_a_column_of_numbers_keep_their_zero(engine, lab):
    database = lab(score="numeric(2)")
    inspect(engine, 1, date(DAY))
    run(engine, f"insert into i_scores values (7, 1, 1, {date(DAY)}, null, 'jdoe')")
    with database.writing() as writer:
        writer.insert(1, "02", DAY, "ARTscore", NAME.format(1))
    (scores,) = database.scores_of_drops([1]).values()
    assert sorted(score.code for score in scores) == ["01", "02"]


def test_fractions_of_a_second_lose_nothing_between_pages(engine, lab, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 4)
    database = lab(inspectdate="timestamp(6)")
    for number in range(1, 20):
        inspect(engine, number, date(DAY + timedelta(seconds=number // 7, microseconds=number * 7919 % 1000003)))
    assert sorted(number for number, *_ in images(database)) == list(range(1, 20))


def test_a_row_that_cannot_be_used_costs_only_itself(engine, lab, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 2)
    database = lab()
    for number in range(1, 8):
        inspect(engine, number, date(DAY + timedelta(minutes=number)))
    run(engine, "update i_inspections set subwell = null where inspectid = 3")
    run(engine, "update i_inspections set barcodeid = null where inspectid = 4")
    run(engine, "update i_images set imagename = null where inspectid = 6")
    assert sorted(number for number, *_ in images(database)) == [1, 2, 5, 7]
    assert [(row.key, row.column) for row in database.rows.unusable] == [
        ("INSPECTID 4", "BARCODEID"),
        ("INSPECTID 3", "SUBWELL"),
    ]
    run(engine, f"insert into i_scores values (1, 1, null, {date(DAY)}, null, 'jdoe')")
    run(engine, f"insert into i_scores values (2, 1, '23', {date(DAY)}, null, 'jdoe')")
    assert [score.score_id for score in database.scores_of_drops([1])[1]] == [2]


def test_inspections_without_a_date_are_recorded_once(engine, lab):
    database = lab()
    for number in (1, 2, 3):
        inspect(engine, number, date(DAY))
    run(engine, "update i_inspections set inspectdate = null where inspectid = 2")
    recorded = []
    with System(database._config) as system:
        for number in (4, 5):
            system.create_work()
            recorded.append(unusable_rows(system))
            inspect(engine, number, "null")
        system.create_work()
        recorded.append(unusable_rows(system))
    told = "INSPECTDATE is NULL, not a date; correct the row"
    assert recorded == [
        [(f"I_INSPECTIONS, INSPECTID {number}", told) for number in numbers] for numbers in ([2], [2, 4], [2, 4, 5])
    ]


def unusable_rows(system):
    return [
        (failure.file, failure.detail)
        for failure in system.ledger.accounts.failures()
        if failure.reason == "unusable row"
    ]


@pytest.fixture
def lab(engine: sa.Engine, tmp_path: Path) -> Iterator[Lab]:
    """Make the tables, with other types for some columns: ``lab(scoredby="char(30)")``."""
    with ExitStack() as stack:
        yield lambda **types: stack.enter_context(a_lab(engine, tmp_path, **types))
