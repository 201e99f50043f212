"""docker/ with BOINC in it, the whole way: `up`, clients, what breaks, backup, signing; every score the local grid's.

It runs where the engine has BOINC's base images (`BOINC_IMAGES`/server_apache, server_makeproject, server_mysql, with the
tag `BOINC_TAG`) and `XTALGRID_FROZEN_BOINC` names a worker of ``scripts/freeze.py --boinc --release``, as root. The tests
are one story, in this order; it takes half an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.small_disk import SmallDisk, small_disk
from xtalgrid_synth import render_plate

ROOT = Path(__file__).parents[2]
WELLS = int(os.environ.get("XTALGRID_CONTAINER_WELLS", "200"))
PATIENCE = 3600
"""Seconds for each plate."""

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2 * PATIENCE)]

ENVIRONMENT = """COMPOSE_PROJECT_NAME={name}
URL_BASE=http://boinc.test
BOINC_IMAGES={images}
BOINC_TAG={tag}
BOINC_PORT=127.0.0.1:{boinc_port}
VIEWER_PORT=127.0.0.1:{viewer_port}
IMAGES={folder}/images
CONFIG={folder}/config
WORKERS={folder}/workers
BACKUP={folder}/backup
"""
# A second client, and the volumes that fill on a disk that a test can fill.
MORE = """
services:
  second:
    extends: {{file: {compose}, service: client}}
    networks: [inside]
    volumes: ["second:/var/lib/boinc"]
volumes:
  second:
  project: {{driver_opts: {{type: none, o: bind, device: "{disk}/project"}}}}
  xtalgrid: {{driver_opts: {{type: none, o: bind, device: "{disk}/xtalgrid"}}}}
