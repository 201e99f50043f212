"""``check-imager`` at labs that differ from what we expect, on H2: ``pytest -p no:faulthandler -p tests.rig.oracle.plugin tests/rig/oracle/labs.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.check import check_imager
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.imager.crystaltrak.finding import Finding, statements

from .driver import describe

Run = Callable[[str], list[tuple[object, ...]]]
Check = Callable[..., dict[str, Finding]]

TABLES = (
    "CREATE SCHEMA CRYSTAL",
    "CREATE TABLE CRYSTAL.I_INSPECTIONS (INSPECTID NUMBER(12) PRIMARY KEY, BARCODEID VARCHAR2(30), INSPECTNUMBER NUMBER(6), "
    "INSPECTDATE DATE, COL NUMBER(3), I_ROW NUMBER(3), SUBWELL NUMBER(3))",
    "CREATE INDEX CRYSTAL.IX_DATE ON CRYSTAL.I_INSPECTIONS (INSPECTDATE)",
    "CREATE TABLE CRYSTAL.I_IMAGES (INSPECTID NUMBER(12) REFERENCES CRYSTAL.I_INSPECTIONS, IMAGENAME VARCHAR2(255))",
    "CREATE TABLE CRYSTAL.I_SCORES (SCOREID NUMBER(12) PRIMARY KEY, INSPECTID NUMBER(12) REFERENCES CRYSTAL.I_INSPECTIONS, "
    "SCORE VARCHAR2(2), SCOREDATE DATE, IMAGENAME VARCHAR2(255), SCOREDBY VARCHAR2(30))",
    "CREATE SEQUENCE CRYSTAL.SEQ_JTNG_SCORE_ID",
    "INSERT INTO CRYSTAL.I_INSPECTIONS VALUES (1, 'P1', 1, DATE '2026-11-27', 1, 1, 1)",
    "INSERT INTO CRYSTAL.I_IMAGES VALUES (1, 'P1_A1.jpg')",
    "CREATE USER READER PASSWORD 'r'",
    "CREATE USER WRITER PASSWORD 'w'",
    *(
        f"GRANT SELECT, INSERT ON {name} TO READER"
        for name in ("ALL_TABLES", "ALL_VIEWS", "ALL_SYNONYMS", "PLAN_TABLE")
    ),
    *(f"GRANT SELECT ON CRYSTAL.{name} TO READER" for name in ("I_INSPECTIONS", "I_IMAGES", "I_SCORES")),
)


@pytest.fixture
def service() -> str:
    name = f"x{uuid4().hex}"
    describe(name)
    return name


@pytest.fixture
def run(service: str) -> Iterator[Run]:
    """Run SQL as the database's administrator."""
    engine = sa.create_engine(f"oracle+oracledb://xg:xg@localhost/?service_name={service}")

    def execute(statement: str) -> list[tuple[object, ...]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement.rstrip(";"))
            return [tuple(row) for row in result] if result.returns_rows else []

    for statement in TABLES:
        execute(statement)
    yield execute
    engine.dispose()


@pytest.fixture
def check(service: str, run: Run, tmp_path: Path) -> Check:
    """``check(writer="expired:w", sequence="X")``: what is found, by what was tried; and all statements under "sql"."""

    def at(reader: str = "reader:r", writer: str = "writer:w", **settings: str) -> dict[str, Finding]:
        accounts = {"url": reader, "write_url": writer}
        urls = {
            key: f"oracle+oracledb://{account}@localhost/?service_name={service}" for key, account in accounts.items()
        }
        toml = "[imager]\n" + "".join(
            f"{key} = '{value}'\n" for key, value in ({"owner": "CRYSTAL"} | urls | settings).items()
        )
        config = from_string(toml, home=tmp_path)
        database = ImagerDatabase(config)
        found = list(check_imager(config, database))
        database.close()
        return {finding.tried: finding for finding in found} | {
            "sql": Finding(True, "", "", "", tuple(statements(found)))
        }

    return at


def problems(found: dict[str, Finding]) -> set[str]:
    return {tried for tried, finding in found.items() if not finding.is_good} - {"newest image"}


def grant_all(run: Run) -> None:
    run("GRANT SELECT ON CRYSTAL.I_INSPECTIONS TO WRITER")
    run("GRANT SELECT, INSERT, UPDATE, DELETE ON CRYSTAL.I_SCORES TO WRITER")


