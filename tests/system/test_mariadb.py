"""BOINC's database is MySQL's or MariaDB's: it is found by the project's config.xml and read on a real MariaDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.mariadb import mariadb
from xtalgrid_core.errors import ConfigError, GridError
from xtalgrid_server.config import from_string
from xtalgrid_server.grids.boinc import tables as t
from xtalgrid_server.grids.boinc.database import BoincDatabase, Counts
from xtalgrid_server.grids.boinc.project import Project

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts MariaDB as Unix does")

PASSWORD = "se<cret &/@:"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with mariadb() as number:
        yield number


@pytest.fixture
def project(port: int, tmp_path: Path) -> Project:
    engine = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{port}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE OR REPLACE DATABASE grid")
        connection.execute(sa.text("CREATE OR REPLACE USER boincadm@'%' IDENTIFIED BY :word"), {"word": PASSWORD})
        connection.exec_driver_sql("GRANT ALL ON grid.* TO boincadm@'%%'")
    engine.dispose()
    text = f"""<boinc><config>
        <db_name>grid</db_name><db_host>127.0.0.1:{port}</db_host>
        <db_user>boincadm</db_user><db_passwd>{PASSWORD.replace("&", "&amp;").replace("<", "&lt;")}</db_passwd>
    </config></boinc>"""
    (tmp_path / "config.xml").write_text(text)
    return Project(tmp_path)


@pytest.fixture
def database(project: Project) -> Iterator[BoincDatabase]:
    engine = sa.create_engine(project.database_url())
    t.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(t.apps.insert(), [{"id": 1, "name": "other"}, {"id": 2, "name": "xtalgrid"}])
        connection.execute(
            t.hosts.insert(), [{"id": n, "domain_name": f"pc{n}", "rpc_time": 5, "p_ncpus": 4} for n in (1, 2)]
        )
        unit = {"create_time": 1, "appid": 2, "need_validate": 0, "assimilate_state": 0, "min_quorum": 1, "priority": 0}
        connection.execute(
            t.workunits.insert(),
            [
                {**unit, "id": 1, "name": "xg_a.1", "error_mask": 2, "assimilate_state": 2},
                {**unit, "id": 2, "name": "xg_b.1", "error_mask": 0, "need_validate": 1},
                {**unit, "id": 3, "name": "theirs", "error_mask": 0, "appid": 1},
            ],
        )
        result = {"appid": 2, "exit_status": 0, "sent_time": 1, "report_deadline": 100, "received_time": 0}
        rows = [
            {"workunitid": 1, "server_state": 5, "outcome": 3, "validate_state": 0, "hostid": 2, "exit_status": 206},
            {"workunitid": 1, "server_state": 5, "outcome": 1, "validate_state": 2, "hostid": 2},
            {"workunitid": 1, "server_state": 5, "outcome": 1, "validate_state": 1, "hostid": 1},
            {"workunitid": 2, "server_state": 4, "outcome": 0, "validate_state": 0, "hostid": 1},
            {"workunitid": 2, "server_state": 2, "outcome": 0, "validate_state": 0, "hostid": 0},
        ]
        for n, row in enumerate(rows, 1):
            said = b"<stderr_txt>\nunknown model\n</stderr_txt>" if "exit_status" in row else None
            connection.execute(t.results.insert().values(**{**result, **row}, id=n, name=f"r{n}", stderr_out=said))
    engine.dispose()
    opened = BoincDatabase(from_string("", home=project.folder), project)
    yield opened
    opened.close()


def test_what_became_of_the_work_is_read(database):
    assert database.known(["xg_a.1", "xg_b.1", "xg_c.1"]) == {"xg_a.1", "xg_b.1"}
    assert database.name_of(2) == "xg_b.1"
    assert database.name_of(99) is None
    assert database.assimilated() == {"xg_a.1"}
    assert database.counts(now=200) == Counts(
        unsent=1, in_progress=1, overdue=1, to_validate=1, to_assimilate=0, in_error=1
    )
    assert database.failures_of("xg_a.1") == "1 client error (exit 206: unknown model), 1 invalid, 1 valid"
    assert [(host.name, host.valid, host.invalid, host.errors, host.in_progress) for host in database.hosts()] == [
        ("pc2", 0, 1, 1, 0),
        ("pc1", 1, 0, 0, 1),
    ]


def test_a_project_without_the_application_says_what_to_run(database, project):
    other = BoincDatabase(from_string('[boinc]\napp = "nothere"', home=project.folder), project)
    with pytest.raises(GridError, match="xadd"):
        other.counts(0)
    other.close()


def test_a_wrong_password_is_told_without_showing_it(project):
    path = project.folder / "config.xml"
    path.write_text(path.read_text().replace("se&lt;cret", "wrong&lt;word"))
    database = BoincDatabase(from_string("", home=project.folder), Project(project.folder))
    with pytest.raises(GridError, match="db_passwd") as caught:
        database.known(["x"])
    assert "wrong" not in str(caught.value)
    database.close()


def test_the_driver_is_named_where_it_is_missing(project, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pymysql", None)
    with pytest.raises(ConfigError, match=r"pymysql is not installed; .* install 'xtalgrid\[boinc\]'"):
        BoincDatabase(from_string("", home=project.folder), project)
