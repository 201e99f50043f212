"""``xtalgrid viewer``, and what ``xtalgrid serve`` says and opens when it starts."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import ConfigError

from ..config import Config
from ..domain.log import log
from ..steps.step import user
from ..steps.system import System
from ..storage.permissions import readable_secrets
from ..web.auth.authentication import Authentication
from ..web.auth.cookies import Signer
from ..web.proxies import is_among, networks
from .options import check_account, log_access, with_config

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not to listen on
_PATIENCE_S = 20.0
"""How long to wait for the viewer before a browser is started."""

host_option = click.option("--host", help="Address to listen on; default: viewer.host.")
port_option = click.option("--port", type=click.IntRange(1, 65535), help="Port; default: viewer.port.")


@click.group(cls=CommandGroup)
def viewer() -> None:
    """Print what a person or a program needs to be let in by the viewer of this home."""


@viewer.command("link")
@host_option
@port_option
@with_config
def link(config: Config, host: str | None, port: int | None) -> None:
    """Print a new link to sign in with: it works once, within an hour. The one before it does not work any more."""
    if config.viewer.sign_in != "local":
        raise ConfigError(
            f'viewer.sign_in is "{config.viewer.sign_in}", so there is no link: {_how_to_sign_in(config)}'
        )
    check_account(config.home)
    with System(config) as system:
        address = _address(config, host or config.viewer.host, port or config.viewer.port)
        say(_link(config, Authentication(config, system.ledger), address))


@viewer.command("metrics-token")
@with_config
def metrics_token(config: Config) -> None:
    """Print the token with which Prometheus reads /metrics (`authorization` in its configuration)."""
    check_account(config.home)
    say(Signer.of(config.home).metrics_token())


def _how_to_sign_in(config: Config) -> str:
    return {
        "local": "everybody is a guest with read-only access until you sign in (`xtalgrid viewer link`)",
        "users": "people sign in with a password (`xtalgrid user add NAME`)",
        "proxy": f"the web server identifies people ({config.viewer.user_header})",
    }[config.viewer.sign_in]


def announce(config: Config, authentication: Authentication, host: str, port: int) -> str:
    """Print where the viewer is, how people sign in, and what is not safe about it.

    Returns
    -------
    The address to open in a browser; with `sign_in = "local"` a link that signs in.
    """
    for line in start_warnings(config, host):
        log.warning("viewer: %s", line)
    say(f"{_web_address(host, port)}  {_how_to_sign_in(config)}")
    address = _address(config, host, port)
    if config.viewer.sign_in == "local" and not _goes_to_journal():
        address = _link(config, authentication, address)
        say(f"to sign in as {user()}, open this link, once and within an hour:")
        say(address)
    return address


def start_warnings(config: Config, host: str) -> Iterator[str]:
    """Yield a line for each secret that others of this machine or of the network can read."""
    yield from readable_secrets(config)
    is_local = host == "localhost" or is_among(host, networks(("127.0.0.0/8", "::1")))
    if config.viewer.sign_in == "users" and not is_local and not config.viewer.is_https:
        yield (
            f"passwords come to {host} by plain HTTP, which others on the network can read: put a web server with "
            "HTTPS in front of the viewer, and set viewer.url to its address (docs/viewer.md, Behind a web server)"
        )


def _link(config: Config, authentication: Authentication, address: str) -> str:
    code = authentication.links.make(user())
    log_access(config, "link")
    return f"{address}sign-in/link?code={code}"


def _address(config: Config, host: str, port: int) -> str:
    """Return where a browser on this machine finds the viewer, with a slash at its end."""
    if config.viewer.url:
        return config.viewer.url.rstrip("/") + "/"
    return _web_address(_ANY_ADDRESS.get(host, host), port)


def _web_address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _goes_to_journal() -> bool:
    """Whether what we print is kept by systemd, whose journal several accounts may read."""
    try:
        about = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


@contextmanager
def browser(home: Path, host: str, port: int, address: str) -> Iterator[None]:
    """Open an address in a browser as soon as the viewer answers.

    The browser gets it in a file: other accounts can read a program's arguments.
    """
    page = home / "open-viewer.html"
    page.unlink(missing_ok=True)
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(f'<!doctype html><title>xtalgrid</title><meta http-equiv="refresh" content="0; url={address}">\n')

    def open_it() -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection((_ANY_ADDRESS.get(host, host), port), timeout=1).close()
                webbrowser.open(page.as_uri())
                return
            time.sleep(0.1)

    threading.Thread(target=open_it, daemon=True).start()
    try:
        yield
    finally:
        page.unlink(missing_ok=True)
