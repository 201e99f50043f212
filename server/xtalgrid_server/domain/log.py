"""The server's one logger, shared by all layers, and a bound on how many lines of one kind it writes."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass

from xtalgrid_core.lines import LineFormatter

log = logging.getLogger("xtalgrid")

LINES = 10
SECONDS = 60.0
LONGEST = 2000
"""Characters of a line; the rest is left out. A traceback comes on top of it."""


def set_up_logging() -> None:
    """Log to stderr, with the time in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = LineFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    for logger in (log, logging.getLogger("uvicorn"), logging.getLogger("asyncio")):
        logger.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


@dataclass(slots=True)
class _Kind:
    """How many lines of a kind came since its window began, and the last of them."""

    number: int
    last: logging.LogRecord


class FewOfAKind(logging.Filter):
    """Lets at most `LINES` lines of one kind through every `SECONDS`, and then says how many it left out.

    Lines are of one kind if the same line of code logs them: whoever makes the viewer log something a thousand times a
    second fills no disk.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may be written."""
        key = record.pathname, record.lineno
        with self._lock:
            kind = self._kinds.setdefault(key, _Kind(0, record))
            kind.number += 1
            kind.last = record
            text = record.getMessage()
            if len(text) > LONGEST:
                record.msg, record.args = f"{text[:LONGEST]} …", ()
            if kind.number == 1:
                timer = threading.Timer(SECONDS, self._end, (key,))
                timer.daemon = True
                timer.start()
            return kind.number <= LINES

    def _end(self, key: tuple[str, int]) -> None:
        """End a kind's window, and say how many of its lines were left out."""
        with self._lock:
            kind = self._kinds.pop(key)
        if kind.number > LINES:
            last = kind.last
            text = f"{kind.number - LINES} more lines like this within {SECONDS:g} s, the last: {last.getMessage()}"
            self._handler.emit(logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, text, None, None))


def write_few_of_a_kind() -> None:
    """Bound the lines of each kind from now on, as for a program that strangers talk to."""
    for handler in log.handlers:
        handler.addFilter(FewOfAKind(handler))
