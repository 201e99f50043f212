"""Passwords: hashed with Argon2id (argon2-cffi's defaults, RFC 9106's second recommendation)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 10
"""Characters of a password, at least; NIST SP 800-63B asks for 8."""
LONGEST = 200

_hasher = PasswordHasher()
_nobodys = _hasher.hash("nobody has this password")


def hashed(password: str) -> str:
    """The hash that is kept."""
    return _hasher.hash(password)


def matches(kept: str, password: str) -> bool:
    """Whether a password is the one behind a hash. An empty hash (no such user) takes as long as any other."""
    if len(password) > LONGEST:
        return False
    try:
        return _hasher.verify(kept or _nobodys, password) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False
