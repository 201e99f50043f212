"""Authentication: which person sends a request."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from ...config import Config
from ...ledger.store import Ledger
from ..proxies import is_forwarded, is_from, networks
from .cookies import Signer
from .links import Links
from .sessions import Sessions
from .tokens import Tokens

LONGEST_NAME = 30
"""Characters of a name, as in the score table's SCOREDBY."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who views pages; a guest has no name.

    `may_review`: may approve and reject held scores. `groups`: as the web server in front of the viewer told them.
    """

    name: str = ""
    may_review: bool = False
    groups: frozenset[str] = frozenset()

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
    if config.viewer.write_scores and len(name.encode()) > LONGEST_NAME:  # Oracle's VARCHAR2(30) counts bytes
        return f"a name must have at most {LONGEST_NAME} bytes, because viewer.write_scores puts it into SCOREDBY"
    if name.lower() in (program.lower() for program in config.imager.programs):
        return f"{name} is a program's name (imager.scored_by, imager.automatic); choose another"
    return ""


class Authentication:
    """Identifies visitors in the way that `viewer.sign_in` configures."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._settings = config.viewer
        reviewers = config.viewer.reviewers
        self._reviewers = {name for name in reviewers if not name.startswith("@")}
        self._reviewing_groups = {name[1:] for name in reviewers if name.startswith("@")}
        self._trusted = networks(config.viewer.trusted_proxies)
        self.signer = Signer.of(config.home)
        self.sessions = Sessions(config, ledger, self.signer)
        self.links = Links(config, ledger.sign_ins, self.signer)
        self.tokens = Tokens(config, ledger, self.signer)

    @property
    def has_sign_in_form(self) -> bool:
        """Whether people sign in with a form of the viewer."""
        return self._settings.sign_in == "users"

    @property
    def has_sessions(self) -> bool:
        """Whether people can sign out."""
        return self._settings.sign_in != "proxy"

    def visitor(self, request: Request) -> Visitor:
        """Identify the person whose browser sends a request."""
        identify = {"local": self.links.name, "users": self.sessions.name, "proxy": self._proxy_name}
        name = identify[self._settings.sign_in](request)
        if name_problem(self._config, name):
            return GUEST
        groups = self._groups(request)
        may_review = not self._settings.reviewers or name in self._reviewers
        return Visitor(name, may_review or not self._reviewing_groups.isdisjoint(groups), groups)

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

    def _proxy_name(self, request: Request) -> str:
        return self._told(request, self._settings.user_header).strip()

    def _groups(self, request: Request) -> frozenset[str]:
        header = self._settings.groups_header
        told = self._told(request, header).split(",") if header else []
        return frozenset(group.strip() for group in told if group.strip())

    def _told(self, request: Request, header: str) -> str:
        """Return a header of a trusted web server; empty if it is not there, or twice."""
        values = request.headers.getlist(header)
        return values[0] if len(values) == 1 and is_from(request, self._trusted) else ""
