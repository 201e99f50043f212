"""`xtalgrid service` on a whole Debian with systemd and cron: what is installed runs, comes back after a reboot, and goes without a trace.

`make test-containers` runs this: as root, with Debian's packages systemd-container and debootstrap.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.server.conftest import rigaku_name
from xtalgrid_core.outcomes import Outcome
from xtalgrid_synth import render_well

from .machine import ENVIRONMENT, Machine, debian, wait_for
from .test_wheel import dist, wheel  # noqa: F401  fixtures

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

PROGRAM = "/opt/xtalgrid/.venv/bin/xtalgrid"
CONFIG = "/etc/xtalgrid/xtalgrid.toml"
HOME = "/var/lib/xtalgrid"
TOML = f"""home = "{HOME}"
[imager]
folder = "/srv/images"
[import]
settle_s = 0
[grid]
workers = 1
"""
JOBS = ("create-work", "grid", "publish", "tell", "viewer")


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:  # noqa: F811
    """A Debian with xtalgrid, an account and a configuration for it, as docs/service.md says."""
    root = debian(tmp_path_factory.mktemp("debian") / "root")
    libraries = root / "wheels"
    download = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--python-version=3.11"]
    subprocess.run([*download, f"--dest={libraries}", f"{wheel}[server]"], check=True, capture_output=True)
    inside = ["chroot", str(root)]
    for command in (
        ["useradd", "--system", "--home-dir", HOME, "--shell", "/usr/sbin/nologin", "xtalgrid"],
        ["useradd", "--create-home", "jdoe"],
        ["python3", "-m", "venv", "/opt/xtalgrid/.venv"],
        ["/opt/xtalgrid/.venv/bin/pip", "install", "--no-index", "--find-links=/wheels", "xtalgrid[server]"],
        ["install", "-d", "/etc/xtalgrid", "/srv/images"],
    ):
        subprocess.run([*inside, *command], env=ENVIRONMENT, check=True, capture_output=True)
    (root / CONFIG[1:]).write_text(TOML)
    with Machine(root) as started:
        yield started


@pytest.fixture
def xtalgrid(machine: Machine) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``xtalgrid("service", "status")`` in the machine, as root."""
    return lambda *words, check=True: machine.run(PROGRAM, "--config", CONFIG, *words, check=check)


@pytest.fixture
def by_systemd(machine: Machine, xtalgrid) -> Iterator[Machine]:
    """The machine with the services installed, their timers every ten seconds."""
    for name in ("create-work", "publish"):
        folder = machine.root / f"etc/systemd/system/xtalgrid-{name}.timer.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fast.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=*:*:0/10\nAccuracySec=1s\n")
    xtalgrid("service", "install")
    yield machine
    xtalgrid("service", "uninstall")
    assert left_of_ours(machine) == []


def left_of_ours(machine: Machine) -> list[str]:
    """What an installation put into the machine's system folders and systemd's memory."""
    folders = [machine.root / folder for folder in ("etc/systemd/system", "etc/cron.d", "var/lib/systemd/timers")]
    files = [path for folder in folders for path in folder.rglob("*xtalgrid*") if not path.name.endswith(".d")]
    units = machine.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "xtalgrid-*").stdout
    return [*map(str, files), *units.splitlines()]


def drop_in(machine: Machine, inspection: int) -> None:
    """Put a rendered plate into the imager's folder, as the imager does."""
    for column, outcome in enumerate((Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.NULL_EXPERIMENT), 1):
        well = render_well(outcome, seed=inspection, width=900, height=700).image
        Image.fromarray(well).save(machine.root / "srv/images" / rigaku_name(column, inspection=inspection))


def published(machine: Machine) -> int:
    """How many rows of the score table are ours, as `xtalgrid status` says."""
    told = machine.run("runuser", "-u", "xtalgrid", "--", PROGRAM, "--config", CONFIG, "status").stdout
    return int(re.search(r"^score table +(\d+) rows", told, re.MULTILINE)[1])


def are_on(status: str) -> bool:
    """Whether the two services that run all the time do, by `xtalgrid service status`."""
    on = re.findall(r"^xtalgrid-(\S+)\.service +active \(running\), enabled$", status, re.MULTILINE)
    return on == ["grid", "viewer"]


def page(machine: Machine, path: str) -> str:
    """A page of the viewer, fetched in the machine."""
    fetch = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8765{path}').read().decode())"
    return machine.run("python3", "-c", fetch, check=False).stdout


def test_what_stands_in_the_way_is_said_in_one_line(machine, xtalgrid):
    config = machine.root / CONFIG[1:]
    for words, said in (
        (("--user", "nobody-here"), "useradd --system"),
        (("--user", "jdoe"), "run as jdoe, fails"),
    ):
        config.chmod(0o600)
        done = xtalgrid("service", "install", *words, check=False)
        config.chmod(0o644)
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (2, 1, True), done.stderr
    as_jdoe = machine.run("runuser", "-u", "jdoe", "--", PROGRAM, "--config", CONFIG, "service", "install", check=False)
    assert (as_jdoe.returncode, "--user-level" in as_jdoe.stderr) == (2, True)
    assert xtalgrid("service", "status", check=False).returncode == 2
    assert not (machine.root / HOME[1:]).exists()
    assert left_of_ours(machine) == []


