"""The tests of the imager database, the score table rules, publishing, undoing and create_work once more, on a real PostgreSQL server.

It holds both databases here: the ledger, and the vendor's tables as a lab on PostgreSQL would have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from tests.server.conftest import *  # noqa: F403  the same fixtures, over another configuration
from tests.server.test_create_work import *  # noqa: F403
from tests.server.test_create_work import test_dry_run_writes_nothing as test_dry_run_plans_nothing  # noqa: F401
from tests.server.test_imager import *  # noqa: F403
from tests.server.test_publish import *  # noqa: F403
from tests.server.test_rules import *  # noqa: F403
from tests.server.test_undo import *  # noqa: F403
from xtalgrid_core.errors import ImagerError
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.imager.crystaltrak.check import check_imager
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak

DATABASES = ("imager", "ledger")


@pytest.fixture(scope="module")
def databases(server: sa.URL) -> Iterator[dict[str, sa.Engine]]:
    """Two databases on the server, the vendor's tables in one of them."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in DATABASES:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engines = {name: sa.create_engine(server.set(database=name)) for name in DATABASES}
    with engines["imager"].begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA crystal")
        CrystalTrak("CRYSTAL").metadata.create_all(connection)
    yield engines
    for engine in engines.values():
        engine.dispose()
    with admin.connect() as connection:
        for name in DATABASES:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture
def config(databases: dict[str, sa.Engine], tmp_path: Path) -> Config:
    """Both databases empty, and everything else as in the other tests."""
    from .postgresql import emptied

    for engine in databases.values():
        emptied(engine)
    urls = {name: engine.url.render_as_string() for name, engine in databases.items()}
    toml = f"""
        [imager]
        url = "{urls["imager"]}"
        owner = "CRYSTAL"
        pool_size = 1
        retry_s = 20
        statement_timeout_s = 2
        [ledger]
        url = "{urls["ledger"]}"
    """
    return from_string(toml, home=tmp_path / "home")


def test_the_vendors_sequence_gives_the_score_ids(system, score, score_table):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE})  # noqa: F405
    system.finalize(frames="none")
    system.publish()
    with system.imager.reading() as connection:
        assert connection.exec_driver_sql("SELECT last_value FROM crystal.seq_jtng_score_id").scalar() == 2
    assert [row[0] for row in score_table()] == [1, 2]


def test_an_index_on_the_date_bounds_what_a_page_reads(system):
    moments = [row.moment for row in system.imager.register(rows(3))]  # noqa: F405
    statement = system.imager.select_images(moments[0], moments[2]).limit(1000)
    with system.imager.reading() as connection:
        words = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # three rows are read quicker without
        plan = "\n".join(connection.scalars(sa.text(f"EXPLAIN {words}")))
    assert re.search(r"Index Cond: \(\(inspectdate >= '.*'.*\) AND \(inspectdate <= '", plan), plan


def test_check_imager_names_the_sequence_and_what_may_not_be_read(config, databases, system):
    system.imager.register(rows(1))  # noqa: F405
    texts = [finding.text for finding in check_imager(config, system.imager)]
    assert texts[0].startswith("connection: postgresql 1")
    assert "CRYSTAL.I_SCORES: found" in texts
    assert "sequence CRYSTAL.SEQ_JTNG_SCORE_ID: gives 1, and the highest SCOREID is 0" in texts
    other = msgspec.structs.replace(config, imager=msgspec.structs.replace(config.imager, sequence="SEQ_OTHER"))
    database = ImagerDatabase(other)  # noqa: F405
    bad = [finding.text for finding in check_imager(other, database) if not finding.is_good]
    database.close()
    assert any("CRYSTAL.SEQ_OTHER: not found" in text and "see imager.sequence" in text for text in bad)
    assert any("INSERT failed" in text for text in bad)


