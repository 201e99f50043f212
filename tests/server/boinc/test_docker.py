"""The containers' plan, as far as it can be checked without running any: compose itself reads it.

tests/system/test_images.py builds and runs the images.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.conftest import missing
from xtalgrid_server.config import load
from xtalgrid_server.web.report.text import FONTS

DOCKER = Path(__file__).parents[3] / "docker"
PROFILES = ("tls", "test", "oracle", "tools")

Plan = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Callable[..., Plan]:
    """``compose(env_file, **variables)``: the plan as compose understands it, with all its profiles."""
    ways = (["docker", "compose"], ["docker-compose"])
    found = [
        way
        for way in ways
        if shutil.which(way[0]) and subprocess.run([*way, "version"], capture_output=True, timeout=200).returncode == 0
    ]
    if not found:
        missing("docker compose is not installed")

    def run(env_file: str = "env.example", **variables: str) -> Plan:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
        profiles = [word for profile in PROFILES for word in ("--profile", profile)]
        command = [*found[0], "-f", DOCKER / "compose.yml", "--env-file", DOCKER / env_file, *profiles, "config"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)

    return run


def mounts(service: Plan) -> dict[str, bool]:
    """What a service mounts, by volume or path: whether it may write there."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, str):  # compose 1 keeps the short form
            source, _, rest = volume.partition(":")
            found[source] = not rest.endswith(":ro")
        else:
            found[volume["source"]] = not volume.get("read_only", False)
    return found


def test_compose_takes_the_plan_and_every_variable_reaches_its_place(compose):
    plan = compose(PROJECT="lab", BOINC_TAG="6.0", BOINC_IMAGES="registry.lab/boinc", URL_BASE="https://boinc.lab")
    services = plan["services"]
    assert set(services) == {
        "sign", "mysql", "makeproject", "apache", "viewer", "volunteers", "backup", "caddy", "client", "oracle",
    }  # fmt: skip
    assert services["apache"]["hostname"] == "lab"
    assert services["makeproject"]["environment"] == {"PROJECT": "lab", "URL_BASE": "https://boinc.lab"}
    arguments = services["apache"]["build"]["args"]
    assert (arguments["BOINC_IMAGES"], str(arguments["BOINC_TAG"])) == ("registry.lab/boinc", "6.0")
    assert "docker.sock" not in str(plan), "the socket is root on the host"
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert sum("127.0.0.1" in port for port in ports) == len(ports) - 2, "only Caddy's two can be reached from outside"


def test_the_signing_key_is_mounted_by_the_signing_service_alone_which_has_no_network(compose):
    services = compose()["services"]
    of_volume = {name for name, service in services.items() if any("signing" in source for source in mounts(service))}
    assert of_volume == {"sign"}
    assert services["sign"]["network_mode"] == "none"
    assert "ports" not in services["sign"]


def test_a_service_sees_only_the_secrets_that_it_needs(compose):
    services = compose()["services"]
    with_passwords = {name for name, service in services.items() if "secrets" in " ".join(mounts(service))}
    assert with_passwords == {"makeproject", "apache", "volunteers", "backup"}
    assert not any(writes for source, writes in mounts(services["apache"]).items() if "secrets" in source)
    with_configuration = {name for name, s in services.items() if any(m.endswith("config") for m in mounts(s))}
    assert with_configuration == {"apache", "viewer"}, "it names the imager's password"
    networks = {name: set(service.get("networks", {})) for name, service in services.items()}
    assert networks["mysql"] == networks["makeproject"] == {"inside"}


def test_what_runs_all_the_time_is_watched(compose):
    services = compose()["services"]
    kept = {name for name, service in services.items() if service.get("restart") == "unless-stopped"}
    assert kept - {"caddy"} <= {name for name, service in services.items() if "healthcheck" in service}
    assert {"mysql", "apache", "viewer"} <= kept


def test_the_trial_runs_beside_the_server_and_clients_accept_its_address(compose):
    real, trial = compose(), compose("env.test")

    for name in ("apache", "viewer"):
        assert real["services"][name]["ports"] != trial["services"][name]["ports"]
    url = trial["services"]["makeproject"]["environment"]["URL_BASE"]
    host = urlsplit(url).hostname
    assert host and "." in host, "clients call other addresses invalid"
    assert host in trial["services"]["apache"]["networks"]["inside"]["aliases"]


