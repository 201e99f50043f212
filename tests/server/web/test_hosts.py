"""Host names: a page of another site that makes its own name lead to the viewer (DNS rebinding) reads nothing."""

from __future__ import annotations

import socket

import pytest
from starlette.testclient import TestClient

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.app import create_app

PROXY = "10.0.0.5"
TRUSTED = f'trusted_proxies = ["{PROXY}"]\n'


@pytest.fixture
def ask(configured, score):
    """``ask(keys, headers, address)``: the answer to a guest's request for the plates."""
    score({(1, 1): Outcome.CLEAR})

    def send(keys, headers, address="10.0.0.9"):
        client = TestClient(create_app(configured(keys)), client=(address, 5), base_url="http://localhost")
        return client.get("/", headers=headers)

    return send


@pytest.mark.parametrize(
    ("keys", "host"),
    [
        ("", "localhost:8765"),
        ("", "LOCALHOST."),
        ("", "plates.localhost"),
        ("", "127.0.0.1:8765"),
        ("", "[::1]:8765"),
        ('host = "0.0.0.0"', "192.168.7.7:8765"),  # an address cannot be made to lead elsewhere
        ('host = "xtal.lab.example"', "xtal.lab.example:8765"),
        ('host = "0.0.0.0"', f"{socket.gethostname()}:8765"),
        ('url = "https://lab.example/xtalgrid"', "lab.example"),
        ('url = "https://lab.example/xtalgrid"', "127.0.0.1:8765"),
        ('hosts = ["Plates.lab.example"]', "plates.lab.example:8080"),
    ],
)
def test_the_viewers_own_names(ask, keys, host):
    assert "CI022987" in ask(keys, {"host": host}).text


@pytest.mark.parametrize(
    ("keys", "host"),
    [
        ("", "evil.example"),
        ("", "evil.example:8765"),
        ("", "localhost.evil.example"),
        ("", "127.0.0.1.evil.example"),
        ("", "127.0.0.1@evil.example"),
        ("", "evil.example#localhost"),
        ("", "2130706433"),  # some browsers take it for an address and send 127.0.0.1
        ("", "[::1"),
        ("", ""),
        ('url = "https://lab.example/xtalgrid"', "evil.example"),
        ('hosts = ["lab.example"]', "not-lab.example"),
        ('host = "0.0.0.0"', "evil.example"),
    ],
)
def test_any_other_name_is_refused_and_the_keys_are_named(ask, keys, host):
    for address in ("10.0.0.9", "127.0.0.1"):
        refused = ask(keys, {"host": host}, address)
        assert refused.status_code == 421 and "viewer.url" in refused.text and "viewer.hosts" in refused.text
        assert "CI022987" not in refused.text and refused.headers["x-content-type-options"] == "nosniff"


def test_two_hosts_are_refused(ask):
    assert ask("", [("host", "localhost"), ("host", "evil.example")]).status_code == 421


def test_a_trusted_web_server_has_its_own_list_until_ours_is_set(ask):
    named = {"host": "plates.lab.example"}
    assert ask(TRUSTED, named, PROXY).status_code == 200
    assert ask(TRUSTED, named, "10.0.0.6").status_code == 421
    assert ask(TRUSTED + 'url = "https://plates.lab.example"', named, PROXY).status_code == 200
    other = TRUSTED + 'url = "https://other.lab.example"'
    assert ask(other, named, PROXY).status_code == 421
    told = {"host": "127.0.0.1:8765", "x-forwarded-host": "plates.lab.example"}  # as Apache sends it
    assert ask(other, told, PROXY).status_code == 421
    assert ask(other, {"host": "x", "forwarded": "host=plates.lab.example"}, PROXY).status_code == 421
    forged = {**told, "x-forwarded-host": "other.lab.example, plates.lab.example"}
    assert ask(other, forged, PROXY).status_code == 421
    assert ask(other + '\nhosts = ["plates.lab.example"]', told, PROXY).status_code == 200


def test_hosts_are_checked_when_the_configuration_is_read(configured):
    for host in ("http://lab.example", "lab.example:8080", "*.lab.example", ""):
        with pytest.raises(ConfigError, match=r"viewer\.hosts: .* is not a host name like"):
            configured(f'hosts = ["{host}"]')


@pytest.mark.parametrize(
    ("keys", "is_sent"),
    [("", False), ('url = "http://lab.example"', False), ('url = "https://lab.example"', True), ("https = true", True)],
)
def test_a_viewer_behind_https_is_never_asked_without_it_again(configured, system, keys, is_sent):
    client = TestClient(create_app(configured(keys)), base_url="http://localhost")
    for address in ("/", "/nothing", "/static/style.css"):
        sent = client.get(address).headers.get("strict-transport-security", "")
        assert sent.startswith("max-age=") is is_sent
