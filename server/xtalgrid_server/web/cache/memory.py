"""What was read from the ledger, for as long as nothing came into it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ...ledger.plates import Plates

_LONGEST_SECONDS = 15.0
"""A transaction that ends late adds rows below the newest one, which the ledger's state does not show."""

_MOST = 20

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by key, made once for each state of the ledger. One is made at a time: who asks for the same waits for it."""

    def __init__(self, plates: Plates) -> None:
        self._plates = plates
        self._lock = threading.Lock()
        self._state: tuple[int, ...] = ()
        self._since = 0.0
        self._kept: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, from `make` where it is not known, or was made before the ledger's newest rows were there."""
        with self._lock:
            state, now = self._plates.state(), time.monotonic()
            if state != self._state or now - self._since > _LONGEST_SECONDS or len(self._kept) >= _MOST:
                self._kept.clear()
                self._state, self._since = state, now
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]