def test_a_plate_that_is_dropped_in_is_published_and_shown_before_and_after_a_reboot(by_systemd, xtalgrid):
    machine = by_systemd
    wait_for(lambda: page(machine, "/healthz"), 60)
    before = published(machine)
    drop_in(machine, inspection=3)
    wait_for(lambda: published(machine) == before + 3, 180)
    assert "CI022987" in page(machine, "/")
    again = xtalgrid("service", "install")
    assert again.stdout.splitlines()[0] == "nothing to change"
    assert f"next  {PROGRAM} service status" in again.stdout

    machine.reboot()
    wait_for(lambda: page(machine, "/healthz"), 60)
    drop_in(machine, inspection=4)
    wait_for(lambda: published(machine) == before + 6, 180)
    status = xtalgrid("service", "status").stdout
    assert status.count("last run: success") == 3
    assert are_on(status)


def test_the_services_are_exposed_little(by_systemd):
    """systemd's own figure, 0 to 10; a service that is not confined has 9.6."""
    for job in JOBS:
        told = by_systemd.run("systemd-analyze", "security", "--no-pager", f"xtalgrid-{job}.service").stdout
        assert float(re.search(r"exposure level for \S+: ([\d.]+)", told)[1]) <= 1.5, job


def test_a_service_that_fails_is_named(by_systemd, xtalgrid):
    config = by_systemd.root / CONFIG[1:]
    config.write_text(TOML + "[work]\nthreshold = 7\n")
    try:
        by_systemd.run("systemctl", "start", "xtalgrid-tell.service", check=False)
        done = xtalgrid("service", "status", check=False)
    finally:
        config.write_text(TOML)
    assert done.returncode == 2
    assert re.search(r"xtalgrid-tell\.service.*: not running properly; see journalctl -n 20 -u xtalgrid-", done.stderr)


def test_old_units_copied_by_hand_are_kept_beside_and_replaced(machine, xtalgrid):
    unit = machine.root / "etc/systemd/system/xtalgrid-viewer.service"
    unit.write_text("[Service]\nExecStart=/bin/sleep 1000\n")
    kept = unit.with_name("xtalgrid-viewer.service.before-xtalgrid")
    said = xtalgrid("service", "install").stdout
    assert "kept     /etc/systemd/system/xtalgrid-viewer.service.before-xtalgrid" in said
    assert f"ExecStart={PROGRAM} serve" in unit.read_text()
    xtalgrid("service", "uninstall")
    assert "sleep" in kept.read_text()
    kept.unlink()
    assert left_of_ours(machine) == []


def test_by_cron(machine, xtalgrid):
    drop_in(machine, inspection=5)
    before = published(machine)
    said = xtalgrid("service", "install", "--cron").stdout
    assert "wrote    /etc/cron.d/xtalgrid" in said and f"{PROGRAM} --config {CONFIG} serve" in said
    assert "cron already runs the chain" in xtalgrid("service", "install", check=False).stderr
    file = machine.root / "etc/cron.d/xtalgrid"
    written = file.read_text()
    file.write_text(re.sub(r"^\d-59/\d+ ", "* ", written, flags=re.MULTILINE))  # each minute, so as not to wait
    wait_for(lambda: published(machine) == before + 3, 400)
    assert xtalgrid("service", "install", "--cron").stdout.startswith("changed  /etc/cron.d/xtalgrid")
    assert file.read_text() == written
    logs = sorted(path.name for path in (machine.root / HOME[1:] / "log").iterdir())
    assert set(logs) >= {"assimilate.log", "create_work.log", "finalizer.log", "grid.log", "set_autoscore.log"}
    xtalgrid("service", "uninstall")
    assert left_of_ours(machine) == []


@pytest.fixture
def as_jdoe(machine: Machine) -> Callable[..., str]:
    """Runs a command as a person without rights, in a home of their own."""
    home = machine.root / "home/jdoe"
    (home / "xtalgrid.toml").write_text('home = "/home/jdoe/x t"\n[viewer]\nport = 8766\n')
    uid = machine.run("id", "-u", "jdoe").stdout.strip()
    machine.run("loginctl", "enable-linger", "jdoe")
    wait_for(lambda: machine.run("test", "-S", f"/run/user/{uid}/bus", check=False).returncode == 0, 30)
    session = ["runuser", "-u", "jdoe", "--", "env", "HOME=/home/jdoe", f"XDG_RUNTIME_DIR=/run/user/{uid}"]
    return lambda *words: machine.run(*session, *words).stdout


def test_for_ones_own_account_by_systemd(machine, as_jdoe):
    call = [PROGRAM, "--config", "/home/jdoe/xtalgrid.toml", "service"]
    said = as_jdoe(*call, "install", "--user-level")
    assert "wrote    /home/jdoe/.config/systemd/user/xtalgrid-viewer.service" in said and "enable-linger" in said
    assert as_jdoe(*call, "install", "--user-level").startswith("nothing to change")
    fetch = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8766/healthz')"
    wait_for(lambda: machine.run("python3", "-c", fetch, check=False).returncode == 0, 60)
    assert are_on(as_jdoe(*call, "status", "--user-level"))
    as_jdoe(*call, "uninstall", "--user-level")
    assert list((machine.root / "home/jdoe/.config").rglob("*xtalgrid*")) == []


def test_for_ones_own_account_by_cron(machine, as_jdoe):
    call = [PROGRAM, "--config", "/home/jdoe/xtalgrid.toml", "service"]
    own = "MAILTO=jdoe\n7 3 * * * /bin/true\n"
    as_jdoe("sh", "-c", f"printf '{own}' | crontab -")
    as_jdoe(*call, "install", "--cron", "--user-level")
    both = as_jdoe("crontab", "-l")
    assert both.startswith(own) and "service step create_work" in both
    assert as_jdoe(*call, "install", "--cron", "--user-level").startswith("nothing to change")
    assert as_jdoe(*call, "status", "--user-level").count("your crontab: ") == 4
    as_jdoe(*call, "uninstall", "--user-level")
    assert as_jdoe("crontab", "-l") == own
