"""BOINC's signatures of app versions: a client runs only files signed with its project's code signing key.

A signature is RSA, PKCS #1 v1.5 without a name of the hash, of the file's MD5 in hexadecimal digits (BOINC's
``lib/crypt.cpp``). Only checking is done here, with the public key; ``bin/sign_executable`` signs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from xtalgrid_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key of `bits` bits."""

    bits: int
    modulus: int
    exponent: int


def read_public_key(path: Path) -> PublicKey:
    """Read ``code_sign_public``: a line with the number of bits, then modulus and exponent as equally long hex numbers.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is not such a key.
    """
    try:
        first, _, rest = path.read_text(encoding="ascii").partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as BOINC's code_sign_public ({error}); name it by --key") from error
    digits = _digits(rest)
    if not first.isdigit() or not digits or len(digits) % 4:
        raise ConfigError(f"{path} is not BOINC's code_sign_public; name that by --key")
    half = len(digits) // 2
    return PublicKey(int(first), int(digits[:half], 16), int(digits[half:], 16))


def signature_fault(program: Path, key: PublicKey) -> str | None:
    """Say what is wrong with the signature beside a program, ``<program>.sig``; None if clients will accept it."""
    signature = program.with_name(f"{program.name}.sig")
    digits = _digits(signature.read_text(errors="replace")) if signature.is_file() else ""
    if not digits:
        return "unsigned"
    length = (key.bits + 7) // 8
    signed = hashlib.md5(program.read_bytes(), usedforsecurity=False).hexdigest().encode()
    padded = b"\0\1" + b"\xff" * (length - 3 - len(signed)) + b"\0" + signed
    right = pow(int(digits, 16), key.exponent, key.modulus) == int.from_bytes(padded, "big")
    return None if right else "signed with another key, or changed since"


def _digits(text: str) -> str:
    """Return the hexadecimal digits up to the line with a dot."""
    text = "".join(text.partition(".")[0].split())
    return text if re.fullmatch(r"[0-9a-f]*", text) else ""
