"""What a browser keeps for us: a session's token, who signed in with it, and a random nonce that forms are bound to.

The ledger has only a session's hash. Forms carry a signature of the nonce and of the person's name, which no other
site can read: OWASP's signed double-submit cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from starlette.requests import Request

from xtalgrid_core.errors import ConfigError

SESSION = "xtalgrid_session"
KNOWN = "xtalgrid_known"
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
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read or write {path}: {error.strerror}; check the permissions of home and the free disk space"
        ) from error
    if len(key) < _BYTES:
        raise ConfigError(f"{path}: has {len(key)} bytes instead of {_BYTES}; remove it and start again")
    return key


def _make_key(path: Path) -> None:
    """Make a key, whole or not at all; of two programs that begin at once, the first one's stays."""
    own = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            own.replace(path)
    finally:
        own.unlink(missing_ok=True)


def read_cookie(request: Request, name: str) -> str:
    """Return a cookie's value; empty if there is none.

    Browsers send the one with the longest path first. Another viewer of this host may have set one for all paths.
    """
    parts = [part.strip().partition("=") for value in request.headers.getlist("cookie") for part in value.split(";")]
    return next((value for key, _, value in parts if key == name), "")


class Signer:
    """Signs and checks what browsers keep."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, home: Path) -> Signer:
        """Return the signer of a home's viewer; raises ConfigError if its key cannot be read or made."""
        return cls(secret_key(home / "viewer.key"))

    def token_hash(self, token: str) -> str:
        """Hash a session's token for the ledger."""
        return self._sign("session", token)

    def code_hash(self, code: str) -> str:
        """Hash the code of a one-time link for the ledger."""
        return self._sign("link", code)

    def program_hash(self, token: str) -> str:
        """Hash a program's token for the ledger."""
        return self._sign("program", token)

    def metrics_token(self) -> str:
        """Return what a program sends to read /metrics."""
        return self._sign("metrics")

    def known(self, name: str) -> str:
        """Mark a browser as one from which this person has signed in."""
        mark = new_nonce()
        return f"{mark}.{self._sign('known', mark, name)}"

    def read_known(self, value: str, name: str) -> str:
        """Return the mark of a browser from which this person has signed in before, otherwise an empty string."""
        mark, _, signature = value.partition(".")
        return mark if hmac.compare_digest(signature.encode(), self._sign("known", mark, name).encode()) else ""

    def form_token(self, nonce: str, name: str) -> str:
        """Sign the forms that a browser with this nonce gets while this person is signed in."""
        return self._sign("form", nonce, name)

    def is_form_token(self, token: str, nonce: str, name: str) -> bool:
        """Whether we sent a form with this token to this browser."""
        return bool(nonce) and hmac.compare_digest(token.encode(), self.form_token(nonce, name).encode())

    def browser(self, nonce: str) -> str:
        """Name a browser's session for the ledger, without saying its nonce."""
        return self._sign("browser", nonce)[:16]

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def new_nonce() -> str:
    """Make a nonce for a browser that has none, or a session's token."""
    return secrets.token_urlsafe(24)
