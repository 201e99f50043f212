"""`xtalgrid volunteer` on a whole Debian with systemd: it computes for the project, also after a reboot, and goes without a trace.

`make test-containers` runs this: as root, with Debian's packages systemd-container and debootstrap. The machine has no
network; what apt wants is fetched before it starts, and the project runs in it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from xtalgrid_server.cli.main import main

from .machine import ENVIRONMENT, Machine, debian, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

KEY = "0123456789abcdef0123456789abcdef"
URL = "http://127.0.0.1:8080/lab/"
PROJECT = """
import os, sys, time
sys.path.insert(0, "/srv")
from boinc_project import Project

class Picky(Project):
    def schedule(self, request):
        if "<authenticator>KEY</authenticator>" in request and not os.path.exists("/srv/revoked"):
            return super().schedule(request)
        said = "Invalid or missing account key.  To fix, remove and add this project."
        return f'<scheduler_reply>\\n<message priority="notice">{said}</message>\\n<project_name>lab</project_name>\\n</scheduler_reply>\\n'

with Picky(port=8080):
    time.sleep(1e9)
"""
UNIT = """[Service]
ExecStart=/usr/bin/python3 /srv/project.py
[Install]
WantedBy=multi-user.target
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A workstation that has never heard of BOINC, on which a project happens to run."""
    root = debian(tmp_path_factory.mktemp("debian") / "root")
    for words in (["update"], ["--download-only", "--yes", "--no-install-recommends", "install", "boinc-client"]):
        subprocess.run(["chroot", root, "apt-get", "-q", *words], env=ENVIRONMENT, check=True, capture_output=True)
    shutil.copy(Path(__file__).with_name("boinc_project.py"), root / "srv")
    (root / "srv/project.py").write_text(PROJECT.replace("KEY", KEY))
    (root / "etc/systemd/system/project.service").write_text(UNIT)
    (root / "srv/volunteer.sh").write_text(CliRunner().invoke(main, ["volunteer", "script"]).stdout)
    with Machine(root) as started:
        started.run("systemctl", "enable", "--now", "project")
        yield started


@pytest.fixture
def volunteer(machine: Machine) -> Run:
    """``volunteer("status")`` in the machine, as root."""
    return lambda *words, check=True: machine.run("sh", "/srv/volunteer.sh", *words, check=check)


def found(machine: Machine) -> list[str]:
    """What an installation could leave: packages, accounts, services, and files with their contents."""
    script = """
        dpkg-query -W
        getent passwd; getent group
        systemctl list-unit-files --state=enabled --no-legend
        find /etc /var/lib /usr /opt -xdev ! -path '/var/lib/systemd/*' ! -path '/var/lib/dpkg/*' ! -path '/var/lib/apt/*' \
            ! -name '*-' ! -path /etc/ld.so.cache ! -path '/var/lib/ucf/*' ! -name .pwd.lock ! -name machine-id \
            ! -path '/var/lib/pam/*' ! -name '*.pyc' ! -name __pycache__ -type f -exec md5sum {} + | sort -k 2
    """
    return machine.run("sh", "-c", script).stdout.splitlines()


def client_says(machine: Machine) -> str:
    return machine.run("sh", "-c", "cd /var/lib/boinc-client && boinccmd --get_messages").stdout


def test_a_bare_workstation(machine, volunteer):
    before = found(machine)
    assert "would: install the package boinc-client\n" in volunteer("install", URL, KEY, "--dry-run").stdout
    assert found(machine) == before

    assert f"attach the client to {URL}" in volunteer("install", URL, KEY, "--disk", "3").stdout
    assert volunteer("install", URL, KEY, "--disk", "3").stdout == "nothing to change\n"
    for line in ("don't compute while active", "max disk usage: 3.00 GB", "if non-BOINC CPU load exceeds 25%"):
        assert line in client_says(machine)
    assert volunteer("status").stdout.splitlines()[0] == f"attached to lab, {URL}"

    machine.reboot()
    wait_for(lambda: volunteer("status", check=False).returncode == 0, 60)
    assert volunteer("install", URL, KEY, "--disk", "3").stdout == "nothing to change\n"

    assert volunteer("install", URL, KEY, "--disk", "4").stdout.startswith("preferences: after 5 minutes")
    wait_for(lambda: "max disk usage: 4.00 GB" in client_says(machine), 10)

    update = ("sh", "-c", f"cd /var/lib/boinc-client && boinccmd --project {URL} update")
    machine.run("touch", "/srv/revoked")
    machine.run(*update)
    wait_for(lambda: "does not know this account key" in volunteer("status", check=False).stderr, 60)
    machine.run("rm", "/srv/revoked")
    machine.run(*update)
    wait_for(lambda: volunteer("status", check=False).returncode == 0, 60)

    dry = volunteer("uninstall", "--dry-run").stdout.splitlines()
    assert volunteer("status")
    assert [f"would: {line}" for line in volunteer("uninstall").stdout.splitlines()] == dry
    assert volunteer("uninstall").stdout == "nothing to change\n"
    assert found(machine) == before


def test_a_client_that_was_there_is_as_it_was(machine, volunteer):
    machine.run("apt-get", "install", "-yq", "--no-install-recommends", "boinc-client")
    machine.run("systemctl", "disable", "--now", "boinc-client")
    own = machine.root / "etc/boinc-client/global_prefs_override.xml"
    own.write_text("<global_preferences>\n<max_ncpus_pct>20</max_ncpus_pct>\n</global_preferences>\n")
    before = found(machine)

    wrong = volunteer("install", URL, "0" * 32, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "does not know this account key" in wrong.stderr
    assert volunteer("install", URL, KEY).returncode == 0
    other = volunteer("install", "https://other.lab.example/", KEY, check=False)
    assert (other.returncode, "uninstall first" in other.stderr) == (1, True)
    assert (machine.root / "var/lib/boinc-client/account_127.0.0.1_8080_lab.xml").exists()

    volunteer("uninstall")
    assert [line for line in found(machine) if "/var/lib/boinc-client/" not in line] == [
        line for line in before if "/var/lib/boinc-client/" not in line
    ]
    assert not list((machine.root / "var/lib/boinc-client").glob("*lab*"))
    assert machine.run("systemctl", "is-active", "boinc-client", check=False).stdout == "inactive\n"

    machine.run("systemctl", "start", "boinc-client")  # somebody attaches it by hand
    boinccmd = "cd /var/lib/boinc-client && boinccmd --project_attach"
    wait_for(lambda: machine.run("sh", "-c", f"{boinccmd} {URL} {KEY}", check=False).returncode == 0, 20)
    refused = volunteer("install", URL, "0" * 32, check=False)
    assert (refused.returncode, refused.stdout, "by another account" in refused.stderr) == (1, "", True)
    assert "attach" not in volunteer("install", URL, KEY).stdout
    assert volunteer("status").stdout.startswith("attached to lab")
    assert "detach" not in volunteer("uninstall").stdout
    assert (machine.root / "var/lib/boinc-client/account_127.0.0.1_8080_lab.xml").exists()