class Enemy:
    """Ends the imager database's connection: once, when a statement with certain words, or a commit, is about to be sent."""

    def __init__(self, engine: sa.Engine, words: str) -> None:
        self._engine, self._words = engine, words
        self._other = sa.create_engine(engine.url, poolclass=sa.NullPool)
        self.struck = 0

    def __enter__(self) -> Enemy:
        sa.event.listen(self._engine, "before_cursor_execute", self._statement)
        sa.event.listen(self._engine, "commit", self._commit)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "before_cursor_execute", self._statement)
        sa.event.remove(self._engine, "commit", self._commit)

    def _statement(self, connection, _cursor, statement, *_: object) -> None:
        if statement.startswith(self._words):
            self._strike(connection)

    def _commit(self, connection) -> None:
        if self._words == "COMMIT":
            self._strike(connection)

    def _strike(self, connection) -> None:
        if not self.struck:
            self.struck += 1
            pid = connection.connection.dbapi_connection.info.backend_pid
            with self._other.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_page_is_read_again_when_the_database_went_away(system, caplog):
    system.imager.register(rows(3))  # noqa: F405
    with Enemy(system.imager._engine, "SELECT crystal.i_inspections") as enemy:
        found = [group[0].inspection for group in system.imager.newest_first(None, None)]
    assert (found, enemy.struck) == ([2, 1, 0], 1)
    assert "the imager database is unavailable" in caplog.text


def test_a_transaction_is_begun_again_when_nothing_was_committed(system, score_table):
    entered = system.imager.register(rows(2))  # noqa: F405
    calls = []

    def write(writer):
        calls.append(1)
        for row in entered:
            writer.insert(row.inspect_id, "13", INSPECTED, "jdoe", "")  # noqa: F405

    with Enemy(system.imager._engine, "INSERT INTO crystal.i_scores") as enemy:
        system.imager.write(write)
    assert (enemy.struck, len(calls), len(score_table())) == (1, 2, 2)


def test_nobody_knows_what_became_of_a_commit_that_was_not_answered(system, score_table):
    (row,) = system.imager.register(rows(1))  # noqa: F405
    calls = []

    def write(writer):
        calls.append(1)
        writer.insert(row.inspect_id, "13", INSPECTED, "jdoe", "")  # noqa: F405

    unknown = pytest.raises(ImagerError, match="the last scores may or may not be saved; run the same command again")
    with Enemy(system.imager._engine, "COMMIT") as enemy, unknown:
        system.imager.write(write)
    assert (enemy.struck, len(calls), score_table()) == (1, 1, [])


def test_a_statement_that_takes_too_long_is_given_up(system):
    slow = pytest.raises(ImagerError, match="statement timeout")
    with slow:
        system.imager.read(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(30)"))


def test_no_more_sessions_than_the_pool_has(config, databases, system):
    other = msgspec.structs.replace(config, imager=msgspec.structs.replace(config.imager, pool_size=3))
    database = ImagerDatabase(other)  # noqa: F405
    sessions = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = 'imager'")
    with databases["imager"].connect() as connection:
        before = connection.scalar(sessions)
        connection.rollback()  # a transaction goes on seeing the same sessions

        def wait(_: int) -> int:
            return database.read(lambda own: own.scalar(sa.text("SELECT 1 FROM pg_sleep(0.2)")))

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(wait, range(12)))
        assert connection.scalar(sessions) - before == 3
    database.close()


def test_an_account_that_only_reads_publishes_by_another_one(config, databases, tmp_path):
    with databases["imager"].begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS reader")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA crystal TO reader")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA crystal TO reader")
    url = databases["imager"].url
    toml = f"""
        [imager]
        url = "{url.set(username="reader").render_as_string()}"
        write_url = "{url.render_as_string()}"
        owner = "CRYSTAL"
    """
    database = ImagerDatabase(from_string(toml, home=tmp_path))  # noqa: F405
    (row,) = database.register(rows(1))  # noqa: F405
    with database.writing() as writer:
        writer.insert(row.inspect_id, "13", INSPECTED, "jdoe", "")  # noqa: F405
    assert len(database.scores_of_drops([row.inspect_id])[row.inspect_id]) == 1
    refused = pytest.raises(ImagerError, match="permission denied")
    with refused:
        database.read(lambda connection: connection.execute(database.tables.scores.delete()))
    database.close()
    with databases["imager"].begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY reader")
        connection.exec_driver_sql("DROP ROLE reader")
