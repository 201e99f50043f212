"""Parts of a large JSON file, one at a time, in bounded memory: only brackets and texts are looked at, none is kept."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import text_encoding

LARGEST = 2 * 1024**3
"""Bytes of a file at most."""

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKENS = re.compile(_TEXT + rb"|[\[\]{}]", re.DOTALL)
_FLAT = re.compile(rb'\{(?:[^"{}]++|' + _TEXT + rb")*+\}", re.DOTALL)
"""An object without objects in it, as nearly all are: found at once, ten times as fast as token by token."""
_AFTER_KEY = re.compile(rb"\s*:\s*")
_BOM = b"\xef\xbb\xbf"
_MOST_MEMBERS, _LONGEST_KEY = 1000, 200


class Span(NamedTuple):
    """A part of a file: its first byte, and the one after its last."""

    start: int
    end: int


class JsonFile:
    """A JSON file in UTF-8, mapped to memory; see `open_json`."""

    def __init__(self, file: Path, data: mmap.mmap) -> None:
        self.file, self._data = file, data
        bom = len(_BOM) if data[: len(_BOM)] == _BOM else 0
        text = re.compile(rb"\S").search(data, bom)
        self.start = text.start() if text else len(data)

    @property
    def kind(self) -> bytes:
        """Its first character: ``{`` of an object, ``[`` of a list."""
        return self._data[self.start : self.start + 1]

    def whole(self) -> Span:
        """Return the whole document."""
        return Span(self.start, len(self._data))

    def read(self, part: Span) -> bytes:
        """Return a part's text."""
        return self._data[part.start : part.end]

    def members(self) -> dict[str, Span]:
        """Return the objects and lists that are the document's members, by name; of doubles, the first.

        Raises
        ------
        ConfigError
            If the document breaks off.
        """
        found: dict[str, Span] = {}
        depth, name, begin, at = 0, "", 0, self.start
        while token := _TOKENS.search(self._data, at):
            at = token.end()
            first = self._data[token.start()]
            if first == ord('"'):
                if depth == 1 and (after := _AFTER_KEY.match(self._data, at)):
                    key = self._data[token.start() + 1 : min(at - 1, token.start() + _LONGEST_KEY)]
                    name, begin = key.decode("utf-8", "replace"), after.end()
                continue
            if first == ord("{") and depth > 1 and (flat := _FLAT.match(self._data, token.start())):
                at = flat.end()
                continue
            depth += 1 if first in b"{[" else -1
            if depth == 1 and first in b"}]" and len(found) < _MOST_MEMBERS:
                found.setdefault(name, Span(begin, at))
            if depth == 0:
                return found
        raise self._broken()

    def objects(self, array: Span) -> Iterator[Span]:
        """Return the objects in a list, one at a time.

        Raises
        ------
        ConfigError
            If the list breaks off.
        """
        depth, begin, at = 0, 0, array.start
        while token := _TOKENS.search(self._data, at, array.end):
            at = token.end()
            first = self._data[token.start()]
            if first == ord("{") and depth == 1 and (flat := _FLAT.match(self._data, token.start(), array.end)):
                at = flat.end()
                yield Span(token.start(), at)
            elif first in b"{[":
                depth += 1
                if depth == 2:
                    begin = token.start()
            elif first in b"}]":
                depth -= 1
                if depth == 1 and self._data[begin] == ord("{"):
                    yield Span(begin, at)
                if depth == 0:
                    return
        raise self._broken()

    def _broken(self) -> ConfigError:
        return ConfigError(f"{self.file}: this JSON breaks off, or is not UTF-8; save it again")


def open_json(file: Path) -> JsonFile | None:
    """Open a JSON file; None if its first character says that it is none.

    Raises
    ------
    ConfigError
        If it cannot be read, or is too large.
    """
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise ConfigError(f"{file}: more than {LARGEST // 1024**3} GB; divide it into several files")
        if not size:
            return None
        with file.open("rb") as stream:
            if text_encoding(stream.read(4)) != "utf-8-sig":
                raise ConfigError(f"{file}: UTF-16 text; save it as UTF-8")
            opened = JsonFile(file, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    return opened if opened.kind in (b"{", b"[") else None
