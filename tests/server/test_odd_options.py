"""Options that are empty, contradict each other or are beyond all bounds: a message, and nothing else is done."""

from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.database import now

from .conftest import INSPECTED, draw_well


@pytest.fixture
def xtalgrid(config):
    """``xtalgrid("status", code=0)``: the output of the command in the home of `system`, which ended with this code."""

    def call(*words, code=0):
        done = CliRunner().invoke(main, ["--home", str(config.home), *map(str, words)])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return call


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "", "status"],
        ["--config", "", "status"],
        ["import-folder", ""],
        ["run", ""],
        ["export", "yolo", ""],
        ["set_autoscore", ""],
    ],
)
def test_an_empty_path_is_not_this_folder(tmp_path, monkeypatch, words):
    """As of a variable that is not set in a script."""
    draw_well(tmp_path / "A1.jpg")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "the path is empty" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["A1.jpg"]


@pytest.mark.parametrize("command", [["token", "remove"], ["user", "remove"]])
def test_an_empty_name_is_not_everybody(xtalgrid, system, command):
    for who in ("anna", "ben"):
        system.ledger.tokens.add(who, "", "read", who * 16, "test", timedelta(days=9))
    xtalgrid(*command, "", code=2)
    assert [one.who for one in system.ledger.tokens.working()] == ["anna", "ben"]
    xtalgrid(*command, "ben")
    assert [one.who for one in system.ledger.tokens.working()] == ["anna"]


def test_a_limit_holds_for_plates_on_demand_too(xtalgrid, system):
    rows = [ImageRow(0, "P1", 1, INSPECTED, Well(1, col, 1), f"{col}.jpg") for col in (1, 2, 3)]
    for row in system.imager.register(rows):
        draw_well(system.config.image_root / "P1" / "1" / row.image_name, shade=row.inspect_id)
    asked = "create_work", "--barcode", "P1"
    assert "either --barcode or --backfill" in xtalgrid(*asked, "--backfill", code=2)
    assert "\n2 images would be planned" in xtalgrid(*asked, "--limit", 2, "--dry-run")
    for number in (2, 1, 0):
        assert f"\n{number} images planned" in xtalgrid(*asked, "--limit", 2)


def test_dates_and_numbers_at_the_end_of_what_there_is(xtalgrid, score, tmp_path):
    score({(1, 1): Outcome.CLEAR})
    out = tmp_path / "all.csv"
    xtalgrid("export", "csv", out, "--from", "0001-01-01", "--to", "9999-12-31")
    assert len(out.read_text().splitlines()) == 2
    huge = "9" * 20
    for words in (["explain", "CI022987", "A1"], ["marks", "CI022987"], ["export", "csv", out]):
        assert "not in the range" in xtalgrid(*words, "--inspection", huge, code=2)


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_folder_is_no_file_to_write(xtalgrid, score, folder):
    score({(1, 1): Outcome.CLEAR})
    assert f"{folder}: Is a directory" in xtalgrid("export", "csv", folder, code=2)


def test_what_can_be_no_host_is_one_message(xtalgrid):
    assert "no host has this name" in xtalgrid("serve", "--host", "ü" * 70, code=2)


@pytest.mark.parametrize("words", [["simulate", "--spread"], ["simulate", "--days"], ["look_again", "--minutes"]])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_is_refused(xtalgrid, words, value):
    assert "no number to reckon with" in xtalgrid(*words, value, code=2)


@pytest.mark.parametrize("as_", ["", " ", "x" * 101])
def test_a_review_has_somebody_who_made_it(xtalgrid, score, system, as_):
    (row,) = score({(1, 1): Outcome.CLEAR})
    assert row.inspect_id == 1
    assert "--as needs a name" in xtalgrid("approve", 1, "--as", as_, code=2)
    assert "either --all or --barcode" in xtalgrid("reject", "--all", "--barcode", "CI022987", code=2)
    assert system.ledger.decisions.reviews([1]) == {}


KEYS = ["imager.look_back_days", "work.look_back_days", "publish.frames_days", "alerts.days", "import.give_up_hours"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["inf", "1e9", "nan"])
def test_no_key_moves_a_date_back_before_the_first_one(tmp_path, key, value):
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=f"{section}.{name}"):
        from_string(f"[{section}]\n{name} = {value}\n", home=tmp_path)
    unit = timedelta(hours=12_000_000) if name == "give_up_hours" else timedelta(days=500_000)
    assert now() - unit > datetime(1, 1, 1)
