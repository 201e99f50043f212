"""What a browser keeps for us: a signed session, and a random nonce that forms are bound to.

Forms carry a signature of the nonce and of the person's name, which no other site can read: OWASP's signed
double-submit cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request

from xtalgrid_core.errors import ConfigError

SESSION = "xtalgrid_session"
FORMS = "xtalgrid_forms"

_BYTES = 32


def secret_key(path: Path) -> bytes:
    """Read the key that signs cookies, or make it at the first start; only its owner can read it.

    If it is lost, everyone has to sign in again.

    Raises
    ------
    ConfigError
        If it cannot be read or made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read or write {path}: {error.strerror}; check the permissions of home") from error
    if len(key) < _BYTES:
        raise ConfigError(f"{path}: has {len(key)} bytes instead of {_BYTES}; remove it and start again")
    return key


def read_cookie(request: Request, name: str) -> str:
    """Return a cookie's value; empty if there is none.

    Browsers send the one with the longest path first. Another viewer of this host may have set one for all paths.
    """
    parts = [part.strip().partition("=") for value in request.headers.getlist("cookie") for part in value.split(";")]
    return next((value for key, _, value in parts if key == name), "")


class Signer:
    """Signs and checks what browsers keep."""

    def __init__(self, key: bytes, session_seconds: float) -> None:
        self._key = key
        self._sessions = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._seconds = session_seconds

    def session(self, name: str, password_hash: str) -> str:
        """Make the session of a person. It is bound to their password's hash, so that a new password ends it."""
        return self._sessions.dumps([name, self._mark(password_hash)])

    def read_session(self, session: str) -> tuple[str, str]:
        """Return (name, mark of the password) of a session; empty strings if it is not ours or too old."""
        try:
            name, mark = self._sessions.loads(session, max_age=int(self._seconds))
        except (BadSignature, ValueError, TypeError):
            return "", ""
        return str(name), str(mark)

    def is_current(self, mark: str, password_hash: str) -> bool:
        """Whether a session was made with the password that has this hash."""
        return bool(password_hash) and hmac.compare_digest(mark, self._mark(password_hash))

    def form_token(self, nonce: str, name: str) -> str:
        """Sign the forms that a browser with this nonce gets while this person is signed in."""
        return hmac.new(self._key, f"form\n{nonce}\n{name}".encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, token: str, nonce: str, name: str) -> bool:
        """Whether we sent a form with this token to this browser."""
        return bool(nonce) and hmac.compare_digest(token.encode(), self.form_token(nonce, name).encode())

    def _mark(self, password_hash: str) -> str:
        return hmac.new(self._key, f"password\n{password_hash}".encode(), hashlib.sha256).hexdigest()[:32]


def new_nonce() -> str:
    """Make a nonce for a browser that has none."""
    return secrets.token_urlsafe(24)
