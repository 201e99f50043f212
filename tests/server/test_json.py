"""What programs read: each command that prints facts prints them as one JSON document too."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.ledger.marks import Mark
from xtalgrid_server.ledger.notices import Settings
from xtalgrid_server.service import cron
from xtalgrid_server.steps.system import System

from .conftest import INSPECTED

COMMANDS = {
    "agreement": (),
    "alerts": ("--dry-run",),
    "check-imager": (),
    "disagreements": (),
    "explain": ("CI022987", "A1a"),
    "history": ("CI022987", "A1a"),
    "marks": ("CI022987",),
    "model list": (),
    "projects": (),
    "search": (),
    "service status": (),
    "simulate": ("--days", "1", "--archive", "10"),
    "status": (),
    "token list": (),
    "user list": (),
    "user notifications": (),
}
"""The commands with ``--json``, with arguments."""

ELSEWHERE = {"boinc status", "fluorescence", "import-annotations", "import-folder", "import-scores", "run"}
"""Those tried in boinc/test_boinc_grid.py, reports/test_fluorescence.py, exchange/test_annotations.py, test_accounts.py,
exchange/test_import_scores.py and system/test_run.py."""

PERSON_AT = INSPECTED + timedelta(days=1)

KEYED_BY_DATA = {"classifiers", "failed_units", "inspections", "passed_over", "probabilities", "scores", "unmapped"}


@pytest.fixture
def xtalgrid(tmp_path, config, score, person, monkeypatch):
    """``xtalgrid("status")``: the command's result where a person scored a crystal as precipitate, under cron."""
    file = tmp_path / "xtalgrid.toml"
    file.write_text("[alerts]\ndays = 36500\n")

    def call(*words):
        return CliRunner().invoke(main, ["--config", str(file), "--home", str(config.home), *map(str, words)])

    drop, *_ = score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR})
    person(drop.inspect_id, "13", PERSON_AT)
    assert call("sync").exit_code == 0
    assert (
        CliRunner()
        .invoke(main, ["--home", str(config.home), "user", "add", "ben", "--stdin"], input="a password\n")
        .output.startswith("ben can sign in")
    )
    assert call("token", "add", "ben").exit_code == 0
    with System(from_string("", home=config.home)) as system:
        at = datetime(2024, 1, 9)
        system.ledger.marks.add([Mark(image_id=drop.inspect_id, kind="point", x=5, y=9, who="ben", at=at)])
        system.ledger.notices.save("ben", Settings(since=at, address="ben@lab.example"))
    monkeypatch.setattr(cron, "FILE", tmp_path / "cron")
    cron.FILE.write_text(call("service", "install", "--cron", "--dry-run").stdout.partition("\n")[2])
    return call


def with_json(name: str, command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            yield from with_json(f"{name} {part}".strip(), inner)
    elif any("--json" in option.opts for option in command.params):
        yield name


def test_no_command_with_json_is_left_out():
    assert {*COMMANDS, *ELSEWHERE} == set(with_json("", main))


def parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a document, inner ones too, with its name."""
    yield name, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from parts(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(name, inner)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_document_is_all_of_standard_output(xtalgrid, command):
    done = xtalgrid(*command.split(), *COMMANDS[command], "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document, "there are no facts to try this with"
    for name, value in parts("", document):
        if isinstance(value, dict) and name not in KEYED_BY_DATA:
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in value), (name, value)
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
            is_local = name in ("date", "inspected") or (command, value) == ("history", PERSON_AT.isoformat())
            assert value.endswith("Z") is not is_local, (name, value)


def test_json_says_what_the_text_says(xtalgrid):
    def document(*words):
        return json.loads(xtalgrid(*words, "--json").stdout)

    state = document("status")
    assert (state["scores"]["crystals harvestable"], state["scores"]["precipitate"]) == (1, 0)
    assert "1 crystals harvestable, 1 clear\n" in xtalgrid("status").stdout
    xtalgrid("pause")
    paused = document("status")["paused"]
    assert f"paused by {paused['by']} since {paused['since'][:16].replace('T', ' ')} UTC" in xtalgrid("status").stdout
    (user,) = document("user", "list")
    assert (
        f"password set by {user['password_set_by']}, {user['at'][:16].replace('T', ' ')}"
        in xtalgrid("user", "list").stdout
    )
    used = [one["sha256"] for one in document("model", "list")["weights"] if one["in_use"]]
    marked = [line.split()[3] for line in xtalgrid("model", "list").stdout.splitlines() if line.startswith("*")]
    assert used == marked
    jobs = [f"{job['where']}: {job['job']}" for job in document("service", "status")]
    assert jobs == xtalgrid("service", "status").stdout.splitlines()
    assert [check["text"] for check in document("check-imager")] == [
        line[9:] for line in xtalgrid("check-imager").stdout.splitlines()
    ]


def test_a_problem_is_in_the_document_and_in_the_exit_code(xtalgrid, config):
    shutil.rmtree(config.image_root)
    done = xtalgrid("check-imager", "--json")
    assert done.exit_code == 2
    assert "see imager.image_root" in next(check["text"] for check in json.loads(done.stdout) if not check["is_good"])
