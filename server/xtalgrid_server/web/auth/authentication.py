"""Authentication: which person sends a request."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request

from ...config import Config
from ...ledger.store import Ledger
from ...steps.step import user
from ..proxies import is_forwarded, is_from, networks, place
from .attempts import Attempts
from .cookies import SESSION, Signer, read_cookie, secret_key
from .passwords import verify_password

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Host names that a browser on this machine uses. Any other name that leads here may be an attack (DNS rebinding)."""

LONGEST_NAME = 30
"""Characters of a name, as in the score table's SCOREDBY."""

_CACHE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who views pages; a guest has no name. `may_review`: may approve and reject held scores."""

    name: str = ""
    may_review: bool = False

    @property
    def may_score(self) -> bool:
        """Whether this visitor may score drops: everyone with a name may."""
        return bool(self.name)


GUEST = Visitor()


def name_problem(config: Config, name: str) -> str:
    """Say why a person cannot have this name, or return an empty string.

    People's names appear in SCOREDBY next to those of programs.
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        return f"a name must have 1 to {LONGEST_NAME} characters"
    if name.lower() in (program.lower() for program in config.imager.programs):
        return f"{name} is a program's name (imager.scored_by, imager.automatic); choose another"
    return ""


class Authentication:
    """Identifies visitors in the way that `viewer.sign_in` configures."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._settings = config.viewer
        self._ledger = ledger
        self._trusted = networks(config.viewer.trusted_proxies)
        self._account = user()
        self._password_hashes: dict[str, tuple[float, str]] = {}
        self.signer = Signer(secret_key(config.home / "viewer.key"), config.viewer.session_hours * 3600)
        self._by_name = Attempts(10, 900)
        self._by_address = Attempts(20, 900)

    @property
    def has_sign_in_form(self) -> bool:
        """Whether people sign in with a form of the viewer."""
        return self._settings.sign_in == "users"

    def visitor(self, request: Request) -> Visitor:
        """Identify the person who sends a request."""
        identify = {"local": self._local_name, "users": self._session_name, "proxy": self._proxy_name}
        name = identify[self._settings.sign_in](request)
        if name_problem(self._config, name):
            return GUEST
        return Visitor(name, not self._settings.reviewers or name in self._settings.reviewers)

    def why_guest(self, request: Request) -> str:
        """Say which setting lets a guest's request name nobody; empty if there is nothing to set."""
        header, sent = self._settings.user_header, request.headers.getlist(self._settings.user_header)
        peer = request.client.host if request.client else "an unknown address"
        if self._settings.sign_in == "local" and is_forwarded(request):
            return 'You came through a web server, so set viewer.sign_in = "proxy" or "users".'
        if self._settings.sign_in != "proxy":
            return ""
        if not is_from(request, self._trusted):
            return f"Your request came from {peer}, which is not in viewer.trusted_proxies."
        if len(sent) != 1:
            times = f"{len(sent)} times: it has to replace the browser's own" if sent else "not at all"
            return f"The web server sent the header {header} {times} (docs/viewer.md, Behind a web server)."
        problem = name_problem(self._config, sent[0].strip())
        return f"The web server sent {header}: {sent[0]!r}, but {problem}." if problem else ""

    def sign_in(self, name: str, password: str, address: str) -> tuple[str, float]:
        """Check a name and password.

        Returns
        -------
        The session and 0 if they are right; otherwise an empty string and the seconds to wait before the next attempt.
        """
        keys = (self._by_name, name.lower()), (self._by_address, address)
        waits = [attempts.wait(key) for attempts, key in keys]
        if any(waits):
            return "", max(waits)
        password_hash = self._ledger.users.password(name)
        if not verify_password(password_hash, password):
            for attempts, key in keys:
                attempts.failed(key)
            return "", 0.0
        self._by_name.succeeded(name.lower())
        return self.signer.session(name, password_hash), 0.0

    def _session_name(self, request: Request) -> str:
        name, mark = self.signer.read_session(read_cookie(request, SESSION))
        return name if name and self.signer.is_current(mark, self._password_hash(name)) else ""

    def _password_hash(self, name: str) -> str:
        """Return a user's password hash; read from the ledger every ten seconds at most, as a plate is 300 requests."""
        read_at, password_hash = self._password_hashes.get(name, (-_CACHE_SECONDS, ""))
        if time.monotonic() - read_at >= _CACHE_SECONDS:
            password_hash = self._ledger.users.password(name)
            self._password_hashes[name] = time.monotonic(), password_hash
        return password_hash

    def _local_name(self, request: Request) -> str:
        # A web server may put its own host in place of the browser's, but it leaves the form's origin alone.
        addresses = (request.headers.get(name, "localhost") for name in ("host", "origin"))
        is_local = all(place(address)[0] in _LOCAL_HOSTS for address in addresses)
        return self._account if _is_loopback(request) and is_local and not is_forwarded(request) else ""

    def _proxy_name(self, request: Request) -> str:
        names = request.headers.getlist(self._settings.user_header)
        return names[0].strip() if len(names) == 1 and is_from(request, self._trusted) else ""


def _is_loopback(request: Request) -> bool:
    """Whether the connection comes from this machine."""
    return is_from(request, networks(("127.0.0.0/8", "::1")))