def test_what_is_listed_is_what_is_missing(run, check):
    found = check()
    assert problems(found) == {"read before writing CRYSTAL.I_INSPECTIONS", "write CRYSTAL.I_SCORES"}
    assert found["sql"].statements == (
        "GRANT SELECT ON CRYSTAL.I_INSPECTIONS TO WRITER;",
        "GRANT INSERT, SELECT, UPDATE, DELETE ON CRYSTAL.I_SCORES TO WRITER;",
    )
    for statement in found["sql"].statements:
        run(statement)
    found = check()
    assert problems(found) == set()
    assert found["write CRYSTAL.I_SCORES"].found.endswith("nothing is left")
    assert run("SELECT COUNT(*) FROM CRYSTAL.I_SCORES") == [(0,)]
    run("REVOKE DELETE ON CRYSTAL.I_SCORES FROM WRITER")
    found = check()
    assert found["sql"].statements == ("GRANT DELETE ON CRYSTAL.I_SCORES TO WRITER;",)
    assert "INSERT, SELECT, UPDATE worked, DELETE failed (ORA-01031" in found["write CRYSTAL.I_SCORES"].found


def test_a_table_that_the_reader_may_not_see(run, check):
    grant_all(run)
    run("REVOKE SELECT ON CRYSTAL.I_IMAGES FROM READER")
    found = check()
    assert problems(found) == {"CRYSTAL.I_IMAGES"}
    assert "this account sees CRYSTAL.I_IMAGES" in found["CRYSTAL.I_IMAGES"].found
    assert found["sql"].statements == ("GRANT SELECT ON CRYSTAL.I_IMAGES TO READER;",)


def test_accounts_that_cannot_connect(check):
    found = check(writer="expired:w")
    assert problems(found) == {"connection for writing"}
    assert found["sql"].statements == ("ALTER USER expired IDENTIFIED BY new_password;",)
    found = check(reader="reader:wrong")
    assert list(found) == ["connection", "sql"]
    assert re.search(r"ORA-01017.*imager\.password_file", found["connection"].found)


def test_a_synonym_in_the_accounts_own_schema(run, check):
    grant_all(run)
    for name in ("I_INSPECTIONS", "I_IMAGES", "I_SCORES"):
        run(f"CREATE SYNONYM PUBLIC.{name} FOR CRYSTAL.{name}")
        run(f"INSERT INTO ALL_SYNONYMS VALUES ('PUBLIC', '{name}', 'CRYSTAL', '{name}')")
    run("CREATE SEQUENCE SEQ_JTNG_SCORE_ID")
    found = check(owner="")
    assert problems(found) == set()
    assert found["I_SCORES"].found == "found, a synonym for CRYSTAL.I_SCORES"
    run("REVOKE UPDATE ON CRYSTAL.I_SCORES FROM WRITER")
    assert check(owner="")["sql"].statements == ("GRANT UPDATE ON CRYSTAL.I_SCORES TO WRITER;",)


def test_a_sequence_behind_the_highest_id_and_how_it_is_mended(run, check):
    grant_all(run)
    run("INSERT INTO CRYSTAL.I_SCORES VALUES (5000, 1, '13', DATE '2026-11-27', NULL, 'jdoe')")
    found = check()
    assert problems(found) == {"sequence CRYSTAL.SEQ_JTNG_SCORE_ID"}
    for statement in found["sql"].statements:
        run(statement.replace("RESTART START WITH", "RESTART WITH"))  # as H2 says it
    assert problems(check()) == set()


def test_ids_that_the_database_fills(run, check):
    run("DROP TABLE CRYSTAL.I_SCORES")
    run(TABLES[4].replace("SCOREID NUMBER(12)", "SCOREID NUMBER(12) GENERATED ALWAYS AS IDENTITY"))
    run("GRANT SELECT ON CRYSTAL.I_SCORES TO READER")
    grant_all(run)
    found = check()
    assert problems(found) == {"write CRYSTAL.I_SCORES"}
    assert 'sequence = ""' in found["write CRYSTAL.I_SCORES"].todo
    assert problems(check(sequence="")) == set()


def test_the_plan_of_a_page(run, check):
    grant_all(run)
    run("INSERT INTO CRYSTAL.I_INSPECTIONS VALUES (30000, 'P1', 1, DATE '2026-11-27', 1, 1, 1)")
    assert check()["plan of a page of images"].found == "by indexes"
    run("DROP INDEX CRYSTAL.IX_DATE")
    found = check()["plan of a page of images"]
    assert (found.label, found.found) == ("note", "reads all of CRYSTAL.I_IMAGES")
    assert "INSPECTDATE of CRYSTAL.I_INSPECTIONS" in found.todo
