"""Scores that were imported from files of other programs, by people and by programs. Rows are only added.

A score that was changed in its program is a newer row; of each person, the newest counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from ..domain.drop_state import MEANINGS, Meaning, meaning_name
from ..domain.images import ImageRow
from ..domain.letters import folded
from . import tables as t
from .database import LedgerDatabase, now
from .image_scores import ImageScores
from .shapes import image_row

Kind = Literal["person", "program"]
AtIs = Literal["scored", "imaged", "changed", "saved"]
"""What happened at a score's time: it was given, its image was taken, its row was changed, or its file was saved."""


@dataclass(frozen=True, slots=True)
class ImportedScore:
    """A score of an image, as another program's file has it.

    Attributes
    ----------
    who
        The person or the program.
    at
        UTC; `at_is` says what happened then.
    word
        The score in the file's own word; empty if there are only numbers.
    meaning
        The outcome or group that the word stands for; None if there is none, as for a rank.
    numbers
        The file's numbers by name, such as probabilities.
    origin
        Name of the file.
    """

    image_id: int
    kind: Kind
    who: str
    at: datetime
    at_is: AtIs
    word: str
    meaning: Meaning | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    origin: str = ""

    @property
    def has_time(self) -> bool:
        """Whether it is known when it was given; else only the newest is known of each person or program."""
        return self.at_is == "scored"

    @property
    def giver(self) -> tuple[int, str, str]:
        """The image, and who gave the score."""
        return self.image_id, self.kind, folded(self.who)

    @property
    def says(self) -> tuple[str, list[tuple[str, float]]]:
        """The word and the numbers."""
        return self.word, sorted(self.numbers.items())


class ImportedScores(ImageScores[ImportedScore]):
    """The part of the ledger for imported scores."""

    def __init__(self, database: LedgerDatabase) -> None:
        super().__init__(database, t.imported_scores, _score)

    def unknown(self, scores: Sequence[ImportedScore]) -> list[ImportedScore]:
        """Return those of some scores that are not recorded yet, each once.

        A score without a time of its own is known if it is what its giver was last recorded to say.
        """
        return list(self._unknown(scores).values())

    def add(self, scores: Sequence[ImportedScore]) -> int:
        """Record scores, except those that are recorded already; return how many were new."""
        new = self._unknown(scores)
        if new:
            with self._db.writing() as connection:
                connection.execute(t.imported_scores.insert(), [_values(key, score) for key, score in new.items()])
        return len(new)

    def _unknown(self, scores: Sequence[ImportedScore]) -> dict[str, ImportedScore]:
        """Return the same by key, which is of what makes it the same score when it comes again, from whatever file."""
        timed = {_key(score, score.at): score for score in reversed(scores) if score.has_time}  # of doubles, the first
        rows = self._db.rows_in(sa.select(t.imported_scores.c.key), t.imported_scores.c.key, list(timed))
        known = {row.key for row in rows}
        new = {key: score for key, score in timed.items() if key not in known}
        without_time = {score.giver: score for score in reversed(scores) if not score.has_time}
        recorded: dict[tuple[int, str, str], list[ImportedScore]] = {}
        for given in self.of_images(sorted({image_id for image_id, _, _ in without_time})).values():
            for score in given:
                if not score.has_time:
                    recorded.setdefault(score.giver, []).append(score)
        for giver, score in without_time.items():
            earlier = recorded.get(giver, [])
            if not earlier or earlier[-1].says != score.says:
                new[_key(score, len(earlier))] = score
        return new

    def with_images(self, barcodes: Sequence[str]) -> list[tuple[ImageRow, ImportedScore]]:
        """Return the scores of these plates as pairs of image and score, in the order of import."""
        scores = self.of_plates(barcodes)
        rows = self._db.rows_in(sa.select(t.images), t.images.c.id, list(scores))
        return [(image_row(row), score) for row in rows for score in scores[row.id]]

    def inspect_ids(self) -> list[int]:
        """Return the inspections whose images people scored in imported files."""
        return self._inspect_ids(*by_persons())


def numbers_of(score: ImportedScore) -> str:
    """Format a score's numbers: ``Crystals 0.926, Other 0.026``."""
    return ", ".join(f"{name} {number:.4g}" for name, number in score.numbers.items())


def by_persons() -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for scores that people gave and that mean something."""
    return t.imported_scores.c.kind == "person", t.imported_scores.c.meaning != ""


def scored_in_files(image_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Select images that a person scored in an imported file."""
    return sa.exists().where(t.imported_scores.c.image_id == image_id, *by_persons())


def _key(score: ImportedScore, when: datetime | int) -> str:
    """Return a score's key; `when` is its time, or how often its giver changed their mind without one."""
    return hashlib.sha256(msgspec.json.encode((score.giver, score.at_is, when, score.says))).hexdigest()


def _values(key: str, score: ImportedScore) -> dict[str, Any]:
    return {
        "image_id": score.image_id,
        "kind": score.kind,
        "who": score.who,
        "at": score.at,
        "at_is": score.at_is,
        "word": score.word,
        "meaning": "" if score.meaning is None else meaning_name(score.meaning),
        "numbers": msgspec.json.encode(dict(score.numbers)).decode() if score.numbers else "",
        "origin": score.origin,
        "key": key,
        "imported_at": now(),
    }


def _score(row: Any) -> ImportedScore:
    numbers = msgspec.json.decode(row.numbers, type=dict[str, float]) if row.numbers else {}
    meaning = MEANINGS.get(row.meaning)
    return ImportedScore(row.image_id, row.kind, row.who, row.at, row.at_is, row.word, meaning, numbers, row.origin)
