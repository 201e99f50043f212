"""People's scores: written to the ledger and, if the lab wants it, to the imager's score table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from xtalgrid_core.errors import ImagerError, LedgerError
from xtalgrid_core.outcomes import CLASSES, Outcome

from ...config import Config
from ...domain.images import ImageRow, ScoreRow
from ...domain.log import log
from ...imager.crystaltrak.database import ImagerDatabase
from ...imager.crystaltrak.writer import ScoreWriter
from ...ledger.corrections import Correction, standing
from ...ledger.database import now
from ...ledger.store import Ledger
from ...ledger.undoable import NothingToUndo
from ...storage.access_log import AccessLog
from ..cache.imager import ImagerQuestions
from ..query_parameters import KINDS, kind_of

PERSON_OUTCOMES = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)
"""The outcomes that a person can give; `rim` is only a class of training pictures."""

_LONGEST_KEPT = timedelta(days=30)
"""A score kept longer than this counts as this old; clocks of browsers may be wrong."""

_CLOCKS_DIFFER = timedelta(minutes=1)
"""A person's score replaces their earlier ones, also if it seems older by up to this time: requests take their time."""

_ROUNDING, _WRITING = timedelta(seconds=1), timedelta(minutes=10)
"""A row of the score table is dated this much before a person's score at most (whole seconds), and this much after."""

UNDO_OFFERED = timedelta(hours=12)
"""How long a score can be undone on pages that were opened after it."""


