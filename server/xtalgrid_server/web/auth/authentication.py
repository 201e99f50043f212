"""Who a request is from."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request

from ...config import Config
from ...ledger.store import Ledger
from ...steps.step import user
from .attempts import Attempts
from .cookies import SESSION, Signer, secret_key
from .passwords import matches

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of requests that came through a web server, so not from this machine."""

_HERE = ("localhost", "127.0.0.1", "[::1]")
"""Names by which a browser of this machine calls it. Another name that leads here may be a page's trick (DNS rebinding)."""

LONGEST_NAME = 30
"""As the score table's SCOREDBY."""

_REMEMBERED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page; a guest has no name. `may_review`: approve and reject held scores."""

    name: str = ""
    may_review: bool = False

    @property
    def may_score(self) -> bool:
        """Whether they may give scores: everyone with a name."""
        return bool(self.name)


GUEST = Visitor()


def why_no_name(config: Config, name: str) -> str:
    """Why people cannot have this name, which stands in SCOREDBY beside the programs'; empty where they can."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        return f"a name has 1 to {LONGEST_NAME} characters"
    if name.lower() in (program.lower() for program in config.imager.programs):
        return f"{name} is a program's name (imager.scored_by, imager.automatic); take another"
    return ""


class Doors:
    """Knows who a request is from, by the configured way."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._settings = config.viewer
        self._ledger = ledger
        self._trusted = networks(config.viewer.trusted_proxies)
        self._me = user()
        self._kept: dict[str, tuple[float, str]] = {}
        self.signer = Signer(secret_key(config.home / "viewer.key"), config.viewer.session_hours * 3600)
        self._by_name = Attempts(10, 900)
        self._by_address = Attempts(20, 900)

    @property
    def has_form(self) -> bool:
        """Whether people sign in here, by a form."""
        return self._settings.sign_in == "users"

    def visitor(self, request: Request) -> Visitor:
        """Who a request is from."""
        ways = {"local": self._local, "users": self._session, "proxy": self._proxy}
        name = ways[self._settings.sign_in](request)
        if why_no_name(self._config, name):
            return GUEST
        return Visitor(name, not self._settings.reviewers or name in self._settings.reviewers)

    def sign_in(self, name: str, password: str, address: str) -> tuple[str, float]:
        """(session, 0) for the right password; else ("", seconds to wait before the next attempt)."""
        keys = (self._by_name, name.lower()), (self._by_address, address)
        waits = [attempts.wait(key) for attempts, key in keys]
        if any(waits):
            return "", max(waits)
        kept = self._ledger.visits.password(name)
        if not matches(kept, password):
            for attempts, key in keys:
                attempts.failed(key)
            return "", 0.0
        self._by_name.succeeded(name.lower())
        return self.signer.session(name, kept), 0.0

    def _session(self, request: Request) -> str:
        name, mark = self.signer.person(request.cookies.get(SESSION, ""))
        return name if name and self.signer.holds(mark, self._password(name)) else ""

    def _password(self, name: str) -> str:
        """The kept hash, asked of the ledger every ten seconds at most: a plate is 300 requests."""
        then, kept = self._kept.get(name, (-_REMEMBERED_SECONDS, ""))
        if time.monotonic() - then >= _REMEMBERED_SECONDS:
            kept = self._ledger.visits.password(name)
            self._kept[name] = time.monotonic(), kept
        return kept

    def _local(self, request: Request) -> str:
        host = request.headers.get("host", "").rsplit(":", 1)[0] or "localhost"
        forwarded = any(header in request.headers for header in _FORWARDED)
        return self._me if _is_loopback(request) and host in _HERE and not forwarded else ""

    def _proxy(self, request: Request) -> str:
        names = request.headers.getlist(self._settings.user_header)
        return names[0].strip() if len(names) == 1 and is_from(request, self._trusted) else ""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(addresses: Iterable[str]) -> list[Network]:
    """Networks from their names; a single address is one too."""
    return [ipaddress.ip_network(address, strict=False) for address in addresses]


def is_from(request: Request, among: Iterable[Network]) -> bool:
    """Whether the connection itself comes from one of these networks, whatever its headers say."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in among)


def _is_loopback(request: Request) -> bool:
    """Whether the connection comes from this machine."""
    return is_from(request, networks(("127.0.0.0/8", "::1")))
