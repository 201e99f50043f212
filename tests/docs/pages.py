"""The pages that people read, and the code blocks in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(file for part in ("docker", "models", "scripts", "worker") for file in (ROOT / part).rglob("*.md")),
    )
)
PROGRAMS = ("xtalgrid", "xtalgrid-worker", "xtalgrid-train")

_FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*(?:\n|\Z))+")


@dataclass(frozen=True)
class Block:
    """A code block; `language` is empty where none is named."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page in their order, fenced and indented."""
    text = page.read_text(encoding="utf-8")
    found = [(m.start(), m["language"], textwrap.dedent(m["text"])) for m in _FENCED.finditer(text)]
    without = _FENCED.sub(lambda m: re.sub(r"[^\n]", "`", m[0]), text)
    found += [(m.start(), "", textwrap.dedent(m[0])) for m in _INDENTED.finditer(without)]
    return [Block(page, text.count("\n", 0, at) + 1, language, code) for at, language, code in sorted(found)]


def commands(block: Block) -> Iterator[list[str]]:
    """The calls of our programs in a shell block, as words from the program's name on; what other programs are told is passed over."""
    if block.language not in ("", "sh", "bash", "shell", "console"):
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        if re.match(r"(\$ )?(\w+=\S+ )*(sudo -u \w+ )?[\w./]*\bxtalgrid(-worker|-train)? ", line):
            yield from _calls(line.removeprefix("$ "))


def _calls(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    words.whitespace_split = True
    words.commenters = "#"
    call: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&"):
            if call:
                yield call
            call = []
        elif call or word.rpartition("/")[2] in PROGRAMS:
            call.append(word if call else word.rpartition("/")[2])
