"""``check-imager`` at labs that differ from what we expect, on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.check import check_imager
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.imager.crystaltrak.finding import Finding, statements
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak

Check = Callable[..., dict[str, Finding]]


@pytest.fixture
def run(server: sa.URL) -> Iterator[Callable[[str], object]]:
    """Run statements as the database's administrator, in a new database with CrystalTrak's tables and one image."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE lab")
    engine = sa.create_engine(server.set(database="lab"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA crystal")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("CREATE ROLE writer LOGIN")
        CrystalTrak("CRYSTAL").metadata.create_all(connection)
        connection.exec_driver_sql(
            "INSERT INTO crystal.i_inspections VALUES (1, 'P1', 1, '2026-11-27 10:00', 1, 1, 1);"
            "INSERT INTO crystal.i_images VALUES (1, 'P1_A1.jpg')"
        )
        yield lambda statement: connection.exec_driver_sql(statement)
    engine.dispose()
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE lab WITH (FORCE)")
        connection.exec_driver_sql("DROP ROLE reader, writer")
    admin.dispose()


@pytest.fixture
def check(server: sa.URL, run: object, tmp_path: Path) -> Check:
    """``check("writer", sequence="X")``: what is found for two accounts, by what was tried; {"sql": statements} too."""

    def at(writer: str = "xtalgrid", reader: str = "xtalgrid", owner: str = "CRYSTAL", **settings: str) -> dict:
        urls = {
            key: server.set(database="lab", username=name) for key, name in (("url", reader), ("write_url", writer))
        }
        settings |= {key: url.render_as_string(hide_password=False) for key, url in urls.items()} | {"owner": owner}
        toml = "[imager]\n" + "".join(f"{key} = '{value}'\n" for key, value in settings.items())
        config = from_string(toml, home=tmp_path)
        database = ImagerDatabase(config)
        found = list(check_imager(config, database))
        database.close()
        sql = Finding(True, "", "", "", tuple(statements(found)))
        return {finding.tried: finding for finding in found} | {"sql": sql}

    return at


def problems(found: dict[str, Finding]) -> set[str]:
    return {tried for tried, finding in found.items() if not finding.is_good} - {"newest image"}


def test_views_instead_of_tables(run, check):
    run("ALTER TABLE crystal.i_inspections RENAME TO real_inspections")
    run("CREATE VIEW crystal.i_inspections AS SELECT * FROM crystal.real_inspections")
    run("ALTER TABLE crystal.i_scores RENAME TO real_scores")
    run(
        "CREATE VIEW crystal.i_scores AS SELECT s.*, i.barcodeid FROM crystal.real_scores s "
        "JOIN crystal.i_inspections i USING (inspectid)"
    )
    found = check()
    assert found["CRYSTAL.I_INSPECTIONS"].found == "found, a view"
    assert problems(found) == {"write CRYSTAL.I_SCORES"}  # a join of tables cannot be written
    assert "cannot insert into view" in found["write CRYSTAL.I_SCORES"].found


def test_another_schema_and_some_grants_of_it(run, check):
    found = check(reader="reader", writer="writer")
    assert problems(found) >= {"CRYSTAL.I_INSPECTIONS", "CRYSTAL.I_IMAGES", "CRYSTAL.I_SCORES"}
    assert "GRANT USAGE ON SCHEMA crystal TO reader;" in found["sql"].statements
    for _ in range(6):  # as an administrator would: what is listed, until nothing is
        for statement in found["sql"].statements:
            run(statement)
        found = check(reader="reader", writer="writer")
    assert problems(found) == set()
    assert found["write CRYSTAL.I_SCORES"].found.startswith("INSERT, SELECT, UPDATE, DELETE of a row of our own")
    run("REVOKE UPDATE ON crystal.i_scores FROM writer")
    found = check(reader="reader", writer="writer")
    assert problems(found) == {"write CRYSTAL.I_SCORES"}
    assert found["sql"].statements == ("GRANT UPDATE ON crystal.i_scores TO writer;",)
    assert run("SELECT count(*) FROM crystal.i_scores").scalar() == 0


def test_tables_whose_owner_is_not_configured_are_named(check):
    found = check(owner="")
    assert "this account sees crystal.i_scores" in found["I_SCORES"].found


def test_a_sequence_behind_the_highest_id_and_how_it_is_mended(run, check):
    run("INSERT INTO crystal.i_scores VALUES (5000, 1, '13', '2026-11-27 11:00', NULL, 'jdoe')")
    found = check()
    assert problems(found) == {"sequence CRYSTAL.SEQ_JTNG_SCORE_ID"}
    (statement,) = found["sql"].statements
    run(statement)
    assert problems(check()) == set()


def test_ids_that_the_database_fills(run, check):
    run("ALTER TABLE crystal.i_scores ALTER scoreid ADD GENERATED ALWAYS AS IDENTITY")
    found = check()
    assert problems(found) == {"write CRYSTAL.I_SCORES"}
    assert 'sequence = ""' in found["write CRYSTAL.I_SCORES"].todo
    assert problems(check(sequence="")) == set()


def test_a_trigger_that_fills_the_id(run, check):
    run("CREATE SEQUENCE crystal.own START 900")
    run(
        "CREATE FUNCTION crystal.fill() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.scoreid := nextval(''crystal.own''); RETURN NEW; END'"
    )
    run("CREATE TRIGGER fill BEFORE INSERT ON crystal.i_scores FOR EACH ROW EXECUTE FUNCTION crystal.fill()")
    assert problems(check()) == set()


def test_an_account_that_only_reads(run, check):
    run("GRANT USAGE ON SCHEMA crystal TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA crystal TO reader")
    found = check(reader="reader", writer="reader")
    assert problems(found) == {"sequence CRYSTAL.SEQ_JTNG_SCORE_ID", "write CRYSTAL.I_SCORES"}
    assert found["sql"].statements == (
        "GRANT USAGE ON SEQUENCE crystal.seq_jtng_score_id TO reader;",
        "GRANT INSERT, UPDATE, DELETE ON crystal.i_scores TO reader;",
    )


def test_a_trigger_that_changes_what_was_written(run, check):
    run("ALTER TABLE crystal.i_scores ALTER score TYPE varchar(4)")
    run(
        "CREATE FUNCTION crystal.fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.scoredby := ''me''; RETURN NEW; END'"
    )
    run("CREATE TRIGGER fill BEFORE INSERT ON crystal.i_scores FOR EACH ROW EXECUTE FUNCTION crystal.fill()")
    found = check()
    assert problems(found) == {"write CRYSTAL.I_SCORES"}
    assert "not found by SCOREID and SCOREDBY" in found["write CRYSTAL.I_SCORES"].found


def test_a_large_table_without_an_index(run, check):
    run(
        "INSERT INTO crystal.i_inspections SELECT n, 'P1', 1, '2026-01-01'::timestamp + n * '1 min'::interval, 1, 1, 1 FROM generate_series(2, 60000) n"
    )
    run("INSERT INTO crystal.i_images SELECT n, 'P1_A1.jpg' FROM generate_series(2, 60000) n")
    run("ANALYZE")
    assert check()["plan of a page of images"].label == "ok"
    run("DROP INDEX crystal.ix_crystal_i_inspections_inspectdate")
    found = check()["plan of a page of images"]
    assert (found.label, "INSPECTDATE of CRYSTAL.I_INSPECTIONS" in found.todo) == ("note", True)


def test_rows_without_values(run, check):
    run("ALTER TABLE crystal.i_inspections ALTER subwell DROP NOT NULL, ALTER inspectdate DROP NOT NULL")
    run("INSERT INTO crystal.i_inspections VALUES (2, 'P1', 1, NULL, 1, 1, 2), (3, 'P1', 1, '2026-11-27', 1, 1, NULL)")
    run("INSERT INTO crystal.i_images VALUES (2, 'P1_A2.jpg'), (3, 'P1_A3.jpg')")
    found = check()["newest rows of CRYSTAL.I_INSPECTIONS"]
    assert found.label == "note"
    assert "1 of 3 can be used" in found.found
    assert {"SUBWELL is NULL in 1 (INSPECTID 3)", "INSPECTDATE is NULL in 1 (INSPECTID 2)"} <= set(
        found.found.split(": ")[1].split(", ")
    )
