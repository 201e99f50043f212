import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.cli.main import main
from xtalgrid_server.grids.boinc.install import install


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_installing_says_what_it_changes_and_twice_is_once(config, project):
    lines = list(install(config, project))
    assert len(lines) == len(set(lines)) >= 15
    before = contents(project.folder)
    assert list(install(config, project)) == []
    assert contents(project.folder) == before


def test_the_configuration_gets_our_daemons_and_keeps_what_was_there(config, project):
    folder = project.folder
    mode = (folder / "config.xml").stat().st_mode
    list(install(config, project))
    text = (folder / "config.xml").read_text()
    root = ET.fromstring(text)
    commands = [daemon.findtext("cmd") for daemon in root.iter("daemon")]
    assert commands[:3] == [
        "feeder -d 3",
        "transitioner -d 3",
        "script_validator -d 3 --app other --init_script theirs --compare_script theirs",
    ]
    validator, assimilator, purge = commands[3:]
    assert (
        validator
        == "script_validator -d 2 --app xtalgrid --init_script xtalgrid_check --compare_script xtalgrid_compare"
    )
    assert assimilator == "script_assimilator -d 2 --app xtalgrid --script xtalgrid_assimilate"
    assert purge.startswith("db_purge ")
    for tag in ("output", "pid_file"):
        named = [daemon.findtext(tag) for daemon in root.iter("daemon") if daemon.find(tag) is not None]
        assert len(named) == len(set(named)), "two daemons of one program need files of their own"
    assert "<!-- made by make_project -->" in text
    assert " />" not in text
    assert root.findtext("config/db_passwd") == "se<cret"
    assert (folder / "config.xml").stat().st_mode == mode
    assert [task.findtext("cmd") for task in root.iter("task")][1:] == ["xtalgrid_create_work", "xtalgrid_publish"]
    minutes = [task.findtext("period").removesuffix(" min") for task in root.iter("task")][1:]
    assert all(int(each) < 5 for each in minutes), "the crontab's 5, a second early, would pass the task over"
    apps = [app.findtext("name") for app in ET.parse(folder / "project.xml").getroot().iter("app")]
    assert apps == ["other", "xtalgrid"]


def test_an_older_entry_is_changed_and_an_option_of_the_labs_is_left_and_named(config, project):
    path = project.folder / "config.xml"
    text = path.read_text().replace(
        "<daemons>", "<daemons><daemon><cmd>script_validator --app xtalgrid </cmd></daemon>"
    )
    path.write_text(text.replace("</config>", "<one_result_per_host_per_wu>0</one_result_per_host_per_wu></config>"))
    lines = list(install(config, project))
    assert any("ATTENTION option one_result_per_host_per_wu is 0" in line for line in lines)
    assert any("changed  daemon script_validator" in line for line in lines)
    assert path.read_text().count("--app xtalgrid ") == 2
    assert all("ATTENTION" in line for line in install(config, project))


def test_the_scripts_run_as_the_daemons_run_them(config, project, tmp_path):
    list(install(config, project))
    folder = tmp_path / "tmp_host"
    folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XTALGRID_")}
    command = ["sh", "-c", "../project/bin/xtalgrid_assimilate --error 8 xg_1.1 17 0"]  # as system() would
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=200)
    assert (config.spool / "boinc" / "inbox" / "xg_1.failed").exists()


def test_a_broken_config_xml_is_left_alone(config, project):
    path = project.folder / "config.xml"
    path.write_text("<boinc><config>")
    with pytest.raises(ConfigError, match="is not XML"):
        list(install(config, project))
    assert path.read_text() == "<boinc><config>"


def test_the_command_says_what_is_left_to_do(tmp_path, project):
    (tmp_path / "other.toml").write_text("")
    arguments = ["--config", str(tmp_path / "other.toml"), "--home", str(tmp_path / "h"), "boinc", "install"]
    done = CliRunner().invoke(main, [*arguments, str(project.folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert 'kind = "boinc"' in done.output
    assert "bin/xadd" in done.output


def test_accounts_are_closed_and_opened(config, project):
    path = project.folder / "config.xml"
    for accounts, value in (("closed", "1"), ("open", "0"), ("closed", "1")):
        lines = list(install(config, project, accounts))
        assert any(f"disable_account_creation {value}" in line for line in lines)
        assert ET.parse(path).getroot().findtext("config/disable_account_creation") == value
    assert list(install(config, project)) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are a shell's")
@pytest.mark.parametrize("hook", ["check", "compare"])
@pytest.mark.parametrize(("ended", "told"), [(0, 0), (21, 1), (1, 3), (3, 3), (137, 3)])
def test_a_python_that_cannot_start_is_no_verdict_on_a_result(
    config, project, tmp_path, monkeypatch, hook, ended, told
):
    """While an upgrade is half done, Python ends with 1, by which BOINC called good results invalid."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$XTALGRID_INVALID" = 21 ] || exit 99\nexit {ended}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    list(install(config, project))
    assert subprocess.run([project.folder / "bin" / f"xtalgrid_{hook}", "a", "b"], timeout=200).returncode == told


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are a shell's")
def test_a_verdict_comes_through_the_script(config, project, tmp_path):
    list(install(config, project))
    for file, told in (("xg_1.1_0_r1_0", 1), ("xg_1.1_0_r1_0 beside", 3)):  # never sent; two arguments
        command = f"{project.folder}/bin/xtalgrid_check {file}"
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == told, done.stderr
