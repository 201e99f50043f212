"""Questions to the imager database, for which no page waits longer than a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from xtalgrid_core.errors import ImagerError

from ...domain.log import log
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.database import now
from ...storage.engines import is_gone

T = TypeVar("T")

_WAIT_SECONDS = 1.0
_AGAIN_SECONDS = 15.0
"""How often the newest inspection is read, and how long a database that did not respond is left alone."""
_MOST_HANGING = 8
"""While the database does not respond, no more questions are asked if so many have no answer yet."""


@dataclass(frozen=True, slots=True)
class ImagerState:
    """What the imager database said last.

    Attributes
    ----------
    imaged
        Its newest inspection, without those dated ahead, in its local time; None if there is none, or none is known.
    problem
        Why it does not respond; empty if it does.
    since
        When it did not respond for the first time, in UTC; None if it does.
    """

    imaged: datetime | None = None
    problem: str = ""
    since: datetime | None = None


class ImagerQuestions:
    """Asks in threads of its own, which may hang as long as they like: the program's end does not wait for them."""

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._state = ImagerState()
        self._next_read = self._next_try = 0.0
        self._hanging = 0

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to a question.

        Raises
        ------
        ImagerError
            If there is no answer within a second, or there was none a few seconds ago. The question may still be
            answered later.
        """
        with self._lock:
            if self._state.problem:
                if time.monotonic() < self._next_try or self._hanging >= _MOST_HANGING:
                    raise ImagerError(self._state.problem)
                self._next_try = time.monotonic() + _AGAIN_SECONDS
        answer: Future[T] = Future()
        threading.Thread(target=self._find, args=(question, answer), daemon=True).start()
        try:
            return answer.result(_WAIT_SECONDS)
        except TimeoutError:
            self._database.abandon()
            problem = f"the imager database ({self._database.place}) has not responded within {_WAIT_SECONDS:g} s"
            self._note(problem)
            raise ImagerError(problem) from None

    def state(self) -> ImagerState:
        """Return what the imager database said last, at most fifteen seconds ago if it responds."""
        with self._lock:
            due = time.monotonic() >= self._next_read
            if due:
                self._next_read = time.monotonic() + _AGAIN_SECONDS
        if due:
            try:
                self.ask(self._read_newest)
            except ImagerError as error:
                self._note(str(error))
        return self._state

    def close(self) -> None:
        """Close the database's connections, in a thread too: they may hang as well."""
        closing = threading.Thread(target=self._database.close, daemon=True)
        closing.start()
        closing.join(timeout=0.3)

    def _read_newest(self) -> None:
        newest = self._database.newest_inspection()
        with self._lock:
            self._state = ImagerState(newest)

    def _find(self, question: Callable[[], T], answer: Future[T]) -> None:
        with self._lock:
            self._hanging += 1
        try:
            found = question()
        except Exception as error:
            if isinstance(error, ImagerError) and is_gone(error.__cause__):
                self._note(str(error))
            answer.set_exception(error)
        else:
            self._note("")
            answer.set_result(found)
        finally:
            with self._lock:
                self._hanging -= 1

    def _note(self, problem: str) -> None:
        """Note that the database does not respond, or that it does again."""
        with self._lock:
            before = self._state
            if problem and problem != before.problem:
                log.warning("viewer: %s", problem)
            if problem:
                self._next_read = self._next_try = time.monotonic() + _AGAIN_SECONDS
            self._state = ImagerState(before.imaged, problem, (before.since or now()) if problem else None)
