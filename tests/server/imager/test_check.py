"""``check-imager``, on a vendor's database and on one with other names."""

import re
from datetime import datetime

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string, vendor
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.check import check_imager
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase

from ..conftest import draw_well
from .statements import imager


def findings(database, config):
    return {finding.text.split(":")[0]: finding for finding in check_imager(config, database)}


def test_all_is_there_but_the_files(tmp_path):
    with imager(tmp_path) as database:
        found = findings(database, database._config)
        assert [name for name, finding in found.items() if finding.label != "ok"] == ["newest image"]
        assert found["write CRYSTAL.I_SCORES"].found.startswith("INSERT, SELECT, UPDATE, DELETE of a row of our own")
        with database.reading() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(database.tables.scores)) == 2
        assert "see imager.image_root" in found["newest image"].text
        draw_well(database.path(next(database.newest_first(None, None))[0]))
        assert all(finding.is_good for finding in check_imager(database._config, database))


def test_what_is_named_otherwise_is_named_with_its_key(tmp_path):
    with imager(tmp_path):
        pass
    toml = f"""
        [imager]
        url = "sqlite:///{tmp_path}/crystal.db"
        patterns = ["*_E0_*"]
        [imager.tables]
        images = "I_PICTURES"
        samples = "PROTEINS"
        [imager.columns.scores]
        scoredby = "PERSON"
    """
    config = from_string(toml, home=tmp_path)
    database = ImagerDatabase(config)
    found = findings(database, config)
    database.close()
    assert "see imager.owner and imager.tables.images" in found["I_PICTURES"].text
    assert found["I_SCORES"].text == "I_SCORES: has no PERSON; see imager.columns.scores"
    assert "no such column" in found["write I_SCORES"].found
    assert found["PROTEINS"].is_good
    assert found["I_INSPECTIONS"].is_good
    assert "newest image" not in found  # where its table is not there, it would only say so again


def test_the_command_ends_with_an_error_where_something_is_missing(tmp_path):
    file = tmp_path / "xtalgrid.toml"
    embedded = CliRunner().invoke(main, ["--home", str(tmp_path), "check-imager"])
    assert embedded.exit_code == 0
    assert "note     newest image: none was imported yet; `xtalgrid run FOLDER` imports the first" in embedded.output
    file.write_text(f'[imager]\nurl = "sqlite:///{tmp_path}/imager.db"\n')
    done = CliRunner().invoke(main, ["--config", str(file), "--home", str(tmp_path), "check-imager"])
    assert done.exit_code == 2
    assert "PROBLEM  newest image: no image matches imager.patterns ['*']" in done.output
    assert "ok       I_SCORES: found" in done.output


def test_a_home_that_had_images_of_folders_under_the_same_name_is_a_problem(system, tmp_path):
    """As after a first trial: INSPECTIDs of both would mean the same drops to the ledger."""
    (tmp_path / "lab").mkdir()
    with imager(tmp_path / "lab") as database:
        home = system.config.home
        config = replace(database._config, home=home)
        assert "imager.source" not in findings(database, config)
        system.imager.register([ImageRow(0, "P1", 1, datetime(2026, 11, 30), Well(1, 1, 1), "a.jpg")])
        problem = findings(database, config)["imager.source"]
        assert not problem.is_good
        assert "has 1 inspections that were imported from folders, and their INSPECTIDs, up to 1" in problem.text
        named = replace(config, imager=replace(config.imager, source="oracle"))
        assert "imager.source" not in findings(database, named)


NUMBERS = st.sampled_from([1, 2, "3", None, "x", 2.5])
ROW = st.tuples(
    st.sampled_from(["P1", "", None]),
    NUMBERS,
    st.sampled_from(["2026-11-27 10:00:00.000000", None, "yesterday"]),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["a.jpg", None, ""]),
)


def can_be_used(row):
    barcode, inspection, date, col, line, subwell, name = row
    numbers = all(number in (1, 2, "3") for number in (inspection, col, line, subwell))
    return bool(barcode and numbers and date and date.startswith("2026") and name)


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """CrystalTrak's tables in columns of any type."""
    folder = tmp_path_factory.mktemp("loose")
    engine = sa.create_engine(f"sqlite:///{folder}/lab.db")
    with engine.begin() as connection:
        for key in ("inspections", "images", "scores"):
            name, columns = vendor.TABLES[key]
            connection.exec_driver_sql(f"CREATE TABLE {name} ({', '.join(columns)})")
    config = from_string(f"[imager]\nurl = 'sqlite:///{folder}/lab.db'\n[publish]\npolicy = 'shadow'", home=folder)
    database = ImagerDatabase(config)
    yield engine, database
    database.close()
    engine.dispose()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=12))
def test_every_row_is_counted_as_usable_or_named(loose, rows):
    engine, database = loose
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM i_inspections")
        connection.exec_driver_sql("DELETE FROM i_images")
        for number, (*inspection, name) in enumerate(rows, 1):
            connection.exec_driver_sql("INSERT INTO i_inspections VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *inspection))
            connection.exec_driver_sql("INSERT INTO i_images VALUES (?, ?)", (number, name))
    finding = findings(database, database._config)["newest rows of I_INSPECTIONS"]
    usable = [number for number, row in enumerate(rows, 1) if can_be_used(row)]
    expected = (
        f"{len(usable)} of {len(rows)} can be used" if len(usable) < len(rows) else f"all {len(rows)} can be used"
    )
    assert finding.found.startswith(expected)
    assert finding.is_good == (len(usable) > 0 or not rows)
    assert sum(int(words) for words in re.findall(r" in (\d+) \(INSPECTID", finding.found)) == len(rows) - len(usable)
