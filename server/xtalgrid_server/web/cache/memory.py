"""A memory cache of values read from the ledger, valid until the ledger changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ...ledger.plates import Plates

_MAX_SECONDS = 15.0
"""Maximum age of a value: a late transaction adds rows below the newest one, which the state does not show."""

_MAX_VALUES = 20

T = TypeVar("T")


class MemoryCache(Generic[T]):
    """Values by key, made once for each state of the ledger.

    One value is made at a time: others who ask for the same one wait for it.
    """

    def __init__(self, plates: Plates) -> None:
        self._plates = plates
        self._lock = threading.Lock()
        self._state: tuple[object, ...] = ()
        self._since = 0.0
        self._values: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; call `make` if there is none, or if rows came into the ledger since."""
        with self._lock:
            state, now = self._plates.state(), time.monotonic()
            if state != self._state or now - self._since > _MAX_SECONDS or len(self._values) >= _MAX_VALUES:
                self._values.clear()
                self._state, self._since = state, now
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]
