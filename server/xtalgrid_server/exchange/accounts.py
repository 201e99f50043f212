"""The account of a file that is imported: each of its parts is new, known, left out, or refused with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import STANDARD_OUTPUT, replacing
from xtalgrid_core.lines import first_lines, toml_text
from xtalgrid_core.spreadsheets import csv_line

from ..ledger.imported_scores import Kind
from .words import UnknownWord

_KEPT, _SHOWN = 1000, 20
"""Refused parts that are kept, and shown; all go to the file of what was refused."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line or an annotation that was refused; `file` is the one it is in, in a folder of several."""

    line: int
    reason: str
    file: str = ""


class FileAccount:
    """What the accounts of scores and of annotations share; each declares these fields in the order of its JSON.

    `people` and `programs` count what is new by who gave it, `unknown_words` parts by words that `scores.names` lacks.
    """

    format: str
    new: int
    known: int
    refused: int
    people: Counter[str]
    programs: Counter[str]
    first_refused: list[Refused]
    unknown_words: Counter[str]

    def count_new(self, kind: Kind, who: str) -> None:
        """Count a new score or mark for who gave it."""
        (self.people if kind == "person" else self.programs)[who] += 1

    def refuse(self, number: int, why: ValueError, file: str, out: IO[bytes] | None) -> None:
        """Count a part as refused, and write it to `out`, a file of `refused_to`."""
        if isinstance(why, UnknownWord):
            self.unknown_words[why.word] += 1
        self.refused += 1
        if len(self.first_refused) < _KEPT:
            self.first_refused.append(Refused(number, str(why), file))
        if out is not None:
            out.write(csv_line((file, number, why)))


@contextmanager
def refused_to(file: Path | None, part: str) -> Iterator[IO[bytes] | None]:
    """Open the CSV file for all that is refused, if there is to be one; `part` is what has a number.

    Raises
    ------
    ConfigError
        If it is to be standard output, where the account is printed.
    """
    if file == STANDARD_OUTPUT:
        raise ConfigError("--refused -: the account is printed on standard output; give a file, such as refused.csv")
    with replacing(file) if file else nullcontext() as out:
        if out is not None:
            out.write(csv_line(("file", part, "reason")))
        yield out


def file_lines(
    done: FileAccount, parts: str, what: str, notes: Iterable[str], dry_run: bool, *, line: str = "", lines: str = ""
) -> Iterator[str]:
    """Format an account as text: `parts` but the refused, what is new and by whom, what was refused, and notes.

    `line` and `lines` stand before a part's number, and behind a number of parts.
    """
    yield f"{done.format}: {parts} + {done.refused} refused"
    for kind, names in (("people", done.people), ("programs", done.programs)):
        if names:
            who = ", ".join(f"{name} {number}" for name, number in names.most_common(_SHOWN))
            more = f", … {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"{kind:<9} {names.total()} new {what}: {who}{more}"
    first = []
    for refused in done.first_refused[:_SHOWN]:
        where = " ".join(part for part in (refused.file, f"{line}{refused.line}" if refused.line else "") if part)
        first.append(f"{where or 'file'}: {refused.reason}")
    yield from first_lines(first, _SHOWN, done.refused, "refused   ", "; --refused FILE writes all of them")
    if done.unknown_words:
        words = ", ".join(f"{word!r} ({number}{lines})" for word, number in done.unknown_words.most_common(_SHOWN))
        example = next(iter(done.unknown_words))
        yield f"unknown   {words}: say what they mean in xtalgrid.toml,"
        yield f'          such as [scores] names = {{ {toml_text(example)} = "any crystal" }}'
    for note in notes:
        yield f"note      {note}"
    if dry_run:
        yield "nothing was recorded (--dry-run)"
