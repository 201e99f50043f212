"""What a browser keeps for us: a signed session, and a random word that forms are bound to.

Forms carry a signature of that word and of the person's name, which no other site can read: OWASP's signed double-submit cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer

from xtalgrid_core.errors import ConfigError

SESSION = "xtalgrid_session"
FORMS = "xtalgrid_forms"

_BYTES = 32


def secret_key(path: Path) -> bytes:
    """The key that signs cookies, made at the first start; only its owner can read it. Without it everyone signs in anew.

    Raises
    ------
    ConfigError
        When it cannot be read or made.
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
        raise ConfigError(f"{path}: cannot be read or written ({error.strerror}); check home's permissions") from error
    if len(key) < _BYTES:
        raise ConfigError(f"{path}: has {len(key)} bytes, {_BYTES} are needed; remove it and start again")
    return key


class Signer:
    """Signs and reads what browsers keep."""

    def __init__(self, key: bytes, session_seconds: float) -> None:
        self._key = key
        self._sessions = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._seconds = session_seconds

    def session(self, name: str, kept: str) -> str:
        """The session of somebody whose password's hash is `kept`: a new password ends it."""
        return self._sessions.dumps([name, self._mark(kept)])

    def person(self, session: str) -> tuple[str, str]:
        """(name, mark of the password) of a session; empty where it is none of ours or too old."""
        try:
            name, mark = self._sessions.loads(session, max_age=int(self._seconds))
        except (BadSignature, ValueError, TypeError):
            return "", ""
        return str(name), str(mark)

    def holds(self, mark: str, kept: str) -> bool:
        """Whether a session's mark is of the password whose hash is `kept`."""
        return bool(kept) and hmac.compare_digest(mark, self._mark(kept))

    def form(self, word: str, name: str) -> str:
        """What the forms of a browser with this word carry while this person is signed in."""
        return hmac.new(self._key, f"form\n{word}\n{name}".encode(), hashlib.sha256).hexdigest()

    def is_form(self, token: str, word: str, name: str) -> bool:
        """Whether a form is one that we sent to this browser."""
        return bool(word) and hmac.compare_digest(token.encode(), self.form(word, name).encode())

    def _mark(self, kept: str) -> str:
        return hmac.new(self._key, f"password\n{kept}".encode(), hashlib.sha256).hexdigest()[:32]


def new_word() -> str:
    """A word for a browser that has none."""
    return secrets.token_urlsafe(24)
