"""The commands as an operator meets them."""

import importlib
import os
import pkgutil
import subprocess
import sys

import click
import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server import cli
from xtalgrid_server.cli.main import EXIT_BUSY, EXIT_ERROR, main
from xtalgrid_server.ledger import database
from xtalgrid_server.steps.step import step

from .conftest import draw_well, rigaku_name

TOML = '[publish]\nhold = [{ outcome = "crystal" }]\n'


@pytest.fixture
def xtalgrid(tmp_path, config):
    """``xtalgrid("status")``: the command's result, in the same home as `system` and `score`."""
    file = tmp_path / "xtalgrid.toml"
    file.write_text(TOML)

    def call(*words):
        return CliRunner().invoke(main, ["--config", str(file), "--home", str(config.home), *map(str, words)])

    return call


def test_status_says_which_home_is_empty(xtalgrid, score, tmp_path):
    """Without --config, a command looks into another home than the services do."""
    empty = CliRunner().invoke(main, ["--home", str(tmp_path / "other"), "status"])
    assert f"home        {tmp_path / 'other'} has no images yet; --config or --home names another\n" in empty.output
    score({(1, 1): Outcome.CLEAR})
    assert "has no images" not in xtalgrid("status").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user", "list"), "no users; `xtalgrid user add NAME` adds one\n"),
        (("token", "list"), "no tokens; `xtalgrid token add NAME` makes one\n"),
        (("simulate", "--within-h", 1), "1 computer is needed\n1 computer, 2 days: "),
    ],
)
def test_where_there_is_nothing_or_one_it_is_said_so(xtalgrid, words, said):
    assert xtalgrid(*words).output.startswith(said)


def test_a_wrong_configuration_stops_everything_with_one_message(xtalgrid, tmp_path):
    (tmp_path / "xtalgrid.toml").write_text("[work]\nthreshold = 7\nsteps = 1\n")
    result = xtalgrid("status")
    assert result.exit_code == EXIT_ERROR
    assert "2 errors" in result.output
    assert "Traceback" not in result.output


def test_hold_approve_reject(xtalgrid, score, score_table):
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.BAD_FORM, (3, 1): Outcome.CLEAR})
    xtalgrid("finalizer")
    assert "1 insert" in xtalgrid("set_autoscore").output
    assert "2 held scores" in xtalgrid("status").output
    assert "not held: 3; nothing was approved" in xtalgrid("approve", 1, 3).output
    assert "1 scores approved" in xtalgrid("approve", 1, "--as", "jdoe").output
    assert "1 scores rejected" in xtalgrid("reject", "--barcode", "CI022987").output
    xtalgrid("finalizer")
    xtalgrid("set_autoscore")
    assert [row[1] for row in score_table()] == ["01", "23"]


def test_a_plate_whose_folder_is_not_named_in_utf_8_is_found_by_that_name(xtalgrid, tmp_path):
    plate = os.fsdecode(b"Pl\xe4tte")  # as a terminal and a folder from old Windows have it
    draw_well(tmp_path / plate / "A1.jpg")
    assert "1 images of 1 plates" in xtalgrid("import-folder", "--names", "{well}", tmp_path / plate).output
    assert xtalgrid("create_work", "--barcode", plate).exit_code == 0
    found = xtalgrid("explain", plate, "A1")
    assert found.exit_code == 0 and "Plätte" in found.output


def test_pause_and_resume(xtalgrid, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1))
    assert "1 images of 1 plates imported" in xtalgrid("import-folder", tmp_path / "new").output
    xtalgrid("pause")
    assert "paused by" in xtalgrid("status").output
    assert "0 images planned" in xtalgrid("create_work").output
    xtalgrid("resume")
    assert "1 images would be planned in 1 units" in xtalgrid("create_work", "--dry-run").output
    assert "1 images planned in 1 units, 0 failed" in xtalgrid("create_work").output
    assert "1 sent" in xtalgrid("status").output


def test_another_run_of_the_step_is_exit_code_75(xtalgrid, config):
    with step(config, "finalizer"):
        result = xtalgrid("finalizer")
    assert result.exit_code == EXIT_BUSY
    assert "already running" in result.output


def test_init_writes_an_example_once(xtalgrid, tmp_path):
    target = tmp_path / "new.toml"
    assert xtalgrid("init", target).exit_code == 0
    target.write_text("# mine")
    assert "already exists" in xtalgrid("init", target).output
    assert target.read_text() == "# mine"


def test_the_models_are_listed(xtalgrid):
    output = xtalgrid("model", "list").output
    assert output.count("*") == 2, output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(xtalgrid, command):
    result = xtalgrid(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 15


def test_a_mistyped_plate_is_said(xtalgrid, tmp_path):
    """Otherwise "no disagreements" is good news of a plate that is not there."""
    draw_well(tmp_path / "new" / rigaku_name(1))
    xtalgrid("import-folder", tmp_path / "new")
    xtalgrid("create_work")
    for command in (
        ["disagreements"],
        ["agreement"],
        ["search"],
        ["export", "csv", tmp_path / "a.csv"],
        ["look_again"],
    ):
        said = xtalgrid(*command, "--barcode", "CI022978").output
        assert "no images of plate CI022978 yet; is CI022987 meant?" in said
        assert "no images of plate" not in xtalgrid(*command, "--barcode", "CI022987").output
    assert "no held scores wait on plate CI022987" in xtalgrid("approve", "--barcode", "CI022987").output
    assert "is CI022987 meant?" in xtalgrid("reject", "--barcode", "CI022978").output
    assert xtalgrid("approve", "--all").output.strip().endswith("no held scores wait")


def test_every_command_of_the_modules_is_there_and_no_other():
    names = {module.name for module in pkgutil.iter_modules(cli.__path__)} - {"main"}
    modules = [importlib.import_module(f"{cli.__name__}.{name}") for name in sorted(names)]
    commands = [value for module in modules for value in vars(module).values() if isinstance(value, click.Command)]
    inner = [part for group in commands if isinstance(group, click.Group) for part in group.commands.values()]
    outer = {command.name: command for command in commands if command not in inner}
    assert outer == {name: main.commands[name] for name in main.commands}


def test_a_line_of_cron_reads_no_database_itself():
    """It starts the command, which does."""
    program = "import sys; from xtalgrid_server.cli.main import main; main(['service', 'step', 'init', '--help'])"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import atexit; atexit.register(lambda: print('sqlalchemy' in sys.modules)); {program}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("Usage:"), done.stderr
    assert done.stdout.splitlines()[-1:] == ["False"]


def test_a_command_starts_without_what_only_some_need(config, system):
    """The services start one every few minutes; these would take half of its start, or hash a password for nobody."""
    program = (
        "import sys; from xtalgrid_server.cli.main import main\n"
        "main(['--home', sys.argv[1], 'status'], standalone_mode=False)\n"
        "print({'alembic', 'argon2', 'fastapi', 'pydantic'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program, config.home], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["set()"], done.stderr


def test_the_newest_schema_is_alembics():
    assert database._newest() == ScriptDirectory(str(database._MIGRATIONS)).get_current_head()
