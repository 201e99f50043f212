"""What a lab wrote for 0.1.0 goes on working: its configuration, its crontab and its systemd units."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.service import systemd
from xtalgrid_server.service.jobs import plan

from .conftest import REPOSITORY

Released = Callable[[str, str], str]
PROGRAM = Path(sys.executable).with_name("xtalgrid")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "xtalgrid.toml"
    file.write_text("[grid]\nworkers = 1\n")
    return file


def test_every_configuration_key_is_still_known(released: Released, tmp_path: Path) -> None:
    example = released("server/xtalgrid_server", "example.toml")
    text = re.sub(r'^# (?=\w+ = |"[^"]+" = |\[)', "", example, flags=re.M)
    assert sum(len(v) for v in tomllib.loads(text).values() if isinstance(v, dict)) == 92
    assert from_string(text, home=tmp_path).imager.codes == {"crystals harvestable": "45"}
    with pytest.raises(ConfigError, match="policies"):
        from_string(text.replace("policy =", "policies ="), home=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="cron is Unix's")
def test_every_line_of_the_crontab_runs_and_is_quiet(released: Released, config: Path, tmp_path: Path) -> None:
    crontab = released("scripts", "crontab.example")
    lines = re.findall(
        r"^(?:# )?[*\d]\S* +\* +\* +\* +\* +xtalgrid +(.+)$", crontab, re.M
    )  # one is a choice, after a #
    assert len(lines) == 5
    environment = dict(re.findall(r"^(\w+)=(.*)$", crontab, re.M))
    environment |= {"S": str(REPOSITORY / "scripts"), "XTALGRID": str(PROGRAM)}
    environment |= {"XTALGRID_CONFIG": str(config), "XTALGRID_HOME": str(tmp_path / "home")}
    for line in lines:
        done = subprocess.run(
            ["/bin/sh", "-c", line], env=environment, cwd="/", capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), line
    steps = {"create_work", "grid", "assimilate", "finalizer", "set_autoscore", "sync", "alerts"}
    assert {log.stem for log in (tmp_path / "home" / "log").glob("*.log")} >= steps


@pytest.mark.parametrize("name", ["create-work", "grid", "publish", "tell", "viewer"])
def test_every_unit_runs_and_is_replaced_by_one_of_its_name(
    released: Released, config: Path, tmp_path: Path, name: str
) -> None:
    unit = released("scripts", f"systemd/xtalgrid-{name}.service")
    commands = re.findall(r"^ExecStart=/opt/xtalgrid/\.venv/bin/xtalgrid (.+)$", unit, re.M)
    assert commands
    settings = dict(word.split("=") for word in re.search(r"^Environment=(.+)$", unit, re.M)[1].split())
    assert settings.keys() == {"XTALGRID_CONFIG", "XTALGRID_HOME"}
    environment = {"XTALGRID_CONFIG": str(config), "XTALGRID_HOME": str(tmp_path / "home")}
    never_ends = ["--help"] if "Restart=always" in unit else []
    for command in commands:
        done = CliRunner().invoke(main, [*shlex.split(command), *never_ends], env=environment)
        assert done.exit_code == 0, f"{command}: {done.output}"
    installed = systemd.units(plan(from_string("", file=config, home=tmp_path / "home"), "xtalgrid"))
    assert f"xtalgrid-{name}.service" in installed
