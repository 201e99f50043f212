"""A limit on how often somebody may try to sign in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Attempts:
    """Failed attempts by key (an address or a name), forgotten after a while.

    Parameters
    ----------
    limit
        Failures of a key within `seconds` after which the key has to wait.
    clock
        A monotonic clock, in seconds.
    """

    MAX_KEYS = 10_000
    """Keys held at most. The oldest are dropped first, so that nobody can fill the memory."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._seconds, self._clock = limit, seconds, clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Return the seconds until this key may try again; 0 means now."""
        with self._lock:
            failures = self._recent(key)
            return max(failures[0] + self._seconds - self._clock(), 0.0) if len(failures) >= self._limit else 0.0

    def failed(self, key: str) -> None:
        """Count a failure."""
        with self._lock:
            failures = self._recent(key)
            failures.append(self._clock())
            self._failures.pop(key, None)
            self._failures[key] = failures
            while len(self._failures) > self.MAX_KEYS:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        failures = self._failures.get(key, deque(maxlen=self._limit))
        while failures and failures[0] + self._seconds <= self._clock():
            failures.popleft()
        return failures