GROUP_KEYS = {
    Outcome.HARVESTABLE: "c",
    Outcome.PRECIPITATE: "p",
    Outcome.OTHER: "o",
    Outcome.CLEAR: "x",
}
"""The outcome that stands for a group, and its key."""


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """A score that a person can give.

    Attributes
    ----------
    digits
        Two digits to type for it, or one; empty if there are none.
    key
        One key to press for it; empty if there is none.
    code
        The code of the lab's own set; None: the outcome's.
    colour
        Empty: the outcome's.
    """

    outcome: Outcome
    digits: str
    name: str
    letter: str
    key: str = ""
    code: str | None = None
    colour: str = ""

    @property
    def value(self) -> str:
        """What forms and scripts call it: the kind of the outcome, with a code of the lab's own set."""
        return value_of(self.outcome, self.code)

    @property
    def ink(self) -> str:
        """Black or white, whichever is read better on its colour (WCAG's relative luminance)."""
        parts = [int(self.colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def value_of(outcome: Outcome, code: str | None) -> str:
    """Return what forms and scripts call a score."""
    return kind_of(outcome) + (f"/{code}" if code else "")


def score_keys(config: Config) -> list[ScoreKey]:
    """Return the scores that people can give: the lab's own set, or the outcomes in order of priority.

    The outcomes' digits are the lab's own codes if each is two digits, otherwise the published codes.
    """
    if config.viewer.scores:
        return _own_keys(config)
    own = [config.score_code(outcome) or "" for outcome in PERSON_OUTCOMES]
    usable = len(set(own)) == len(own) and all(code.isascii() and code.isdigit() for code in own)
    codes = own if usable else [outcome.code or "" for outcome in PERSON_OUTCOMES]
    return [
        ScoreKey(outcome, code, str(outcome), outcome.style.letter, GROUP_KEYS.get(outcome, ""))
        for outcome, code in zip(PERSON_OUTCOMES, codes, strict=True)
    ]


def _own_keys(config: Config) -> list[ScoreKey]:
    """Return the lab's own set; codes of two digits are typed, unless a digit alone is the key of a score."""
    own = config.viewer.scores
    with_digit_keys = any(score.key.isdigit() for score in own)
    keys = []
    for score in own:
        code, outcome = config.own_code(score), Outcome(score.outcome)
        digit = score.key if score.key.isdigit() else ""
        digits = digit if with_digit_keys else code if code.isdigit() else ""
        letter = (score.key or score.name[0]).upper()
        keys.append(ScoreKey(outcome, digits, score.name, letter, "" if digit else score.key, code, score.colour))
    return keys


class TypedScore(msgspec.Struct, frozen=True):
    """A score that a browser kept until the viewer could take it.

    Attributes
    ----------
    key
        The browser's name for it; a key is recorded once, however often it is sent.
    image, score
        The image's id, and the id of the ARTscore that the person saw.
    outcome
        The kind of the outcome; empty: the person's score is withdrawn.
    seconds_ago
        How long ago it was given.
    undoes
        None for a score. Otherwise this undoes the person's last score of the image that was not undone yet: the one
        with this key, or, if it is empty, whichever it is.
    """

    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    image: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    outcome: Annotated[str, msgspec.Meta(max_length=40)] = ""
    score: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    seconds_ago: float = 0.0
    undoes: Annotated[str, msgspec.Meta(max_length=32)] | None = None


def time_given(seconds_ago: float, received: datetime) -> datetime:
    """Return when an entry was given that a browser kept; clocks of browsers may be wrong."""
    return received - timedelta(seconds=min(max(seconds_ago, 0.0), _LONGEST_KEPT.total_seconds()))


class RefusedScoreError(Exception):
    """A score that the viewer will never take, and why."""


def person_outcome(value: str, keys: Sequence[ScoreKey]) -> tuple[Outcome | None, str | None]:
    """Return the outcome that a person gives, and the code of the lab's own set; no value withdraws their score.

    An outcome without a code is taken too, from pages that were opened before the lab had its own set.

    Raises
    ------
    RefusedScoreError
        If a person cannot give it.
    """
    kind, _, code = value.partition("/")
    outcome = KINDS.get(kind)
    if value and (outcome not in PERSON_OUTCOMES or (code and value not in [key.value for key in keys])):
        raise RefusedScoreError("A person cannot give this outcome.")
    return outcome, code or None


class PersonScoring:
    """Records people's scores."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        imager: ImagerDatabase,
        questions: ImagerQuestions,
        access_log: AccessLog,
    ) -> None:
        self._config, self._ledger, self._imager, self._questions = config, ledger, imager, questions
        self._keys = score_keys(config)
        self._access_log = access_log
        self._one_by_one = threading.Lock()

    def take(
        self, typed: TypedScore, who: str, origin: str, received: datetime, session: str, *, token: str = ""
    ) -> None:
        """Record a score that a browser kept or a program sent, once.

        `received` is when it was sent (UTC); `origin` and `token` are as in `record`.

        Raises
        ------
        RefusedScoreError
            If it can never be recorded.
        LedgerError, ImagerError
            As in `record`.
        """
        known = self._ledger.corrections.with_key(typed.key)
        if known is not None and (known.who, known.image_id) != (who, typed.image):
            raise RefusedScoreError("Another score has this key.")
        row = self._ledger.images.row(typed.image)
        if row is None:
            raise RefusedScoreError("There is no such image.")
        if known is not None:  # the viewer may have been killed before it wrote this to the score table
            self._tell_imager(row, known, who)
            return
        at, own = time_given(typed.seconds_ago, received), self._by(typed.image, who)
        last = own[-1] if own else None
        if typed.undoes is None:
            # What is dated after now was recorded while this computer's clock was ahead, and forbids nothing new.
            if last is not None and min(last.at, received) > at + _CLOCKS_DIFFER:
                raise RefusedScoreError(f"You have scored this drop since: {last.outcome or 'withdrawn'}.")
            outcome, code = person_outcome(typed.outcome, self._keys)
            score_id, undoes = typed.score, None
            if score_id is not None and [image.image_id for image in self._ledger.images.of_scores([score_id])] != [
                typed.image
            ]:
                raise RefusedScoreError("This ARTscore is of another image.")
        else:
            stands = standing(own)
            if not stands or (typed.undoes and stands[-1].key != typed.undoes):
                raise RefusedScoreError("There is nothing to undo: the score was not saved, or has changed since.")
            outcome, code, score_id, undoes = _before(stands)
        try:
            self.record(
                (typed.image, row),
                outcome,
                who,
                origin,
                score_id,
                key=typed.key,
                at=at,
                undoes=undoes,
                session=session,
                code=code,
                token=token,
            )
        except NothingToUndo as error:
            raise RefusedScoreError(str(error)) from error

    def record(
        self,
        image: tuple[int, ImageRow],
        outcome: Outcome | None,
        who: str,
        origin: str,
        score_id: int | None = None,
        *,
        key: str | None = None,
        at: datetime | None = None,
        undoes: int | None = None,
        session: str | None = None,
        code: str | None = None,
        token: str = "",
    ) -> Correction | None:
        """Record a person's score.

        Parameters
        ----------
        image
            The image's id and row.
        outcome
            None withdraws the person's score.
        origin
            Address of the person's computer.
        score_id
            The ARTscore that the person saw.
        key, at, undoes, session, code
            As in `Corrections.add`.
        token
            Name of the person's token with which a program sent it; empty: they gave it in a browser.

        Returns
        -------
        As `Corrections.add`.

        Raises
        ------
        LedgerError
            If it could not be written to the ledger; nothing was recorded.
        ImagerError
            If it is in the ledger but could not be written to the score table.
        """
        image_id, row = image
        before = self._newest(image_id, who)
        after = self._ledger.corrections.add(
            image_id, outcome, who, score_id=score_id, key=key, at=at, undoes=undoes, session=session, code=code
        )
        self._access_log.write(
            "score",
            who,
            origin,
            barcode=row.barcode,
            inspection=row.inspection,
            well=str(row.well),
            image=image_id,
            outcome=outcome or "withdrawn",
            **({"token": token} if token else {}),
        )
        if after is not None and not (after == before and after.outcome is None):
            self._tell_imager(row, after, who)
        return after

    def _tell_imager(self, row: ImageRow, after: Correction, who: str) -> None:
        """Write a score to the score table, if the lab wants that and it is not there yet; raises ImagerError."""
        if not self._config.viewer.write_scores or after.written_id is not None:
            return
        try:
            self._questions.ask(lambda: self._write(row, after, who))
        except ImagerError as error:
            log.error(
                "viewer: score of image %d by %s is in the ledger, not in the score table: %s",
                after.image_id,
                who,
                error,
            )
            raise ImagerError(
                f"Your score is saved here but could not be written to the imager's score table: {error}"
            ) from error

    def last(self, who: str, session: str) -> Correction | None:
        """Return the score or withdrawal that a person would undo next in a session; None: there is none."""
        return self._ledger.corrections.last_standing(who, session, now() - UNDO_OFFERED)

    def undo(
        self, who: str, origin: str, session: str, given: int | None = None, *, sees: Callable[[str], bool]
    ) -> Correction | None:
        """Undo a person's score or withdrawal, so that their score of that image before it is valid again.

        Parameters
        ----------
        origin
            Address of the person's computer.
        session
            The browser's session.
        given
            Its id; None: the last one of the session that was not undone yet.
        sees
            Whether the person may see a plate, by its barcode.

        Returns
        -------
        The correction that undoes it; None if there is none to undo.

        Raises
        ------
        LedgerError, ImagerError
            As in `record`.
        """
        last = self.last(who, session) if given is None else self._ledger.corrections.by_id(given)
        row = self._ledger.images.row(last.image_id) if last else None
        if last is None or row is None or not sees(row.barcode):
            return None
        stands = standing(self._by(last.image_id, who))
        if not stands or stands[-1].id != last.id:
            raise LedgerError("This score cannot be undone: it was undone already, or has changed since.")
        outcome, code, score_id, undoes = _before(stands)
        return self.record(
            (last.image_id, row), outcome, who, origin, score_id, undoes=undoes, session=session, code=code
        )

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
            code = (after.code or self._config.score_code(after.outcome)) if after.outcome else None
            if code and (gone := self._imager.gone([row])):
                raise ImagerError(gone[row.inspect_id])
            with self._imager.writing() as writer:
                # All earlier ones: the last one may have missed the table, and left the one before it there.
                noted = {earlier.written_id for earlier in own[:-1] if earlier.written_id is not None}
                for score_id in noted | self._not_noted(own, row, who, writer):
                    writer.remove(score_id, who, row.inspect_id)
                if code:
                    now = self._config.imager.local(time.time())
                    written = writer.insert(row.inspect_id, code, now, who, row.image_name)
            if written is not None:
                self._ledger.corrections.set_written(after.id, written)

    def _not_noted(self, own: list[Correction], row: ImageRow, who: str, writer: ScoreWriter) -> set[int]:
        """Return the person's rows that were written although the ledger has no SCOREID of them.

        The viewer was killed before it noted them, or the connection was lost while the database committed.
        """
        missed = [
            (score.code or self._config.score_code(score.outcome), score.at)
            for score in own
            if score.outcome and score.written_id is None
        ]

        def is_one(there: ScoreRow) -> bool:
            at = self._config.imager.utc(there.date)
            is_theirs = (there.inspect_id, there.image_name, there.by) == (row.inspect_id, row.image_name, who)
            return is_theirs and any(
                code == there.code and given - _ROUNDING <= at <= given + _WRITING for code, given in missed
            )

        rows = writer.scores_of_drops([row.inspect_id])[row.inspect_id] if missed else []
        return {there.score_id for there in rows if is_one(there)}


def _before(stands: list[Correction]) -> tuple[Outcome | None, str | None, int | None, int]:
    """Return outcome, code and ARTscore of a person's last score but one of an image, and the id of the last one."""
    last, before = stands[-1], stands[-2] if len(stands) > 1 else None
    return (before.outcome, before.code, before.score_id, last.id) if before else (None, None, last.score_id, last.id)
