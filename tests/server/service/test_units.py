"""What is written for systemd and cron, byte for byte where people read it, and by the tools that read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.conftest import missing
from xtalgrid_core.errors import ConfigError
from xtalgrid_server.config import from_string
from xtalgrid_server.service import cron, systemd
from xtalgrid_server.service import step as service_step
from xtalgrid_server.service.files import put
from xtalgrid_server.service.jobs import Service, plan

CREATE_WORK = """\
# Written by `xtalgrid service install`; run it again rather than change this.
[Unit]
Description=xtalgrid: pack new well images into work units
After=network-online.target
Wants=network-online.target
RequiresMountsFor=/var/lib/xtalgrid /data/frames /mnt/images

[Service]
Type=oneshot
SuccessExitStatus=75
TimeoutStartSec=1h
ExecStart=/opt/xtalgrid/.venv/bin/xtalgrid create_work
User=xtalgrid
Environment=XTALGRID_CONFIG=/etc/xtalgrid/xtalgrid.toml XTALGRID_HOME=/var/lib/xtalgrid
WorkingDirectory=/var/lib/xtalgrid
UMask=0077
ReadWritePaths=/var/lib/xtalgrid /data/frames
"""

CREATE_WORK_TIMER = """\
# Written by `xtalgrid service install`; run it again rather than change this.
[Unit]
Description=xtalgrid: pack new well images into work units, every 5 minutes

[Timer]
OnCalendar=*:0/5
Persistent=yes
AccuracySec=10s

[Install]
WantedBy=timers.target
"""

CRONTAB = """\
# Written by `xtalgrid service install`; run it again rather than change this.
# A run exits at once if the previous one is still in progress. Logs: log/COMMAND.log in XTALGRID_HOME.
SHELL=/bin/sh
MAILTO=root
XTALGRID_CONFIG=/etc/xtalgrid/xtalgrid.toml
XTALGRID_HOME=/var/lib/xtalgrid
0-59/5 * * * * xtalgrid X create_work
0-59/5 * * * * xtalgrid X grid
2-59/5 * * * * xtalgrid X assimilate && X finalizer && X set_autoscore
4-59/30 * * * * xtalgrid Xs sync "look_again --minutes 20" alerts
# End of what `xtalgrid service install` wrote.
"""

TOML = """
[imager]
image_root = "/mnt/images"
[publish]
frames_dir = "/data/frames"
"""


def service(toml: str = TOML, user: str | None = "xtalgrid", **options: bool) -> Service:
    """What would be installed where the facility manager's guide puts things."""
    config = from_string(toml, file=Path("/etc/xtalgrid/xtalgrid.toml"), home=Path("/var/lib/xtalgrid"))
    planned = plan(config, user, **options)
    return msgspec.structs.replace(planned, program=Path("/opt/xtalgrid/.venv/bin/xtalgrid"))


def test_the_text_of_a_unit_and_its_timer():
    units = systemd.units(service())
    assert units["xtalgrid-create-work.service"].partition("\n# What a program needs")[0] == CREATE_WORK
    assert units["xtalgrid-create-work.timer"] == CREATE_WORK_TIMER
    assert sorted(units) == [
        "xtalgrid-create-work.service",
        "xtalgrid-create-work.timer",
        "xtalgrid-grid.service",
        "xtalgrid-publish.service",
        "xtalgrid-publish.timer",
        "xtalgrid-tell.service",
        "xtalgrid-tell.timer",
        "xtalgrid-viewer.service",
    ]


def test_the_text_of_the_crontab():
    expected = re.sub(r"\bX(?=s? )", "/opt/xtalgrid/.venv/bin/xtalgrid service step", CRONTAB)
    assert cron.lines(service()) == expected


def test_what_does_not_need_each_other_runs_whatever_became_of_the_others():
    """One ExecStart, since systemd would not go on to the next after one that failed."""
    planned = service('[imager.ispyb]\nurl = "mysql+pymysql://u@h/ispyb"\n')
    (line,) = re.findall("^ExecStart=.*", systemd.units(planned)["xtalgrid-tell.service"], re.MULTILINE)
    four = 'sync "import-scores --ispyb" "look_again --minutes 20" alerts'
    assert line == f"ExecStart=/opt/xtalgrid/.venv/bin/xtalgrid service steps {four}"
    assert f"service steps {four}\n" in cron.lines(planned)


def test_choices_are_in_both():
    chosen = service(backfill=True, publish=False)
    units = systemd.units(chosen)
    assert "create_work --backfill\n" in units["xtalgrid-create-work.service"]
    assert "set_autoscore" not in units["xtalgrid-publish.service"] + cron.lines(chosen)
    assert "step create_work --backfill\n" in cron.lines(chosen)


def test_a_path_that_systemd_does_not_take_is_named():
    with pytest.raises(ConfigError, match="/data/it's: systemd does not accept paths with quotes"):
        service('[publish]\nframes_dir = "/data/it\'s"\n')


