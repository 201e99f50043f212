"""How often somebody may try to sign in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Attempts:
    """Failed attempts by key (an address, a name), forgotten after a while.

    Parameters
    ----------
    most
        Failures of a key within `seconds` after which it is refused.
    clock
        Seconds that only go forward.
    """

    KEYS = 10_000
    """Keys remembered at most; the oldest go first, so that nobody fills the memory."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until this key may try again; 0: now."""
        with self._lock:
            failures = self._fresh(key)
            return max(failures[0] + self._seconds - self._clock(), 0.0) if len(failures) >= self._most else 0.0

    def failed(self, key: str) -> None:
        """Count a failure."""
        with self._lock:
            failures = self._fresh(key)
            failures.append(self._clock())
            self._failures.pop(key, None)
            self._failures[key] = failures
            while len(self._failures) > self.KEYS:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        with self._lock:
            self._failures.pop(key, None)

    def _fresh(self, key: str) -> deque[float]:
        failures = self._failures.get(key, deque(maxlen=self._most))
        while failures and failures[0] + self._seconds <= self._clock():
            failures.popleft()
        return failures
