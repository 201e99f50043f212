"""One-time links: how the account that runs the viewer signs in with `sign_in = "local"`.

Only who can read `home/viewer.key` and write the ledger can make one, so it proves the same account, whatever address
a request comes from: web servers on this machine, and its other accounts, have the same one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.requests import Request

from ...config import Config
from ...ledger.database import now
from ...ledger.sign_ins import SignIns
from .cookies import SESSION, Signer, new_nonce, read_cookie

WORKS = timedelta(hours=1)
"""For how long a link may be used."""


class Links:
    """The one-time links of one viewer, and the sessions that they began."""

    def __init__(self, config: Config, ledger: SignIns, signer: Signer) -> None:
        self._ledger, self._signer = ledger, signer
        self._lasts = timedelta(hours=config.viewer.session_hours)

    def make(self, who: str) -> str:
        """Make a link for an account, and return the code with which it ends."""
        code = new_nonce()
        self._ledger.add_link(who, self._signer.code_hash(code), self._oldest())
        return code

    def begin(self, code: str) -> tuple[str, str]:
        """Begin a session in place of the link; return the token for the cookie `SESSION`, and whose it is.

        Both are empty if the link is of no use any more.
        """
        token = new_nonce()
        who = self._ledger.use_link(self._signer.code_hash(code), self._signer.token_hash(token), now() - WORKS)
        return (token, who) if who else ("", "")

    def name(self, request: Request) -> str:
        """Return whose session a request belongs to; empty if there is none."""
        token = read_cookie(request, SESSION)
        return self._ledger.link_user(self._signer.token_hash(token), self._oldest()) if token else ""

    def _oldest(self) -> datetime:
        return now() - self._lasts