def test_a_boinc_project_runs_the_chain_itself():
    planned = service('[grid]\nkind = "boinc"\n[boinc]\nproject = "/srv/boinc"\n')
    assert sorted(systemd.units(planned)) == ["xtalgrid-tell.service", "xtalgrid-tell.timer", "xtalgrid-viewer.service"]
    assert [line.split()[-1] for line in cron.lines(planned).splitlines() if line[0].isdigit()] == ["alerts"]


def test_databases_outside_of_home_can_be_written():
    planned = service(
        '[ledger]\nurl = "sqlite:////data/a/ledger.db"\n[imager]\nurl = "oracle+oracledb://u:p@h/?service_name=x"\n'
    )
    assert planned.writes == (Path("/data/a"),)


@pytest.mark.parametrize(("folder", "writes"), [('folder = "/mnt/imager"\n', ("/data/images",)), ("", ())])
def test_where_images_of_a_watched_folder_are_linked_can_be_written(folder, writes):
    """All of them failed under systemd, "Read-only file system", and none by hand."""
    planned = service(f'[imager]\nimage_root = "/data/images"\n{folder}')
    assert planned.writes == tuple(map(Path, writes))
    assert Path("/data/images") in planned.mounts


@pytest.mark.parametrize("user", ["xtalgrid", None])
def test_systemd_accepts_the_units_odd_paths_included(tmp_path, user):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze is not installed (Debian's package systemd)")
    program = tmp_path / "a 100% program" / "xtalgrid"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    odd = {"program": program, "home": tmp_path / "a 100% home", "writes": (tmp_path / "frames of ours",)}
    planned = msgspec.structs.replace(service(user=user), **odd)
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in systemd.units(planned).items():
        (folder / name).write_text(text)
    scope = ["--user"] if user is None else []
    checked = subprocess.run(
        [analyze, "verify", "--man=no", *scope, *sorted(map(str, folder.iterdir()))],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if "xtalgrid" in line]) == (0, [])


