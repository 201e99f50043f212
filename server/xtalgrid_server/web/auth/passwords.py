"""Passwords, hashed with Argon2id (argon2-cffi's defaults, RFC 9106's second recommendation)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 10
"""Characters of a password, at least; NIST SP 800-63B asks for 8."""
LONGEST = 200

_hasher = PasswordHasher()
_dummy_hash = _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Hash a password for the ledger."""
    return _hasher.hash(password)


def verify_password(password_hash: str, password: str) -> bool:
    """Whether a password has this hash. An empty hash (no such user) takes as long to check as any other."""
    if len(password) > LONGEST:
        return False
    try:
        return _hasher.verify(password_hash or _dummy_hash, password) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False
