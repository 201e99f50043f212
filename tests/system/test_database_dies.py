"""PostgreSQL ends the connection at places all over every step: run again, each ends as an undisturbed run does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.server.conftest import INSPECTED, draw_well, rigaku_name
from tests.server.test_killed import STEPS, TOML, content
from xtalgrid_core.errors import XtalgridError
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.steps.system import System

DATABASES = ("imager", "ledger")
CUTS = 8
"""About so many places in each step: a copy of both databases is made for each."""
CHAIN = ["create_work", "workers", "assimilate", "finalizer", "set_autoscore"]


class Lab:
    """A home folder and two databases, which can be copied."""

    def __init__(self, admin: sa.Engine, home: Path, name: str) -> None:
        self.admin, self.home, self.name = admin, home, name

    @property
    def config(self) -> Config:
        urls = {part: self.admin.url.set(database=f"{self.name}_{part}").render_as_string() for part in DATABASES}
        toml = f'[imager]\nurl = "{urls["imager"]}"\nimage_root = "{self.home / "images"}"\n[ledger]\nurl = "{urls["ledger"]}"\n'
        return from_string(toml + TOML, home=self.home)

    def copy(self, name: str) -> Lab:
        other = Lab(self.admin, self.home.with_name(name), name)
        shutil.copytree(self.home, other.home)
        with self.admin.connect() as connection:
            for part in DATABASES:
                connection.exec_driver_sql(f"CREATE DATABASE {name}_{part} TEMPLATE {self.name}_{part}")
        return other

    def forget(self) -> None:
        shutil.rmtree(self.home)
        with self.admin.connect() as connection:
            for part in DATABASES:
                connection.exec_driver_sql(f"DROP DATABASE {self.name}_{part} WITH (FORCE)")


@pytest.fixture(scope="module")
def labs(server: sa.URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lab]]:
    """For each step a lab in which all steps before it have run; under ``after`` all have."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    lab = Lab(admin, tmp_path_factory.mktemp("labs") / "dies0", "dies0")
    with admin.connect() as connection:
        for part in DATABASES:
            connection.exec_driver_sql(f"CREATE DATABASE dies0_{part}")
    vendor = sa.create_engine(server.set(database="dies0_imager"))
    CrystalTrak().metadata.create_all(vendor)
    vendor.dispose()
    rows = [ImageRow(0, "CI022987", 3, INSPECTED, Well(1, col, 1), rigaku_name(col)) for col in range(1, 6)]
    for row in rows:
        draw_well(lab.home / "images" / "CI022987" / "3" / row.image_name, shade=row.well.col * 20)
    with System(lab.config) as system:
        system.imager.register(rows)
    made = {}
    for number, name in enumerate(CHAIN, start=1):
        made[name] = lab
        lab = lab.copy(f"dies{number}")
        with System(lab.config) as system:
            STEPS[name](system)
    yield made | {"after": lab}
    admin.dispose()


def cut_off(admin: sa.Engine, number: int) -> Callable[[], int]:
    """End the connection of the n-th statement from now on, before it is executed; the answer says how many there were."""
    count = 0

    def executes(connection: sa.Connection, *_: Any) -> None:
        nonlocal count
        if connection.engine is admin:
            return
        count += 1
        if count == number:
            backend = connection.connection.dbapi_connection.info.backend_pid
            with admin.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({backend}, 5000)")

    event.listen(sa.Engine, "before_cursor_execute", executes)

    def stop() -> int:
        event.remove(sa.Engine, "before_cursor_execute", executes)
        return count

    return stop


@pytest.mark.parametrize("name", [name for name in CHAIN if name != "workers"])
def test_a_database_that_dies_in_the_middle_loses_and_doubles_nothing(name, labs):
    names = [*CHAIN, "after"]
    expected = content(labs[names[names.index(name) + 1]].config)
    statements = run_cut_off(labs[name], name, 0, expected)
    assert statements > 8
    for number in range(1, statements + 1, max(statements // CUTS, 1)):
        run_cut_off(labs[name], name, number, expected)


def run_cut_off(before: Lab, name: str, number: int, expected: dict[str, Any]) -> int:
    """Run a step with its n-th statement cut off, and again; how many statements the first run came to."""
    lab = before.copy("cut")
    with System(lab.config) as system:
        stop = cut_off(lab.admin, number)
        try:
            STEPS[name](system)
        except XtalgridError as error:
            assert "database" in str(error) or "ledger" in str(error)
        finally:
            seen = stop()
    with System(lab.config) as system:
        STEPS[name](system)
    assert content(lab.config) == expected, f"{name}, cut off at its statement {number} of {seen}"
    lab.forget()
    return seen