def test_units_are_exposed_little_as_systemd_counts(tmp_path):
    """By its own list, from the files alone: 0 to 10, and 9.6 for a service that is not confined."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze is not installed (Debian's package systemd)")
    for name, text in systemd.units(service()).items():
        if name.endswith(".service"):
            (tmp_path / name).write_text(text)
            told = subprocess.run(
                [analyze, "security", "--offline=true", "--no-pager", tmp_path / name], capture_output=True, text=True
            ).stdout
            assert float(re.search(r"exposure level for \S+: ([\d.]+)", told)[1]) <= 1.5, name


def test_the_page_explains_each_line_of_the_sandbox_and_no_other():
    page = (Path(__file__).parents[3] / "docs" / "service.md").read_text(encoding="utf-8")
    _, _, table = page.partition("### What a service may do")
    explained = {
        name for row in table.split("\n\n")[2].splitlines()[2:] for name in re.findall(r"`(\w+)[=`]", row.split("|")[1])
    }
    lines = [line.partition("=")[0] for line in systemd.SANDBOX.splitlines() if not line.startswith("#")]
    assert explained == {*lines, "ReadWritePaths"}


@pytest.mark.skipif(sys.platform == "win32", reason="cron and its shell are Unix's")
def test_a_line_of_cron_is_one_the_shell_takes_apart_again(tmp_path):
    """cron makes line breaks of % and undoes \\%; the rest goes to the shell, as from here."""
    program = tmp_path / "a 100% program" / "xtalgrid"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "<%s> " "$0" "$@"\n')
    program.chmod(0o755)
    planned = msgspec.structs.replace(service(user=None), program=program)
    line = next(line for line in cron.lines(planned).splitlines() if "alerts" in line)
    *when, command = line.split(None, 5)
    assert len(when) == 5
    assert command.count("%") == command.count(r"\%") == 1
    ran = subprocess.run(["sh", "-c", command.replace(r"\%", "%")], capture_output=True, text=True)
    assert ran.stdout == f"<{program}> <service> <steps> <sync> <look_again --minutes 20> <alerts> "


def test_a_persons_crontab_keeps_its_own_lines():
    own, block = "7 3 * * * /bin/true", cron.lines(service(user=None))
    first = cron.without_block(own) + block
    assert first == f"{own}\n{block}"
    assert cron.without_block(first + "8 3 * * * /bin/false\n") + block == f"{own}\n8 3 * * * /bin/false\n{block}"
    assert cron.without_block(first) == f"{own}\n"
    with pytest.raises(ConfigError, match="lacks the line"):
        cron.without_block(first.replace(cron.END, ""))


def test_a_file_is_written_once_and_a_persons_own_is_kept(tmp_path):
    unit = tmp_path / "xtalgrid-viewer.service"
    unit.write_text("mine\n")
    text = systemd.units(service())[unit.name]
    assert list(put(unit, text)) == [f"kept     {unit}.before-xtalgrid", f"changed  {unit}"]
    assert list(put(unit, text)) == []
    assert list(put(unit, text.replace("Nice", "nice") + "\n")) == [f"changed  {unit}"]
    assert (tmp_path / f"{unit.name}.before-xtalgrid").read_text() == "mine\n"
    assert list(put(tmp_path / "new" / "unit", text)) == [f"wrote    {tmp_path / 'new' / 'unit'}"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
def test_a_run_that_was_killed_says_so_to_cron(tmp_path, monkeypatch, capsys):
    """cron mails only what a run says, and a killed one says nothing."""
    program = tmp_path / "xtalgrid"
    monkeypatch.setattr(service_step, "program", lambda: program)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    environment = os.environ | {"XTALGRID_HOME": str(tmp_path)}
    log = tmp_path / "log" / "create_work.log"
    for script, code, said in (
        ("kill -9 $$", 137, "killed by signal 9, as where memory is short"),
        ("echo before; exit 2", 2, "exit code 2"),
        (f": > '{log}'; echo after; exit 2", 2, "after"),  # as logrotate cuts it meanwhile
    ):
        log.parent.mkdir(exist_ok=True)
        log.write_text("of earlier runs\n" * 9)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert service_step.run_step(["create_work"], environment) == code
        told = capsys.readouterr().err
        assert said in told and f"see {log}" in told and "earlier" not in told


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """``stand_in(script)``: what runs in place of xtalgrid, with its home's environment, as from cron."""
    program = tmp_path / "xtalgrid"
    monkeypatch.setattr(service_step, "program", lambda: program)
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}

    def write(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return environment | {"XTALGRID_HOME": str(tmp_path)}

    return write


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell's")
def test_a_command_that_fails_or_hangs_does_not_keep_those_after_it(tmp_path, stand_in, capsys):
    script = """
        echo "$*" >> "$XTALGRID_HOME/ran"
        case $1 in sync) echo no database; exit 2;; look_again) exec sleep 100;; esac"""
    commands = [["sync"], ["look_again", "--minutes", "20"], ["alerts"]]
    assert service_step.run_steps(commands, stand_in(script), limit=1) == 2
    assert (tmp_path / "ran").read_text() == "sync\nlook_again --minutes 20\nalerts\n"
    told = capsys.readouterr().err
    assert "no database\nxtalgrid sync: exit code 2; see" in told
    assert "xtalgrid look_again --minutes 20: stopped, as it took too long; see" in told
    assert service_step.run_steps(commands, stand_in("[ $1 != sync ] || exit 75")) == 0  # another run is under way
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell's")
def test_that_units_wait_for_weights_is_said_to_cron_once_a_day(tmp_path, stand_in, capsys):
    """Each run, each five minutes, ends with 78; what follows in a line of a crontab goes on with the other units."""
    note = tmp_path / "log" / "grid.waits"
    waits = stand_in("echo 3 units wait; exit 78")
    said = []
    for _ in range(3):
        assert service_step.run_step(["grid"], waits) == 0
        said.append(capsys.readouterr().err)
    assert "3 units wait" in said[0] and "grid: exit code 78; see" in said[0]
    assert said[1:] == ["", ""]
    os.utime(note, (note.stat().st_atime, note.stat().st_mtime - 86401))
    service_step.run_step(["grid"], waits)
    assert "3 units wait" in capsys.readouterr().err
    assert service_step.run_step(["grid"], stand_in("exit 0")) == 0  # they are there again
    service_step.run_step(["grid"], stand_in("echo 5 units wait; exit 78"))
    assert "5 units wait" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell's")
def test_a_log_that_cannot_be_written_stops_no_step(tmp_path, stand_in, capfd):
    (tmp_path / "log").write_text("a file in the folder's place")
    assert service_step.run_step(["sync"], stand_in("echo done")) == 0
    told = capfd.readouterr()
    assert (told.out, "cannot write" in told.err) == ("done\n", True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no cron")
def test_other_lines_of_a_crontab_stay_byte_by_byte(tmp_path, monkeypatch):
    """As a comment in an old encoding, by which install, uninstall and status ended in a traceback."""
    table, stand_in = tmp_path / "table", tmp_path / "bin" / "crontab"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then cat {table}; else cat > {table}; fi\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    theirs = b"# Sicherung f\xfcr M\xc3\xbcller\r\n0 3 * * * backup\n"
    table.write_bytes(theirs)
    service = plan(from_string("", file=tmp_path / "x.toml", home=tmp_path / "Pl\u00e4tze"), None)
    host = cron.UserCron()
    assert list(host.install(service)) == ["changed  your crontab"]
    assert table.read_bytes().startswith(theirs)
    assert f"XTALGRID_HOME={tmp_path}/Pl\u00e4tze\n".encode() in table.read_bytes()
    assert list(host.install(service)) == []
    assert len(list(host.status())) == 4
    assert list(host.uninstall()) == ["changed  your crontab"]
    assert table.read_bytes() == theirs
