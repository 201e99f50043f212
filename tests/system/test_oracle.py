"""The tests of the imager database, the score table rules, publishing, undoing and create_work once more, on a live Oracle: `make test-oracle`.

``ORACLE_URL`` names an account of Oracle 12.1 or later that may create tables and sequences; `test_oracle_stand_in` names H2. Its own tables have names that begin with
``XG_TEST_``, which no vendor's have; they are made, and dropped at the end. The ledger is SQLite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.server.conftest import *  # noqa: F403  the same fixtures, over another configuration
from tests.server.test_create_work import *  # noqa: F403
from tests.server.test_create_work import test_dry_run_writes_nothing as test_dry_run_plans_nothing  # noqa: F401
from tests.server.test_imager import *  # noqa: F403
from tests.server.test_publish import *  # noqa: F403
from tests.server.test_rules import *  # noqa: F403
from tests.server.test_undo import *  # noqa: F403
from xtalgrid_server.config import Config, from_string, vendor
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak

URL = os.environ.get("ORACLE_URL", "")
if not URL:
    pytest.skip("no live Oracle; make test-oracle ORACLE_URL=oracle+oracledb://…", allow_module_level=True)

NAMES = {table: f"XG_TEST_{table.upper()}" for table in vendor.TABLES}
SEQUENCE = "XG_TEST_SCORE_ID"
_IDS_ON_H2 = (
    "CREATE SEQUENCE IF NOT EXISTS XG_TEST_INSPECTID",
    "ALTER TABLE XG_TEST_INSPECTIONS ALTER COLUMN INSPECTID SET DEFAULT NEXT VALUE FOR XG_TEST_INSPECTID",
)


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[sa.Engine, CrystalTrak]]:
    """The tables, in the account's own schema."""
    engine, tables = sa.create_engine(URL), CrystalTrak("", SEQUENCE, NAMES)
    tables.metadata.drop_all(engine)  # of a run that was killed
    tables.metadata.create_all(engine)
    if engine.dialect.server_version_info < (12,):  # no identity columns; a vendor has a trigger there
        with engine.begin() as connection:
            for words in _IDS_ON_H2:
                connection.exec_driver_sql(words)
    yield engine, tables
    tables.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def config(vendors: tuple[sa.Engine, CrystalTrak], tmp_path: Path) -> Config:
    """The tables empty, and everything else as in the other tests."""
    engine, tables = vendors
    with engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            connection.execute(table.delete())
    toml = f"""
        [imager]
        url = '{URL}'
        sequence = "{SEQUENCE}"
        [imager.tables]
    """
    toml += "".join(f'{table} = "{name}"\n' for table, name in NAMES.items())
    return from_string(toml, home=tmp_path / "home")


def test_everything_that_is_ever_sent(config, system):
    from tests.server.imager.statements import ROWS, TALK

    system.imager.register(ROWS)
    for call in TALK.values():
        call(system.imager)


def test_an_empty_text_is_null_and_a_date_has_whole_seconds(config):
    database = ImagerDatabase(config)
    (row,) = database.register(rows(1))  # noqa: F405
    with database.writing() as writer:
        writer.insert(row.inspect_id, "01", INSPECTED.replace(microsecond=7), "jdoe", "")  # noqa: F405
    ((score,),) = database.scores_of_drops([row.inspect_id]).values()
    database.close()
    assert (score.code, score.date, score.image_name) == ("01", INSPECTED, None)  # noqa: F405
