"""The containers' plan, as far as it can be checked without running any: compose itself reads it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing

DOCKER = Path(__file__).parents[3] / "docker"


@pytest.fixture(scope="module")
def compose():
    """Compose's own words on our file, with all its profiles."""
    ways = (["docker", "compose"], ["docker-compose"])
    found = [
        way
        for way in ways
        if shutil.which(way[0]) and subprocess.run([*way, "version"], capture_output=True, timeout=200).returncode == 0
    ]
    if not found:
        missing("docker compose is not installed")

    def run(*words: str, **variables: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
        command = [*found[0], "-f", str(DOCKER / "compose.yml"), "--profile", "test", "--profile", "oracle", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_compose_takes_the_plan_and_every_variable_reaches_its_place(compose):
    assert set(compose("config", "--services").split()) == {
        "mysql", "makeproject", "apache", "viewer", "client", "oracle",
    }  # fmt: skip
    whole = compose("config", PROJECT="lab", BOINC_TAG="6.0", PROJECT_ROOT="/srv/lab", URL_BASE="https://boinc.lab")
    for said in ("BOINC_TAG: '6.0'", "hostname: lab", "/srv/lab.dst", "URL_BASE: https://boinc.lab"):
        assert said in whole.replace('"6.0"', "'6.0'")
    assert "/srv/lab/keys/code_sign_private" in whole, "the signing key is masked where the network is"
    assert "docker.sock" not in whole, "the socket is root on the host"
    assert "0.0.0.0" not in whole


def test_every_target_of_the_plan_is_in_the_dockerfile_and_every_file_it_copies_is_there():
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    stages = {line.split(" AS ")[1] for line in lines if line.startswith("FROM ")}
    targets = {
        line.split("target: ")[1].strip(" }")
        for line in (DOCKER / "compose.yml").read_text().splitlines()
        if "target: " in line
    }
    assert targets <= stages
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--")]
        if words[:1] == ["COPY"] and "--from=" not in line:
            for source in words[1:-1]:
                assert (DOCKER.parent / source).exists(), line


def test_the_containers_configuration_is_one(tmp_path):
    from xtalgrid_server.config import load

    config = load(DOCKER / "xtalgrid.toml")
    assert config.grid.kind == "boinc"
    assert config.publish.policy == "shadow", "a first run publishes nothing"


def test_the_start_script_is_sound(tmp_path):
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, str(DOCKER / "makeproject-step3.sh")], check=True, timeout=100)
