"""``check-imager``, on a vendor's database and on one with other names."""

import sqlalchemy as sa
from click.testing import CliRunner

from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
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
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "check-imager"])
    assert done.exit_code == 2
    assert "PROBLEM  newest image: no image matches imager.patterns ['*']" in done.output
    assert "ok       I_SCORES: found" in done.output
