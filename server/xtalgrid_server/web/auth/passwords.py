"""Passwords, hashed with Argon2id (argon2-cffi's defaults, RFC 9106's second recommendation), and which are refused."""

from __future__ import annotations

import gzip
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST = 10
"""Characters of a password, at least; NIST SP 800-63B asks for 8."""
LONGEST = 200

_OUR_WORDS = frozenset({"xtalgrid", "crystal", "crystals", "crystallization", "crystallography", "artscore", "protein"})
_LOOKALIKES = str.maketrans("@4310$57!", "aaeiosstl")
_NOT_LETTERS = "".join(map(chr, range(33, 65))) + "[\\]^_`{|}~ "


def password_problem(name: str, password: str) -> str:
    """Say why a person should not have this password, or return an empty string."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"it has {len(password)} characters; use at least {SHORTEST}, at most {LONGEST}"
    folded = password.casefold()
    spelled = folded.translate(_LOOKALIKES)
    bare = [text.strip(_NOT_LETTERS) for text in (folded, spelled)]
    words = {folded, spelled, *bare, bare[0].translate(_LOOKALIKES)}
    if words & (_common_passwords() | _OUR_WORDS | {name.casefold()}) or _is_series(folded):
        return "it is among the first that others guess; put together several words that nobody would expect"
    return ""


def _is_series(text: str) -> bool:
    """Whether a text repeats its beginning, or each character follows the one before, as in an alphabet."""
    repeats = any(text == (text[:n] * len(text))[: len(text)] for n in range(1, len(text) // 2 + 1))
    return repeats or len({ord(b) - ord(a) for a, b in pairwise(text)}) == 1


@cache
def _common_passwords() -> frozenset[str]:
    """Return the 10,000 most common passwords (from zxcvbn, see NOTICE)."""
    packed = (Path(__file__).parent / "common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split("\n"))


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # most commands need none

    return PasswordHasher()


@cache
def _dummy_hash() -> str:
    return _hasher().hash("nobody has this password")


def hash_password(password: str) -> str:
    """Hash a password for the ledger."""
    return _hasher().hash(password)


def verify_password(password_hash: str, password: str) -> bool:
    """Whether a password has this hash. An empty hash (no such user) takes as long to check as any other."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > LONGEST:
        return False
    otherwise = _dummy_hash()  # whoever asks first waits for it, with a user's name too
    try:
        return _hasher().verify(password_hash or otherwise, password) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False
