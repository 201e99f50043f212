"""Letters of names: one way to write each.

macOS writes ``ü`` in names of files as ``u`` and a mark, keyboards and spreadsheets as one letter. Both look alike, and
are different texts to a database.
"""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    r"""Return text with each letter and its marks as one letter where there is one.

    Examples
    --------
    >>> composed("Mu\u0308ller") == "M\u00fcller"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def spellings(text: str) -> set[str]:
    """Return a text as it is, with its letters composed, and with them divided into letters and marks."""
    return {text} if text.isascii() else {text, composed(text), unicodedata.normalize("NFD", text)}


def is_mark(character: str) -> bool:
    """Tell whether a character belongs to the letter before it, as vowels of Hindi and Thai do."""
    return not character.isascii() and unicodedata.category(character).startswith("M")
