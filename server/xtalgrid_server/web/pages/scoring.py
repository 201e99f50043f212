"""People's scores: written to the ledger and, if the lab wants it, to the imager's score table."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from xtalgrid_core.errors import ImagerError, LedgerError
from xtalgrid_core.outcomes import CLASSES, Outcome

from ...config import Config
from ...domain.images import ImageRow
from ...domain.log import log
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.corrections import Correction
from ...ledger.store import Ledger
from ..cache.imager import ImagerQuestions

PERSON_OUTCOMES = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)
"""The outcomes that a person can give; `rim` is only a class of training pictures."""


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """An outcome with the two digits to type for it."""

    outcome: Outcome
    digits: str


def score_keys(config: Config) -> list[ScoreKey]:
    """Return the outcomes in order of priority with their digits.

    The digits are the lab's own codes if each is two digits, otherwise the published codes.
    """
    own = [config.score_code(outcome) or "" for outcome in PERSON_OUTCOMES]
    usable = len(set(own)) == len(own) and all(code.isascii() and code.isdigit() for code in own)
    codes = own if usable else [outcome.code or "" for outcome in PERSON_OUTCOMES]
    return [ScoreKey(outcome, code) for outcome, code in zip(PERSON_OUTCOMES, codes, strict=True)]


class PersonScoring:
    """Records people's scores."""

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase, questions: ImagerQuestions) -> None:
        self._config, self._ledger, self._imager, self._questions = config, ledger, imager, questions
        self._one_by_one = threading.Lock()

    def record(
        self, image: tuple[int, ImageRow], outcome: Outcome | None, who: str, score_id: int | None = None
    ) -> None:
        """Record a person's score.

        Parameters
        ----------
        image
            The image's id and row.
        outcome
            None withdraws the person's score.
        score_id
            The ARTscore that the person saw.

        Raises
        ------
        LedgerError
            If it could not be written to the ledger; nothing was recorded.
        ImagerError
            If it is in the ledger but could not be written to the score table.
        """
        image_id, row = image
        before = self._newest(image_id, who)
        after = self._ledger.corrections.add(image_id, outcome, who, score_id=score_id)
        if not self._config.viewer.write_scores or after is None:
            return
        if after == before and (after.written_id is not None or after.outcome is None):
            return
        try:
            self._questions.ask(lambda: self._write(row, after, who))
        except ImagerError as error:
            log.error(
                "viewer: score of image %d by %s is in the ledger, not in the score table: %s", image_id, who, error
            )
            raise ImagerError(
                f"Your score is saved here but could not be written to the imager's score table: {error}"
            ) from error

    def undo(self, who: str) -> Correction | None:
        """Undo a person's last score, so that their score of that image before it is valid again.

        Returns
        -------
        The score that was undone; None if the person has not scored anything.

        Raises
        ------
        LedgerError, ImagerError
            As in `record`.
        """
        last = self._ledger.corrections.last_by(who)
        row = self._ledger.images.row(last.image_id) if last else None
        if last is None or row is None:
            return None
        own = self._by(last.image_id, who)
        before = own[-2] if len(own) > 1 else None
        outcome = before.outcome if before else None
        if last.outcome is outcome:
            raise LedgerError("There is nothing to undo.")
        self.record((last.image_id, row), outcome, who, before.score_id if before else last.score_id)
        return last

    def _by(self, image_id: int, who: str) -> list[Correction]:
        return [score for score in self._ledger.corrections.of_images([image_id])[image_id] if score.who == who]

    def _newest(self, image_id: int, who: str) -> Correction | None:
        own = self._by(image_id, who)
        return own[-1] if own else None

    def _write(self, row: ImageRow, after: Correction, who: str) -> None:
        """Write one row for each person and image. The person's own earlier row is removed, never anybody else's.

        The database may take its time: a score is not written any more if the person has given another one since.
        """
        with self._one_by_one:
            own, written = self._by(after.image_id, who), None
            if own[-1].id != after.id:
                return
            before = own[-2] if len(own) > 1 else None
            with self._imager.writing() as writer:
                if before is not None and before.written_id is not None:
                    writer.remove(before.written_id, who)
                code = self._config.score_code(after.outcome) if after.outcome else None
                if code:
                    now = self._config.imager.local(time.time())
                    written = writer.insert(row.inspect_id, code, now, who, row.image_name)
            if written is not None:
                self._ledger.corrections.set_written(after.id, written)