"""
CONFIGURATION = """home = "/var/lib/xtalgrid"
[imager]
folder = "/images"
[import]
settle_s = 0
[grid]
kind = "boinc"
[boinc]
project = "/home/boincadm/project"
quorum = {quorum}
spot_checks = 0.0
[work]
wells_per_unit = 20
"""


class Server:
    """docker/ as a compose project with names, ports, configuration and images of its own."""

    def __init__(self, folder: Path, disk: SmallDisk) -> None:
        self.folder, self.disk = folder, disk
        self.name = f"xtalgrid-test-{uuid.uuid4().hex[:8]}"
        self._command = ["docker-compose"]
        if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
            self._command = ["docker", "compose"]
        for name in ("images", "config", "workers", "backup"):
            (folder / name).mkdir(mode=0o755)
        for name in ("project", "xtalgrid"):  # a new volume has the mode and owner of the image's folder; these do not
            (disk.folder / name).mkdir()
            os.chown(disk.folder / name, 1000, 1000)
        values = {"images": os.environ.get("BOINC_IMAGES", "boinc"), "tag": os.environ.get("BOINC_TAG", "latest")}
        ports = {"boinc_port": free_port(), "viewer_port": free_port()}
        (folder / "env").write_text(ENVIRONMENT.format(name=self.name, folder=folder, **values, **ports))
        (folder / "more.yml").write_text(MORE.format(compose=ROOT / "docker/compose.yml", disk=disk.folder))
        self.url = f"http://127.0.0.1:{ports['boinc_port']}/xtalgrid/"
        self.viewer_url = f"http://127.0.0.1:{ports['viewer_port']}/"

    def __call__(self, *words: object, check: bool = True, **options: Any) -> str:
        """Run `docker compose` with these words; return what it printed."""
        files = ["--env-file", self.folder / "env", "-f", ROOT / "docker/compose.yml", "-f", self.folder / "more.yml"]
        command = [*map(str, [*self._command, *files, *words])]
        done = subprocess.run(command, capture_output=True, text=True, **options)
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def configure(self, quorum: int = 1) -> None:
        """Write the configuration, readable as the README says."""
        path = self.folder / "config" / "xtalgrid.toml"
        path.write_text(CONFIGURATION.format(quorum=quorum))
        path.chmod(0o640)
        os.chown(path, 0, 1000)

    def inside(self, *words: str, user: str = "boincadm", check: bool = True) -> str:
        """Run a command in `apache`."""
        return self("exec", "-T", "-u", user, "apache", *words, check=check)

    def python(self, program: str) -> Any:
        """What a program prints as JSON, run in `apache` by its own Python."""
        return json.loads(self.inside("/opt/xtalgrid/.venv/bin/python", "-c", f"import json\n{program}"))

    def ledger(self, statement: str) -> list[list[Any]]:
        """Rows of the ledger."""
        ask = f"c = sqlite3.connect('/var/lib/xtalgrid/ledger.db', 60)\nprint(json.dumps(c.execute({statement!r}).fetchall()))"
        return self.python(f"import sqlite3\n{ask}")

    def database(self, statement: str) -> list[list[str]]:
        """Rows of BOINC's database."""
        script = '. /run/secrets/secrets.env; mysql -u root -p"$DB_PASSWD" -N -B -e "$1" xtalgrid'
        told = self("run", "--rm", "-T", "--no-deps", "makeproject", "bash", "-c", script, "ask", statement)
        return [line.split("\t") for line in told.splitlines()]

    def cron(self) -> None:
        """What the crontab does every five minutes."""
        self.inside("bin/start", "--cron", "--ignore-timestamps", check=False)

    def state(self, service: str) -> tuple[str, int, str]:
        """(running or exited, exit code, health) of a service's container."""
        form = (
            '{{index .Config.Labels "com.docker.compose.oneoff"}} '
            "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        )
        for container in self("ps", "-a", "-q", service).split():
            told = subprocess.run(["docker", "inspect", "-f", form, container], capture_output=True, text=True)
            if told.stdout.startswith("False "):  # not of `run --rm`, which may be gone by now
                _, status, code, health = f"{told.stdout.strip()} ".split(" ")[:4]
                return status, int(code), health
        raise AssertionError(f"{service} has no container")

    def up(self) -> None:
        """Start everything, and wait until it is healthy."""
        self("up", "-d")
        for service in ("mysql", "apache", "viewer"):
            wait(lambda service=service: self.state(service)[2] == "healthy", 600, service)
        for service in ("sign", "makeproject"):
            assert self.state(service)[:2] == ("exited", 0), self("logs", service)

    def plate(self, barcode: str, wells: Path) -> None:
        """Have the imager photograph a plate: the same wells under another barcode."""
        for path in wells.glob("*/*/*.jpg"):
            shutil.copyfile(path, self.folder / "images" / path.name.replace("TESTPLATE", barcode))

    def answers(self, barcode: str) -> dict[str, tuple[str, float]]:
        """A plate's answers by the well's place in the images' names; each image has to have exactly one."""
        rows = [row for row in exported(self.inside("sh", "-c", EXPORT)) if row["barcode"].endswith(barcode)]
        return by_well(rows)


EXPORT = "xtalgrid export jsonl /tmp/scores.$$ >/dev/null && cat /tmp/scores.$$"


def exported(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def by_well(rows: list[dict[str, Any]]) -> dict[str, tuple[str, float]]:
    wells = Counter(row["well"] for row in rows)
    assert set(wells.values()) <= {1}, f"scored twice: {[well for well, number in wells.items() if number > 1]}"
    return {row["well"]: (row["outcome"], row["p_crystal"]) for row in rows}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def page(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode(errors="replace")


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(3)


class Client:
    """A BOINC client of the profile `test`, in a container; its data are in a volume."""

    def __init__(self, server: Server, service: str, account: str) -> None:
        self._server, self._service, self._account = server, service, account
        self.run()

    def run(self) -> None:
        """Run it in a new container."""
        words = ("--attach_project", "http://boinc.test/xtalgrid/", self._account)
        self.container = self._server("run", "-d", self._service, *words).split()[-1]
        # At idle priority, jobs would hardly advance on a busy machine.
        options = "<cc_config><options><no_priority_change>1</no_priority_change></options></cc_config>"
        script = f"echo '{options}' >cc_config.xml; until boinccmd --read_cc_config; do sleep 1; done"
        self.docker("exec", self.container, "sh", "-c", script)

    def docker(self, *words: str, check: bool = True) -> str:
        return subprocess.run(["docker", *words], capture_output=True, text=True, check=check).stdout

    def kill(self) -> None:
        """Kill the client and its jobs, as a power cut does."""
        self.docker("kill", "--signal=KILL", self.container)

    def start(self) -> None:
        self.docker("start", self.container)

    def leave(self) -> None:
        """Stop and remove the container; the volume stays."""
        self.docker("stop", self.container)
        self.docker("rm", self.container)

    def update(self) -> None:
        """Talk to the server now: clients wait for minutes after they found no work."""
        ask = ("boinccmd", "--project", "http://boinc.test/xtalgrid/", "update")
        self.docker("exec", self.container, *ask, check=False)

    def log(self) -> str:
        done = subprocess.run(["docker", "logs", "--tail=60", self.container], capture_output=True, text=True)
        return done.stdout + done.stderr

    def is_in_a_job(self) -> bool:
        """Whether a job has written its checkpoint."""
        look = ("exec", self.container, "sh", "-c", "ls /var/lib/boinc/slots/*/result.json.checkpoint")
        return bool(self.docker(*look, check=False))


@pytest.fixture(scope="module")
def frozen() -> Path:
    given = os.environ.get("XTALGRID_FROZEN_BOINC")
    if not given:
        pytest.skip("XTALGRID_FROZEN_BOINC does not name a worker of scripts/freeze.py --boinc --release")
    return Path(given)


@pytest.fixture(scope="module")
def server(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    images, tag = os.environ.get("BOINC_IMAGES", "boinc"), os.environ.get("BOINC_TAG", "latest")
    for name in ("server_apache", "server_makeproject", "server_mysql"):
        image = f"{images}/{name}:{tag}"
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
            pytest.skip(f"the engine has no image {image}")
    folder = tmp_path_factory.mktemp("server")
    for path in (folder, *folder.parents[:2]):  # user 1000 reads the images
        path.chmod(path.stat().st_mode | 0o055)
    with small_disk(folder / "disk", 2_000_000) as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        server = Server(folder, disk)
        shutil.copy(frozen, folder / "workers" / "xtalgrid-worker-0.1.0-linux-x86_64")
        # Nobody runs this one: only its registration is tested.
        (folder / "workers" / "xtalgrid-worker-0.1.0-windows-amd64.exe").write_bytes(b"MZ\0pyi-runtime-tmpdir .\0")
        server.configure()
        try:
            server("build")
            yield server
        finally:
            profiles = ("--profile", "tools", "--profile", "test")
            server(*profiles, "down", "--volumes", "--remove-orphans", "--rmi", "local", check=False)


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wells")
    render_plate(folder, barcode="TESTPLATE", seed=2026, wells=WELLS, width=1226, height=1028, pixel_size_um=2.262)
    return folder


@pytest.fixture(scope="module")
def truth(wells: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """What the local grid of this checkout says of the wells."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "none.toml").write_text("")
    command = [sys.executable, "-m", "xtalgrid_server", "--home", folder / "home", "--config", folder / "none.toml"]
    for words in (["run", "--recursive", wells], ["export", "jsonl", folder / "scores"]):
        subprocess.run([*command, *words], check=True, capture_output=True)
    found = by_well(exported((folder / "scores").read_text()))
    assert len(found) == WELLS
    return found


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    told = server("run", "--rm", "-T", "volunteers", "workstations")
    client = Client(server, "client", told.split("account key")[1].split()[0])
    yield client
    client.docker("rm", "--force", client.container, check=False)


def versions(server: Server) -> list[list[str]]:
    """BOINC's app versions: platform and number."""
    return server.database(
        "SELECT p.name, v.version_num FROM app_version v JOIN platform p ON p.id = v.platformid ORDER BY 1, 2"
    )


def problems(server: Server) -> list[str]:
    told = server.inside("xtalgrid", "boinc", "status")
    return [line for line in told.splitlines() if line.startswith("ATTENTION")]


def check_plate(server: Server, barcode: str, truth: dict[str, tuple[str, float]]) -> None:
    """Nothing lost, nothing scored or published twice, everything the local grid's."""
    scores = server.ledger(
        f"SELECT COUNT(*), COUNT(DISTINCT image_id) FROM scores s JOIN images i ON i.id = s.image_id WHERE barcode = '{barcode}'"
    )
    assert scores == [[WELLS, WELLS]]
    assert server.answers(barcode) == truth


def score(server: Server, clients: list[Client], barcode: str, meanwhile: Iterator[None]) -> None:
    """Until the plate is scored, have cron do its tasks and clients talk to the server; `meanwhile` does one harm a turn."""
    end = time.monotonic() + PATIENCE
    done = (
        f"SELECT COUNT(DISTINCT image_id) FROM scores s JOIN images i ON i.id = s.image_id WHERE barcode = '{barcode}'"
    )
    while next(meanwhile, "over") != "over" or server.ledger(done) != [[WELLS]]:
        assert time.monotonic() < end, "\n".join([str(server.ledger(done)), *(client.log() for client in clients)])
        server.cron()
        for client in clients:
            client.update()
        time.sleep(10)


def test_the_first_and_the_second_up_end_the_same(server):
    for _ in range(2):
        server.up()
        assert versions(server) == [["windows_x86_64", "100"], ["x86_64-pc-linux-gnu", "100"]]
        assert page(server.url)[0] == 200
        assert page(server.viewer_url)[0] == 200
        wait(lambda: not problems(server), 120, "no ATTENTION")
    page(f"{server.url}create_account.php?email_addr=a@example.org&passwd_hash={'0' * 32}&user_name=stranger")
    assert server.database("SELECT COUNT(*) FROM user") == [["0"]], "a stranger made an account"


def test_nothing_that_the_web_server_runs_reads_the_signing_key(server):
    found = server.inside(
        "sh", "-c", "find / -xdev -name 'code_sign_private*' 2>/dev/null; ls /signing 2>&1", user="root", check=False
    )
    assert "code_sign_private" not in found
    keys = server.inside("sh", "-c", "ls /run/secrets/keys").split()
    assert sorted(keys) == ["code_sign_public", "upload_private", "upload_public"]
    as_web_server = server.inside(
        "su", "-s", "/bin/sh", "www-data", "-c", "cat /run/secrets/secrets.env", user="root", check=False
    )
    assert as_web_server == ""


def test_a_plate_at_quorum_1_in_spite_of_kills(server, client, wells, truth):
    def harm() -> Iterator[None]:
        while not client.is_in_a_job():
            yield
        client.kill()
        yield
        client.start()
        yield
        server.inside("sh", "-c", "kill -9 $(cat pid_*/*.pid)", check=False)
        yield
        server("restart", "apache")
        yield

    server.plate("QUORUMONE", wells)
    score(server, [client], "QUORUMONE", harm())
    check_plate(server, "QUORUMONE", truth)


def test_a_plate_at_quorum_2_in_spite_of_a_full_disk_and_of_down_and_up(server, client, wells, truth):
    server.configure(quorum=2)
    told = server("run", "--rm", "-T", "volunteers", "workstations")
    second = Client(server, "second", told.split("account key")[1].split()[0])

    def harm() -> Iterator[None]:
        while not client.is_in_a_job() or not second.is_in_a_job():
            yield
        server.disk.fill()
        yield
        assert any("MB left" in line for line in problems(server))
        yield
        server.disk.make_room()
        yield
        for each in (client, second):
            each.leave()
        server("down")
        server.up()
        for each in (client, second):
            each.run()
        yield

    server.plate("QUORUMTWO", wells)
    try:
        score(server, [client, second], "QUORUMTWO", harm())
    finally:
        second.docker("rm", "--force", second.container, check=False)
    check_plate(server, "QUORUMTWO", truth)
    check_plate(server, "QUORUMONE", truth)
    results = server.database(
        "SELECT w.name, COUNT(DISTINCT r.hostid) FROM workunit w JOIN result r ON r.workunitid = w.id"
        " WHERE w.min_quorum = 2 AND r.validate_state = 1 GROUP BY w.name"
    )
    assert {hosts for _, hosts in results} == {"2"}


def test_without_its_key_nothing_unsigned_is_registered(server, frozen):
    key = server("run", "--rm", "-T", "sign", "sign.sh", "export")
    server("run", "--rm", "-T", "sign", "sign.sh", "remove")
    (server.folder / "workers" / "xtalgrid-worker-0.2.0-windows-amd64.exe").write_bytes(b"MZ2\0pyi-runtime-tmpdir .\0")
    server.up()
    assert "not registered: app version xtalgrid/2.0/windows_x86_64" in server("logs", "makeproject")
    assert ["windows_x86_64", "200"] not in versions(server)
    server("run", "--rm", "-T", "sign", "sign.sh", "import", input=key)
    server.up()
    assert ["windows_x86_64", "200"] in versions(server)


def test_a_backup_comes_back_on_empty_volumes(server, truth):
    before = versions(server)
    server("stop")
    told = server("run", "--rm", "-T", "backup")
    file = told.split()[-1].rpartition("/")[2]
    server("down")
    for volume in ("mysql", "project", "secrets", "release", "xtalgrid"):
        server("run", "--rm", "-T", "--entrypoint", "find", "backup", f"/volumes/{volume}", "-mindepth", "1", "-delete")
    server("run", "--rm", "-T", "backup", "restore", file)
    server.up()
    assert versions(server) == before
    check_plate(server, "QUORUMTWO", truth)
    assert "0 units" in server.inside("xtalgrid", "boinc", "retry")
    wait(lambda: not problems(server), 120, "no ATTENTION")
