"""Tokens of programs: each acts in the name of the person who made it, at the JSON addresses and where it reads.

A program sends its token in the header ``Authorization: Bearer``. It is never looked for in an address or a cookie,
and where one is sent, cookies and a web server's header name nobody.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NoReturn

from starlette.requests import Request

from xtalgrid_core.errors import ConfigError

from ...config import Config
from ...ledger.store import Ledger
from ...ledger.tokens import SCOPES, Scope, Token
from ...storage.access_log import AccessLog
from ..proxies import reached
from .attempts import Attempts
from .cookies import Signer, new_nonce

PREFIX = "xtalgrid_"
"""What a token begins with, so that people and secret scanners know it when they see one."""

LONGEST_LABEL = 60
DAYS = (1, 366)
"""For how many days a token may last."""
USUAL_DAYS = 90

_API = "/api/"


class Tokens:
    """The tokens of one viewer."""

    def __init__(self, config: Config, ledger: Ledger, signer: Signer) -> None:
        self._config, self._ledger, self._signer = config, ledger, signer
        self._attempts, self._access_log = Attempts(ledger.sign_ins), AccessLog(config)

    def make(self, who: str, label: str, scope: str, days: int, made_by: str) -> str:
        """Make a token for a person and return its text, which is kept nowhere.

        Parameters
        ----------
        label
            What the person calls it; empty: the first of "token 1", "token 2" … that is free.

        Raises
        ------
        ConfigError
            If name, scope or days cannot be.
        LedgerError
            If the person has a token of this name, or too many.
        """
        label = " ".join(label.split()) or self._free_label(who)
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise ConfigError(f"a token's name must have 1 to {LONGEST_LABEL} characters that can be printed")
        known: dict[str, Scope] = {one: one for one in SCOPES}
        if scope not in known:
            raise ConfigError(f"{scope!r} is no scope of a token; choose from: {', '.join(SCOPES)}")
        if not DAYS[0] <= days <= DAYS[1]:
            raise ConfigError(f"a token lasts {DAYS[0]} to {DAYS[1]} days, not {days}")
        text = PREFIX + new_nonce()
        hashed = self._signer.program_hash(text)
        self._ledger.tokens.add(who, label, known[scope], hashed, made_by, timedelta(days=days))
        return text

    def of(self, request: Request) -> Token | None:
        """Return the token that a request was sent with; None if it has none.

        Elsewhere than at the JSON addresses, only what begins like ours counts: web servers send tokens of their own.

        Raises
        ------
        HTTPException
            401 if it does not work, 429 after too many of those; both say what to do.
        """
        sent = [value.partition(" ") for value in request.headers.getlist("authorization")]
        texts = [text.strip() for scheme, _, text in sent if scheme.lower() == "bearer"]
        if not request.scope["path"].startswith(_API):
            texts = [text for text in texts if text.startswith(PREFIX)]
        if not texts:
            return None
        hashed = self._signer.program_hash(texts[0])
        token = self._ledger.tokens.with_hash(hashed) if len(texts) == 1 else None
        problem = self._problem(token)
        if token is None or problem:
            self._refuse(request, hashed, token, problem)
        self._ledger.tokens.set_used(token)
        return token

    def _problem(self, token: Token | None) -> str:
        """Say why a token does not work; empty if it does."""
        if token is None:
            return "There is no such token; send one as Authorization: Bearer xtalgrid_…"
        if token.ended:
            return f"The token {token.label!r} of {token.who} {token.ended}."
        if self._config.viewer.sign_in == "users" and not self._ledger.users.password(token.who):
            return f"{token.who} is no user of this viewer any more."
        return ""

    def _refuse(self, request: Request, hashed: str, token: Token | None, problem: str) -> NoReturn:
        """Count and log a token that does not work. One that works is never held up by others' attempts."""
        from fastapi import HTTPException  # the commands read this module too, and FastAPI takes a second

        address = reached(request).client
        wait = self._attempts.begin(f"token {hashed}", address, "")
        who, about = (token.who, {"token": token.label}) if token else ("", {})
        self._access_log.write("token", who, address, "delayed" if wait else "refused", **about)
        advice = "People make tokens at /tokens in the viewer, and operators with `xtalgrid token add NAME`."
        if wait:
            later = {"Retry-After": str(math.ceil(wait))}
            raise HTTPException(429, f"{problem} Too many wrong tokens: try again in {math.ceil(wait)} s.", later)
        raise HTTPException(401, f"{problem} {advice}", {"WWW-Authenticate": "Bearer"})

    def _free_label(self, who: str) -> str:
        taken = {token.label for token in self._ledger.tokens.working(who)}
        return next(label for number in range(1, len(taken) + 2) if (label := f"token {number}") not in taken)
