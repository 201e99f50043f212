"""Sessions of the viewer's own users: begun with a password, kept in the ledger, ended at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from ...config import Config
from ...ledger.database import now
from ...ledger.store import Ledger
from ..proxies import reached
from .attempts import SHORT_WAIT, Attempts
from .cookies import KNOWN, SESSION, Signer, new_nonce, read_cookie
from .passwords import hash_password, verify_password

_MAX_QUEUE = 40
"""Attempts that wait for others to be checked. With more, people are asked to try again."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session for the cookie `SESSION` and a mark for the cookie `KNOWN`, or why there is none.

    `wait` are the seconds until the next attempt; 0 without a session: wrong name or password.
    """

    token: str = ""
    known: str = ""
    wait: float = 0.0


class Sessions:
    """The sessions of one viewer."""

    def __init__(self, config: Config, ledger: Ledger, signer: Signer) -> None:
        self._ledger, self._signer = ledger, signer
        self._lasts = timedelta(hours=config.viewer.session_hours)
        self._attempts = Attempts(ledger.sign_ins)
        # A check takes 64 MB, so there is one at a time, and one of browsers that people have used before.
        self._strangers, self._known = CapacityLimiter(1), CapacityLimiter(1)

    def name(self, request: Request) -> str:
        """Return whose session a request belongs to; empty if there is none."""
        token = read_cookie(request, SESSION)
        return self._ledger.sign_ins.session_user(self._signer.token_hash(token), self._oldest()) if token else ""

    async def begin(self, request: Request, name: str, password: str, new_password: str = "") -> Begun:
        """Check a name and password, and begin a session in place of the browser's last.

        Parameters
        ----------
        new_password
            The password to have from now on; empty: the same.
        """
        browser = self._signer.read_known(read_cookie(request, KNOWN), name)
        queue = self._known if browser else self._strangers
        if queue.statistics().tasks_waiting >= _MAX_QUEUE:
            return Begun(wait=SHORT_WAIT)
        begin = partial(self._begin, request, browser, name, password, new_password)
        begun = await to_thread.run_sync(begin, limiter=queue)
        if 0 < begun.wait <= SHORT_WAIT:
            await anyio.sleep(begun.wait)
            begun = await to_thread.run_sync(begin, limiter=queue)
        return begun

    def user_named(self, name: str) -> str:
        """Return the name if it is a user's, otherwise an empty string: people type passwords into this field too."""
        return name if name.isprintable() and self._ledger.users.password(name) else ""

    def end(self, request: Request) -> str:
        """End the browser's session, if there is one; return whose it was."""
        return self._ledger.sign_ins.end_session(self._signer.token_hash(read_cookie(request, SESSION)))

    def _begin(self, request: Request, browser: str, name: str, password: str, new_password: str) -> Begun:
        address = reached(request).client
        if wait := self._attempts.begin(name, address, browser):
            return Begun(wait=wait)
        password_hash = self._ledger.users.password(name) if name.isprintable() else ""  # PostgreSQL takes no NUL
        if not verify_password(password_hash, password):
            return Begun()
        self._attempts.succeeded(name, address, browser)
        if new_password:
            password_hash = hash_password(new_password)
            self._ledger.users.set_password(name, password_hash, name)
        self.end(request)
        token = new_nonce()
        token_hash = self._signer.token_hash(token)
        self._ledger.sign_ins.begin_session(name, password_hash, token_hash, self._oldest())
        return Begun(token, self._signer.known(name))

    def _oldest(self) -> datetime:
        return now() - self._lasts
