r"""The one place where foreign text becomes a line of a terminal or a log.

Barcodes, file names, samples, conditions and what stands in a model's file come from others. Control characters, line
breaks and marks that change the direction of text are shown as ``\x1b`` or ``\u202e``, so that they do nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType

_JOINERS = "\u200c\u200d"
"""Characters of several scripts' words."""

_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""Blanks besides the common one, in a list because the frozen worker has no module of Unicode's categories."""


def one_line(text: str) -> str:
    r"""Return text as one line that does nothing but show characters.

    Examples
    --------
    >>> one_line("P1\x1b[2J\n2026-11-29 INFO all is well")
    'P1\\x1b[2J\\n2026-11-29 INFO all is well'
    """
    return text if text.isprintable() else "".join(c if _is_harmless(c) else _escaped(c) for c in text)


def _is_harmless(character: str) -> bool:
    """Tell whether a character neither controls nor breaks a line; blanks and private letters don't."""
    is_private = "\ue000" <= character <= "\uf8ff" or "\U000f0000" <= character <= "\U0010fffd"
    return character.isprintable() or character in _JOINERS or character in _BLANKS or is_private


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def first_lines(
    lines: Sequence[str], most: int, total: int | None = None, start: str = "", more: str = ""
) -> list[str]:
    """Return the first lines and, where there are others, a line with their number.

    Parameters
    ----------
    lines
        The lines, or only the first of them.
    most
        How many of them are shown.
    total
        How many there are; None: those in `lines`.
    start
        Text before each line.
    more
        Text behind "and N more".

    Examples
    --------
    >>> first_lines(["A1", "A2", "A3"], 1, start="  ")
    ['  A1', '  … and 2 more']
    """
    shown = lines[:most]
    others = (len(lines) if total is None else total) - len(shown)
    return [f"{start}{line}" for line in (*shown, *([f"… and {others} more{more}"] if others > 0 else []))]


def toml_text(text: str) -> str:
    r"""Return text as TOML has it, for lines to copy into a configuration file.

    Examples
    --------
    >>> print(toml_text('5" C:\\new\n'))
    "5\" C:\\new\U0000000a"
    """
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + '"'


def message_lines(text: str) -> str:
    """Return a message with its line breaks; its further lines are indented, so that none looks like another's."""
    first, *rest = text.split("\n")
    lines = [one_line(first), *(one_line(line if line.startswith("  ") else f"  {line}") for line in rest)]
    return "\n".join(lines)


def json_lines(data: bytes) -> str:
    r"""Return JSON as text that a terminal can show: the same values, with harmful characters as ``\u001b``."""
    lines = data.decode().split("\n")
    return "\n".join(
        line if line.isprintable() else "".join(c if _is_harmless(c) else _in_json(c) for c in line) for line in lines
    )


def _in_json(character: str) -> str:
    digits = character.encode("utf-16-be").hex()
    return "".join(f"\\u{digits[start : start + 4]}" for start in range(0, len(digits), 4))


class LineFormatter(logging.Formatter):
    """Formats a record as one line; a traceback follows on indented lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record without its traceback."""
        return one_line(super().formatMessage(record))

    def formatException(
        self, error: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Format a traceback."""
        return message_lines("  " + super().formatException(error).replace("\n", "\n  "))