def test_every_target_of_the_plan_is_in_the_dockerfile_and_every_file_it_copies_is_there():
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    stages = {line.split(" AS ")[1] for line in lines if line.startswith("FROM ")}
    targets = set(re.findall(r"target: (\w+)", (DOCKER / "compose.yml").read_text()))
    assert targets <= stages
    sent = [line[1:] for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--")]
        if words[:1] == ["COPY"] and "--from=" not in line:
            for source in words[1:-1]:
                assert (DOCKER.parent / source).exists(), line
                assert any(source == name or source.startswith(f"{name}/") for name in sent), f"{source} is not sent"


def test_every_variable_of_the_plan_is_explained_with_its_default():
    plan, readme = (DOCKER / "compose.yml").read_text(), (DOCKER / "README.md").read_text()
    defaults = {name: default for name, default in re.findall(r"\$\{(\w+)(?::-([^}]*))?", plan) if default}
    named = set(re.findall(r"\$\{(\w+)", plan))
    table = readme.partition("| variable |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines()[2:]]
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(explained) == sorted(named)
    for names, _, shown in rows:
        for name in re.findall(r"`(\w+)`", names):
            if name in defaults and name != "VIEWER_URL":  # its own stands for none
                assert f"`{defaults[name]}`" in shown, name
    for file in ("env.example", "env.test"):
        text = (DOCKER / file).read_text()
        assert set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)) <= named, file


def test_every_service_is_explained_and_every_explained_one_is_there(compose):
    table = (DOCKER / "README.md").read_text().partition("| service | |")[2].partition("\n\n")[0]
    explained = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    services = compose()["services"]
    assert sorted(explained) == sorted(services)
    readme = (DOCKER / "README.md").read_text()
    assert set(re.findall(r"--profile (\w+)", readme)) <= set(PROFILES)
    assert set(
        re.findall(r"docker compose .*?\b(?:run|exec)\b(?: -\S+(?: boincadm| FOLDER:\S+)?)* (\w+)", readme)
    ) <= set(services)
    for name, service in services.items():
        if "build" in service:
            stage = (DOCKER / "Dockerfile").read_text().partition(f" AS {service['build']['target']}\n")[2]
            assert stage, name
    ports = {
        str(port["published"] if isinstance(port, dict) else port.split(":")[0]) for port in services["caddy"]["ports"]
    }
    assert ports == {"80", "443"}


def test_images_that_make_reports_install_their_fonts():
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    stages = {part.split("\n", 1)[0].split(" AS ")[1]: part for part in text.split("\nFROM ")[1:]}
    for stage in ("server", "apache"):
        (line,) = [line for line in stages[stage].splitlines() if "apt-get install" in line]
        assert {word for word in line.split() if word.startswith("fonts-")} == set(FONTS), stage
    assert set(re.findall(r"`(fonts-[\w-]+)`", (DOCKER.parent / "docs" / "reports.md").read_text())) == set(FONTS)


def test_the_containers_configuration_is_one():
    config = load(DOCKER / "xtalgrid.toml")
    assert config.grid.kind == "boinc"
    assert config.publish.policy == "shadow", "a first run publishes nothing"


def test_the_scripts_are_sound():
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        missing("shellcheck is not installed (Debian's package shellcheck)")
    subprocess.run([shellcheck, *sorted((DOCKER / "bin").glob("*.sh"))], check=True, timeout=100)


@pytest.mark.parametrize("certificates", ["public", "internal"])
def test_caddy_takes_its_configuration(certificates):
    caddy = shutil.which("caddy")
    if caddy is None:
        missing("caddy is not installed")
    places = {"URL_BASE": "https://boinc.lab.example", "VIEWER_URL": "https://crystals.lab.example"}
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CERTIFICATES": certificates, **places}
    command = [caddy, "adapt", "--adapter", "caddyfile", "--config", DOCKER / "Caddyfile"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert all(
        word in done.stdout for word in ("boinc.lab.example", "apache:80", "crystals.lab.example", "viewer:8765")
    )
    assert ('"module":"internal"' in done.stdout) == (certificates == "internal")
