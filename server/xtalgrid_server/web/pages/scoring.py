"""A person's score: into the ledger, and where the lab wants it into the imager's score table."""

from __future__ import annotations

import time
from dataclasses import dataclass

from xtalgrid_core.errors import ImagerError, LedgerError
from xtalgrid_core.outcomes import CLASSES, Outcome

from ...config import Config
from ...domain.images import ImageRow
from ...domain.log import log
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.people import Correction
from ...ledger.store import Ledger

GIVEN = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)
"""What a person can say; `rim` is a class of training pictures alone."""


@dataclass(frozen=True, slots=True)
class Key:
    """An outcome with the two digits that score it."""

    outcome: Outcome
    digits: str


def keys(config: Config) -> list[Key]:
    """The outcomes in order of priority with their digits: the lab's own codes where all are two digits, else the published ones."""
    own = [config.score_code(outcome) or "" for outcome in GIVEN]
    usable = len(set(own)) == len(own) and all(code.isascii() and code.isdigit() for code in own)
    codes = own if usable else [outcome.code or "" for outcome in GIVEN]
    return [Key(outcome, code) for outcome, code in zip(GIVEN, codes, strict=True)]


class Scoring:
    """Takes people's scores."""

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase) -> None:
        self._config, self._ledger, self._imager = config, ledger, imager

    def give(self, image: tuple[int, ImageRow], outcome: Outcome | None, who: str, score_id: int | None = None) -> None:
        """Record what a person says of an image, (id, row); None takes it back.

        Raises
        ------
        LedgerError
            When the ledger cannot take it; nothing was recorded.
        ImagerError
            When the ledger has it and the score table could not take it.
        """
        image_id, row = image
        before = self._standing(image_id, who)
        stands = self._ledger.people.correct(image_id, outcome, who, score_id=score_id)
        if not self._config.viewer.write_scores or stands is None or stands == before:
            return
        try:
            self._write(row, before, stands, who)
        except ImagerError as error:
            log.error(
                "viewer: score of image %d by %s is in the ledger, not in the score table: %s", image_id, who, error
            )
            raise ImagerError(
                f"Your score is kept here, but the imager's score table did not take it: {error}"
            ) from error

    def undo(self, who: str) -> Correction | None:
        """Undo what a person said last: what they had said of that image before holds again. None: they said nothing yet.

        Raises
        ------
        LedgerError, ImagerError
            As `give`.
        """
        last = self._ledger.people.last_said(who)
        row = self._ledger.views.image(last.image_id) if last else None
        if last is None or row is None:
            return None
        theirs = [one for one in self._ledger.people.corrections([last.image_id])[last.image_id] if one.who == who]
        before = theirs[-2] if len(theirs) > 1 else None
        outcome = before.outcome if before else None
        if last.outcome is outcome:
            raise LedgerError("There is nothing to undo.")
        self.give((last.image_id, row), outcome, who, before.score_id if before else last.score_id)
        return last

    def _standing(self, image_id: int, who: str) -> Correction | None:
        theirs = [one for one in self._ledger.people.corrections([image_id])[image_id] if one.who == who]
        return theirs[-1] if theirs else None

    def _write(self, row: ImageRow, before: Correction | None, stands: Correction, who: str) -> None:
        """One row for each person and image: theirs of before is taken out, never anybody else's."""
        written = None
        with self._imager.writing() as writer:
            if before is not None and before.written_id is not None:
                writer.remove(before.written_id, who)
            code = self._config.score_code(stands.outcome) if stands.outcome else None
            if code:
                now = self._config.imager.local(time.time())
                written = writer.insert(row.inspect_id, code, now, who, row.image_name)
        if written is not None:
            self._ledger.people.set_written(stands.id, written)
