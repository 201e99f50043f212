"""Letters of names: one way to write each.

macOS writes ``ü`` in names of files as ``u`` and a mark, keyboards and spreadsheets as one letter. Both look alike, and
are different texts to a database.
"""

from __future__ import annotations

import re
import unicodedata


def composed(text: str) -> str:
    r"""Return text with each letter and its marks as one letter where there is one.

    Examples
    --------
    >>> composed("Mu\u0308ller") == "M\u00fcller"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    r"""Return text as it is compared where neither case nor the way to write a letter matters.

    Examples
    --------
    >>> folded("MU\u0308LLER") == folded("M\u00fcller")
    True
    """
    return text.casefold() if text.isascii() else composed(composed(text).casefold())


def ascii_part(text: str) -> str:
    """Return the longest part that is written in one way only, for databases: some fold ASCII letters alone."""
    return max(re.split(r"[^\x00-\x7f]+", composed(text)), key=len)


def spellings(text: str) -> set[str]:
    """Return a text as it is, with its letters composed, and with them divided into letters and marks."""
    return {text} if text.isascii() else {text, composed(text), unicodedata.normalize("NFD", text)}


def is_mark(character: str) -> bool:
    """Tell whether a character belongs to the letter before it, as vowels of Hindi and Thai do."""
    return not character.isascii() and unicodedata.category(character).startswith("M")
