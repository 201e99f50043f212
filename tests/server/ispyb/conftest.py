"""An ISPyB on MariaDB, with the real schema if it is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.ispyb import SCHEMA, Lab, load_real_schema
from tests.mariadb import mariadb
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.imager.ispyb import tables as t


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    if os.name != "posix":
        pytest.skip("starts MariaDB as Unix does")
    with mariadb() as port:
        engine = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{port}", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE ispyb")
        engine.dispose()
        url = f"mysql+pymysql://root@127.0.0.1:{port}/ispyb"
        if SCHEMA:
            load_real_schema(port)
        else:
            t.metadata.create_all(sa.create_engine(url))
        yield url


@pytest.fixture
def lab(mariadb_url: str) -> Iterator[Lab]:
    made = Lab(mariadb_url)
    made.empty()
    yield made
    made.engine.dispose()


@pytest.fixture
def config(tmp_path: Path, lab: Lab) -> Config:
    return from_string(f'[publish.ispyb]\nurl = "{lab.url}"\n', home=tmp_path / "home")
