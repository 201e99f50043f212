"""Letters of names: one way to write each.

macOS writes ``ü`` in names of files as ``u`` and a mark, keyboards and spreadsheets as one letter. Both look alike, and
are different texts to a database.
"""

from __future__ import annotations

import itertools
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


def sure_part(text: str) -> str:
    r"""Return the longest part that any database finds in all texts that are the same to `folded`.

    Some databases fold ASCII letters alone, and none knows two ways to write a letter; Chinese has no such letters.

    Examples
    --------
    >>> sure_part("\u7d50\u6676-M\u00fc2") == "\u7d50\u6676-M"
    True
    """
    parts = itertools.groupby(composed(text), _is_sure)
    return max(("".join(part) for is_sure, part in parts if is_sure), key=len, default="")


def _is_sure(character: str) -> bool:
    if character.isascii():
        return True
    has_one_case = character.casefold() == character.upper() == character
    return has_one_case and unicodedata.normalize("NFD", character) == character and not is_mark(character)


def spellings(text: str) -> set[str]:
    """Return a text as it is, with its letters composed, and with them divided into letters and marks."""
    return {text} if text.isascii() else {text, composed(text), unicodedata.normalize("NFD", text)}


def is_mark(character: str) -> bool:
    """Tell whether a character belongs to the letter before it, as vowels of Hindi and Thai do."""
    return not character.isascii() and unicodedata.category(character).startswith("M")
