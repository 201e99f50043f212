"""The list of plates, newest first, without grouping the whole table of images for each request.

Each request reads only the images added since the last one. All are read again when one of them was corrected, which
may have moved it to another plate.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime

from ...ledger.plates import Inspection, Plates

_SETTLED_SECONDS = 60.0
"""So long after the last new image, no transaction that began before it is still open."""

_REREAD_SECONDS = 5.0
"""How often the last images are read again until then."""

_WHOLE_SECONDS = 3600.0
"""How often all images are read again, whatever is known of changes: a clock may have been set back."""

_LOOK_BACK = 10_000
"""Ids read again: a transaction with lower ids may commit after one with higher ids. A work unit has 5,000 at most."""


@dataclass(frozen=True, slots=True)
class PlateEntry:
    """A plate: its barcode and its inspections, newest first, with their dates (the imager's local time)."""

    barcode: str
    inspections: tuple[tuple[int, datetime], ...]

    @property
    def newest(self) -> Inspection:
        """Its newest inspection."""
        return self.barcode, self.inspections[0][0]

    @property
    def date(self) -> datetime:
        """The date of its newest inspection."""
        return self.inspections[0][1]


class PlateIndex:
    """The plates of the ledger, kept in memory: about 100 bytes for each inspection."""

    def __init__(self, plates: Plates) -> None:
        self._plates = plates
        self._lock = threading.Lock()
        self._highest = -1
        self._change: datetime | None = None
        self._grown_at = self._read_at = 0.0
        self._whole_at = -math.inf
        self._dates: dict[str, dict[int, datetime]] = {}
        self._entries: list[PlateEntry] = []

    def all(self) -> list[PlateEntry]:
        """Return every plate, the one inspected last first."""
        with self._lock:
            self._update()
            return self._entries

    def inspections(self, barcode: str) -> list[tuple[int, datetime]]:
        """Return (number, date) of a plate's inspections, oldest first; an unknown plate has none."""
        with self._lock:
            self._update()
            return sorted(self._dates.get(barcode, {}).items())

    def _update(self) -> None:
        highest, change, now = self._plates.highest_image(), self._plates.last_change(), time.monotonic()
        age = now - self._whole_at
        is_whole = age > _WHOLE_SECONDS or (change != self._change and age >= _REREAD_SECONDS)
        if highest != self._highest:
            self._grown_at = now
        elif not is_whole and (now - self._grown_at > _SETTLED_SECONDS or now - self._read_at < _REREAD_SECONDS):
            return
        self._read_at = now
        if is_whole:
            self._whole_at, self._change, self._dates = now, change, {}
        inspections = self._plates.inspections_since(0 if is_whole else max(self._highest - _LOOK_BACK, 0))
        changed = is_whole
        for (barcode, number), date in inspections.items():
            dates = self._dates.setdefault(barcode, {})
            if number not in dates or dates[number] < date:
                dates[number] = date
                changed = True
        self._highest = highest
        if changed:
            entries = [
                PlateEntry(barcode, tuple(sorted(dates.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)))
                for barcode, dates in self._dates.items()
            ]
            self._entries = sorted(entries, key=lambda entry: (entry.date, entry.barcode), reverse=True)
