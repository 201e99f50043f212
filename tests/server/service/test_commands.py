"""`xtalgrid service` up to where it would change the machine; the rest is tests/system/test_service.py."""

from __future__ import annotations

import os
import sys

import pytest
from click.testing import CliRunner

from xtalgrid_server.cli.main import EXIT_ERROR, main
from xtalgrid_server.service import systemd


@pytest.fixture
def service(tmp_path, monkeypatch):
    """``service("install")``: the command's result, where no systemd runs, so that nothing is ever installed."""
    monkeypatch.setattr(systemd, "is_running", lambda: False)
    file = tmp_path / "xtalgrid.toml"
    file.write_text("")

    def call(*words, config=file):
        options = ["--config", str(config)] if config else []
        return CliRunner().invoke(main, [*options, "--home", str(tmp_path / "home"), "service", *words])

    return call


@pytest.mark.parametrize(
    ("way", "name"), [("--systemd", "xtalgrid-viewer.service"), ("--cron", "/etc/cron.d/xtalgrid")]
)
def test_a_dry_run_shows_the_files_with_this_installations_paths(service, tmp_path, way, name):
    done = service("install", way, "--dry-run")
    assert done.exit_code == 0, done.output
    assert name in done.output
    assert f"XTALGRID_CONFIG={tmp_path / 'xtalgrid.toml'}" in done.output
    assert f"{sys.prefix}/bin/xtalgrid " in done.output
    assert not (tmp_path / "home").exists()
    assert service("install", way, "--dry-run").output == done.output


@pytest.mark.skipif(sys.platform == "win32", reason="says the same of everything there")
@pytest.mark.parametrize(
    ("words", "root", "said"),
    [
        (("install",), False, "needs root (sudo); --user-level is for your own account"),
        (("uninstall",), False, "needs root"),
        (("install", "--systemd"), True, "this machine does not run systemd; use --cron"),
        (("install", "--user-level", "--systemd"), False, "this machine does not run systemd; use --cron"),
        (("install", "--user-level", "--user", "jdoe"), False, "leave out --user"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(service, monkeypatch, words, root, said):
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    done = service(*words)
    assert (done.exit_code, done.stderr.count("\n")) == (EXIT_ERROR, 1)
    assert said in done.stderr


@pytest.mark.parametrize(("words", "said"), [(("sync", ""), "is empty"), (("look_again '5",), "No closing quotation")])
def test_commands_that_are_none_are_refused(service, words, said):
    done = service("steps", *words)
    assert (done.exit_code, said in done.stderr) == (EXIT_ERROR, True)


def test_a_service_needs_a_configuration_file(service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xtalgrid.toml").unlink()
    done = service("install", "--dry-run", config=None)
    assert (done.exit_code, "xtalgrid init /etc/xtalgrid/xtalgrid.toml" in done.stderr) == (EXIT_ERROR, True)
